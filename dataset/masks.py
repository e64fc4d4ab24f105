"""Which pixels of a picture are its figures: by transparency, by a plain background, or by a mask that is given."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from .tags import tag_key

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Labels = np.ndarray[Any, np.dtype[np.int64]]

WORK_SIDE = 320
"""The picture of one figure is looked at with its longer side at this many pixels."""
NOT_PLAIN = "its background is not plain"
NO_FIGURE = "no figure stands out from its background"
_COLOR_STEP = 26.0
"""A pixel this far (of 255, in any channel) from the background belongs to the figure."""
_FINE_STEP = 9.0
"""The least such difference that a fine look goes by, where the background is clean."""
_FRAME_SHARE = 0.1
"""A figure covers no more than this share of the frame's upper part; scenery does."""
_WHITE_SHARE = 0.45
"""The same on white paper, which scenery seldom leaves at the frame: hair and arms of a close view may reach it."""
_WHITE = 232.0
_PAPER_SHARE, _CLOSE_PAPER_SHARE = 0.3, 0.12
"""The least share of the border that the background has, and on known or white paper, where a close view covers it."""
_PLAIN_TAGS = frozenset(
    f"{word} background"
    for word in (
        "simple", "plain", "white", "grey", "gray", "black", "red", "orange", "yellow", "green", "blue", "aqua",
        "purple", "pink", "brown", "beige", "light blue", "light brown", "gradient", "two-tone", "transparent",
    )
)  # fmt: skip


def says_plain(tags: tuple[str, ...]) -> bool:
    """Whether tags say that the background is plain, such as `white background`."""
    return any(tag_key(tag) in _PLAIN_TAGS for tag in tags)


def figure_mask(
    image: Image.Image,
    alpha: Image.Image | None = None,
    given: Image.Image | None = None,
    *,
    plain: bool = False,
    fine: bool = False,
    side: int = WORK_SIDE,
) -> Mask | str:
    """The pixels of all figures of an RGB picture scaled to `side` pixels at the longer side, or why there are none.

    A `given` mask (mode L, 255 is figure) counts before `alpha` (mode L) with transparent parts, and that before a
    plain or evenly shaded colour around the border. `plain` says that the background is known to be of that kind:
    what reaches the frame is then no scenery. A `fine` look takes pale colours on a clean paper for figure too.
    """
    scale = min(1.0, side / max(image.size))
    size = max(8, round(image.width * scale)), max(8, round(image.height * scale))
    mask: Mask | None = None
    if given is not None:
        mask = np.asarray(given.convert("L").resize(size, Image.Resampling.BOX)) >= 128
    elif alpha is not None:
        mask = _alpha_mask(alpha, size)
    if mask is None:
        mask = _color_mask(np.asarray(image.resize(size, Image.Resampling.BOX), dtype=np.float64), plain, fine)
    return NOT_PLAIN if mask is None else _cleaned(mask)


def _alpha_mask(alpha: Image.Image, size: tuple[int, int]) -> Mask | None:
    """Opaque pixels, or None when hardly anything is transparent."""
    solid = np.asarray(alpha.resize(size, Image.Resampling.BOX)) >= 128
    return solid if solid.mean() < 0.97 else None


def _color_mask(pixels: Floats, plain: bool, fine: bool) -> Mask | None:
    """Pixels unlike the background, or None when the border shows no background of one (evenly shaded) colour."""
    height, width = pixels.shape[:2]
    ys, xs = np.mgrid[0:height, 0:width]
    frame = max(1, round(0.012 * max(height, width)))
    border = (xs < frame) | (xs >= width - frame) | (ys < frame) | (ys >= height - frame)
    terms = np.stack([np.ones_like(xs), xs / width, ys / height], axis=-1).astype(np.float64)
    paper, least = np.median(pixels[border], axis=0), _PAPER_SHARE
    if _like_paper(pixels, border, paper).sum() < least * border.sum():
        # A close view fills most of the frame; its upper corners are what is left of the paper.
        corner = max(2, round(0.06 * max(height, width)))
        corners = np.concatenate([pixels[:corner, :corner].reshape(-1, 3), pixels[:corner, -corner:].reshape(-1, 3)])
        paper, least = np.median(corners, axis=0), _CLOSE_PAPER_SHARE
        if not plain and paper.min() < _WHITE:
            return None
    # Straight shading is fitted to the border; what does not fit (a figure cut by the frame) is left out in turn.
    inside = _like_paper(pixels, border, paper)
    for _ in range(3):
        if inside.sum() < least * border.sum():
            return None
        fit, *_ = np.linalg.lstsq(terms[inside], pixels[inside], rcond=None)
        away = np.abs(pixels - terms @ fit).max(axis=-1)
        inside = border & (away < _COLOR_STEP)
    if not inside.any():
        return None
    # Clean paper differs from its colour by nothing, a scan or a JPEG by some: what differs by more is drawn.
    noise = float(np.quantile(away[inside], 0.98))
    figure: Mask = away >= (min(_COLOR_STEP, max(_FINE_STEP, 4 * noise)) if fine else _COLOR_STEP)
    if plain:
        return figure
    corners = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]) @ fit
    return None if _is_scenery(figure, white=bool(corners.min() >= _WHITE)) else figure


def _like_paper(pixels: Floats, border: Mask, paper: Floats) -> Mask:
    """Pixels of the border that may be paper of this colour, unevenly lit."""
    found: Mask = border & (np.abs(pixels - paper).max(axis=-1) < 3 * _COLOR_STEP)
    return found


def _is_scenery(figure: Mask, *, white: bool) -> bool:
    """Whether what is unlike the background reaches the frame where one figure does not.

    A figure may be cut off below, a raised hand or a wisp of hair above; trees and walls fill the frame's sides, a
    floor both lower corners. On white paper close views are common, whose hair and arms the frame cuts.
    """
    knee = round(0.7 * len(figure))
    upper = np.concatenate([figure[0], figure[:knee, 0], figure[:knee, -1]])
    if white:
        return bool(upper.mean() > _WHITE_SHARE)
    return bool(upper.mean() > _FRAME_SHARE or min(figure[knee:, 0].mean(), figure[knee:, -1].mean()) > 0.5)


def _cleaned(mask: Mask) -> Mask:
    """Without specks and single-pixel lines."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    opened = image.filter(ImageFilter.MaxFilter(3)).filter(ImageFilter.MedianFilter(3)).filter(ImageFilter.MinFilter(3))
    return np.asarray(opened) > 127


def depth_of(mask: Mask) -> Floats:
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


def outside(mask: Mask) -> Mask:
    """What is no figure and joins the frame: holes inside a figure are not part of it."""
    labels, _ = label_parts(~mask)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    found: Mask = np.isin(labels, edge[edge > 0])
    return found


def label_parts(mask: Mask) -> tuple[Labels, Labels]:
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
