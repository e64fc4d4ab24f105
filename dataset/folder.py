"""Walking through a folder of pictures: what is there, in natural order, and what cannot be used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import EmptyFolder
from .images import IMAGE_EXTENSIONS
from .values import Problem

UNREADABLE = (".heic", ".heif", ".jxl", ".psd", ".svg", ".mp4", ".webm", ".mkv", ".zip", ".rar", ".7z")
"""What people expect to be used and is not; other files (notes, caches) are passed over."""
MASK_SUFFIXES = ("-masklabel", ".mask")
"""`girl.png` is weighted by `girl-masklabel.png` or `girl.mask.png` beside it."""

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a walk through a folder saw: pictures in natural order, masks, and other files by folder and name."""

    images: tuple[Path, ...]
    masks: frozenset[Path]
    others: Mapping[tuple[Path, str], Path]
    problems: tuple[Problem, ...]

    def caption(self, image: Path, endings: Sequence[str]) -> Path | None:
        """`girl.txt` or, as some downloaders write it, `girl.png.txt`; the first ending that is there counts."""
        for ending in endings:
            for name in (image.stem + ending, image.name + ending):
                path = self.others.get((image.parent, name.lower()))
                if path is not None:
                    return path
        return None


def natural_key(path: Path) -> list[list[tuple[int, int, str]]]:
    """A sort key in which `2.png` comes before `10.png`, folder by folder."""
    return [
        [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in _DIGITS.split(name) if part]
        for name in path.parts
    ]


def walk_folder(folder: Path) -> Found:
    """All files below `folder` (absolute). Hidden files are left alone; linked folders are named, not followed.

    Raises EmptyFolder when it is not a folder.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "is not there"
        raise EmptyFolder(f"The folder {folder} {what}. Give the folder that holds the pictures")
    images: list[Path] = []
    others: dict[tuple[Path, str], Path] = {}
    problems: list[Problem] = []
    for path in _files(folder, problems):
        ending = path.suffix.lower()
        if ending in IMAGE_EXTENSIONS:
            images.append(path)
        elif ending in UNREADABLE:
            problems.append(Problem(path=path, what=f"{ending} files are not read", mend="Save it as PNG or JPEG"))
        else:
            others[path.parent, path.name.lower()] = path
    names = {(path.parent, path.stem) for path in images}
    masks = frozenset(
        path
        for path in images
        for suffix in MASK_SUFFIXES
        if path.stem.endswith(suffix) and (path.parent, path.stem.removesuffix(suffix)) in names
    )
    pictures = sorted((path for path in images if path not in masks), key=natural_key)
    return Found(images=tuple(pictures), masks=masks, others=others, problems=tuple(problems))


def _files(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        problems.append(
            Problem(path=Path(error.filename), what="the folder cannot be read", mend="Check its permissions")
        )

    for here, folders, names in os.walk(folder, onerror=unreadable):
        parent = Path(here)
        for name in (name for name in folders if (parent / name).is_symlink()):
            problems.append(
                Problem(path=parent / name, what="linked folders are not followed", mend="Load it by its own path")
            )
        folders[:] = sorted(name for name in folders if not name.startswith((".", "@", "__MACOSX")))
        yield from (parent / name for name in sorted(names) if not name.startswith("."))
