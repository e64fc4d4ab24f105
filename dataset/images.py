"""Opening pictures: upright, flattened, cropped, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from PIL import Image, ImageColor, features

from .errors import BadImage
from .values import WHITE, Box, Color, Record, Size

IMAGE_EXTENSIONS = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".avif", ".tif", ".tiff", ".tga",
)  # fmt: skip
MAX_PIXELS = 80_000_000
"""More than this in one picture is taken for a decompression bomb (about 8,900 x 8,900)."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_CONVERT = "Open it in an image editor and save it as PNG, or take it out of the folder"


def parse_color(text: str, where: str) -> Color:
    """A colour's name or #rrggbb as red, green and blue; `where` names the setting in errors.

    ValueError for what is no colour.
    """
    try:
        red, green, blue = ImageColor.getrgb(text.strip())[:3]
    except ValueError as error:
        raise ValueError(f"{where} is {text!r}, which is no colour; give a name such as white, or #rrggbb") from error
    return red, green, blue


def read_size(path: Path) -> Size:
    """(width, height) in pixels of the upright picture, from its header; nothing is decoded.

    Raises BadImage for a file that is no picture, is cut off, or is too large to open.
    """
    with _opened(path) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in _SIDEWAYS else (width, height)


def open_image(source: Record | Path, background: Color | None = None) -> Image.Image:
    """The picture as RGB: upright, transparent parts over `background`, cropped when a record says so.

    Without a `background` it is the record's own, and white for a path. Raises BadImage, also when the file is not
    the one that the record was made from.
    """
    own = source.background if isinstance(source, Record) else WHITE
    image = _flatten(_decoded(source), background or own)
    return image.crop(source.crop.as_tuple()) if isinstance(source, Record) and source.crop else image


def open_small(record: Record, side: int) -> Image.Image:
    """What `open_image` gives, its longer side `side` pixels at the most: to look at, not to train on.

    JPEGs are decoded no larger than that needs, which is many times faster. Raises BadImage.
    """
    box = record.crop or Box(left=0, top=0, right=record.size[0], bottom=record.size[1])
    scale = min(1.0, side / max(box.size))
    target = max(1, round(box.width * scale)), max(1, round(box.height * scale))
    with _opened(record.image) as image:
        turn = _TURNS.get(_orientation(image))
        sideways = _orientation(image) in _SIDEWAYS
        stored = image.size
        _check_size(record, (stored[1], stored[0]) if sideways else stored)
        # Twice as large as needed leaves something to average.
        image.draft(None, (max(1, round(2 * stored[0] * scale)), max(1, round(2 * stored[1] * scale))))
        _load(record.image, image)
        upright = image.transpose(turn) if turn is not None else image.copy()
    flat = _flatten(upright, record.background)
    across, down = flat.width / record.size[0], flat.height / record.size[1]
    part = (box.left * across, box.top * down, box.right * across, box.bottom * down)
    return flat.resize(target, Image.Resampling.BICUBIC, box=part, reducing_gap=2.0)


def open_whole(record: Record) -> Image.Image:
    """The picture upright and cropped, with its transparency and in its own mode. Raises BadImage."""
    image = _decoded(record)
    return image.crop(record.crop.as_tuple()) if record.crop else image


def is_upright(path: Path) -> bool:
    """Whether the pixels are stored as they are meant to be seen. Raises BadImage."""
    with _opened(path) as image:
        return _orientation(image) == 1


def open_alpha(source: Record | Path) -> Image.Image | None:
    """The opacity of the picture (mode L, upright, cropped), or None when it has none. Raises BadImage."""
    image = _decoded(source)
    if not has_alpha(image):
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return alpha.crop(source.crop.as_tuple()) if isinstance(source, Record) and source.crop else alpha


def may_have_alpha(path: Path) -> bool:
    """Whether the file says that it may have transparent parts; only its head is read. False when it cannot be."""
    try:
        with Image.open(path) as image:
            return has_alpha(image)
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def open_mask(record: Record) -> Image.Image | None:
    """The loss mask (mode L, 255 counts fully), of the size of `record.view_size`; None without one.

    Raises BadImage when it cannot be read or is not as large as the picture.
    """
    if record.mask is None:
        return None
    mask = _decoded(record.mask).convert("L")
    if mask.size != record.size:
        raise BadImage(
            record.mask,
            f"the mask is {mask.size[0]} x {mask.size[1]} pixels, its picture {record.size[0]} x {record.size[1]}",
            "Make them the same size, or take the mask away",
        )
    return mask.crop(record.crop.as_tuple()) if record.crop else mask


