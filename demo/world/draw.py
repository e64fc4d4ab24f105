"""Drawing a `Figure`: one millisecond or two, the same bytes for the same description.

A figure is 1 unit tall: head centre 0.22, shoulders 0.42, waist 0.56, hips 0.66, soles 1.0 (`painter.py`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from PIL import Image

from . import hair
from .clothes import band_color, paint_arms, paint_clothes, paint_half_cape
from .figure import Figure
from .painter import Painter, Point, arc
from .scenes import paint_scene
from .vocabulary import EYE_COLORS, HAIR_COLORS, INK, SKIN, STRANGE_HAIR_COLORS

SIDE = 128
HEAD: Point = (0.0, 0.22)
HEAD_RADII: Point = (0.185, 0.18)
# Pixels a unit and the head's top, for a picture of 128 pixels.
_FRAMES: dict[str, tuple[float, float]] = {
    "full body": (111.0, 9.0),
    "cowboy shot": (142.0, 11.0),
    "upper body": (192.0, 10.0),
    "portrait": (246.0, 4.0),
}
PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A finished picture (RGB, square) with what is known of it. Boxes are left, top, right, bottom pixels.

    Figure point (x, y) lies at `origin` + (x, y) * `unit`, in pixels.
    """

    image: Image.Image
    tags: tuple[str, ...]
    figure_box: PixelBox
    head_box: PixelBox
    unit: float
    origin: Point


def draw(figure: Figure, *, side: int = SIDE) -> Drawing:
    """Draw `figure` on a square of `side` pixels. The same figure gives the same picture."""
    rng = random.Random(figure.seed)
    painter = Painter(side=side, style=figure.style, rng=rng)
    paint_scene(painter, figure.background)
    unit, top = _FRAMES[figure.framing]
    unit *= side / SIDE * rng.uniform(0.96, 1.03)
    middle = side * (0.5 + rng.uniform(-0.035, 0.035))
    painter.place(unit=unit, origin=(middle, top * side / SIDE + rng.uniform(-2, 2)))
    _paint_figure(painter, figure)
    return Drawing(
        image=painter.finish(),
        tags=figure.tags(),
        figure_box=_box(painter, -0.3, 0.0, 0.3, 1.0),
        head_box=_box(
            painter,
            HEAD[0] - HEAD_RADII[0],
            HEAD[1] - HEAD_RADII[1],
            HEAD[0] + HEAD_RADII[0],
            HEAD[1] + HEAD_RADII[1],
        ),
        unit=painter.unit,
        origin=painter.origin,
    )


def _box(painter: Painter, left: float, top: float, right: float, bottom: float) -> PixelBox:
    (x, y), unit, side = painter.origin, painter.unit, painter.side
    corners = (x + left * unit, y + top * unit, x + right * unit, y + bottom * unit)
    return tuple(min(side, max(0, round(c))) for c in corners)  # type: ignore[return-value]


def _paint_figure(painter: Painter, figure: Figure) -> None:
    color = {**HAIR_COLORS, **STRANGE_HAIR_COLORS}[figure.hair_color]
    behind = figure.view == "from behind"
    if not behind:
        hair.paint_back(painter, figure, color)
    _paint_legs(painter, figure)
    painter.limb([(0, 0.36), (0, 0.44)], 0.08, SKIN)
    paint_clothes(painter, figure)
    paint_arms(painter, figure, raised=False)
    if figure.extra == "half cape":
        paint_half_cape(painter, figure)
    if behind and figure.pose in ("arms up", "waving"):
        paint_arms(painter, figure, raised=True)
    painter.ellipse(HEAD, HEAD_RADII, SKIN)
    if figure.sees_face:
        _paint_face(painter, figure)
    if "scarf" in figure.accessories:
        painter.limb([(-0.1, 0.41), (0.1, 0.41)], 0.075, (222, 60, 60))
        painter.limb([(0.08, 0.43), (0.1, 0.56)], 0.06, (222, 60, 60))
    hair.paint_front(painter, figure, color)
    if behind:
        hair.paint_back(painter, figure, color)
    elif figure.pose in ("arms up", "waving"):
        paint_arms(painter, figure, raised=True)
    _paint_worn(painter, figure)


def _paint_legs(painter: Painter, figure: Figure) -> None:
    pants = next((g for g in figure.outfit if g.kind == "pants"), None)
    if figure.pose == "sitting":
        painter.polygon([(-0.26, 0.78), (0.26, 0.78), (0.26, 1.0), (-0.26, 1.0)], (150, 98, 58))
        feet: tuple[Point, ...] = ((-0.15, 0.93), (0.15, 0.93))
        knees: tuple[Point, ...] = ((-0.13, 0.77), (0.13, 0.77))
    else:
        feet = ((-0.065, 0.955), (0.065, 0.955))
        knees = ((-0.065, 0.8), (0.065, 0.8))
    color = SKIN if pants is None else band_color(pants)
    if figure.view == "from side":
        feet, knees = (feet[1], (0.0, feet[0][1])), (knees[1], (0.0, knees[0][1]))
    for foot, knee in zip(feet, knees, strict=True):
        painter.limb([(foot[0] * 0.9, 0.66), knee, foot], 0.085, color)
        toe = -0.03 if figure.view == "from side" else 0.0
        painter.ellipse((foot[0] + toe, foot[1] + 0.02), (0.07, 0.035), (96, 62, 46))


def _paint_face(painter: Painter, figure: Figure) -> None:
    side = figure.view == "from side"
    eyes = (-0.105,) if side else (-0.085, 0.085)
    color = EYE_COLORS[figure.eye_color]
    for x in eyes:
        if figure.expression == "closed eyes":
            painter.stroke(arc((x, 0.245), (0.042, 0.03), 10, 170, 8), 0.016, INK)
            continue
        painter.ellipse((x, 0.25), (0.045, 0.06), INK, inked=False)
        painter.ellipse((x, 0.255), (0.036, 0.05), color, inked=False)
        painter.ellipse((x + 0.012, 0.228), (0.013, 0.014), (255, 255, 255), inked=False)
    mouth = -0.11 if side else 0.0
    if figure.expression == "open mouth":
        painter.ellipse((mouth, 0.345), (0.035, 0.028), (196, 40, 60), inked=False)
    elif figure.expression == "frown":
        painter.stroke(arc((mouth, 0.362), (0.042, 0.026), 190, 350, 8), 0.016, INK)
    else:
        painter.stroke(arc((mouth, 0.33), (0.042, 0.026), 10, 170, 8), 0.016, INK)
    if "glasses" in figure.accessories:
        for x in eyes:
            painter.stroke(arc((x, 0.25), (0.07, 0.075), 0, 360, 16), 0.017, (30, 30, 40))
        painter.stroke([(eyes[0] + 0.07, 0.25), (eyes[-1] - 0.07 if len(eyes) > 1 else 0.1, 0.25)], 0.017, (30, 30, 40))


def _paint_worn(painter: Painter, figure: Figure) -> None:
    if "beret" in figure.accessories:
        painter.ellipse((0.03, 0.06), (0.17, 0.065), (150, 60, 110))
    if "hair bow" in figure.accessories:
        x, y = (0.1, 0.075) if figure.view != "from behind" else (0.0, 0.1)
        for turn in (-1, 1):
            painter.polygon([(x, y), (x + 0.1 * turn, y - 0.05), (x + 0.1 * turn, y + 0.05)], (236, 52, 84))
