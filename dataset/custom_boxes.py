"""Boxes that somebody drew by hand: one a line of text, kept in the workflow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .keys import is_called
from .tags import parse_tags
from .values import Box, Record, Size

_FORM = 'write "file | name | left top right bottom | tags", such as "front.png | buckle | 40% 50% 60% 62% | close-up"'
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(%?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomBox:
    """One box: the pictures that it is for (a name with `*` for any text), its name, edges and tags.

    An edge is a number of pixels of the picture, or with `share` a share of its side (0 to 1).
    """

    pattern: str
    name: str
    edges: tuple[tuple[float, bool], ...]
    tags: tuple[str, ...]

    def fits(self, record: Record) -> bool:
        """Whether it is for this picture: for a whole one, by its file's name or `<group>/<name>`."""
        return is_called(record, self.pattern)

    def within(self, size: Size) -> Box | None:
        """The box in pixels of a picture of `size`, cut to it; None when nothing of it is inside."""
        sides = (*size, *size)
        left, top, right, bottom = (
            min(side, round(value * side if share else value))
            for (value, share), side in zip(self.edges, sides, strict=True)
        )
        return Box(left=left, top=top, right=right, bottom=bottom) if left < right and top < bottom else None


def parse_boxes(lines: Sequence[str]) -> tuple[CustomBox, ...]:
    """The boxes of the lines; ValueError says which line is wrong and how it is written."""
    return tuple(_parse(number, line) for number, line in enumerate(lines, 1) if line.strip())


def _parse(number: int, line: str) -> CustomBox:
    where = f"custom, line {number}, {line.strip()!r}"
    parts = [part.strip() for part in line.split("|")]
    if not 3 <= len(parts) <= 4 or not all(parts[:3]):
        raise ValueError(f"{where}: it has {len(parts)} parts; {_FORM}")
    numbers = [_NUMBER.fullmatch(text) for text in parts[2].replace(",", " ").split()]
    if len(numbers) != 4 or not all(numbers):
        raise ValueError(f"{where}: {parts[2]!r} is not four numbers, each in pixels or with %; {_FORM}")
    edges = tuple((float(m[1]) / (100 if m[2] else 1), bool(m[2])) for m in numbers if m)
    for low, high, side in ((0, 2, "left and right"), (1, 3, "top and bottom")):
        if edges[low][1] == edges[high][1] and edges[low][0] >= edges[high][0]:
            raise ValueError(f"{where}: {side} are {edges[low][0]:g} and {edges[high][0]:g}; the second must be larger")
    tags = parse_tags(parts[3]) if len(parts) == 4 else ("close-up",)
    return CustomBox(pattern=parts[0], name=parts[1], edges=edges, tags=tags)
