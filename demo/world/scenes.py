"""Backgrounds: each fills the whole picture and differs from the others in its large areas."""

from __future__ import annotations

from .painter import Painter
from .vocabulary import RGB

_PLAIN: dict[str, RGB] = {
    "white background": (255, 255, 255),
    "blue background": (120, 176, 244),
    "pink background": (250, 176, 206),
}


def paint_scene(painter: Painter, background: str) -> None:
    """Paint `background` over the whole picture, in picture units (0 to 1 both ways)."""
    painter.place(unit=painter.side, origin=(0.0, 0.0))
    if background in _PLAIN:
        return _fill(painter, 0, 1, _PLAIN[background])
    return {"forest": _forest, "beach": _beach, "night sky": _night, "indoors": _indoors}[background](painter)


def _fill(painter: Painter, top: float, bottom: float, color: RGB) -> None:
    painter.polygon([(-0.1, top), (1.1, top), (1.1, bottom + 0.1), (-0.1, bottom + 0.1)], color, inked=False)


def _forest(painter: Painter) -> None:
    _fill(painter, 0, 1, (188, 226, 196))
    shift = painter.rng.uniform(-0.05, 0.05)
    for x in (0.08, 0.36, 0.64, 0.92):
        painter.polygon(
            [
                (x + shift - 0.035, 0),
                (x + shift + 0.035, 0),
                (x + shift + 0.035, 0.8),
                (x + shift - 0.035, 0.8),
            ],
            (122, 84, 56),
            inked=False,
        )
    for x in (-0.05, 0.22, 0.5, 0.78, 1.05):
        painter.ellipse((x + shift, 0.02), (0.2, 0.17), (44, 120, 60), inked=False)
    _fill(painter, 0.76, 1, (92, 160, 72))


def _beach(painter: Painter) -> None:
    _fill(painter, 0, 0.45, (150, 214, 250))
    _fill(painter, 0.42, 0.66, (34, 122, 204))
    _fill(painter, 0.66, 1, (244, 222, 160))
    painter.ellipse((painter.rng.choice((0.16, 0.84)), 0.14), (0.09, 0.09), (255, 214, 64), inked=False)


def _night(painter: Painter) -> None:
    _fill(painter, 0, 1, (24, 26, 74))
    _fill(painter, 0.84, 1, (40, 48, 62))
    side = painter.rng.choice((0.17, 0.83))
    painter.ellipse((side, 0.16), (0.1, 0.1), (250, 240, 190), inked=False)
    for x, y in ((0.4, 0.08), (0.06, 0.42), (0.93, 0.4), (0.3, 0.3), (0.7, 0.26), (0.1, 0.68), (0.9, 0.66)):
        painter.ellipse((x, y), (0.016, 0.016), (255, 255, 240), inked=False)


def _indoors(painter: Painter) -> None:
    _fill(painter, 0, 1, (236, 214, 180))
    _fill(painter, 0.76, 1, (150, 104, 70))
    x = painter.rng.choice((0.02, 0.7))
    painter.polygon([(x, 0.1), (x + 0.28, 0.1), (x + 0.28, 0.5), (x, 0.5)], (255, 255, 255), inked=False)
    painter.polygon(
        [(x + 0.03, 0.13), (x + 0.25, 0.13), (x + 0.25, 0.47), (x + 0.03, 0.47)], (160, 216, 250), inked=False
    )
