"""Where the figure is in a picture with a plain background, and where her head ends; no model needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from .values import Box

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

WORK_SIDE = 320
"""The picture is looked at with its longer side at this many pixels."""
_COLOR_STEP = 26.0
"""A pixel this far (of 255, in any channel) from the background belongs to the figure."""
_HEAD_ROWS = 120
"""The head is searched with the figure at this many pixels of height."""
_FRAME_SHARE = 0.1
"""A figure covers no more than this share of the frame's upper part; scenery does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure, in pixels of the picture. `head` reaches from the top of the hair to the chin.

    `rows` are the left and right ends of the figure in each row of `box`; `cut` says that the frame's lower edge
    cuts her off; `share` is how much of the picture she covers.
    """

    box: Box
    head: Box
    rows: tuple[tuple[int, int], ...]
    cut: bool
    share: float

    def across(self, top: int, bottom: int) -> tuple[int, int]:
        """Left and right end, in pixels, of what the figure covers between two rows of the picture."""
        ends = self.rows[max(0, top - self.box.top) : max(1, bottom - self.box.top)] or self.rows
        return min(left for left, _ in ends), max(right for _, right in ends)


def find_figure(image: Image.Image, alpha: Image.Image | None = None) -> Figure | str:
    """The one figure in an RGB picture, or in words why there is none to find.

    Where `alpha` (mode L) has transparent parts these are the background; else a plain or evenly shaded colour
    around the border is.
    """
    scale = min(1.0, WORK_SIDE / max(image.size))
    size = max(8, round(image.width * scale)), max(8, round(image.height * scale))
    mask = _alpha_mask(alpha, size) if alpha is not None else None
    if mask is None:
        mask = _color_mask(np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float64))
    if mask is None:
        return "its background is not plain"
    found = _one_component(_cleaned(mask))
    if isinstance(found, str):
        return found
    share = float(found.mean())
    if not 0.02 <= share <= 0.92:
        return "no figure stands out from its background"
    return _measure(found, image.size, share)


def _measure(mask: Mask, size: tuple[int, int], share: float) -> Figure:
    """The figure of a mask, scaled to a picture of `size`."""
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
        share=share,
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
    depth = _depth(body)
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


def _depth(mask: Mask) -> Floats:
    """How far each pixel is from the mask's edge, in pixels: erosion with a cross and a square in turn (an octagon).

    Below the last row the figure is taken to go on.
    """
    depth = np.zeros(mask.shape)
    left = np.pad(mask, ((1, 0), (1, 1)))
    left = np.concatenate([left, left[-1:]])
    steps = 0
    while left[1:-1, 1:-1].any() and steps < max(mask.shape):
        depth += left[1:-1, 1:-1]
        cross = left[:-2, 1:-1] & left[2:, 1:-1] & left[1:-1, :-2] & left[1:-1, 2:] & left[1:-1, 1:-1]
        if steps % 2:
            cross = cross & left[:-2, :-2] & left[:-2, 2:] & left[2:, :-2] & left[2:, 2:]
        left = np.pad(cross, ((1, 0), (1, 1)))
        left = np.concatenate([left, left[-1:]])
        steps += 1
    return depth


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


def _spans(body: Mask) -> np.ndarray[Any, np.dtype[np.int64]]:
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


def _alpha_mask(alpha: Image.Image, size: tuple[int, int]) -> Mask | None:
    """Opaque pixels, or None when hardly anything is transparent."""
    solid = np.asarray(alpha.resize(size, Image.Resampling.BOX)) >= 128
    return solid if solid.mean() < 0.97 else None


def _color_mask(pixels: Floats) -> Mask | None:
    """Pixels unlike the background, or None when the border shows no background of one (evenly shaded) colour."""
    height, width = pixels.shape[:2]
    ys, xs = np.mgrid[0:height, 0:width]
    frame = max(1, round(0.012 * max(height, width)))
    border = (xs < frame) | (xs >= width - frame) | (ys < frame) | (ys >= height - frame)
    terms = np.stack([np.ones_like(xs), xs / width, ys / height], axis=-1).astype(np.float64)
    # Straight shading is fitted to the border; what does not fit (a figure cut by the frame) is left out in turn.
    inside = border & (np.abs(pixels - np.median(pixels[border], axis=0)).max(axis=-1) < 3 * _COLOR_STEP)
    for _ in range(3):
        if inside.sum() < 0.3 * border.sum():
            return None
        fit, *_ = np.linalg.lstsq(terms[inside], pixels[inside], rcond=None)
        away = np.abs(pixels - terms @ fit).max(axis=-1)
        inside = border & (away < _COLOR_STEP)
    figure = away >= _COLOR_STEP
    return None if _is_scenery(figure) else figure


def _is_scenery(figure: Mask) -> bool:
    """Whether what is unlike the background reaches the frame where one figure does not.

    A figure may be cut off below, a raised hand or a wisp of hair above; trees and walls fill the frame's sides, a
    floor both lower corners.
    """
    knee = round(0.7 * len(figure))
    upper = np.concatenate([figure[0], figure[:knee, 0], figure[:knee, -1]])
    return bool(upper.mean() > _FRAME_SHARE or min(figure[knee:, 0].mean(), figure[knee:, -1].mean()) > 0.5)


def _cleaned(mask: Mask) -> Mask:
    """Without specks and single-pixel lines."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    opened = image.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.MedianFilter(3)).filter(ImageFilter.MinFilter(3))
    return np.asarray(opened) > 127


def _one_component(mask: Mask) -> Mask | str:
    """The largest connected part with its satellites (a halo, a thrown hat), or why there is no single figure."""
    labels, areas = label_parts(mask)
    if not len(areas):
        return "no figure stands out from its background"
    main = int(np.argmax(areas))
    columns = np.flatnonzero((labels == main + 1).any(axis=0))
    for other in np.flatnonzero(areas >= 0.4 * areas[main]):
        theirs = np.flatnonzero((labels == other + 1).any(axis=0))
        if other != main and (theirs[0] > columns[-1] or theirs[-1] < columns[0]):
            return "it shows more than one figure; split it first"
    # A moon beside her is no part of her, a halo above her is.
    near = np.unique(labels[:, columns[0] : columns[-1] + 1])
    return np.isin(labels, [label for label in near if label and areas[label - 1] >= 0.01 * areas[main]])


def label_parts(
    mask: Mask,
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Connected parts of a mask (8 neighbours): labels from 1 for each pixel, and the area of each label."""
    parents = [0]
    labels = np.zeros(mask.shape, dtype=np.int64)

    def root(label: int) -> int:
        while parents[label] != label:
            parents[label] = parents[parents[label]]
            label = parents[label]
        return label

    for y, row in enumerate(mask):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            above = labels[y - 1, max(0, start - 1) : end + 1] if y else labels[:0, 0]
            touched = [root(int(label)) for label in np.unique(above) if label]
            if not touched:
                parents.append(len(parents))
                touched = [len(parents) - 1]
            labels[y, start:end] = min(touched)
            for label in touched:
                parents[label] = min(touched)
    roots = np.array([root(label) for label in range(len(parents))])
    names, renumbered = np.unique(roots, return_inverse=True)
    labels = renumbered[labels]
    return labels, np.bincount(labels.ravel(), minlength=len(names))[1:]
