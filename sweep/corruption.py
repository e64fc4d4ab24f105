"""The corruption floor: a picture that is broken, flat or noise is no candidate, whatever a tagger reads into it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float32]

BROKEN, FLAT, NOISE = "not finite", "flat", "noise"
FLAT_BELOW = 2.5
"""Standard deviation of luminance, of 255, below which a picture shows nothing."""
ROUGH_PIXELS = 0.6
"""Roughness (see `roughness`) by the pixel from which a picture is static."""
ROUGH_SQUARES, RESTLESS = 0.4, 0.2
"""Roughness by squares of a latent's eight pixels, and `unrest`, from which it is a latent that was never denoised.

Of the miniature world: drawn figures have an unrest of 0.04 at the most, decoded noise of 0.31 at the least, at either
of two sizes and scales; textures that fill a picture are restless too, and smooth by the square.
"""
_LATENT = 8
_FEWEST = 8
"""Squares a side below which chance alone makes a picture look rough."""


def flaws(picture: Image.Image, broken: float = 0.0) -> tuple[str, ...]:
    """What is wrong with a picture, of BROKEN, FLAT and NOISE; `broken` is the share of values that were not finite."""
    grey = np.asarray(picture.convert("L"), dtype=np.float32)
    found = [BROKEN] if broken > 0 else []
    if float(grey.std()) < FLAT_BELOW:
        return (*found, FLAT)
    static = roughness(grey) > ROUGH_PIXELS
    squares = _squares(grey)
    coarse = squares.mean(axis=(1, 3))
    blotches = min(coarse.shape) >= _FEWEST and roughness(coarse) > ROUGH_SQUARES and unrest(grey) > RESTLESS
    return (*found, NOISE) if static or blotches else tuple(found)


def roughness(grey: Floats) -> float:
    """One minus the correlation of neighbours, across and down: about 0 for a smooth picture, 1 for white noise."""
    centred = grey - grey.mean()
    power = float((centred**2).mean())
    if power <= 0 or min(grey.shape) < 2:
        return 0.0
    across = float((centred[:, 1:] * centred[:, :-1]).mean())
    down = float((centred[1:] * centred[:-1]).mean())
    return 1.0 - (across + down) / (2 * power)


def unrest(grey: Floats) -> float:
    """How much the calmest quarter of a picture varies: the 25th percentile of its squares' deviations, as a share of
    the whole picture's. Pictures have calm parts, noise has none.
    """
    deviation = float(grey.std())
    squares = _squares(grey)
    if deviation <= 0 or not squares.size:
        return 0.0
    return float(np.percentile(squares.std(axis=(1, 3)), 25)) / deviation


def _squares(grey: Floats) -> Floats:
    """[rows, 8, columns, 8]: squares of a latent's side; what is left at the right and below is left out."""
    high, wide = (length // _LATENT for length in grey.shape)
    return grey[: high * _LATENT, : wide * _LATENT].reshape(high, _LATENT, wide, _LATENT)
