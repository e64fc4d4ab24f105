"""The truth about a painted picture, without a tagger: which drawing is it nearest to?

For every trait the scene is drawn with her value and with each other one, in several placements; where the drawings
differ, the picture is compared with them. A trait is there when the nearest drawing has it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from .shots import Shot
from .world import vocabulary as words
from .world.draw import draw
from .world.figure import Figure, Garment

Pixels = npt.NDArray[np.int16]

PLACEMENTS = 6
_SIDE = 64
_DIFFERS = 12
"""Of 255: drawings of a trait's values differ where any of them is this far from hers."""


def true_traits(shot: Shot, pictures: Sequence[Image.Image]) -> list[set[str]]:
    """The wanted traits that each picture of the shot shows. ValueError for a shot without a figure."""
    if shot.figure is None:
        raise ValueError(f"the shot {shot.prompt!r} has no figure, so nobody knows what it should show")
    seen = [_pixels(picture) for picture in pictures]
    seeds = [zlib.crc32(f"{shot.seed} {number}".encode()) for number in range(PLACEMENTS)]
    found: list[set[str]] = [set() for _ in pictures]
    for tag in shot.wanted:
        others = rivals(shot.figure, tag)
        drawn = np.stack([_drawn(shot.figure, others, seed) for seed in seeds])
        for picture, tags in zip(seen, found, strict=True):
            if others and _nearest(picture, drawn) == 0:
                tags.add(tag)
    return found


def rivals(figure: Figure, tag: str) -> list[Figure]:
    """The figure with every other value of the trait that the tag names; none for a tag of another kind."""
    if tag == f"{figure.hair_color} hair":
        colors = (*words.HAIR_COLORS, *words.STRANGE_HAIR_COLORS)
        return [replace(figure, hair_color=color) for color in colors if color != figure.hair_color]
    if tag == figure.hair_style:
        return [replace(figure, hair_style=style) for style in words.HAIR_STYLES if style != figure.hair_style]
    if tag == f"{figure.eye_color} eyes":
        return [replace(figure, eye_color=color) for color in words.EYE_COLORS if color != figure.eye_color]
    if tag == figure.extra:
        return [replace(figure, extra=extra) for extra in ("", *words.STRANGE_EXTRAS) if extra != figure.extra]
    for place, garment in enumerate(figure.outfit):
        if tag == garment.tag:
            return [
                replace(figure, outfit=(*figure.outfit[:place], other, *figure.outfit[place + 1 :]))
                for other in _garments(garment)
            ]
    return []


def _garments(garment: Garment) -> list[Garment]:
    """The same piece in every plain colour and every other pattern."""
    plain = [replace(garment, color=color, pattern="") for color in words.CLOTH_COLORS]
    patterned = [replace(garment, pattern=pattern) for pattern in words.STRANGE_PATTERNS if pattern != garment.pattern]
    return [other for other in (*plain, *patterned) if other != garment]


def _drawn(figure: Figure, others: Sequence[Figure], seed: int) -> Pixels:
    """[1 + others, side, side, 3]: hers first, all placed alike."""
    return np.stack([_pixels(draw(replace(one, seed=seed)).image) for one in (figure, *others)])


def _nearest(picture: Pixels, drawn: Pixels) -> int:
    """Which of the drawings [placements, values, side, side, 3] the picture is nearest to, in its best placement."""
    differs = (np.abs(drawn - drawn[:, :1]).max(axis=(1, 4)) > _DIFFERS)[:, None, :, :, None]
    apart = np.abs(drawn - picture[None, None]) * differs
    counts = np.maximum(differs.sum(axis=(2, 3, 4)), 1)
    return int((apart.sum(axis=(2, 3, 4)) / counts).min(axis=0).argmin())


def _pixels(picture: Image.Image) -> Pixels:
    small = picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.int16)
