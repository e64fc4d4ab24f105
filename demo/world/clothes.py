"""Clothes and arms. A garment is one table row of polygons; sleeves follow the arms."""

from __future__ import annotations

import math

from .figure import Figure, Garment
from .painter import Painter, Point
from .vocabulary import CLOTH_COLORS, RGB, SKIN

_TORSO: tuple[Point, ...] = (
    (-0.1, 0.41),
    (0.1, 0.41),
    (0.125, 0.46),
    (0.115, 0.57),
    (-0.115, 0.57),
    (-0.125, 0.46),
)
_SHAPES: dict[str, tuple[Point, ...]] = {
    "dress": (
        (-0.1, 0.41), (0.1, 0.41), (0.12, 0.46), (0.105, 0.53), (0.245, 0.8),
        (-0.245, 0.8), (-0.105, 0.53), (-0.12, 0.46),
    ),
    "kimono": (
        (-0.1, 0.41), (0.1, 0.41), (0.135, 0.46), (0.135, 0.6), (0.165, 0.92),
        (-0.165, 0.92), (-0.135, 0.6), (-0.135, 0.46),
    ),
    "shirt": _TORSO,
    "hoodie": (
        (-0.11, 0.4), (0.11, 0.4), (0.16, 0.46), (0.16, 0.64), (-0.16, 0.64), (-0.16, 0.46),
    ),
    "skirt": ((-0.115, 0.56), (0.115, 0.56), (0.215, 0.75), (-0.215, 0.75)),
    "pants": ((-0.115, 0.56), (0.115, 0.56), (0.125, 0.72), (-0.125, 0.72)),
    "shorts": ((-0.125, 0.62), (0.125, 0.62), (0.15, 0.77), (0.01, 0.77), (0.0, 0.73), (-0.01, 0.77), (-0.15, 0.77)),
}  # fmt: skip
_SLEEVE_WIDTH = {"kimono": 0.135, "hoodie": 0.105}


def band_color(garment: Garment) -> RGB:
    """The colour of a garment where it is drawn as a band."""
    return CLOTH_COLORS[garment.color]


def paint_clothes(painter: Painter, figure: Figure) -> None:
    """All garments, the lower first, then what marks their kind."""
    for garment in reversed(figure.outfit):
        shape = _SHAPES[garment.kind]
        first, second = CLOTH_COLORS[garment.color], CLOTH_COLORS[garment.second]
        if figure.view == "from side":
            shape = tuple((x * 0.8, y) for x, y in shape)
        if garment.pattern:
            painter.patterned(shape, garment.pattern, first, second)
        else:
            painter.polygon(shape, first)
    upper = figure.outfit[0]
    if upper.kind == "kimono":
        painter.polygon([(-0.135, 0.53), (0.135, 0.53), (0.135, 0.61), (-0.135, 0.61)], (250, 246, 236))
        if figure.view != "from behind":
            painter.limb([(-0.06, 0.42), (0.03, 0.53)], 0.03, (250, 246, 236))
    if upper.kind == "hoodie":
        painter.limb([(-0.1, 0.42), (0.1, 0.42)], 0.06, CLOTH_COLORS[upper.color])
        painter.polygon([(-0.09, 0.53), (0.09, 0.53), (0.11, 0.61), (-0.11, 0.61)], CLOTH_COLORS[upper.color])
    if figure.extra == "sash":
        painter.polygon([(-0.13, 0.42), (-0.06, 0.41), (0.135, 0.6), (0.12, 0.68)], (252, 186, 30))


def paint_arms(painter: Painter, figure: Figure, *, raised: bool) -> None:
    """The arms that hang (`raised` false, behind the head) or those that are lifted (in front of it)."""
    upper = figure.outfit[0]
    width = _SLEEVE_WIDTH.get(upper.kind, 0.07)
    for turn in (-1, 1):
        joints, up = _arm(figure, turn)
        if up != raised:
            continue
        sleeve = CLOTH_COLORS[upper.color]
        if figure.extra == "mismatched sleeves":
            sleeve = CLOTH_COLORS["white"] if turn < 0 else (40, 196, 190)
        painter.limb([*joints[:-1], joints[-1]], 0.065, SKIN)
        if figure.extra == "mismatched sleeves":
            width = 0.1
        elbow = joints[-2] if len(joints) > 2 else _between(joints[0], joints[1], 0.62)
        painter.limb([joints[0], elbow], width, sleeve)
        if upper.pattern and figure.extra != "mismatched sleeves":
            # A sleeve of one colour would say that the garment has no pattern.
            painter.patterned(_band(joints[0], elbow, width), upper.pattern, sleeve, CLOTH_COLORS[upper.second])


def paint_half_cape(painter: Painter, figure: Figure) -> None:
    """A cape over one shoulder: the asymmetry is the trait."""
    narrow = 0.8 if figure.view == "from side" else 1.0
    shape = ((0.0, 0.4), (0.14, 0.4), (0.26, 0.72), (0.12, 0.76), (0.05, 0.66))
    painter.polygon([(x * narrow, y) for x, y in shape], (116, 36, 62))


def _arm(figure: Figure, turn: int) -> tuple[list[Point], bool]:
    """Joints from shoulder to hand, and whether the hand is above the shoulder."""
    x = 0.115
    pose = figure.pose
    if figure.view == "from side":
        x, turn = 0.02, -1 if turn < 0 else 1
    lifted = pose == "arms up" or (pose == "waving" and turn > 0)
    if lifted:
        return [(x * turn, 0.45), (0.235 * turn, 0.38), (0.275 * turn, 0.17)], True
    if pose == "hands on hips":
        return [(x * turn, 0.45), (0.25 * turn, 0.53), (0.12 * turn, 0.6)], False
    return [(x * turn, 0.45), (0.19 * turn, 0.65)], False


def _band(a: Point, b: Point, width: float) -> tuple[Point, ...]:
    """The rectangle around the line from `a` to `b`."""
    length = math.dist(a, b)
    x, y = (b[1] - a[1]) / length * width / 2, (a[0] - b[0]) / length * width / 2
    return ((a[0] + x, a[1] + y), (b[0] + x, b[1] + y), (b[0] - x, b[1] - y), (a[0] - x, a[1] - y))


def _between(a: Point, b: Point, share: float) -> Point:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share)
