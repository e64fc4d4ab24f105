"""Parts of a picture whose colours are held and compared: hair, face, upper and lower body, background."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .difference import ciede2000, to_lab
from .figure import Figure
from .finding import FigureModels, fitted_mask, look_at, single_figure
from .framing import VIEWS
from .images import open_image
from .lines import blurred
from .masks import Floats, Mask, label_parts
from .tags import tag_key
from .values import Record, Size
from .views import likely_head, seen_share

PARTS = ("hair", "face", "upper", "lower", "background")
FIGURE, WHOLE, DRAWN = "figure", "whole picture", "mask"
"""What stands for the parts where only the outline is known, where nothing is, and the part that the user drew."""

_SAME_HAIR = 10.0
"""A pixel that joins the hair on the head and differs from its colour by less than this (CIEDE2000) is hair too."""
_FACE_TOP, _FACE_SIDE = 0.38, 0.16
"""What a face leaves out of the head above and at each side, as shares of the head, where no detector found it."""
_BESIDE_HEAD = 0.5
"""Hair on the head reaches this share of the head's width beyond each side of it."""
_COMPARE_SIDE = 64
"""Colours are compared with the longer side at so many pixels: what matters is what a cloth's colour is, not its
folds and lines."""
_MATCH_SIDE, _MATCH_SIGMA = 256, 0.03
"""Colours are moved by differences that are blurred by this share of the longer side of a picture of that size."""
_LEAST_SHARE = 0.001
"""A part with a smaller share of the picture says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """The parts of one picture by name, as masks of one small size in the picture's shape; `why` says what is
    missing, and is empty when all parts are known."""

    masks: Mapping[str, Mask]
    why: str = ""

    @property
    def figure(self) -> Mask | None:
        """The pixels of the figure, where they are known."""
        background = self.masks.get("background")
        return None if background is None else ~background

    def named(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of the names that are known here; the whole figure or picture where none is."""
        known = tuple(name for name in names if name in self.masks)
        return known or ((FIGURE,) if FIGURE in self.masks else (WHOLE,))

    def mask(self, name: str) -> Mask:
        """The pixels of a part."""
        if name == WHOLE:
            return np.ones(next(iter(self.masks.values())).shape if self.masks else (8, 8), dtype=bool)
        return self.masks[name]


def find_regions(
    record: Record,
    target: Size,
    *,
    models: FigureModels | None = None,
    given: Image.Image | None = None,
    drawn: Image.Image | None = None,
) -> Regions:
    """The parts of what a record shows, cut to the shape of `target` as `fitted` cuts the picture.

    `given` is a mask of the figure, `drawn` one of a part of the user's own (mode L, white is inside); both may be of
    the picture or of its crop. Raises BadImage, DatasetError for a mask of another shape, ModelMissing and BadModel.
    """
    look = look_at(record, models, given)
    masks: dict[str, Mask] = {}
    why = look.mask if isinstance(look.mask, str) else ""
    if not isinstance(look.mask, str):
        masks["background"] = ~look.mask
        figure = single_figure(look)
        if isinstance(figure, str):
            why = figure
        elif not figure.sure and not likely_head(figure, seen_share(record, figure)):
            why = "her head cannot be told from her outline"
        else:
            masks |= _body_parts(record, figure, look.mask)
        masks[FIGURE] = look.mask
    if drawn is not None:
        masks[DRAWN] = np.asarray(fitted_mask(record, drawn).convert("L")) > 127
    kept = {name: _fitted(mask, target) for name, mask in masks.items()}
    return Regions(masks={name: mask for name, mask in kept.items() if mask.mean() >= _LEAST_SHARE}, why=why)


def fitted(image: Image.Image, target: Size) -> Image.Image:
    """The picture scaled to cover `target` pixels, what is over cut off at both sides alike, as training does it."""
    scale = min(image.width / target[0], image.height / target[1])
    width, height = scale * target[0], scale * target[1]
    left, top = (image.width - width) / 2, (image.height - height) / 2
    part = (left, top, min(image.width, left + width), min(image.height, top + height))
    return image.resize(target, Image.Resampling.LANCZOS, box=part, reducing_gap=3.0)


def color_drift(source: Image.Image, variant: Image.Image, regions: Regions, names: Sequence[str]) -> dict[str, float]:
    """How far the colours of each named part moved between two RGB pictures of one shape: the mean CIEDE2000."""
    size = _small(source.size, _COMPARE_SIDE)
    ours, theirs = (to_lab(image.resize(size, Image.Resampling.BOX)) for image in (source, variant))
    moved = ciede2000(ours, theirs)
    found = {}
    for name in names:
        weight = _cover(regions.mask(name), size)
        found[name] = float((moved * weight).sum() / max(float(weight.sum()), 1e-9))
    return found


