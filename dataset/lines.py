"""The lines of a picture: as line art for a ControlNet, and as edges to compare two pictures by."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter

from .masks import Floats, Mask

_EDGE_SIDE = 384
"""Edges are compared with the picture's longer side at this many pixels."""
_EDGE_SIGMA = 1.2
_EDGE_SHARE, _EDGE_LEAST = 0.12, 6.0
"""An edge is this share of the strongest edges (their 99th percentile), and at least so many of 255 a pixel."""
_REACH = 0.0075
"""Edges within this share of the diagonal are the same edge: Martin, Fowlkes and Malik, "Learning to detect natural
image boundaries using local brightness, color, and texture cues" (PAMI 2004)."""
_SURROUND = 2.0
_WEBER = 0.1


def line_art(image: Image.Image, *, width: float = 1.0, threshold: float = 0.03) -> Image.Image:
    """White lines on black (mode L), as line-art ControlNets are trained on, from an RGB picture of the same size.

    A pixel belongs to a line as far as it is darker than what surrounds it: the difference of two Gaussians, as a
    share of the surroundings' brightness (Weber contrast), the strongest of the three channels. `width` scales the
    Gaussians (1 suits lines of about two pixels at 1024 pixels), `threshold` is the least contrast that draws.
    """
    channels = np.asarray(image.convert("RGB"), dtype=np.float64) / 255.0
    sigma = max(0.5, width * max(image.size) / 1024)
    surround = blurred(channels, _SURROUND * sigma)
    contrast = ((surround - blurred(channels, sigma / 2)) / (surround + _WEBER)).max(axis=-1)
    drawn = np.clip((contrast - threshold) / max(2 * threshold, 1e-6), 0.0, 1.0)
    # A smooth ramp instead of a cut, so that lines have no stairs.
    soft = drawn * drawn * (3 - 2 * drawn)
    return Image.fromarray((soft * 255).round().astype(np.uint8))


def edge_agreement(source: Image.Image, other: Image.Image, within: Mask | None = None) -> float:
    """How far two RGB pictures of one shape have the same edges: the F measure of finding one's among the other's.

    1: every edge has its counterpart; 0: none. `within` (of any size) says where edges count. Two pictures without
    any edge agree.
    """
    scale = min(1.0, _EDGE_SIDE / max(source.size))
    size = max(8, round(source.width * scale)), max(8, round(source.height * scale))
    ours, theirs = (edges(image.resize(size, Image.Resampling.BOX)) for image in (source, other))
    if within is not None:
        counted = Image.fromarray(within.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
        ours, theirs = (found & (np.asarray(counted) > 127) for found in (ours, theirs))
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    reach = max(1, round(_REACH * math.hypot(*size)))
    recall = (ours & grown(theirs, reach)).sum() / ours.sum()
    precision = (theirs & grown(ours, reach)).sum() / theirs.sum()
    return float(2 * recall * precision / max(recall + precision, 1e-9))


def edges(image: Image.Image) -> Mask:
    """The edges of an RGB picture, one pixel thin: where some channel changes the most across its own direction.

    The steps of Canny, "A computational approach to edge detection" (PAMI 1986), without its hysteresis.
    """
    planes = blurred(np.asarray(image.convert("RGB"), dtype=np.float64), _EDGE_SIGMA)
    down, across = np.gradient(planes, axis=(0, 1))
    strength_C = np.hypot(down, across)
    best = strength_C.argmax(axis=-1)[..., None]
    strength, dy, dx = (np.take_along_axis(a, best, axis=-1)[..., 0] for a in (strength_C, down, across))
    least = max(_EDGE_LEAST, _EDGE_SHARE * float(np.quantile(strength, 0.99)))
    return (strength >= least) & _is_ridge(strength, dy, dx)


def grown(mask: Mask, reach: int) -> Mask:
    """The mask with every pixel that is `reach` pixels from it at the most, in a square."""
    image = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(2 * reach + 1))
    return np.asarray(image) > 127


def blurred(planes: Floats, sigma: float) -> Floats:
    """[H, W] or [H, W, C] under a Gaussian of `sigma` pixels; beyond the frame its edge goes on."""
    radius = max(1, math.ceil(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        room = [(radius, radius) if i == axis else (0, 0) for i in range(planes.ndim)]
        padded = np.pad(planes, room, mode="edge")
        length = planes.shape[axis]
        taken = (np.take(padded, range(i, i + length), axis=axis) * w for i, w in enumerate(weights))
        planes = sum(taken, np.zeros_like(planes))
    return planes


def _is_ridge(strength: Floats, dy: Floats, dx: Floats) -> Mask:
    """Pixels that are no weaker than both neighbours in the direction (of four) in which the picture changes."""
    height, width = strength.shape
    padded = np.pad(strength, 1)

    def moved(y: int, x: int) -> Floats:
        return padded[1 + y : 1 + y + height, 1 + x : 1 + x + width]

    sector = (np.round(np.arctan2(dy, dx) / (np.pi / 4)).astype(int)) % 4
    found = np.zeros(strength.shape, dtype=bool)
    for number, (y, x) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        # The one side strictly: of two equal neighbours one stays.
        found |= (sector == number) & (strength >= moved(y, x)) & (strength > moved(-y, -x))
    return found
