"""Splitting turnaround sheets and groups into single figures, each with the tag of the side that she shows."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .figure import mask_box, measure_figure
from .finding import FigureModels, Look, has_figure, look_at, people
from .framing import FACE, is_hidden
from .images import open_image, save_derived
from .keys import is_called, source_name
from .masks import Floats, Mask
from .parting import part_figures
from .report import counted, listed_lines
from .settings import check_settings, setting
from .sides import OTHER, SIDE_TAGS, Appearance, alike_in_height, guess_sides, parse_sides
from .tags import distinct_tags, tag_key
from .values import Box, Dataset, Progress, Record
from .views import check_masks

_WORK_SIDE = 512
"""Sheets are looked at with the longer side at this many pixels."""
_TURNAROUND = ("multiple views", "turnaround", "reference sheet", "character sheet", "model sheet", "concept art")
_SHEET_TAGS = frozenset((*_TURNAROUND, "group", "everyone", "lineup", "size difference", "height difference"))
_COUNTS = re.compile(r"(?:\d+\+?|multiple )(?:girl|boy|other)s?|solo|solo focus|couple|hetero|yuri|yaoi")
_ONE = {"girls": "1girl", "boys": "1boy", "others": "1other"}
_GUESS, _NONE, _SKIP = "guess", "none", "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How sheets and groups are split."""

    sides: tuple[str, ...] = setting(
        ("guess",), "Which side each figure shows, in reading order: guess (turnarounds by colours and the usual "
        "order), none, or a list such as: front, side, back. One line for all pictures, or lines such as: "
        "sheet*.png: front, back, skip. skip leaves a figure out, other gives her no tag.", split="lines",
    )  # fmt: skip
    count: int = setting(
        0, "Figures in each picture, where you know it; 0: as many as there are.", low=0, high=64, step=1
    )
    smallest: float = setting(
        0.4, "Figures are at least this many times as tall as the tallest one; what is smaller (text, swatches, small "
        "heads) is left out.", low=0.05, high=1.0, step=0.05,
    )  # fmt: skip
    padding: float = setting(
        0.04, "Room around each figure, as a share of her longer side.", low=0.0, high=0.5, step=0.01
    )
    clear_neighbors: bool = setting(
        True, "Paint over what of other figures reaches into a crop, in the colour of the background. Such pictures "
        "are written to the cache; all other crops are boxes only.",
    )  # fmt: skip
    minimum_size: int = setting(
        128, "Figures whose shorter side has fewer pixels are left out.", low=16, high=4096, step=16
    )
    repeats: int = setting(0, "Repeats of front views; 0: those of the picture.", low=0, high=1000, step=1)
    other_repeats: int = setting(
        0, "Repeats of views from the side and from behind, fewer than of the front (5 to its 9); 0: those of the "
        "picture.", low=0, high=1000, step=1,
    )  # fmt: skip
    keep_originals: bool = setting(False, "Keep the unsplit pictures beside the figures.")

    def __post_init__(self) -> None:
        check_settings(self)
        parse_sides(self.sides)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What became of one picture: its figures, or in words why there are none. `boxes` are in pixels of the file."""

    source: Record
    figures: tuple[Record, ...]
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """A figure found: her box in pixels of what the record shows, and her pixels where they are known."""

    box: Box
    mask: Mask | None


def split_figures(
    dataset: Dataset,
    options: SplitOptions,
    progress: Progress | None = None,
    *,
    models: FigureModels | None = None,
    masks: Sequence[Image.Image] = (),
    folder: Path | None = None,
) -> tuple[Dataset, str, tuple[Split, ...]]:
    """The dataset with a record for each figure in the place of each sheet or group, a report, and what became of each.

    Crops are boxes; only those that a neighbour reaches into are written, into `folder`. `masks` (mode L, 255 is
    figure) are none, or one for each picture. Pictures of one figure pass unchanged. Raises BadImage, DatasetError for
    masks that do not fit, ModelMissing and BadModel.
    """
    check_masks(masks, dataset)
    done = []
    for number, record in enumerate(dataset):
        mask = masks[number] if masks else None
        done.append(split_record(record, options, models=models, mask=mask, folder=folder))
        if progress:
            progress(number + 1, len(dataset))
    records = [
        record
        for one in done
        for record in ((one.source,) if options.keep_originals or not one.figures else ()) + one.figures
    ]
    return dataset.replace_records(records), _report(done, len(records), options), tuple(done)


def split_record(
    record: Record,
    options: SplitOptions,
    *,
    models: FigureModels | None = None,
    mask: Image.Image | None = None,
    folder: Path | None = None,
) -> Split:
    """The figures of one picture. Regularisation pictures are left whole."""
    if record.is_reg:
        return Split(source=record, figures=(), why="it is a regularisation picture")
    look = look_at(record, models, mask, side=_WORK_SIDE, fine=True)
    image = open_image(record)
    found, left_out = _found(look, image, options)
    if isinstance(found, str):
        return Split(source=record, figures=(), why=found)
    sides = _sides(record, found, image, options)
    figures, reasons = [], [f"{counted(left_out, 'small part')} left out"] if left_out else []
    for number, (one, side) in enumerate(zip(found, sides, strict=True), 1):
        crop = _padded(one.box, record, options)
        if side == _SKIP:
            reasons.append(f"figure {number} is skipped")
        elif min(crop.size) < options.minimum_size:
            what = f"{crop.width} x {crop.height} pixels, fewer than {options.minimum_size}"
            reasons.append(f"figure {number} has {what}")
        else:
            others = tuple(other.mask for other in found if other is not one and other.mask is not None)
            whole = _without(record, image, crop, one, others, folder) if options.clear_neighbors else record
            figures.append(_single(whole, record, crop, number, side, options))
    return Split(source=record, figures=tuple(figures), why="; ".join(reasons))


def _found(look: Look, image: Image.Image, options: SplitOptions) -> tuple[list[_One] | str, int]:
    """The figures in reading order and how many parts belong to none, or why there are not several."""
    if isinstance(look.mask, str):
        if "person" not in look.kinds:
            return f"{look.mask}; a person detector (Figure Models) or a mask is needed to split it", 0
        boxes = people(look)
        if len(boxes) < 2:
            return "the detector found one figure" if boxes else "the detector found nobody", 0
        return [_One(box=box, mask=None) for box in in_rows(boxes)], 0
    height, width = look.mask.shape
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BOX), dtype=np.float64)
    parting = part_figures(look.mask, pixels, smallest=options.smallest, count=options.count)
    if len(parting.figures) < 2:
        return "it shows one figure" if parting.figures else "no figure stands out from its background", 0
    return [_One(box=mask_box(part, look.size), mask=part) for part in parting.figures], parting.left_out


def in_rows(boxes: Sequence[Box]) -> list[Box]:
    """Boxes in reading order: rows from top to bottom, each from left to right."""
    rows: list[list[Box]] = []
    for box in sorted(boxes, key=lambda each: (each.top + each.bottom, each.left)):
        for row in rows:
            high, low = min(each.top for each in row), max(each.bottom for each in row)
            if min(box.bottom, low) - max(box.top, high) >= 0.5 * min(box.height, low - high):
                row.append(box)
                break
        else:
            rows.append([box])
    rows.sort(key=lambda row: min(each.top for each in row))
    return [box for row in rows for box in sorted(row, key=lambda each: each.left + each.right)]


def _sides(record: Record, found: Sequence[_One], image: Image.Image, options: SplitOptions) -> list[str]:
    """front, side, back, other or skip for each figure, in order."""
    chosen = next((words for pattern, words in parse_sides(options.sides) if is_called(record, pattern)), (_GUESS,))
    if chosen == (_NONE,):
        return [OTHER] * len(found)
    if chosen != (_GUESS,):
        return [*chosen[: len(found)], *[OTHER] * (len(found) - len(chosen))]
    tags = {tag_key(tag) for tag in record.tags}
    people_tagged = any(re.fullmatch(r"(?:[2-9]|\d\d|multiple )\+?(?:girl|boy)s", tag) for tag in tags)
    sheet = bool(tags & set(_TURNAROUND))
    if people_tagged or not (sheet or alike_in_height([one.box.height for one in found])):
        return [OTHER] * len(found)
    return guess_sides([_appearance(one, image) for one in found], sheet=sheet)


def _appearance(one: _One, image: Image.Image) -> Appearance:
    """What of a figure tells which side she shows, from her head and her colours."""
    if one.mask is None:
        return Appearance(height=one.box.height, colors=None, hair=0.0, turned=0.0)
    height, width = one.mask.shape
    pixels: Floats = np.asarray(image.resize((width, height), Image.Resampling.BOX), dtype=np.float64)
    head = measure_figure(one.mask, (width, height)).head
    return Appearance.of(pixels, one.mask, head, one.box.height)


def _padded(box: Box, record: Record, options: SplitOptions) -> Box:
    """The box with room around it, in pixels of the file, inside what the record shows."""
    width, height = record.view_size
    room = round(options.padding * max(box.size))
    padded = Box(
        left=max(0, box.left - room),
        top=max(0, box.top - room),
        right=min(width, box.right + room),
        bottom=min(height, box.bottom + room),
    )
    return padded.moved(record.crop.left, record.crop.top) if record.crop else padded


def _without(
    record: Record, image: Image.Image, crop: Box, one: _One, others: Sequence[Mask], folder: Path | None
) -> Record:
    """The record with the pixels of the other figures painted over, where any of them is in the crop."""
    if one.mask is None or not others:
        return record
    shift = (record.crop.left, record.crop.top) if record.crop else (0, 0)
    strange = np.logical_or.reduce(others)
    # A little wider: lines end softly, and the mask is a small one.
    grown = strange.copy()
    grown[1:] |= strange[:-1]
    grown[:-1] |= strange[1:]
    grown[:, 1:] |= strange[:, :-1]
    grown[:, :-1] |= strange[:, 1:]
    paint = Image.fromarray(((grown & ~one.mask) * 255).astype(np.uint8)).resize(image.size, Image.Resampling.BILINEAR)
    inside = Box(
        left=crop.left - shift[0], top=crop.top - shift[1], right=crop.right - shift[0], bottom=crop.bottom - shift[1]
    )
    if not has_figure(paint.crop(inside.as_tuple())):
        return record
    if folder is None:
        raise ValueError("split_figures: neighbours are painted over, so it needs a folder for the pictures")
    small = np.asarray(image.resize(one.mask.shape[::-1], Image.Resampling.BOX))
    paper = np.median(small[~(grown | one.mask)], axis=0)
    cleared = image.copy()
    cleared.paste(
        tuple(round(float(value)) for value in paper), mask=paint.point(lambda value: 255 if value >= 96 else 0)
    )
    if record.crop:
        whole = open_image(dataclasses.replace(record, crop=None))
        whole.paste(cleared, (record.crop.left, record.crop.top))
        cleared = whole
    return dataclasses.replace(record, image=save_derived(cleared, folder))


def _single(whole: Record, source: Record, crop: Box, number: int, side: str, options: SplitOptions) -> Record:
    tag = SIDE_TAGS.get(side, "")
    repeats = options.other_repeats if tag else options.repeats
    words = f"{number} {tag}".strip() if side != "front" else f"{number} front"
    return dataclasses.replace(
        whole,
        crop=crop,
        tags=source.tags if source.prose else single_tags(source.tags, side),
        repeats=repeats or source.repeats,
        origin=(*source.origin, f"split:{words} of {source_name(source)}"),
        pruned=tuple(each for each in source.pruned if side != "back" or not is_hidden(each, (FACE,))),
        given=(*source.given, *([tag] if tag else [])),
    )


def single_tags(tags: Sequence[str], side: str = OTHER) -> tuple[str, ...]:
    """The tags of one figure of a sheet or group: one person, her side, nothing of a sheet, behind no face.

    The first tag always stays: it is the trigger, or what the picture is of.
    """
    keys = [tag_key(tag) for tag in tags]
    kinds = {word for word in _ONE if any(re.fullmatch(rf"(?:\d+\+?|multiple )?{word[:-1]}s?", key) for key in keys)}
    hides = (FACE,) if side == "back" else ()
    kept = []
    for place, (tag, key) in enumerate(zip(tags, keys, strict=True)):
        gone = key in _SHEET_TAGS or is_hidden(tag, hides)
        if not _COUNTS.fullmatch(key) and (place == 0 or not gone):
            kept.append(tag)
    # Of girls and boys together nobody can say without looking which one this is.
    one = [_ONE[kinds.pop()], "solo"] if len(kinds) == 1 else []
    first = 0 if keys and _COUNTS.fullmatch(keys[0]) else 1
    own = [SIDE_TAGS[side]] if side in SIDE_TAGS else []
    drop = {tag for tag in SIDE_TAGS.values() if tag not in own} if side != OTHER else set()
    shown = [tag for tag in kept if tag_key(tag) not in drop]
    return distinct_tags((*shown[:first], *one, *shown[first:], *own))


def split_name(record: Record) -> str:
    """Number and side of a figure, by her last step."""
    return record.origin[-1].removesuffix(f" of {source_name(record)}").removeprefix("split:")


def _report(done: Sequence[Split], records: int, options: SplitOptions) -> str:
    made = sum(len(one.figures) for one in done)
    split = sum(bool(one.figures) for one in done)
    kept = "kept" if options.keep_originals else "replaced by their figures"
    parts = [
        f"{counted(made, 'figure')} from {split} of {counted(len(done), 'picture')} (originals {kept}), "
        f"{counted(records, 'record')} in all"
    ]
    lines = [
        f"{one.source.name}: {', '.join(split_name(record) for record in one.figures)}" for one in done if one.figures
    ]
    if lines:
        parts.append(listed_lines("Split", lines))
    none = [f"{one.source.name}: {one.why}" for one in done if not one.figures]
    if none:
        parts.append(listed_lines(f"Passed unchanged ({len(none)})", none))
    some = [f"{one.source.name}: {one.why}" for one in done if one.figures and one.why]
    if some:
        parts.append(listed_lines("Notes", some))
    if prose := sum(bool(one.source.prose) for one in done if one.figures):
        parts.append(f"{counted(prose, 'caption')} of prose stayed as written for every figure")
    return "\n\n".join(parts)
