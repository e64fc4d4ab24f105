"""What is known of a picture's figures, from every source: transparency, a plain background, a mask, models."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .cutout import cut_mask
from .detect import DetectorFiles, detect
from .errors import DatasetError
from .figure import MORE_FIGURES, Figure, one_figure
from .images import open_alpha, open_image
from .masks import NOT_PLAIN, WORK_SIDE, Mask, figure_mask, outside, says_plain
from .values import Box, Record, Size

_NO_HEAD = "no detector found her head"
_SAME_PERSON = 0.7
"""A box with more than this share of its area inside another one is a part of that person."""
_BESIDE = 0.25
"""A person with less than this share of the largest one's area stands in the background."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureModels:
    """The models that help to find figures: detectors, at most one of a kind, and one that cuts out backgrounds."""

    detectors: tuple[DetectorFiles, ...] = ()
    cutter: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A picture looked at: the pixels of its figures (or why they are not known), and boxes by kind of detector.

    The mask is a scaled-down one; boxes and `size` are in pixels of the picture. `kinds` are the detectors that looked.
    """

    size: Size
    mask: Mask | str
    boxes: dict[str, tuple[Box, ...]]
    kinds: tuple[str, ...]


def look_at(
    record: Record,
    models: FigureModels | None = None,
    given: Image.Image | None = None,
    *,
    side: int = WORK_SIDE,
    fine: bool = False,
) -> Look:
    """Look at what a record shows; `given` is a mask (mode L, 255 is figure) of the picture or of its crop, `fine` and
    `side` are those of `masks.figure_mask`.

    A given mask counts first, then transparency and a plain background, then the model that cuts out backgrounds.
    Raises BadImage, DatasetError for a mask of another shape, ModelMissing or BadModel.
    """
    image = open_image(record)
    mask: Mask | str
    if given is not None:
        mask = figure_mask(image, given=fitted_mask(record, given), side=side)
    else:
        mask = figure_mask(image, open_alpha(record), plain=says_plain(record.tags), fine=fine, side=side)
        if isinstance(mask, str) and models and models.cutter:
            mask = figure_mask(image, given=cut_mask(models.cutter, image), side=side)
    boxes = {
        files.kind: tuple(found.box for found in detect(files, image)) for files in (models.detectors if models else ())
    }
    return Look(size=image.size, mask=mask, boxes=boxes, kinds=tuple(boxes))


def fitted_mask(record: Record, mask: Image.Image) -> Image.Image:
    """A mask of the picture, or of its crop, as large as what the record shows. DatasetError when its shape differs."""
    if record.crop and mask.size == record.size:
        return mask.crop(record.crop.as_tuple())
    width, height = record.view_size
    if abs(mask.width * height - mask.height * width) > 0.02 * mask.width * height + max(width, height):
        raise DatasetError(
            f"{record.name}: the mask is {mask.width} x {mask.height} pixels, the picture {width} x {height}. "
            "Give masks of the pictures' shapes, in their order"
        )
    return mask if mask.size == record.view_size else mask.resize(record.view_size, Image.Resampling.BILINEAR)


def has_figure(mask: Image.Image) -> bool:
    """Whether anything of a mask (mode L) is figure."""
    return int(np.asarray(mask).max()) >= 128


def people(look: Look) -> tuple[Box, ...]:
    """Who the person detector found, without parts of others and tiny bystanders, the surest first."""
    boxes = look.boxes.get("person", ())
    largest = max((box.area for box in boxes), default=0)
    kept: list[Box] = []
    for box in boxes:
        inside = any(_shared(box, other) > _SAME_PERSON * min(box.area, other.area) for other in kept)
        if not inside and box.area >= _BESIDE * largest:
            kept.append(box)
    return tuple(kept)


def single_figure(look: Look) -> Figure | str:
    """The one figure of a picture, or in words why there is none: detectors first, the outline for what they lack."""
    outline = look.mask if isinstance(look.mask, str) else one_figure(look.mask, look.size)
    if not look.kinds:
        return outline
    persons = people(look)
    if len(persons) > 1:
        return MORE_FIGURES
    if isinstance(outline, str) and outline == MORE_FIGURES and not persons:
        return outline
    known = outline if isinstance(outline, Figure) else None
    within = (
        persons[0] if persons else known.box if known else Box(left=0, top=0, right=look.size[0], bottom=look.size[1])
    )
    head, face = _best(look, "head", within), _best(look, "face", within)
    if head is None and face is None:
        return outline if known else _NO_HEAD
    head = _head(head, face, look.size)
    body = persons[0] if persons else known.box if known else _below(head, look.size)
    body = _joined(body, head)
    return Figure(
        box=body,
        head=head,
        rows=_rows(body, known),
        cut=body.bottom >= look.size[1] - max(2, round(0.01 * look.size[1])),
        share=known.share if known else body.area / (look.size[0] * look.size[1]),
        face=face,
        eyes=_eyes(look, head),
        half=_best(look, "halfbody", body),
        sure=True,
    )


def _best(look: Look, kind: str, within: Box) -> Box | None:
    """The surest box of a kind whose middle lies in another box."""
    return next((box for box in look.boxes.get(kind, ()) if _holds(within, box)), None)


def _eyes(look: Look, head: Box) -> Box | None:
    eyes = [box for box in look.boxes.get("eyes", ()) if _holds(head, box)][:2]
    return _around(eyes) if eyes else None


def _head(head: Box | None, face: Box | None, size: Size) -> Box:
    """The head from hair to chin: a face says where the chin is, and where there is only a face, hair is around it."""
    if head is None:
        assert face is not None
        width, height = face.size
        return Box(
            left=max(0, face.left - round(0.3 * width)),
            top=max(0, face.top - round(0.55 * height)),
            right=min(size[0], face.right + round(0.3 * width)),
            bottom=face.bottom,
        )
    if face and head.top < face.bottom <= head.bottom:
        return dataclasses.replace(head, bottom=face.bottom)
    return head


def _below(head: Box, size: Size) -> Box:
    """Where a body must be when only its head is known: under it, down to the frame."""
    room = round(0.6 * head.width)
    return Box(left=max(0, head.left - room), top=head.top, right=min(size[0], head.right + room), bottom=size[1])


def _rows(body: Box, outline: Figure | None) -> tuple[tuple[int, int], ...]:
    """Left and right ends in each row of a detector's box: the outline's where there is one, cut to the box."""
    if outline is None or _shared(body, outline.box) < 0.5 * outline.box.area:
        return ((body.left, body.right),) * body.height
    rows = []
    for y in range(body.top, body.bottom):
        place = min(max(y - outline.box.top, 0), len(outline.rows) - 1)
        left, right = (min(max(x, body.left), body.right) for x in outline.rows[place])
        rows.append((left, right) if left < right else (body.left, body.right))
    return tuple(rows)


def _holds(outer: Box, inner: Box) -> bool:
    x, y = (inner.left + inner.right) / 2, (inner.top + inner.bottom) / 2
    return outer.left <= x <= outer.right and outer.top <= y <= outer.bottom


def _joined(one: Box, other: Box) -> Box:
    return _around((one, other))


def _around(boxes: Sequence[Box]) -> Box:
    return Box(
        left=min(box.left for box in boxes),
        top=min(box.top for box in boxes),
        right=max(box.right for box in boxes),
        bottom=max(box.bottom for box in boxes),
    )


def _shared(one: Box, other: Box) -> int:
    """Pixels that two boxes have in common."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(0, width) * max(0, height)


def sharp_mask(
    record: Record, models: FigureModels | None = None, given: Image.Image | None = None
) -> Image.Image | str:
    """The figures of what a record shows as a mask (mode L, 255 is figure) of its full size, or why there is none.

    The sources are those of `look_at`. On a plain background only what joins the frame is background: white clothes
    on white paper stay whole, and so do gaps that the figure closes, such as one between arm and waist.
    """
    if given is not None:
        return fitted_mask(record, given).convert("L")
    image, alpha = open_image(record), open_alpha(record)
    if alpha is not None and int(np.asarray(alpha).min()) < 128:
        return alpha
    if models and models.cutter:
        return cut_mask(models.cutter, image)
    mask = figure_mask(image, plain=says_plain(record.tags), side=max(image.size))
    if isinstance(mask, str):
        return NOT_PLAIN
    return Image.fromarray((~outside(mask) * 255).astype(np.uint8))
