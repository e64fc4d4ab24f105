"""The plot of what an epoch has learned against what it still obeys."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from ..dataset.lettering import Lettering
from .choose import Choice
from .marks import Marks
from .values import Column

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
_PAPER, _RULE, _POINT, _FRONT, _BEST = (250, 250, 248), (226, 222, 214), (150, 160, 178), (36, 82, 160), (196, 72, 40)
_INK, _CHOSEN, _FAINT = "#3b3733", "#c44828", "#8a837b"
_INSET, _DOT, _SAME, _APART = 16, 4, 6, 5
"""Pixels: from the frame to the outermost ticks, a point's radius, how near points share one label, and how far labels
stand apart."""
_LEAST_SPAN = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """An axis: scores from `low` to `high`, both tenths, between two pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, score: float) -> float:
        return self.start + (self.end - self.start) * (score - self.low) / (self.high - self.low)

    def ticks(self) -> Iterator[float]:
        step = 1 if self.high - self.low <= 0.65 else 2
        return (tenth / 10 for tenth in range(round(self.low * 10), round(self.high * 10) + 1, step))


def trade_plot(
    marks: Mapping[Column, Marks], choice: Choice, *, size: tuple[int, int] = (720, 560), fonts: Sequence[Path] = ()
) -> Image.Image:
    """Trait recall to the right, flexibility upwards, a labelled point a column with a LoRA; the Pareto front is a line
    through filled points, and the chosen column has a ring. Both axes show the part that the points need. A column
    without both scores has no point, and the plot says so where none has.
    """
    sheet = Image.new("RGB", size, _PAPER)
    pen, lettering = ImageDraw.Draw(sheet), Lettering(13, fonts)
    frame = (56.0, 40.0, size[0] - 24.0, size[1] - 56.0)
    lettering.draw(pen, (8, 12), "flexibility", _INK)
    words = "trait recall"
    lettering.draw(pen, (frame[2] - lettering.width(words), size[1] - lettering.height - 8), words, _INK)
    measured = {
        column: (one.traits, one.flexibility)
        for column, one in marks.items()
        if column.epoch and one.traits is not None and one.flexibility is not None
    }
    if not measured:
        lettering.draw(pen, (frame[0] + 16, (frame[1] + frame[3]) / 2), "no column has both scores", _INK)
        return sheet
    across = _scale([traits for traits, _ in measured.values()], frame[0] + _INSET, frame[2] - _INSET)
    up = _scale([flexible for _, flexible in measured.values()], frame[3] - _INSET, frame[1] + _INSET)
    _rule(pen, lettering, frame, across, up)
    points = {column: (across.at(traits), up.at(flexible)) for column, (traits, flexible) in measured.items()}
    front = sorted(points[column] for column in choice.front if column in points)
    if len(front) > 1:
        pen.line(front, fill=_FRONT, width=2)
    # Those of the front last, so that none is covered.
    for column, (x, y) in sorted(points.items(), key=lambda item: item[0] in choice.front):
        pen.ellipse((x - _DOT, y - _DOT, x + _DOT, y + _DOT), fill=_FRONT if column in choice.front else _POINT)
    if choice.column in points:
        x, y = points[choice.column]
        pen.ellipse((x - 9, y - 9, x + 9, y + 9), outline=_BEST, width=3)
    taken = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in points.values()]
    for group in _groups(points, choice.column):
        _label(
            pen, lettering, points[group[0]], _named(group), _CHOSEN if choice.column in group else _INK, taken, frame
        )
    return sheet


def _scale(scores: Sequence[float], start: float, end: float) -> _Scale:
    """Whole tenths around the scores; at least three of them, from 0 to 1."""
    low, high = math.floor(min(scores) * 10 + 1e-9) / 10, math.ceil(max(scores) * 10 - 1e-9) / 10
    if high - low < _LEAST_SPAN:
        low = max(0.0, round(high - _LEAST_SPAN, 1))
        high = max(high, low + _LEAST_SPAN)
    return _Scale(low=low, high=high, start=start, end=end)


def _rule(pen: ImageDraw.ImageDraw, lettering: Lettering, frame: Box, across: _Scale, up: _Scale) -> None:
    left, top, right, bottom = frame
    for tick in across.ticks():
        x = across.at(tick)
        pen.line((x, top, x, bottom), fill=_RULE)
        lettering.draw(pen, (x - 9, bottom + 6), f"{tick:.1f}", _FAINT)
    for tick in up.ticks():
        y = up.at(tick)
        pen.line((left, y, right, y), fill=_RULE)
        lettering.draw(pen, (left - 34, y - 8), f"{tick:.1f}", _FAINT)


def _groups(points: Mapping[Column, Point], chosen: Column) -> list[list[Column]]:
    """Columns whose points lie on each other share a label; the chosen one has its own, and comes first."""
    found = [[chosen]] if chosen in points else []
    for column, point in points.items():
        if column == chosen:
            continue
        near = next((g for g in found if g[0] != chosen and math.dist(points[g[0]], point) <= _SAME), None)
        if near:
            near.append(column)
        else:
            found.append([column])
    return found


def _named(columns: Sequence[Column]) -> str:
    """Epochs as `2, 4-6`, those of another strength than 1 or of block weights with these behind them."""
    kinds: dict[tuple[float, str], list[int]] = {}
    for column in columns:
        kinds.setdefault((column.strength, column.blocks), []).append(column.epoch)
    said = []
    for (strength, blocks), epochs in kinds.items():
        more = (f" x{strength:g}" if strength != 1 else "") + (f" {blocks}" if blocks else "")
        said.append(", ".join(_runs(sorted(epochs))) + more)
    return "; ".join(said)


def _runs(numbers: Sequence[int]) -> list[str]:
    """`[1, 3, 4, 5]` as `1` and `3-5`."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in found]


def _label(
    pen: ImageDraw.ImageDraw,
    lettering: Lettering,
    point: Point,
    words: str,
    fill: str,
    taken: list[Box],
    frame: Box,
) -> None:
    """Write a point's label where it covers the least of what `taken` holds, nearest first, and add it there."""
    width, height = lettering.width(words), float(lettering.height)
    best, least, far = None, math.inf, 0
    for number, box in enumerate(_places(point, width, height)):
        if not (frame[0] <= box[0] and box[2] <= frame[2] and frame[1] - 4 <= box[1] and box[3] <= frame[3] + 4):
            continue
        covered = sum(_overlap(box, other) for other in taken)
        if covered < least:
            best, least, far = box, covered, number
        if not covered:
            break
    if best is None:
        best = next(_places(point, width, height))
    if far >= _CLOSE:
        end = min(max(point[0], best[0]), best[2]), min(max(point[1], best[1]), best[3])
        pen.line((point, end), fill=_POINT)
    lettering.draw(pen, best[:2], words, fill)
    taken.append((best[0] - _APART, best[1], best[2] + _APART, best[3]))


_CLOSE = 8
"""Places of the nearest ring, which need no line to their point."""


def _places(point: Point, width: float, height: float) -> Iterator[Box]:
    """Boxes around a point, in rings from near to far, beside it before above and below."""
    x, y = point
    for gap in (12, 26, 44, 66, 92, 124):
        for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)):
            left = x + gap if dx > 0 else x - gap - width if dx < 0 else x - width / 2
            step = gap if dx == 0 or gap > 12 else 6
            top = y + step if dy > 0 else y - step - height if dy < 0 else y - height / 2
            yield left, top, left + width, top + height


def _overlap(a: Box, b: Box) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return wide * high if wide > 0 and high > 0 else 0.0
