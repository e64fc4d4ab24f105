"""Plots of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..dataset.lettering import Lettering
from .choose import Choice
from .marks import Marks
from .values import Column

Point = tuple[float, float]
_PAPER, _FRAME, _RAW, _SMOOTH = (250, 250, 248), (120, 120, 126), (190, 205, 230), (36, 82, 160)


_POINT, _FRONT, _BEST, _RULE = (150, 160, 178), (36, 82, 160), (196, 72, 40), (226, 222, 214)


def trade_plot(
    marks: Mapping[Column, Marks], choice: Choice, *, size: tuple[int, int] = (720, 560), fonts: Sequence[Path] = ()
) -> Image.Image:
    """Trait recall to the right, flexibility upwards, a labelled point a column; the Pareto front is a line through
    filled points, and the chosen column has a ring. A column without both scores has no point, and the plot says so.
    """
    sheet = Image.new("RGB", size, _PAPER)
    pen, lettering = ImageDraw.Draw(sheet), Lettering(13, fonts)
    left, top, right, bottom = 56, 40, size[0] - 24, size[1] - 48
    measured = {
        column: (one.traits, one.flexibility)
        for column, one in marks.items()
        if one.traits is not None and one.flexibility is not None
    }
    lettering.draw(pen, (left, 12), "flexibility, against trait recall", "#3b3733")
    for tick in range(6):
        share = tick / 5
        x, y = left + (right - left) * share, bottom - (bottom - top) * share
        pen.line((x, top, x, bottom), fill=_RULE)
        pen.line((left, y, right, y), fill=_RULE)
        lettering.draw(pen, (x - 9, bottom + 6), f"{share:.1f}", "#8a837b")
        lettering.draw(pen, (left - 34, y - 8), f"{share:.1f}", "#8a837b")
    if not measured:
        lettering.draw(pen, (left + 16, (top + bottom) / 2), "no column has both scores", "#3b3733")
        return sheet
    points = {
        column: (left + (right - left) * traits, bottom - (bottom - top) * flexible)
        for column, (traits, flexible) in measured.items()
    }
    line = sorted(points[column] for column in choice.front if column in points)
    if len(line) > 1:
        pen.line(line, fill=_FRONT, width=2)
    taken: list[tuple[float, float]] = []
    for column, (x, y) in points.items():
        on_front = column in choice.front
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_FRONT if on_front else _POINT)
        if column == choice.column:
            pen.ellipse((x - 9, y - 9, x + 9, y + 9), outline=_BEST, width=3)
        label = column.label if column.strength != 1 or column.blocks or not column.epoch else str(column.epoch)
        place = _free(x, y, lettering.width(label), lettering.height, taken, (left, top, right, bottom))
        taken.append(place)
        lettering.draw(pen, place, label, "#c44828" if column == choice.column else "#3b3733")
    return sheet


def _free(
    x: float, y: float, width: float, height: float, taken: Sequence[Point], frame: tuple[float, float, float, float]
) -> Point:
    """Where a point's label covers none of those drawn before, or to its right when there is no such place."""
    offsets = [(10 * i, j * height) for i in (1, 3) for j in (-0.5, -1.3, 0.3, -2.1, 1.1, -2.9, 1.9)]
    places = [(x + dx, y + dy) for dx, dy in offsets] + [(x - dx - width, y + dy) for dx, dy in offsets]
    for place in places:
        inside = place[0] >= frame[0] and place[0] + width <= frame[2] + 20 and frame[1] - 8 <= place[1] <= frame[3] - 8
        if inside and all(abs(place[1] - v) >= height or abs(place[0] - u) >= width + 6 for u, v in taken):
            return place
    return places[0]


def loss_plot(losses: Sequence[float], *, size: tuple[int, int] = (640, 320)) -> Image.Image:
    """The loss over the steps, raw and smoothed (an exponential average over about a twentieth of the run)."""
    sheet = Image.new("RGB", size, _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    left, top, right, bottom = 60, 16, size[0] - 16, size[1] - 32
    pen.rectangle((left, top, right, bottom), outline=_FRAME)
    # A step whose loss was not finite was skipped by the trainer; the plot leaves it out.
    points = [(step, loss) for step, loss in enumerate(losses) if math.isfinite(loss)]
    if len(points) < 2:
        return sheet
    ordered = sorted(loss for _, loss in points)
    # A single spike must not flatten the rest.
    high, low = ordered[int(0.995 * (len(ordered) - 1))], ordered[0]
    span = (high - low) or 1.0

    def at(step: int, loss: float) -> Point:
        share = min(1.0, max(0.0, (loss - low) / span))
        return left + (right - left) * step / (len(losses) - 1), bottom - (bottom - top) * share

    smooth, average, keep = [], points[0][1], 1 - min(1.0, 20 / len(points))
    for step, loss in points:
        average = keep * average + (1 - keep) * loss
        smooth.append(at(step, average))
    pen.line([at(*point) for point in points], fill=_RAW)
    pen.line(smooth, fill=_SMOOTH, width=2)
    pen.text((left - 6, top), f"{high:.3g}", fill=_FRAME, font=font, anchor="rt")
    pen.text((left - 6, bottom), f"{low:.3g}", fill=_FRAME, font=font, anchor="rb")
    pen.text(((left + right) / 2, bottom + 8), f"{len(losses)} steps", fill=_FRAME, font=font, anchor="mt")
    return sheet
