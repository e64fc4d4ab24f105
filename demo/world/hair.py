"""Hair: what falls behind the body, and what lies over the face."""

from __future__ import annotations

from .figure import Figure
from .painter import Painter, arc, mix
from .vocabulary import RGB


def paint_back(painter: Painter, figure: Figure, color: RGB) -> None:
    """Locks that hang behind the body, or over it when the figure is seen from behind."""
    shade = mix(color, (30, 20, 40), 0.14)
    style, view = figure.hair_style, figure.view
    if style == "long hair":
        x = 0.05 if view == "from side" else 0.0
        painter.polygon(
            [
                *arc((x, 0.21), (0.215, 0.2), 180, 360),
                (x + 0.25, 0.7),
                (x + 0.12, 0.74),
                (x - 0.1, 0.74),
                (x - 0.24, 0.7),
            ],
            shade,
        )
    elif style == "twintails":
        for turn in (-1, 1):
            painter.polygon(
                [
                    (0.15 * turn, 0.1),
                    (0.3 * turn, 0.1),
                    (0.37 * turn, 0.36),
                    (0.31 * turn, 0.62),
                    (0.22 * turn, 0.4),
                ],
                shade,
            )
    elif style == "ponytail":
        x = 0.0 if view == "from behind" else 0.13
        painter.polygon([(x - 0.02, 0.06), (x + 0.15, 0.05), (x + 0.24, 0.3), (x + 0.17, 0.62), (x + 0.05, 0.4)], shade)
    elif style == "double bun":
        for turn in (-1, 1):
            painter.ellipse((0.15 * turn, 0.055), (0.085, 0.085), shade)
    if style in ("short hair", "double bun") and view != "from behind":
        painter.ellipse((0.0, 0.24), (0.215, 0.2), shade)


def paint_front(painter: Painter, figure: Figure, color: RGB) -> None:
    """The hair on the head: the whole head from behind, the crown and bangs otherwise."""
    if figure.view == "from behind":
        painter.ellipse((0.0, 0.22), (0.205, 0.2), color)
        return
    if figure.view == "from side":
        crown = arc((0.015, 0.21), (0.205, 0.2), 188, 450)
        painter.polygon([*crown, (0.03, 0.36), (0.02, 0.17), (-0.06, 0.19), (-0.12, 0.15)], color)
        return
    crown = arc((0.0, 0.21), (0.205, 0.2), 170, 370)
    bangs = [(0.17, 0.3), (0.155, 0.17), (0.1, 0.2), (0.05, 0.155), (0.0, 0.195), (-0.05, 0.155), (-0.1, 0.2)]
    painter.polygon([*crown, *bangs, (-0.155, 0.17), (-0.17, 0.3)], color)
