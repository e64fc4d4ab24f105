"""Cropping figures into views: full body, cowboy shot, upper body, portrait, face and closer ones."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .custom_boxes import CustomBox
from .cutout import clear_background
from .errors import DatasetError
from .figure import Figure
from .finding import FigureModels, has_figure, look_at, sharp_mask, single_figure
from .framing import VIEWS, framed, is_hidden, shown_tags, view_box
from .garments import CAMERA_TAGS
from .keys import source_name
from .report import counted, listed_lines
from .tag_tables import TagGroup
from .tags import distinct_tags, tag_key
from .values import Box, Dataset, Progress, Record
from .view_options import ViewOptions

_SEEN = {
    "full body": 1.0,
    "cowboy shot": 0.68,
    "upper body": 0.40,
    "portrait": 0.17,
    "close-up": 0.0,
    "face": 0.0,
}
"""How much of the body a picture with this tag shows, as a share between chin and soles."""
_UNTAGGED_CUT = 0.17
_SAME = 0.85
"""A crop of more than this share of the picture shows nothing that the picture does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cropped:
    """What became of one picture: its crops, or in words why there are none. `figure` is what was found in it."""

    source: Record
    crops: tuple[Record, ...]
    why: str = ""
    figure: Figure | None = None


Boxes = dict[tuple[Path, CustomBox], list[Box]]
"""Hand-drawn boxes by file, in pixels of the file, as records of the file gave them."""


def crop_views(
    dataset: Dataset,
    options: ViewOptions,
    progress: Progress | None = None,
    *,
    models: FigureModels | None = None,
    masks: Sequence[Image.Image] = (),
    folder: Path | None = None,
) -> tuple[Dataset, str, tuple[Cropped, ...]]:
    """The dataset with a record for each view of each figure, a report, and what became of each picture.

    Crops are boxes; only pictures whose background goes are written, into `folder`. `masks` (mode L, 255 is figure)
    are none, or one for each picture. Pictures without a figure to find pass unchanged. Raises BadImage for a picture
    that cannot be read, DatasetError for masks that do not fit, ModelMissing and BadModel.
    """
    check_masks(masks, dataset)
    done = []
    boxes: Boxes = {}
    for number, record in enumerate(dataset):
        mask = masks[number] if masks else None
        done.append(crop_record(record, options, models=models, mask=mask, folder=folder, boxes=boxes))
        if progress:
            progress(number + 1, len(dataset))
    records = [
        record
        for cropped in done
        for record in ((cropped.source,) if options.keep_originals or not cropped.crops else ()) + cropped.crops
    ]
    return dataset.replace_records(records), _report(done, len(records), options), tuple(done)


def check_masks(masks: Sequence[Image.Image], dataset: Dataset) -> None:
    """Raise DatasetError when there are masks, and not one for each picture."""
    if masks and len(masks) != len(dataset):
        raise DatasetError(
            f"There are {counted(len(masks), 'mask')} for {counted(len(dataset), 'picture')}. "
            "Give one for each picture, in the dataset's order, or none"
        )


def crop_record(
    record: Record,
    options: ViewOptions,
    *,
    models: FigureModels | None = None,
    mask: Image.Image | None = None,
    folder: Path | None = None,
    boxes: Boxes | None = None,
) -> Cropped:
    """The views of the figure in one picture. Regularisation pictures are left whole.

    `boxes` are the custom boxes that other records of the same files gave; this one adds its own.
    """
    if record.is_reg:
        return Cropped(source=record, crops=(), why="it is a regularisation picture")
    file = record.image
    record, mask, reasons = _cleared(record, options, models, mask, folder)
    custom, missed = _custom_crops(record, file, options, {} if boxes is None else boxes)
    figure = single_figure(look_at(record, models, mask)) if options.views else "no view is chosen"
    if isinstance(figure, str):
        said = [] if custom and not options.views else [figure]
        return Cropped(source=record, crops=tuple(custom), why="; ".join([*reasons, *said, *missed]))
    seen = seen_share(record, figure)
    if not figure.sure and not likely_head(figure, seen):
        why = "her head cannot be told from her outline"
        return Cropped(source=record, crops=tuple(custom), why="; ".join([*reasons, why, *missed]), figure=figure)
    crops: list[Record] = []
    for name in options.views:
        box = view_box(figure, name, seen, record.view_size, options.frame)
        reason = _why_not(box, name, record, options)
        if box is None or reason:
            reasons.append(f"{name.replace('_', ' ')} {reason}")
        else:
            crops.append(_crop(record, name.replace("_", " "), box, options, VIEWS[name].tags, VIEWS[name].hides))
    why = "; ".join([*reasons, *missed])
    return Cropped(source=record, crops=(*crops, *custom), why=why, figure=figure)


def crop_name(record: Record) -> str:
    """The view that a crop shows, by its last step."""
    return record.origin[-1].removesuffix(f" of {source_name(record)}").removeprefix("crop:")


def _cleared(
    record: Record, options: ViewOptions, models: FigureModels | None, mask: Image.Image | None, folder: Path | None
) -> tuple[Record, Image.Image | None, list[str]]:
    """The record with its background painted over where that is asked for, the mask that did it, and why not."""
    if not options.background.strip():
        return record, mask, []
    if folder is None:
        raise ValueError("crop_views: a background is painted over, so it needs a folder for the pictures")
    found = sharp_mask(record, models, mask)
    if isinstance(found, str):
        return record, mask, [f"its background stays, {found.removeprefix('its background ')}"]
    if not has_figure(found):
        return record, mask, ["its background stays, the mask is empty"]
    return clear_background(record, found, options.color(), folder), found, []


