"""What the names of folders say about their pictures: repeats, group, regularisation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_KOHYA = re.compile(r"(\d+)_(.+)")
_REG_NAMES = ("reg", "regularization", "regularisation")
_QUALITIES = ("low", "medium", "high")
_QUALITY = re.compile(rf"({'|'.join(_QUALITIES)})(?:[ _-]quality)?", re.IGNORECASE)
MOST_REPEATS = 1000
"""A larger number before a name is part of the name, such as a date: `20240131_party`."""
_MOST_BARE = 100
"""A folder named by a number alone is one of repeats up to here; `2024` is a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a picture's folders say. `repeats` of 0 leave it out, as in kohya's scripts."""

    group: str
    repeats: int = 1
    is_reg: bool = False


def place_of(root: Path, folder: Path, qualities: Sequence[int] = ()) -> Place:
    """The place of pictures that lie directly in `folder`, at or below the loaded `root`.

    The nearest folder with a number counts: `9_kierose`, or `9` inside `kierose`; `9_kierose` and `5_kierose` are one
    group with different repeats. `qualities` are the repeats of folders named low, medium and high; empty: they are
    plain names.
    """
    names = (root.name, *folder.relative_to(root).parts)
    is_reg = any(_is_reg(name) for name in names)
    for at in range(len(names) - 1, -1, -1):
        if (match := _KOHYA.fullmatch(names[at])) and int(match[1]) <= MOST_REPEATS:
            return Place(group=match[2], repeats=int(match[1]), is_reg=is_reg)
        repeats = _bare_repeats(names[at], qualities)
        if repeats is not None:
            outer = [_plain(name) for name in names[:at] if _bare_repeats(name, qualities) is None]
            return Place(
                group="/".join(outer[1:]) or (outer[0] if outer else root.name), repeats=repeats, is_reg=is_reg
            )
    return Place(group="/".join(names[1:]) or root.name, is_reg=is_reg)


def _bare_repeats(name: str, qualities: Sequence[int]) -> int | None:
    if name.isascii() and name.isdecimal() and int(name) <= _MOST_BARE:
        return int(name)
    match = _QUALITY.fullmatch(name)
    return qualities[_QUALITIES.index(match[1].lower())] if match and qualities else None


def _is_reg(name: str) -> bool:
    plain = _plain(name).lower()
    return plain in _REG_NAMES or plain.startswith("reg_")


def _plain(name: str) -> str:
    return _KOHYA.sub(r"\2", name)
