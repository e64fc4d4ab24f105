"""The views of a figure: where each begins and ends on the body, which tags it has and which it cannot show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .figure import Figure
from .garments import ABOVE_NECK, CAMERA_TAGS, FEET, HEAD, HIPS, LEGS, STANCE, TORSO, WAIST
from .tag_tables import EYES, TagGroup, any_of
from .tags import distinct_tags, tag_key
from .values import Box, Record, Size

MOUTH = TagGroup(
    "mouth, chin and what is worn at the neck",
    take=(
        any_of(
            "mouth", "smile", "lips", "teeth", "tongue", "fangs?", "grin", "smirk", "frown", "pout", "chin", "beard"
        ),
        any_of("lipstick", "saliva", "drooling", "licking lips", "tongue out", "facial hair", "goatee"),
        any_of("scarf", "neckerchief", "necktie", "bowtie", "ascot", "choker", "necklace", "neck ribbon", "collar"),
        r"mole under mouth|[:;=x][dpo3<>()|]|expressionless",
    ),
)
FACE = TagGroup(
    "what only a face shows: eyes, mouth, expression, where she looks",
    take=(
        *EYES.take,
        *MOUTH.take[:2],
        *MOUTH.take[3:],
        "(?:closed|half-closed|wide|empty|teary) eyes|one eye closed|wink|(?:full-face |light |nose )?blush|tears",
        r"looking (?!back).+|bangs|.* bangs|hair between eyes|hair over (?:one eye|eyes)|mole under (?:eye|mouth)",
        "crying|surprised|angry|sad|happy|serious|nervous|eyeliner|eyeshadow|glasses|.* eyewear|eyepatch|freckles",
    ),
)


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
    "bangs": View(tags=("close-up",), bottom=0.0, hides=(FEET, LEGS, HIPS, STANCE, WAIST, TORSO, MOUTH)),
    "lower_body": View(tags=("lower body", "head out of frame"), top=0.28, hides=(HEAD, TORSO)),
    "chest": View(
        tags=("close-up", "head out of frame"), top=0.0, bottom=0.31, hides=(FEET, LEGS, HIPS, STANCE, ABOVE_NECK)
    ),
    "waist": View(tags=("close-up", "head out of frame"), top=0.17, bottom=0.51, hides=(FEET, LEGS, STANCE, HEAD)),
}
"""Every view by its name; chibi and tall figures share the shares of the body."""
_HEAD_VIEWS = ("portrait", "face", "bangs")
_FACE_CROWN, _FACE_SIDE = 0.14, 0.08
"""What a face view leaves out of the head above and at each side: eyes and bangs are what a close-up is for."""
_BANGS_CROWN, _BANGS_END = 0.05, 0.76
"""Where bangs begin, and where the eyes end, as shares of the head from the top of the hair to the chin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """How the edges of a view become a box: see `ViewOptions`, which has the same settings."""

    padding: float = 0.05
    scale: float = 1.0
    max_aspect: float = 2.0
    shapes: tuple[Size, ...] = ()


def view_box(figure: Figure, name: str, seen: float, size: Size, frame: Frame) -> Box | None:
    """The box of a view in pixels of a picture of `size`, or None when the picture does not show it.

    `seen` is the share of the body, chin to soles, that the picture shows.
    """
    view = VIEWS[name]
    if view.bottom > seen or view.top >= seen:
        return None
    edges = _edges(figure, name, view, seen)
    return framed(edges, size, frame)


def framed(edges: tuple[int, int, int, int], size: Size, frame: Frame) -> Box | None:
    """Edges (left, top, right, bottom) scaled, padded and widened to the allowed shapes, inside a picture of `size`."""
    left, top, right, bottom = edges
    if right - left < 2 or bottom - top < 2:
        return None
    more_x, more_y = (round((frame.scale - 1) / 2 * side) for side in (right - left, bottom - top))
    room = round(frame.padding * frame.scale * max(right - left, bottom - top))
    left, top, right, bottom = left - room - more_x, top - room - more_y, right + room + more_x, bottom + room + more_y
    if right - left < 2 or bottom - top < 2:
        return None
    width, height = right - left, bottom - top
    left, right = _widened(left, right, round(height / frame.max_aspect), size[0])
    top, bottom = _widened(top, bottom, round(width / frame.max_aspect), size[1])
    if left >= right or top >= bottom:
        return None
    box = Box(left=left, top=top, right=right, bottom=bottom)
    return shaped(box, size, frame.shapes)


