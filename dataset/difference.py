"""Colours as people see them, and how far apart two of them are.

sRGB to CIELAB after IEC 61966-2-1 and CIE 15 (D65 white). The difference is CIEDE2000 in the form of Sharma, Wu and
Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary test data, and mathematical
observations" (Color Research and Application 30(1), 2005).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from .masks import Floats

_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])
_FAR_CHROMA = 25.0**7


def to_lab(image: Image.Image | np.ndarray[Any, Any]) -> Floats:
    """An RGB picture, or an array [..., 3] of 0 to 255, as L*, a*, b* [..., 3]."""
    coded = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image, dtype=np.float64) / 255.0
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    bent = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = bent[..., 0], bent[..., 1], bent[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(one: Floats, other: Floats) -> Floats:
    """The difference of two arrays of colours, L*a*b* [..., 3] each: about 1 is just seen, 10 is another colour."""
    l1, a1, b1 = (one[..., i] for i in range(3))
    l2, a2, b2 = (other[..., i] for i in range(3))
    stretch = 1 + 0.5 * (1 - _chroma_share((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    grey = c1 * c2 == 0
    turn = h2 - h1
    turn = np.where(grey, 0.0, turn - 360 * np.sign(turn) * (np.abs(turn) > 180))
    lightness, chroma = l2 - l1, c2 - c1
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    middle_l, middle_c = (l1 + l2) / 2, (c1 + c2) / 2
    both = h1 + h2
    around = np.where(both < 360, both + 360, both - 360)
    middle_h = np.where(grey, both, np.where(np.abs(h1 - h2) > 180, around, both) / 2)
    weight = (
        1
        - 0.17 * _cos(middle_h - 30)
        + 0.24 * _cos(2 * middle_h)
        + 0.32 * _cos(3 * middle_h + 6)
        - 0.20 * _cos(4 * middle_h - 63)
    )
    away = (middle_l - 50) ** 2
    lightness = lightness / (1 + 0.015 * away / np.sqrt(20 + away))
    chroma = chroma / (1 + 0.045 * middle_c)
    hue = hue / (1 + 0.015 * middle_c * weight)
    blue = 30 * np.exp(-(((middle_h - 275) / 25) ** 2))
    turned = -2 * _chroma_share(middle_c) * np.sin(np.radians(2 * blue))
    squared: Floats = lightness**2 + chroma**2 + hue**2 + turned * chroma * hue
    # Rounding may leave equal colours a hair below zero.
    return np.sqrt(np.maximum(squared, 0.0))


def _chroma_share(chroma: Floats) -> Floats:
    """0 for greys, near 1 for colours of high chroma."""
    power = chroma**7
    found: Floats = np.sqrt(power / (power + _FAR_CHROMA))
    return found


def _cos(degrees: Floats) -> Floats:
    found: Floats = np.cos(np.radians(degrees))
    return found
