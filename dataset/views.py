"""Cropping figures into views: full body, cowboy shot, upper body, portrait, face, lower body."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .figure import Figure, find_figure
from .garments import CAMERA_TAGS, FEET, HEAD, HIPS, LEGS, STANCE, TORSO, WAIST
from .images import open_alpha, open_image
from .report import counted, listed_lines
from .settings import check_settings, setting
from .tag_tables import TagGroup
from .tags import tag_key, unique_tags
from .values import Box, Dataset, Progress, Record, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One way to frame a figure.

    `top` and `bottom` are shares of the body between chin (0) and soles (1); a negative top starts above the hair.
    `hides` are the tags that the view cannot show; `tags` are its own.
    """

    tags: tuple[str, ...]
    top: float = -1.0
    bottom: float = 1.0
    hides: tuple[TagGroup, ...] = ()


VIEWS: dict[str, View] = {
    "full_body": View(tags=("full body",)),
    "cowboy_shot": View(tags=("cowboy shot",), bottom=0.68, hides=(FEET,)),
    "upper_body": View(tags=("upper body",), bottom=0.40, hides=(FEET, LEGS, HIPS, STANCE)),
    "portrait": View(tags=("portrait",), bottom=0.17, hides=(FEET, LEGS, HIPS, STANCE, WAIST)),
    "face": View(tags=("close-up",), bottom=0.0, hides=(FEET, LEGS, HIPS, STANCE, WAIST, TORSO)),
    "lower_body": View(tags=("lower body", "head out of frame"), top=0.34, hides=(HEAD, TORSO)),
}
"""Every view by its name, from wide to tight; chibi and tall figures share the shares of the body."""

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
class ViewOptions:
    """Which views are cropped, and how."""

    full_body: bool = setting(False, "Crop the whole figure (close to the picture itself where she fills it).")
    cowboy_shot: bool = setting(True, "Crop down to the middle of the thighs.")
    upper_body: bool = setting(True, "Crop down to the waist.")
    portrait: bool = setting(True, "Crop head and shoulders.")
    face: bool = setting(True, "Crop the face, tagged close-up.")
    lower_body: bool = setting(False, "Crop from the waist down, tagged head out of frame; a few of these are enough.")
    padding: float = setting(
        0.05, "Room around the figure, as a share of the crop's longer side.", low=0.0, high=0.5, step=0.01
    )
    minimum_size: int = setting(
        256,
        "Crops whose shorter side has fewer pixels are left out: they would train blur.",
        low=16,
        high=4096,
        step=16,
    )
    max_aspect: float = setting(
        2.0, "Narrow crops are widened until the longer side is at most this many times the shorter one.", low=1.0,
        high=4.0, step=0.05,
    )  # fmt: skip
    keep_originals: bool = setting(True, "Keep the uncropped pictures beside the crops.")
    repeats: int = setting(0, "Repeats of each crop; 0: those of its picture.", low=0, high=1000, step=1)

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.views:
            raise ValueError(f"ViewOptions: no view is chosen; switch on one of: {', '.join(VIEWS)}")

    @property
    def views(self) -> tuple[str, ...]:
        """The chosen views, from wide to tight."""
        return tuple(name for name in VIEWS if getattr(self, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cropped:
    """What became of one picture: its crops, or in words why there are none."""

    source: Record
    crops: tuple[Record, ...]
    why: str = ""


def crop_views(
    dataset: Dataset, options: ViewOptions, progress: Progress | None = None
) -> tuple[Dataset, str, tuple[Cropped, ...]]:
    """The dataset with a record for each view of each figure, a report, and what became of each picture.

    Crops are boxes, nothing is written. Pictures without a figure to find pass unchanged. Raises BadImage for a
    picture that cannot be read.
    """
    done = []
    for number, record in enumerate(dataset, 1):
        done.append(crop_record(record, options))
        if progress:
            progress(number, len(dataset))
    records = [
        record
        for cropped in done
        for record in ((cropped.source,) if options.keep_originals or not cropped.crops else ()) + cropped.crops
    ]
    return dataset.replace_records(records), _report(done, len(records), options), tuple(done)


def crop_record(record: Record, options: ViewOptions) -> Cropped:
    """The views of the figure in one picture. Regularisation pictures are left whole."""
    if record.is_reg:
        return Cropped(source=record, crops=(), why="it is a regularisation picture")
    figure = find_figure(open_image(record), open_alpha(record))
    if isinstance(figure, str):
        return Cropped(source=record, crops=(), why=figure)
    seen = _seen(record, figure)
    if not _likely_head(figure, seen):
        return Cropped(source=record, crops=(), why="her head cannot be told from her outline")
    left, top = (record.crop.left, record.crop.top) if record.crop else (0, 0)
    crops: list[Record] = []
    reasons: list[str] = []
    for name in options.views:
        box = view_box(figure, name, seen, record.view_size, options)
        reason = _why_not(box, name, record, options)
        if box is None or reason:
            reasons.append(f"{name.replace('_', ' ')} {reason}")
        else:
            crops.append(_crop(record, name, box.moved(left, top), options))
    return Cropped(source=record, crops=tuple(crops), why="; ".join(reasons))


def view_box(figure: Figure, name: str, seen: float, size: Size, options: ViewOptions) -> Box | None:
    """The box of a view in pixels of a picture of `size`, or None when the picture does not show it.

    `seen` is the share of the body, chin to soles, that the picture shows.
    """
    view = VIEWS[name]
    if view.bottom > seen or view.top >= seen:
        return None
    head, chin = figure.head, figure.head.bottom
    body = (figure.box.bottom - chin) / seen if seen else 0.0
    # Raised arms reach above the head; only the wide views need them.
    crown = head.top if name in ("portrait", "face") else figure.box.top
    top = crown if view.top < 0 else round(chin + view.top * body)
    bottom = min(figure.box.bottom, round(chin + view.bottom * body))
    if name == "face":
        # The crown is cropped away: eyes and bangs are what a close-up is for.
        inset = round(0.08 * head.width)
        box = (head.left + inset, round(top + 0.14 * head.height), head.right - inset, bottom)
        return _shaped(box, size, options)
    left, right = figure.across(top, bottom)
    if name == "portrait":
        middle, reach = (head.left + head.right) / 2, 0.9 * max(head.width, head.height)
        left, right = max(left, round(middle - reach)), min(right, round(middle + reach))
    return _shaped((left, top, right, bottom), size, options)


def _shaped(edges: tuple[int, int, int, int], size: Size, options: ViewOptions) -> Box | None:
    """Edges with padding, widened to the longest allowed shape, inside the picture."""
    left, top, right, bottom = edges
    if right - left < 2 or bottom - top < 2:
        return None
    room = round(options.padding * max(right - left, bottom - top))
    left, top, right, bottom = left - room, top - room, right + room, bottom + room
    width, height = right - left, bottom - top
    left, right = _widened(left, right, round(height / options.max_aspect), size[0])
    top, bottom = _widened(top, bottom, round(width / options.max_aspect), size[1])
    return Box(left=left, top=top, right=right, bottom=bottom)


def _widened(low: int, high: int, least: int, limit: int) -> tuple[int, int]:
    """The stretch `low` to `high` made at least `least` long around its middle, then moved and cut to 0..`limit`."""
    missing = max(0, least - (high - low))
    low, high = low - missing // 2, high + missing - missing // 2
    if missing:
        shift = max(0, -low) - max(0, high - limit)
        low, high = low + shift, high + shift
    return max(0, low), min(limit, high)


def _seen(record: Record, figure: Figure) -> float:
    """The share of the body that the picture shows: as its tags say, else by whether the frame cuts the figure."""
    tags = {tag_key(tag) for tag in record.tags}
    tagged = [share for tag, share in _SEEN.items() if tag in tags]
    if tagged:
        return min(tagged)
    # Cut off at an unknown height: only views near the head are safe.
    return _UNTAGGED_CUT if figure.cut else 1.0


def _likely_head(figure: Figure, seen: float) -> bool:
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


def _crop(record: Record, name: str, box: Box, options: ViewOptions) -> Record:
    return dataclasses.replace(
        record,
        crop=box,
        tags=view_tags(record.tags, name),
        repeats=options.repeats or record.repeats,
        origin=(*record.origin, f"crop:{name.replace('_', ' ')} of {record.image.name}"),
        pruned=tuple(tag for tag in record.pruned if not _hidden(tag, VIEWS[name])),
    )


def view_tags(tags: Sequence[str], name: str) -> tuple[str, ...]:
    """The tags that a view still shows, with its own camera tags at the end.

    The first tag always stays: it is the trigger, or what the picture is of.
    """
    view = VIEWS[name]
    shown = [
        tag
        for place, tag in enumerate(tags)
        if place == 0 or (tag_key(tag) not in CAMERA_TAGS and not _hidden(tag, view))
    ]
    # Without any tag there is no caption to mend: a camera tag alone would keep "only if empty" from tagging it.
    return unique_tags((*shown, *view.tags)) if tags else ()


def _hidden(tag: str, view: View) -> bool:
    return any(group.has(tag) for group in view.hides)


def _report(done: Sequence[Cropped], records: int, options: ViewOptions) -> str:
    made = Counter(record.origin[-1].split(" of ")[0].removeprefix("crop:") for one in done for record in one.crops)
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
    return "\n\n".join(parts)
