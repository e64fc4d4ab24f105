"""File names that every system takes, made of any text."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

MOST_BYTES = 120
"""Of a name in UTF-8: room for a number, an ending and what a trainer adds, within the 255 that file systems take."""

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f]+')
_INVISIBLE = re.compile(r"[\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Marks that turn the direction of text, or end lines: a name with them is not what it looks like."""
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def safe_name(text: str, fallback: str, most_bytes: int = MOST_BYTES) -> str:
    """A file or folder name as close to `text` as Linux, Windows and macOS allow, never hidden, a path or a device.

    `fallback` stands in where nothing is left.
    """
    printable = text.encode("utf-8", "replace").decode("utf-8")
    plain = _FORBIDDEN.sub("_", _INVISIBLE.sub("", printable))
    name = _ends(" ".join(plain.split()))
    if _DEVICES.fullmatch(name) or name.startswith("__MACOSX"):
        name = f"_{name}"
    return _ends(_cut(name, most_bytes)) or fallback


def unused_name(name: str, taken: dict[str, int]) -> str:
    """The name, numbered where one of `taken` is the same on a system that folds case or accents.

    What is returned is added to `taken`, whose values are the numbers to go on from.
    """
    own, found = _folded(name), name
    while _folded(found) in taken:
        taken[own] = taken.get(own, 1) + 1
        found = f"{name} ({taken[own]})"
    taken.setdefault(_folded(found), 1)
    return found


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a relative path that a person wrote for a new folder. ValueError for one that leads elsewhere."""
    text = name.strip().replace("\\", "/")
    parts = tuple(part.strip() for part in text.split("/") if part.strip())
    bad = [part for part in parts if safe_name(part, "") != part]
    if not parts or bad or PurePosixPath(text).is_absolute():
        what = f"{bad[0]!r} in it is no name for a folder" if bad else "it is empty" if not parts else "it is absolute"
        mend = 'give names such as kierose or rose/version 2, without .. and < > : " | ? *'
        raise ValueError(f"name is {name!r}: {what}; {mend}")
    return parts


def _ends(name: str) -> str:
    """Without what hides a file at the start, or is lost on Windows at the end."""
    return name.lstrip(". @").rstrip(". ")


def _cut(name: str, most_bytes: int) -> str:
    """As many whole characters as fit."""
    return name.encode("utf-8")[:most_bytes].decode("utf-8", "ignore")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
