"""A pen that draws shapes in figure units through one drawing style.

Figure units: x is 0 at the figure's middle, y is 0 at the top of the head and 1 at the soles; one unit is
`unit` pixels of the finished picture. Shapes are drawn `OVERSAMPLE` times larger and averaged down.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from PIL import Image, ImageChops, ImageDraw

from .vocabulary import INK, RGB

OVERSAMPLE = 2
Point = tuple[float, float]


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """`a` with `share` (0 to 1) of `b` in it."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


class Painter:
    """Draws on a square picture of `side` pixels; `origin` is where figure point (0, 0) lies, in pixels."""

    def __init__(self, *, side: int, style: str, rng: random.Random) -> None:
        self.side = side
        self.style = style
        self.rng = rng
        self.unit = float(side)
        self.origin: Point = (0.0, 0.0)
        self.canvas = Image.new("RGB", (side * OVERSAMPLE, side * OVERSAMPLE), (255, 255, 255))
        self._pen = ImageDraw.Draw(self.canvas)

    def place(self, *, unit: float, origin: Point) -> None:
        """Set the figure's size and place, both in pixels."""
        self.unit, self.origin = unit, origin

    def tone(self, color: RGB) -> RGB:
        """The colour as this style lays it on."""
        if self.style == "sketch":
            return mix(color, (250, 248, 240), 0.36)
        if self.style == "pastel colors":
            return mix(color, (255, 240, 246), 0.34)
        return color

    @property
    def outline(self) -> tuple[RGB | None, float]:
        """Ink and its width in pixels; pastel drawings have none."""
        if self.style == "pastel colors":
            return None, 0.0
        return (INK, 1.8) if self.style == "sketch" else (mix(INK, (120, 90, 90), 0.25), 1.1)

    def at(self, point: Point) -> Point:
        """Figure units to pixels of the oversampled canvas."""
        x, y = point
        return (
            (self.origin[0] + x * self.unit) * OVERSAMPLE,
            (self.origin[1] + y * self.unit) * OVERSAMPLE,
        )

    def polygon(self, points: Sequence[Point], color: RGB, *, inked: bool = True) -> None:
        """A filled, outlined polygon."""
        corners = [self.at(p) for p in points]
        self._pen.polygon(corners, fill=self.tone(color))
        if inked:
            self._ink([*corners, corners[0]])

    def ellipse(self, center: Point, radii: Point, color: RGB, *, inked: bool = True) -> None:
        """A filled, outlined ellipse."""
        self.polygon(arc(center, radii, 0, 360), color, inked=inked)

    def limb(self, joints: Sequence[Point], width: float, color: RGB) -> None:
        """A round-ended band through `joints`; `width` in figure units."""
        pixels = width * self.unit * OVERSAMPLE
        ink, pen = self.outline
        passes = (
            [(ink, pixels + 2 * pen * OVERSAMPLE), (self.tone(color), pixels)] if ink else [(self.tone(color), pixels)]
        )
        corners = [self.at(p) for p in joints]
        for fill, thickness in passes:
            self._pen.line(corners, fill=fill, width=max(1, round(thickness)), joint="curve")
            for x, y in (corners[0], corners[-1]):
                r = thickness / 2
                self._pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def stroke(self, points: Sequence[Point], width: float, color: RGB) -> None:
        """A bare line; `width` in figure units."""
        pixels = max(1, round(width * self.unit * OVERSAMPLE))
        self._pen.line([self.at(p) for p in points], fill=self.tone(color), width=pixels, joint="curve")

    def patterned(self, points: Sequence[Point], pattern: str, first: RGB, second: RGB) -> None:
        """A polygon filled with a pattern of two colours that is as large as the figure is."""
        corners = [self.at(p) for p in points]
        mask = Image.new("L", self.canvas.size, 0)
        ImageDraw.Draw(mask).polygon(corners, fill=255)
        box = mask.getbbox()
        if box is None:
            return
        cloth = _pattern(pattern, box, self.unit * OVERSAMPLE, self.tone(first), self.tone(second))
        self.canvas.paste(cloth, box[:2], mask.crop(box))
        self._ink([*corners, corners[0]])

    def finish(self) -> Image.Image:
        """The picture at its real size, with the style's last touch."""
        if self.style == "gradient":
            ramp = Image.linear_gradient("L").resize(self.canvas.size)
            shade = ramp.point([round(255 - 100 * i / 255) for i in range(256)])
            self.canvas = ImageChops.multiply(self.canvas, Image.merge("RGB", (shade, shade, _lift(shade))))
        return self.canvas.reduce(OVERSAMPLE)

    def _ink(self, corners: list[Point]) -> None:
        ink, width = self.outline
        if ink is None:
            return
        if self.style == "sketch":
            sway = 0.8 * OVERSAMPLE
            corners = [(x + self.rng.uniform(-sway, sway), y + self.rng.uniform(-sway, sway)) for x, y in corners]
            corners[-1] = corners[0]
        self._pen.line(corners, fill=ink, width=max(1, round(width * OVERSAMPLE)), joint="curve")


def arc(center: Point, radii: Point, start: float, end: float, steps: int = 24) -> list[Point]:
    """Points of an ellipse's arc, degrees clockwise from the right (y points down)."""
    turns = (math.radians(start + (end - start) * i / steps) for i in range(steps + 1))
    return [(center[0] + radii[0] * math.cos(t), center[1] + radii[1] * math.sin(t)) for t in turns]


def _lift(shade: Image.Image) -> Image.Image:
    """Shadows turn blue a little."""
    return shade.point([min(255, round(i * 0.8 + 51)) for i in range(256)])


# A pattern's step in figure units, large enough for a latent's 8 pixels in a picture of the whole figure, and how much
# of its cell a dot fills: dots must not look like another checker.
_CELL = {"checkered": 0.13, "polka dot": 0.1, "striped": 0.08}
_DOT = 0.75


def _pattern(pattern: str, box: tuple[int, int, int, int], unit: float, first: RGB, second: RGB) -> Image.Image:
    width, height = box[2] - box[0], box[3] - box[1]
    cloth = Image.new("RGB", (width, height), first)
    pen = ImageDraw.Draw(cloth)
    cell = max(2, round(unit * _CELL[pattern]))
    for row in range(height // cell + 1):
        y = row * cell
        if pattern == "striped" and row % 2:
            pen.rectangle((0, y, width, y + cell - 1), fill=second)
        for column in range(width // cell + 1):
            x = column * cell
            if pattern == "checkered" and (row + column) % 2:
                pen.rectangle((x, y, x + cell - 1, y + cell - 1), fill=second)
            if pattern == "polka dot" and (row + column) % 2:
                inset = cell * (1 - _DOT) / 2
                pen.ellipse((x + inset, y + inset, x + cell - inset, y + cell - inset), fill=second)
    return cloth
