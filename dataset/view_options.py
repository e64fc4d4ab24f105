"""Which views are cropped, and how: the settings of Crop Views."""

from __future__ import annotations

from dataclasses import dataclass

from .custom_boxes import CustomBox, parse_boxes
from .framing import VIEWS, Frame
from .images import parse_color
from .settings import check_settings, setting
from .shapes import bucket_shapes
from .tags import parse_tags, tag_key
from .values import Color

_BUCKET_STEP = 64
_LONGEST = 4
"""No bucket's side is longer than so many times the resolution; `max_aspect` says how much less."""


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
    bangs: bool = setting(False, "Crop bangs and eyes, tagged close-up.")
    chest: bool = setting(
        False, "Crop from the chin to below the chest, tagged close-up and head out of frame: few of these, they teach "
        "headless pictures.",
    )  # fmt: skip
    waist: bool = setting(
        False, "Crop from the chest to the hips, tagged close-up and head out of frame: few of these too."
    )
    scale: float = setting(
        1.0, "Each view this many times as large around its middle: above 1 shows more, below 1 is tighter.", low=0.5,
        high=2.0, step=0.05,
    )  # fmt: skip
    bucket_resolution: int = setting(
        0, "The resolution that you train at: crops grow to the shape of a bucket (sides in steps of 64 pixels), so "
        "that training cuts nothing off. 0: crops of any shape.", low=0, high=4096, step=64,
    )  # fmt: skip
    view_repeats: tuple[str, ...] = setting(
        (), "Repeats of single views, such as: portrait: 5, face: 3. They count before repeats; custom boxes by their "
        "names.", split="tags",
    )  # fmt: skip
    view_tags: tuple[str, ...] = setting(
        (), "Other tags for a view, one view a line, such as: bangs: close-up, blunt bangs. They take the place of the "
        "view's own.", split="lines",
    )  # fmt: skip
    custom: tuple[str, ...] = setting(
        (), "Boxes of your own, one a line: file | name | left top right bottom | tags, such as: front.png | buckle | "
        "40% 50% 60% 62% | close-up. Edges in pixels of the picture or with % of its sides; * in the file's name "
        "stands for any text.", split="lines",
    )  # fmt: skip
    background: str = setting(
        "", "Paint over what is behind the figures, in this colour (white, grey, #rrggbb): by the masks, transparency, "
        "the background model or a plain background. Empty: leave it."
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.views and not self.custom_boxes:
            raise ValueError(
                f"ViewOptions: no view is chosen; switch on one of: {', '.join(VIEWS)}, or write a custom box"
            )
        if self.background.strip():
            self.color()
        known = {tag_key(name) for name in VIEWS} | {tag_key(box.name) for box in self.custom_boxes}
        for field, names in (("view_repeats", self.repeats_by_view), ("view_tags", self.tags_by_view)):
            for name in names:
                if name not in known:
                    raise ValueError(
                        f"ViewOptions.{field} names the view {name!r}, which there is not; "
                        f"choose one of: {', '.join(sorted(known))}"
                    )

    @property
    def views(self) -> tuple[str, ...]:
        """The chosen views, from wide to tight."""
        return tuple(name for name in VIEWS if getattr(self, name))

    @property
    def custom_boxes(self) -> tuple[CustomBox, ...]:
        """The boxes drawn by hand. ValueError for a line that is none."""
        return parse_boxes(self.custom)

    def color(self) -> Color:
        """What is painted behind the figures, as red, green and blue. ValueError for what is no colour."""
        return parse_color(self.background, "ViewOptions.background")

    @property
    def repeats_by_view(self) -> dict[str, int]:
        """Repeats of the views that have their own. ValueError for what is no number."""
        found = {}
        for part in self.view_repeats:
            name, text = _named(part, "view_repeats", "portrait: 5")
            if not text.isdecimal() or int(text) < 1:
                raise ValueError(f"ViewOptions.view_repeats: {part!r} has no number of 1 or more; write portrait: 5")
            found[name] = int(text)
        return found

    @property
    def tags_by_view(self) -> dict[str, tuple[str, ...]]:
        """Tags of the views that have their own."""
        pairs = (_named(line, "view_tags", "bangs: close-up, blunt bangs") for line in self.view_tags)
        return {name: parse_tags(text) for name, text in pairs}

    @property
    def frame(self) -> Frame:
        """How edges become boxes."""
        side = self.bucket_resolution
        every = bucket_shapes(side, _BUCKET_STEP, _BUCKET_STEP, _LONGEST * side) if side else ()
        shapes = tuple(size for size in every if max(size) <= self.max_aspect * min(size))
        return Frame(padding=self.padding, scale=self.scale, max_aspect=self.max_aspect, shapes=shapes)


def _named(text: str, field: str, example: str) -> tuple[str, str]:
    """`portrait: 5` as the view's key and the text behind the colon. ValueError without one."""
    name, colon, rest = text.partition(":")
    if not colon or not name.strip() or not rest.strip():
        raise ValueError(f"ViewOptions.{field}: {text!r} is no view with a colon behind it; write {example}")
    return tag_key(name), rest.strip()