def _custom_crops(record: Record, file: Path, options: ViewOptions, given: Boxes) -> tuple[list[Record], list[str]]:
    """The hand-drawn boxes of a picture as crops, and what was left out and why.

    A picture and its crops are of the same file: what one of them gave whole is not cut from the others again.
    """
    crops, missed = [], []
    for custom in options.custom_boxes:
        if not custom.fits(record):
            continue
        # Boxes are of the whole file; the record may show a part of it.
        box = _common(custom.within(record.size), record)
        if box is None:
            missed.append(f"{custom.name} lies outside the picture")
            continue
        part = box.moved(record.crop.left, record.crop.top) if record.crop else box
        there = given.setdefault((file, custom), [])
        if any(_holds(other, part) for other in there):
            missed.append(f"{custom.name} is given by another part of its file")
            continue
        edges = box.as_tuple()
        grown = framed(
            edges, record.view_size, dataclasses.replace(options.frame, padding=0.0, max_aspect=4.0, scale=1.0)
        )
        box = grown or box
        if min(box.size) < options.minimum_size:
            missed.append(f"{custom.name} has {box.width} x {box.height} pixels, fewer than {options.minimum_size}")
            continue
        there.append(part)
        crops.append(_crop(record, custom.name, box, options, custom.tags, ()))
    return crops, missed


def _holds(whole: Box, part: Box) -> bool:
    return (
        whole.left <= part.left and whole.top <= part.top and part.right <= whole.right and part.bottom <= whole.bottom
    )


def _common(box: Box | None, record: Record) -> Box | None:
    """The part of a box of the whole file that a record shows, in pixels of what it shows."""
    if box is None or record.crop is None:
        return box
    crop = record.crop
    left, top = max(box.left, crop.left) - crop.left, max(box.top, crop.top) - crop.top
    right, bottom = min(box.right, crop.right) - crop.left, min(box.bottom, crop.bottom) - crop.top
    return Box(left=left, top=top, right=right, bottom=bottom) if left < right and top < bottom else None


def seen_share(record: Record, figure: Figure) -> float:
    """The share of the body that the picture shows: as its tags say, else by whether the frame cuts the figure."""
    tags = {tag_key(tag) for tag in record.tags}
    tagged = [share for tag, share in _SEEN.items() if tag in tags]
    if tagged:
        return min(tagged)
    # Cut off at an unknown height: only views near the head are safe.
    return _UNTAGGED_CUT if figure.cut else 1.0


def likely_head(figure: Figure, seen: float) -> bool:
    """Whether the head's share of the figure's height is one that figures have, from chibi to eight heads tall."""
    share = figure.head.height / figure.box.height
    return 0.75 / (1 + 7 * seen) <= share <= 1 / (1 + 0.6 * seen)


def _why_not(box: Box | None, name: str, record: Record, options: ViewOptions) -> str:
    if box is None:
        return "is not in the picture"
    if min(box.size) < options.minimum_size:
        return f"has {box.width} x {box.height} pixels, fewer than {options.minimum_size}"
    width, height = record.view_size
    if options.keep_originals and box.area > _SAME * width * height:
        return "is nearly the whole picture"
    own = VIEWS[name].tags[0]
    if options.keep_originals and own in (tag_key(tag) for tag in record.tags) and name != "full_body":
        return "is what the picture is already"
    return ""


def _crop(
    record: Record, name: str, box: Box, options: ViewOptions, tags: Sequence[str], hides: Sequence[TagGroup]
) -> Record:
    """The record of one view; `box` is in pixels of what the record shows."""
    key = tag_key(name)
    own = options.tags_by_view.get(key, tags)
    left, top = (record.crop.left, record.crop.top) if record.crop else (0, 0)
    return dataclasses.replace(
        record,
        crop=box.moved(left, top),
        tags=record.tags if record.prose else shown_tags(record.tags, hides, own),
        repeats=options.repeats_by_view.get(key, options.repeats) or record.repeats,
        origin=(*record.origin, f"crop:{name} of {source_name(record)}"),
        pruned=tuple(tag for tag in record.pruned if not is_hidden(tag, hides)),
        given=distinct_tags((*(tag for tag in record.given if tag_key(tag) not in CAMERA_TAGS), *own)),
    )


def _report(done: Sequence[Cropped], records: int, options: ViewOptions) -> str:
    made = Counter(crop_name(record) for one in done for record in one.crops)
    kept = "kept" if options.keep_originals else "replaced by their crops"
    parts = [
        f"{counted(sum(made.values()), 'crop')} of {counted(len(done), 'picture')} (originals {kept}), "
        f"{counted(records, 'record')} in all"
    ]
    if made:
        parts.append("Views: " + ", ".join(f"{name} {count}" for name, count in made.items()))
    none = [f"{one.source.name}: {one.why}" for one in done if not one.crops]
    if none:
        parts.append(listed_lines(f"Passed unchanged ({len(none)})", none))
    some = [f"{one.source.name}: {one.why}" for one in done if one.crops and one.why]
    if some:
        parts.append(listed_lines("Views left out", some))
    if prose := sum(bool(one.source.prose) for one in done if one.crops):
        parts.append(f"{counted(prose, 'caption')} of prose stayed as written, with what their crops do not show")
    unused = [box for box in options.custom_boxes if not any(box.fits(one.source) for one in done)]
    if unused:
        names = [f"{box.name}: no picture is called {box.pattern}" for box in unused]
        parts.append(listed_lines(f"Custom boxes without a picture ({len(unused)})", names))
    return "\n\n".join(parts)