def shaped(box: Box, size: Size, shapes: Sequence[Size]) -> Box:
    """The box grown to the nearest of the shapes that fits into a picture of `size`; as it is when none does."""
    ratio = math.log(box.width / box.height)
    for width, height in sorted(shapes, key=lambda s: (abs(math.log(s[0] / s[1]) - ratio), s)):
        grown = max(box.width, round(box.height * width / height)), max(box.height, round(box.width * height / width))
        if grown[0] <= size[0] and grown[1] <= size[1]:
            left, right = _widened(box.left, box.right, grown[0], size[0])
            top, bottom = _widened(box.top, box.bottom, grown[1], size[1])
            return Box(left=left, top=top, right=right, bottom=bottom)
    return box


def shown_tags(tags: Sequence[str], hides: Sequence[TagGroup], own: Sequence[str]) -> tuple[str, ...]:
    """The tags that a view still shows, with its own at the end.

    The first tag stays unless it says what the camera shows: it is the trigger, or what the picture is of.
    """
    shown = [
        tag
        for place, tag in enumerate(tags)
        if tag_key(tag) not in CAMERA_TAGS and (place == 0 or not is_hidden(tag, hides))
    ]
    return distinct_tags((*shown, *own))


def view_of(record: Record) -> str:
    """The view or custom box that a record was last cropped to, with underscores as in `VIEWS`; empty without one."""
    crops = [step.removeprefix("crop:") for step in record.origin if step.startswith("crop:")]
    return crops[-1].partition(" of ")[0].replace(" ", "_") if crops else ""


def is_hidden(tag: str, hides: Sequence[TagGroup]) -> bool:
    """Whether a tag names what is hidden."""
    return any(group.has(tag) for group in hides)


def _edges(figure: Figure, name: str, view: View, seen: float) -> tuple[int, int, int, int]:
    """The bare edges of a view in pixels."""
    head, chin = figure.head, figure.head.bottom
    if name == "face":
        return _face_edges(figure)
    if name == "bangs":
        bottom = figure.eyes.bottom if figure.eyes else round(head.top + _BANGS_END * head.height)
        return head.left, round(head.top + _BANGS_CROWN * head.height), head.right, bottom
    body = (figure.box.bottom - chin) / seen if seen else 0.0
    # Raised arms reach above the head; only the wide views need them.
    crown = head.top if name in _HEAD_VIEWS else figure.box.top
    top = crown if view.top < 0 else round(chin + view.top * body)
    bottom = min(figure.box.bottom, round(chin + view.bottom * body))
    if name == "upper_body" and figure.half and figure.half.bottom > chin:
        bottom = min(figure.box.bottom, figure.half.bottom)
    left, right = figure.across(top, bottom)
    if name == "portrait":
        middle, reach = (head.left + head.right) / 2, 0.9 * max(head.width, head.height)
        left, right = max(left, round(middle - reach)), min(right, round(middle + reach))
    return left, top, right, bottom


def _face_edges(figure: Figure) -> tuple[int, int, int, int]:
    if figure.face:
        # A detector's face ends at the brows; the bangs above it belong to the view.
        room = round(0.12 * figure.face.width)
        top = round(figure.face.top - 0.3 * figure.face.height)
        return figure.face.left - room, max(top, figure.head.top), figure.face.right + room, figure.face.bottom
    head = figure.head
    inset = round(_FACE_SIDE * head.width)
    return head.left + inset, round(head.top + _FACE_CROWN * head.height), head.right - inset, head.bottom


def _widened(low: int, high: int, least: int, limit: int) -> tuple[int, int]:
    """The stretch `low` to `high` made at least `least` long around its middle, then moved and cut to 0..`limit`."""
    missing = max(0, least - (high - low))
    low, high = low - missing // 2, high + missing - missing // 2
    if missing:
        shift = max(0, -low) - max(0, high - limit)
        low, high = low + shift, high + shift
    return max(0, low), min(limit, high)
