"""Where the figure is in a picture with a plain background, and where her head ends; no model needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .masks import NO_FIGURE, Floats, Labels, Mask, depth_of, figure_mask, label_parts
from .values import Box, Size

MORE_FIGURES = "it shows more than one figure; split it first"
_HEAD_ROWS = 120
"""The head is searched with the figure at this many pixels of height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure, in pixels of the picture. `head` reaches from the top of the hair to the chin.

    `rows` are the left and right ends of the figure in each row of `box`; `cut` says that the frame's lower edge
    cuts her off; `share` is how much of the picture she covers. What only detectors know: `face`, `eyes` (both of
    them), `half` (the upper body), and `sure`: the head is a detector's and no guess from the outline.
    """

    box: Box
    head: Box
    rows: tuple[tuple[int, int], ...]
    cut: bool
    share: float
    face: Box | None = None
    eyes: Box | None = None
    half: Box | None = None
    sure: bool = False

    def across(self, top: int, bottom: int) -> tuple[int, int]:
        """Left and right end, in pixels, of what the figure covers between two rows of the picture."""
        ends = self.rows[max(0, top - self.box.top) : max(1, bottom - self.box.top)] or self.rows
        return min(left for left, _ in ends), max(right for _, right in ends)


def find_figure(
    image: Image.Image,
    alpha: Image.Image | None = None,
    given: Image.Image | None = None,
    *,
    plain: bool = False,
) -> Figure | str:
    """The one figure in an RGB picture, or in words why there is none to find.

    `alpha`, `given` and `plain` say what is background: see `masks.figure_mask`.
    """
    mask = figure_mask(image, alpha, given, plain=plain)
    return mask if isinstance(mask, str) else one_figure(mask, image.size)


def one_figure(mask: Mask, size: Size) -> Figure | str:
    """The one figure of a mask, in pixels of a picture of `size`, or in words why there is none."""
    found = _one_component(mask)
    if isinstance(found, str):
        return found
    share = float(found.mean())
    if not 0.02 <= share <= 0.92:
        return NO_FIGURE
    return measure_figure(found, size)


def mask_box(mask: Mask, size: Size) -> Box:
    """The box around the pixels of a mask (not empty), in pixels of a picture of `size`."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x_scale, y_scale = size[0] / mask.shape[1], size[1] / mask.shape[0]
    left, top = round(int(columns[0]) * x_scale), round(int(rows[0]) * y_scale)
    return Box(
        left=left,
        top=top,
        right=min(size[0], max(left + 1, round(int(columns[-1] + 1) * x_scale))),
        bottom=min(size[1], max(top + 1, round(int(rows[-1] + 1) * y_scale))),
    )


