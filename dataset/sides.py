"""Which side the figures of a turnaround show: by the hair on their heads, and by the order that artists use."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .masks import Floats, Mask
from .values import Box

SIDE_TAGS = {"side": "from side", "back": "from behind"}
"""The tag of each side that has one; a front view needs none."""
OTHER = "other"
_WORDS = {
    "front": "front", "side": "side", "from side": "side", "left": "side", "right": "side", "profile": "side",
    "back": "back", "behind": "back", "from behind": "back", "rear": "back", "other": OTHER, "-": OTHER, "skip": "skip",
}  # fmt: skip
_USUAL: dict[tuple[str, ...], float] = {
    ("front", "back"): 0.5, ("front", "side"): 0.1, ("front", "side", "back"): 0.3, ("front", "back", "side"): 0.15,
    ("side", "front", "back"): 0.1, ("front", "side", "side", "back"): 0.3, ("front", "side", "back", "side"): 0.3,
    ("front", "front", "side", "back"): 0.2, ("front", "front", "side", "side", "back"): 0.2,
}  # fmt: skip
"""How much more than others an order is expected, on the scale of one figure's evidence."""
_SAME_HEIGHT = 0.82
_SAME_COLORS = 0.42
_SAME_HAIR = 40
"""Colours this far apart (of 255, in any channel) are one."""
_HAIR_ROWS, _FACE_ROWS = ((0.1, 0.3), (0.3, 0.42)), (0.48, 0.92)
"""Where on a head, from the top of the hair to the chin, hair and face are."""
_TURNED, _LEAST_HAIR, _LEAST_TURNED = 0.4, 0.45, 0.25
"""Who is turned for sure, and evidence that is too weak to be made more of."""
_MOST = 6
"""More figures than this are no turnaround."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """What tells a figure's side. `colors` is a histogram (sum 1) of her pixels, None when they are not known.

    `hair` is the share of the face's place that has the hair's colour (1: seen from behind), `turned` how unlike its
    two halves are in that (1: seen from the side).
    """

    height: int
    colors: Floats | None
    hair: float
    turned: float

    @classmethod
    def of(cls, pixels: Floats, mask: Mask, head: Box, height: int) -> Appearance:
        """From the pixels of a small picture, a figure's mask and her head's box in it."""
        cells = (pixels[mask] // 64).astype(np.int64) @ np.array([16, 4, 1])
        colors = np.bincount(cells, minlength=64) / max(1, mask.sum())
        # Hair is what is on top, or below a hat or bow.
        bands = (_part(pixels, mask, head, (0.2, 0.8), rows) for rows in _HAIR_ROWS)
        faces = [_part(pixels, mask, head, span, _FACE_ROWS) for span in ((0.14, 0.5), (0.5, 0.86))]
        left, right = max(
            (_like(faces, np.median(band, axis=0)) for band in bands if len(band)), key=sum, default=(0.0, 0.0)
        )
        return cls(height=height, colors=colors, hair=(left + right) / 2, turned=abs(left - right))

    def score(self, side: str) -> float:
        """How much she looks like this side, 0 to 1."""
        if side == "back":
            return self.hair * (1 - self.turned)
        if side == "side":
            return self.turned
        return (1 - self.hair) * (1 - self.turned)


def guess_sides(looks: Sequence[Appearance], *, sheet: bool) -> list[str]:
    """front, side or back for each figure of a turnaround; other for several people, or too many figures.

    `sheet` says that the picture's tags call it a turnaround. Without, figures of one height and of the same colours
    are taken for one.
    """
    if not 2 <= len(looks) <= _MOST or not (sheet or _are_one_person(looks)):
        return [OTHER] * len(looks)
    known = all(look.colors is not None for look in looks)
    looks = _told_apart(looks)
    best, most = ("front",) * len(looks), -1.0
    for sides in itertools.product(("front", "side", "back"), repeat=len(looks)):
        if "front" not in sides or len(set(sides)) == 1:
            continue
        seen = sum(look.score(side) for look, side in zip(looks, sides, strict=True)) if known else 0.0
        total = seen + _USUAL.get(sides, 0.0)
        if total > most:
            best, most = sides, total
    return list(best)


def alike_in_height(heights: Sequence[int]) -> bool:
    """Whether figures are as tall as one person is from every side."""
    return min(heights) >= _SAME_HEIGHT * max(heights)


def _told_apart(looks: Sequence[Appearance]) -> list[Appearance]:
    """The figures of a sheet with their evidence measured against the clearest of them: hats and shades weaken all."""
    hair = max((look.hair for look in looks if look.turned < _TURNED), default=0.0)
    turned = max(look.turned for look in looks)
    return [
        dataclasses.replace(
            look,
            hair=min(1.0, look.hair / max(hair, _LEAST_HAIR)),
            turned=min(1.0, look.turned / max(turned, _LEAST_TURNED)),
        )
        for look in looks
    ]


def parse_sides(lines: Sequence[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(pattern of the file's name, sides) of each line, those for single files first. ValueError names what is wrong.

    A line is `guess`, `none` or words at commas, with `<file>:` in front where it is for some files only.
    """
    found = []
    for line in lines:
        if not line.strip():
            continue
        pattern, colon, rest = line.rpartition(":")
        words = [word.strip().lower() for word in (rest if colon else line).split(",") if word.strip()]
        if words in (["guess"], ["none"]):
            sides: tuple[str, ...] = (words[0],)
        else:
            strange = next((word for word in words if word not in _WORDS), "" if words else "no side")
            if strange:
                raise ValueError(
                    f"sides: {line.strip()!r} has {strange!r}; write guess, none, or a list of front, side, back, "
                    "other and skip, with the file's name and a colon in front where it is for one file"
                )
            sides = tuple(_WORDS[word] for word in words)
        found.append((pattern.strip() if colon else "*", sides))
    return tuple(sorted(found, key=lambda each: each[0] == "*"))


def _are_one_person(looks: Sequence[Appearance]) -> bool:
    if not alike_in_height([look.height for look in looks]):
        return False
    colors = [look.colors for look in looks if look.colors is not None]
    if len(colors) < len(looks):
        return False
    # From behind there is hair for a face, so colours agree by a part only.
    return all(float(np.minimum(colors[0], other).sum()) >= _SAME_COLORS for other in colors[1:])


def _like(parts: Sequence[Floats], color: Floats) -> tuple[float, float]:
    """The share of the pixels of two parts that have a colour."""
    left, right = (
        float((np.abs(part - color).max(axis=-1) < _SAME_HAIR).mean()) if len(part) else 0.0 for part in parts
    )
    return left, right


def _part(pixels: Floats, mask: Mask, box: Box, across: tuple[float, float], down: tuple[float, float]) -> Floats:
    """The figure's pixels [N, 3] in a part of a box, given by shares of its sides."""
    rows = slice(box.top + round(down[0] * box.height), max(box.top + 1, box.top + round(down[1] * box.height)))
    columns = slice(box.left + round(across[0] * box.width), box.left + round(across[1] * box.width))
    found: Floats = pixels[rows, columns][mask[rows, columns]]
    return found
