"""Where each record of a dataset stands in a folder that other trainers read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .folder import MASK_SUFFIXES
from .images import IMAGE_EXTENSIONS, is_upright
from .keys import source_name
from .metadata import MANIFEST, MASKS, SAVED
from .names import safe_name, unused_name
from .values import Dataset, Record

KOHYA, FLAT = "kohya", "flat"
REGULAR = "reg"

_COPIED = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""What every trainer opens; other formats become PNG."""
_RESERVED = (Path(MANIFEST).stem, Path(SAVED).stem)
"""A picture of this name would have our own files for its captions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A record with its place in the folder: paths with slashes, relative to the folder."""

    record: Record
    image: str
    mask: str
    baked: bool


def lay_out(dataset: Dataset, layout: str) -> Iterator[Item]:
    """Every record with its place.

    Pictures with masks have a folder of their own, as kohya's want all masked or none, and so have those with settings
    of their own.
    """
    folders: dict[tuple[int, str, bool, bool, tuple[str, ...]], str] = {}
    taken: dict[str, dict[str, int]] = {"": {}, REGULAR: {}}
    for record in dataset:
        folder = ""
        if layout == KOHYA:
            key = (record.repeats, record.group, record.is_reg, record.mask is not None, record.own)
            if key not in folders:
                above = REGULAR if record.is_reg else ""
                name = f"{record.repeats}_{safe_name(record.group, 'pictures')}"
                name = unused_name(f"{name} masked" if record.mask else name, taken[above])
                folders[key] = f"{above}/{name}" if above else name
            folder = folders[key]
        baked = _is_baked(record)
        ending = ".png" if baked else record.image.suffix.lower()
        # Captions and masks go by the name without its ending, so that alone must tell pictures apart.
        stem = unused_name(_stem(record), taken.setdefault(f"{folder}/", dict.fromkeys(_RESERVED, 1)))
        image = f"{folder}/{stem}{ending}" if folder else f"{stem}{ending}"
        mask = "/".join(part for part in (MASKS, folder, f"{stem}.png") if part) if record.mask else ""
        yield Item(record=record, image=image, mask=mask, baked=baked)


def _is_baked(record: Record) -> bool:
    return bool(record.crop) or record.image.suffix.lower() not in _COPIED or not is_upright(record.image)


def _stem(record: Record) -> str:
    """A readable name for the picture: its source's, and the last step when it is a part or a variant of it."""
    stem = Path(source_name(record)).stem
    step = record.origin[-1].partition(" of ")[0].replace(":", " ") if record.origin else ""
    name = safe_name(f"{stem} {step}" if step else stem, "picture")
    # Such a name would make it the mask of another picture, or its caption that of another one.
    ends = (*MASK_SUFFIXES, *IMAGE_EXTENSIONS)
    return f"{name}_" if name.casefold().endswith(ends) else name