def measure_figure(mask: Mask, size: Size) -> Figure:
    """The figure whose pixels are those of a mask (not empty), in pixels of a picture of `size`."""
    x_scale, y_scale = size[0] / mask.shape[1], size[1] / mask.shape[0]
    rows = np.flatnonzero(mask.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    spans = _spans(mask[top:bottom])
    left, right = int(spans[:, 0].min()), int(spans[:, 1].max())
    head = _head(mask[top:bottom])

    def scaled(x0: int, y0: int, x1: int, y1: int) -> Box:
        x0, x1 = round(x0 * x_scale), min(size[0], max(round(x0 * x_scale) + 1, round(x1 * x_scale)))
        y0, y1 = round(y0 * y_scale), min(size[1], max(round(y0 * y_scale) + 1, round(y1 * y_scale)))
        return Box(left=x0, top=y0, right=x1, bottom=y1)

    box = scaled(left, top, right, bottom)
    source = np.clip(((np.arange(box.height) + 0.5) / y_scale).astype(int), 0, len(spans) - 1)
    ends = tuple((round(spans[i, 0] * x_scale), min(size[0], round(spans[i, 1] * x_scale))) for i in source)
    return Figure(
        box=box,
        head=scaled(head[0], top + head[1], head[2], top + head[3]),
        rows=ends,
        cut=bottom >= mask.shape[0] - 1,
        share=float(mask.mean()),
    )


def _head(body: Mask) -> tuple[int, int, int, int]:
    """(left, top, right, chin) of the head, in columns and rows of a figure's mask.

    The largest circle that fits into the figure grows as its centre moves down from the crown, until it touches the
    sides of the head: there it is the skull, whatever hangs beside it (tails, arms and bows are too thin to count).
    A neck, where the figure narrows near the circle's lower end, then gives the exact row of the chin.
    """
    scale = min(1.0, _HEAD_ROWS / len(body))
    x, y, radius = _skull(_resized(body, scale))
    middle, size = round(x / scale), 2 * radius / scale
    top = max(0, round((y - radius) / scale))
    chin = min(max(_neck(body, middle, round(top + size)), top + 2), len(body))
    left, right = max(0, round(middle - size / 2)), min(body.shape[1], round(middle + size / 2))
    columns = body[:chin, left : max(left + 1, right)].any(axis=1)
    return left, int(np.argmax(columns)) if columns.any() else top, max(left + 1, right), chin


def _skull(body: Mask) -> tuple[float, float, float]:
    """(x, y, radius) of the first circle from the top that the figure's sides hold, in pixels of a small mask."""
    height = len(body)
    depth = depth_of(body)
    axis = float(np.median(np.nonzero(body)[1]))
    reach = max(2.0, 0.09 * height)
    near = np.abs(np.arange(body.shape[1]) + 0.5 - axis) <= reach
    inner = np.where(near[None, :], depth, 0.0)
    radii = inner.max(axis=1)
    ahead = max(2, round(0.03 * height))
    for y in range(round(0.04 * height), round(0.6 * height)):
        if radii[y] >= 0.045 * height and radii[min(y + ahead, height - 1)] - radii[y] < 0.4 * ahead:
            best = y + int(np.argmax(radii[y : y + ahead + 1]))
            columns = np.flatnonzero(inner[best] >= radii[best] - 0.5)
            return float(columns.mean()) + 0.5, best + 0.5, float(radii[best])
    return axis, 0.2 * height, 0.2 * height


def _neck(body: Mask, middle: int, guess: int) -> int:
    """The row of the neck near `guess`, or `guess` when the figure does not narrow there (long hair hides it)."""
    runs = np.array([_run_at(row, middle) for row in body])
    widths = _smoothed((runs[:, 1] - runs[:, 0]).astype(np.float64))
    low, high = round(guess * 0.85), min(len(widths) - 1, round(guess * 1.2))
    if high - low < 3:
        return guess
    row = low + int(np.argmin(widths[low:high]))
    above = float(widths[: row + 1].max())
    below = float(widths[row : min(len(widths), row + max(3, guess // 2))].max())
    narrow = widths[row] <= 0.78 * above and widths[row] <= 0.88 * below
    return row if narrow and low < row < high - 1 else guess


def _resized(mask: Mask, scale: float) -> Mask:
    size = max(4, round(mask.shape[1] * scale)), max(4, round(mask.shape[0] * scale))
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)
    return np.asarray(small) >= 128


def _run_at(row: Mask, middle: int) -> tuple[int, int]:
    """(start, end) of the pixels in a row that belong together around `middle`, or of those nearest to it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return middle, middle
    away = np.maximum(np.maximum(starts - middle, middle - ends + 1), 0)
    nearest = int(np.argmin(away))
    return int(starts[nearest]), int(ends[nearest])


def _spans(body: Mask) -> Labels:
    """(left, right) of the figure in each row; rows without pixels take those of the row above."""
    spans = np.zeros((len(body), 2), dtype=np.int64)
    for i, row in enumerate(body):
        columns = np.flatnonzero(row)
        spans[i] = (columns[0], columns[-1] + 1) if len(columns) else spans[max(0, i - 1)]
    return spans


def _smoothed(values: Floats) -> Floats:
    width = max(1, len(values) // 60) * 2 + 1
    padded = np.pad(values, width // 2, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _one_component(mask: Mask) -> Mask | str:
    """The largest connected part with its satellites (a halo, a thrown hat), or why there is no single figure."""
    labels, areas = label_parts(mask)
    if not len(areas):
        return NO_FIGURE
    main = int(np.argmax(areas))
    columns = np.flatnonzero((labels == main + 1).any(axis=0))
    for other in np.flatnonzero(areas >= 0.4 * areas[main]):
        theirs = np.flatnonzero((labels == other + 1).any(axis=0))
        if other != main and (theirs[0] > columns[-1] or theirs[-1] < columns[0]):
            return MORE_FIGURES
    # A moon beside her is no part of her, a halo above her is.
    near = np.unique(labels[:, columns[0] : columns[-1] + 1])
    return np.isin(labels, [label for label in near if label and areas[label - 1] >= 0.01 * areas[main]])
