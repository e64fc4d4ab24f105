"""What the names of folders say about their pictures: repeats, group, regularisation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .values import Problem

_KOHYA = re.compile(r"(\d+)_(.+)")
_REG_NAMES = ("reg", "regularization", "regularisation")
_QUALITIES = ("low", "medium", "high")
_QUALITY = re.compile(rf"({'|'.join(_QUALITIES)})(?:[ _-]quality)?", re.IGNORECASE)
_DATE = re.compile(r"(0\d+|\d{4})(_|$)")
"""So a day may begin a name: `0324_party`, which counts as 324 repeats, as in kohya's scripts."""
MOST_REPEATS = 1000
"""A larger number before a name is part of the name, such as a date: `20240131_party`."""
_MOST_BARE = 100
"""A folder named by a number alone is one of repeats up to here; `2024` is a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a picture's folders say. `repeats` of 0 leave it out, as in kohya's scripts.

    `namer` is the folder that the group is called by, `counter` the one with the number: the names of the folders that
    lead there from the root. The root itself is (), and without a number `counter` is None.
    """

    group: str
    repeats: int = 1
    is_reg: bool = False
    namer: tuple[str, ...] = ()
    counter: tuple[str, ...] | None = None


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
            here = names[1 : at + 1]
            return Place(group=match[2], repeats=int(match[1]), is_reg=is_reg, namer=here, counter=here)
        repeats = _bare_repeats(names[at], qualities)
        if repeats is not None:
            above = [i for i in range(at) if _bare_repeats(names[i], qualities) is None]
            outer = [_plain(names[i]) for i in above]
            return Place(
                group="/".join(outer[1:]) or (outer[0] if outer else root.name),
                repeats=repeats,
                is_reg=is_reg,
                namer=names[1 : above[-1] + 1] if above else (),
                counter=names[1 : at + 1],
            )
    return Place(group="/".join(names[1:]) or root.name, is_reg=is_reg, namer=names[1:])


def name_problems(root: Path, places: Iterable[Place], *, counted: bool = True) -> list[Problem]:
    """Names that may be meant in another way: one group in two folders, and where repeats are `counted`, dates."""
    named: dict[tuple[str, bool], dict[tuple[str, ...], tuple[str, ...]]] = {}
    counters: dict[tuple[str, ...], int] = {}
    for place in places:
        named.setdefault((place.group, place.is_reg), {}).setdefault(place.namer[:-1], place.namer)
        if counted and place.counter is not None and _DATE.match((root.name, *place.counter)[-1]):
            counters[place.counter] = place.repeats
    problems = []
    for (group, _), folders in named.items():
        first, *others = (root.joinpath(*namer) for namer in folders.values())
        for other in others:
            what = f"its pictures are one group, {group}, with those in {first}"
            mend = "Give one of the folders another name, unless they teach the same"
            problems.append(Problem(path=other, what=what, mend=mend, minor=True))
    for counter, repeats in counters.items():
        what = f"its name is read as {repeats} repeats, and may be a date"
        mend = "Put a letter before the number if it is one, else write it without zeros in front"
        problems.append(Problem(path=root.joinpath(*counter), what=what, mend=mend, minor=True))
    return problems


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