def save_derived(image: Image.Image, folder: Path) -> Path:
    """Write a picture that we made as `<sha256 of its pixels>.png` in `folder`, and return the file.

    Kept are RGB, transparency, and greys (mode L, for masks). The same pixels always give the same file, so running a
    graph again writes nothing.
    """
    plain = image if image.mode == "L" else image.convert("RGBA" if has_alpha(image) else "RGB")
    mark = repr(plain.size if plain.mode == "RGB" else (*plain.size, plain.mode))
    name = hashlib.sha256(mark.encode() + plain.tobytes()).hexdigest()
    path = folder.resolve() / f"{name}.png"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    # Written aside and moved into place: an interrupted write must not leave half a picture under a final name.
    handle, draft = tempfile.mkstemp(suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            plain.save(file, "PNG")
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path


def _opened(path: Path) -> Image.Image:
    """The picture with its header read, its size checked and its end seen to be there."""
    try:
        image = Image.open(path)
    except FileNotFoundError as error:
        raise BadImage(path, "the file is not there", "Put it back, or queue the loading node again") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(path, f"it has more than {MAX_PIXELS:,} pixels", "Scale it down") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        if path.suffix.lower() == ".avif" and not features.check("avif"):
            raise BadImage(
                path, "this Pillow reads no AVIF", "Update Pillow (11.3 or newer), or save as PNG"
            ) from error
        raise BadImage(path, "the file is not a picture that can be read", _CONVERT) from error
    if image.width * image.height > MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        image.close()
        raise BadImage(path, f"it has {size} pixels, more than {MAX_PIXELS:,}", "Scale it down")
    if not _has_end(path, image.format or ""):
        image.close()
        raise BadImage(path, "the file is cut off", "Download or copy it again, or take it out of the folder")
    return image


def _has_end(path: Path, format: str) -> bool:
    """Whether the last bytes are what the format ends with; True for formats without a clear end.

    Other packs may set Pillow's LOAD_TRUNCATED_IMAGES for the whole process, which fills what is missing with
    grey and says nothing; so the end is looked at here.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        # Some writers put notes after the picture's end, so the mark is looked for in the last 64 KiB.
        file.seek(max(0, size - 65536))
        tail = file.read()
    if format == "PNG":
        return b"IEND\xaeB`\x82" in tail
    if format in ("JPEG", "MPO"):
        return b"\xff\xd9" in tail
    if format == "GIF":
        return b"\x00;" in tail[-16:]
    if format == "WEBP":
        return size >= 8 + int.from_bytes(head[4:8], "little")
    if format == "BMP":
        return size >= int.from_bytes(head[2:6], "little")
    return True


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8."""
    # Pillow decodes a whole PNG to look for EXIF behind the pixels; only what stands before them is used.
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return 1
    # Pillow turns TIFFs itself while loading, and gives their upright size at once.
    if image.format == "TIFF":
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (ValueError, TypeError, SyntaxError, OSError):
        return 1


def _decoded(source: Record | Path) -> Image.Image:
    """The whole picture, decoded and upright, in its own mode."""
    path = source.image if isinstance(source, Record) else source
    with _opened(path) as image:
        turn = _TURNS.get(_orientation(image))
        _load(path, image)
        upright = image.transpose(turn) if turn is not None else image.copy()
    if isinstance(source, Record):
        _check_size(source, upright.size)
    return upright


def _load(path: Path, image: Image.Image) -> None:
    try:
        image.load()
    except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
        raise BadImage(path, f"the picture is damaged ({error})", _CONVERT) from error


def _check_size(record: Record, size: Size) -> None:
    if size != record.size:
        was, now = (f"{w} x {h}" for w, h in (record.size, size))
        raise BadImage(record.image, f"it was {was} pixels and is {now} now", "Queue the loading node again")


def has_alpha(image: Image.Image) -> bool:
    """Whether parts of it may be transparent."""
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _flatten(image: Image.Image, background: Color) -> Image.Image:
    """RGB, with what is transparent shown over `background`."""
    if has_alpha(image):
        rgba = image.convert("RGBA")
        flat = Image.new("RGBA", rgba.size, (*background, 255))
        return Image.alpha_composite(flat, rgba).convert("RGB")
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow clips 16-bit greys to white instead of scaling them.
        return image.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    return image.convert("RGB")
