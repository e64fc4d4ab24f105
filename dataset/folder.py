"""Walking through a folder of pictures: what is there, in natural order, and what cannot be used."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import EmptyFolder
from .images import IMAGE_EXTENSIONS
from .values import Problem

UNREADABLE = (
    ".heic", ".heif", ".jxl", ".jp2", ".psd", ".clip", ".kra", ".svg", ".mp4", ".webm", ".mkv", ".zip", ".rar", ".7z",
)  # fmt: skip
"""What people expect to be used and is not; other files (notes, caches) are only counted."""
MASK_SUFFIXES = ("-masklabel", ".mask")
"""`girl.png` is weighted by `girl-masklabel.png` or `girl.mask.png` beside it."""
HIDDEN_SIDECAR = "_meta.json"
"""Some downloaders keep `.girl_meta.json` beside `girl.png`, hidden."""

_DIGITS = re.compile(r"(\d+)")
_SYSTEM_FOLDERS = ("@eaDir", "__MACOSX")
"""Thumbnails of network drives and leavings of archives. An artist's `@handle` is a name like any other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a walk through a folder saw: pictures in natural order, masks, and other files.

    `named` has the other files by their path without the ending and without upper case.
    """

    images: tuple[Path, ...]
    masks: frozenset[Path]
    others: tuple[Path, ...]
    named: Mapping[str, Sequence[Path]]
    hidden: int
    problems: tuple[Problem, ...]

    def beside(self, image: Path) -> list[Path]:
        """All files that go by the picture's name: `girl.txt` and, as some downloaders write it, `girl.png.txt`."""
        whole = os.fspath(image).lower()
        found = [path for key in (_bare(whole), whole) for path in self.named.get(key, ())]
        return [path for path in found if path.parent == image.parent] if found else found

    def caption(self, image: Path, endings: Sequence[str]) -> Path | None:
        """The file beside the picture with the first of the endings that is there."""
        found = self.beside(image)
        if not found:
            return None
        # Where names differ in upper case alone, the picture's own comes first.
        found.sort(key=lambda path: not path.name.startswith((image.stem, f".{image.stem}")))
        return next((path for ending in endings for path in found if path.suffix.lower() == ending), None)

    def passed_over(self, used: Iterable[Path]) -> str:
        """The files that are neither pictures nor used, counted by their endings; empty when there are none."""
        left = set(self.others).difference(used)
        endings = Counter(path.suffix.lower() or "without ending" for path in left)
        if self.hidden:
            endings["hidden"] = self.hidden
        return ", ".join(f"{ending} {count}" for ending, count in sorted(endings.items()))


def natural_key(path: Path) -> list[list[tuple[int, int, str]]]:
    """A sort key in which `2.png` comes before `10.png`, folder by folder."""
    return [
        [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in _DIGITS.split(name) if part]
        for name in path.parts
    ]


def walk_folder(folder: Path, *, inner: bool = True) -> Found:
    """All files below `folder` (absolute), or only those that lie directly in it.

    Hidden files are counted and left alone; linked, hidden and system folders are named, not followed. Raises
    EmptyFolder when it is not a folder.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "is not there"
        raise EmptyFolder(f"The folder {folder} {what}. Give the folder that holds the pictures")
    images: list[Path] = []
    others: list[Path] = []
    problems: list[Problem] = []
    hidden = 0
    for parent, name in _files(folder, problems, inner):
        path, ending = parent / name, Path(name).suffix.lower()
        if name.startswith("."):
            if name.endswith(HIDDEN_SIDECAR):
                others.append(path)
            else:
                hidden += 1
        elif ending in IMAGE_EXTENSIONS:
            images.append(path)
        elif ending in UNREADABLE:
            problems.append(Problem(path=path, what=f"{ending} files are not read", mend="Save it as PNG or JPEG"))
        else:
            others.append(path)
    names = {(path.parent, path.stem) for path in images}
    masks = frozenset(
        path
        for path in images
        for suffix in MASK_SUFFIXES
        if path.stem.endswith(suffix) and (path.parent, path.stem.removesuffix(suffix)) in names
    )
    return Found(
        images=tuple(sorted((path for path in images if path not in masks), key=natural_key)),
        masks=masks,
        others=tuple(others),
        named=_by_name(others),
        hidden=hidden,
        problems=tuple(problems),
    )


def _bare(path: str) -> str:
    """A path without its ending, as text: tens of thousands are asked for."""
    name, dot, ending = path.rpartition(".")
    return name if dot and os.sep not in ending and not name.endswith(os.sep) else path


def _by_name(files: Sequence[Path]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in files:
        if path.name.startswith("."):
            key = os.fspath(path.with_name(path.name.removeprefix(".").removesuffix(HIDDEN_SIDECAR)))
        else:
            key = _bare(os.fspath(path))
        found.setdefault(key.lower(), []).append(path)
    return found


def _files(folder: Path, problems: list[Problem], inner: bool) -> Iterator[tuple[Path, str]]:
    """Folder and name of every plain file; what cannot be entered or read becomes a problem."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            problems.append(Problem(path=here, what="the folder cannot be read", mend="Check its permissions"))
            continue
        for entry in found:
            path = here / entry.name
            if _asked(entry.is_dir):
                if entry.is_symlink():
                    mend = "Load it by its own path"
                    problems.append(Problem(path=path, what="linked folders are not followed", mend=mend))
                elif inner and (entry.name.startswith(".") or entry.name in _SYSTEM_FOLDERS):
                    what = f"{'hidden' if entry.name.startswith('.') else 'system'} folders are not looked into"
                    mend = "Rename it if it holds pictures to train on"
                    problems.append(Problem(path=path, what=what, mend=mend, minor=True))
                elif inner:
                    waiting.append(path)
            # A broken link is named when it is opened; pipes and devices would be waited for.
            elif _asked(entry.is_file) or (entry.is_symlink() and not path.exists()):
                yield here, entry.name
            else:
                problems.append(Problem(path=path, what="is no plain file", mend="Take it out of the folder"))


def _asked(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:  # a circle of links
        return False