def match_colors(
    picture: Image.Image, source: Image.Image, regions: Regions, strengths: Mapping[str, float]
) -> Image.Image:
    """The picture with the colours of its source where a part is held, by the part's strength of 0 to 1.

    What moves is the blurred difference of the two, each part's by itself so that no colour runs over its edge: lines,
    folds and texture stay the picture's own.
    """
    size = _small(picture.size, _MATCH_SIDE)
    ours, theirs = (
        np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float64) for image in (source, picture)
    )
    sigma = max(1.0, _MATCH_SIGMA * max(size))
    move = np.zeros_like(ours)
    for name, strength in strengths.items():
        if strength > 0 and name in regions.masks:
            weight = _cover(regions.masks[name], size)[..., None]
            near = blurred((ours - theirs) * weight, sigma) / np.maximum(blurred(weight, sigma), 1e-6)
            move = move * (1 - weight) + strength * weight * near
    planes = [Image.fromarray(move[..., i].astype(np.float32)) for i in range(3)]
    full = [np.asarray(plane.resize(picture.size, Image.Resampling.BILINEAR)) for plane in planes]
    pixels = np.asarray(picture, dtype=np.float32) + np.stack(full, axis=-1)
    return Image.fromarray(np.clip(pixels.round(), 0, 255).astype(np.uint8))


def picture_mark(image: Image.Image) -> str:
    """A sha256 in hex of a picture's size, mode and pixels."""
    return hashlib.sha256(repr((image.size, image.mode)).encode() + image.tobytes()).hexdigest()


def _body_parts(record: Record, figure: Figure, mask: Mask) -> dict[str, Mask]:
    """Hair, face, upper and lower body of a figure whose pixels are those of `mask`."""
    height, width = mask.shape
    down, across = height / record.view_size[1], width / record.view_size[0]
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    chin = figure.head.bottom * down
    face = _face(record, figure, ys / down, xs / across) & mask
    room = _BESIDE_HEAD * figure.head.width
    beside = (xs / across >= figure.head.left - room) & (xs / across <= figure.head.right + room)
    crown = mask & (ys < chin) & beside & ~face
    hair = _grown_hair(record, crown, mask & ~face)
    body = mask & ~face & ~hair
    waist = chin + _waist(record, figure) * down
    return {"hair": hair, "face": face, "upper": body & (ys < waist), "lower": body & (ys >= waist)}


def _face(record: Record, figure: Figure, ys: Floats, xs: Floats) -> Mask:
    """The ellipse of the face; `ys` and `xs` are in pixels of the picture. Seen from behind there is none."""
    if "from behind" in (tag_key(tag) for tag in record.tags) and figure.face is None:
        return np.zeros(ys.shape, dtype=bool)
    box = figure.face
    left, top, right, bottom = map(float, (box or figure.head).as_tuple())
    if box is None:
        left, right = left + _FACE_SIDE * figure.head.width, right - _FACE_SIDE * figure.head.width
        top = top + _FACE_TOP * figure.head.height
    x, y = (left + right) / 2, (top + bottom) / 2
    found: Mask = ((xs - x) / ((right - left) / 2)) ** 2 + ((ys - y) / ((bottom - top) / 2)) ** 2 <= 1
    return found


def _grown_hair(record: Record, crown: Mask, room: Mask) -> Mask:
    """The hair on the head, and what falls from it: pixels of its colour that join it."""
    if not crown.any():
        return crown
    size = crown.shape[1], crown.shape[0]
    lab = to_lab(open_image(record).resize(size, Image.Resampling.BOX))
    own = np.median(lab[crown], axis=0)
    like = room & (ciede2000(lab, np.broadcast_to(own, lab.shape)) < _SAME_HAIR)
    labels, _ = label_parts(like | crown)
    joined: Mask = np.isin(labels, np.unique(labels[crown])) & (like | crown)
    return joined


def _waist(record: Record, figure: Figure) -> float:
    """Pixels from the chin to the waist; below the frame where the picture does not show it."""
    seen = seen_share(record, figure)
    below = max(0, figure.box.bottom - figure.head.bottom)
    return VIEWS["upper_body"].bottom * below / seen if seen > 0 else float(record.view_size[1])


def _small(size: Size, side: int) -> Size:
    scale = min(1.0, side / max(size))
    return max(4, round(size[0] * scale)), max(4, round(size[1] * scale))


def _cover(mask: Mask, size: Size) -> Floats:
    """How much of each pixel of a picture of `size` a mask covers, 0 to 1."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float64) / 255.0


def _fitted(mask: Mask, target: Size) -> Mask:
    """A mask cut as `fitted` cuts its picture, at its own scale."""
    scale = max(mask.shape) / max(target)
    size = max(4, round(target[0] * scale)), max(4, round(target[1] * scale))
    return np.asarray(fitted(Image.fromarray(mask.astype(np.uint8) * 255), size)) > 127
