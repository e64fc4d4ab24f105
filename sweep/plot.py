"""The plot of a run's loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
_PAPER, _FRAME, _RAW, _SMOOTH = (250, 250, 248), (120, 120, 126), (190, 205, 230), (36, 82, 160)


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
