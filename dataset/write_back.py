"""Captions written back into the user's own files: planned and shown first, backed up, then done."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .caption_files import read_caption
from .errors import DatasetError
from .folder import Found, walk_folder
from .keys import record_keys
from .sidecars import Reader
from .values import Dataset, Record, is_content_name, readable

_ENDINGS = (".txt", ".caption")
"""Endings of files that are written to; JSON sidecars are not."""
MANIFEST = "backup.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One caption file: what it holds now (None: it is not there), and what it will hold."""

    key: str
    file: Path
    old: str | None
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePlan:
    """What a write-back would do. `same` captions stand in their files already; `skipped` says what is left out, and
    why; `mark` is another one when anything of it has changed."""

    writes: tuple[Write, ...]
    same: int
    skipped: tuple[str, ...]

    @property
    def mark(self) -> str:
        """A hash over what would be written where, and what lies there now."""
        told = repr([(str(each.file), each.old, each.new) for each in self.writes])
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def plan_write_back(dataset: Dataset, check: Callable[[Path], Path]) -> WritePlan:
    """What writing the captions of a dataset into the files beside its pictures would do; nothing is written.

    Left out are pictures that nodes made or cropped, pictures whose records disagree, those that share a file and
    disagree, and linked files. `check` raises ValueError for a path that may not be touched.
    """
    walked: dict[Path, Found] = {}
    by_image: dict[Path, list[tuple[str, Record]]] = {}
    skipped: list[str] = []
    for key, record in zip(record_keys(dataset), dataset, strict=True):
        if record.origin or is_content_name(record.image):
            skipped.append(f"{key}: a node of the graph made it; Save Dataset writes its caption")
        else:
            by_image.setdefault(record.image, []).append((key, record))
    planned: list[Write] = []
    bare = 0
    for rows in by_image.values():
        key, record = rows[0]
        try:
            found = _planned(key, record, [other for _, other in rows[1:]], walked, check)
        except (OSError, ValueError) as error:
            skipped.append(f"{key}: {error}")
            continue
        if found is None:
            bare += 1
        else:
            planned.append(found)
    agreed, shared = _told_apart(planned)
    writes = tuple(each for each in agreed if each.new != each.old)
    skipped += shared
    same = bare + len(planned) - len(writes) - len(shared)
    return WritePlan(writes=writes, same=same, skipped=tuple(readable(line) for line in skipped))


def write_back(plan: WritePlan, backups: Path, now: datetime) -> Path:
    """Back up every file of a plan into a new folder below `backups`, then write the captions; the folder.

    Its `backup.json` names the file that each copy belongs to, and the files that were not there before. Raises
    DatasetError, which says how far it came, when a file cannot be written.
    """
    try:
        folder = _back_up(plan, backups, now)
    except OSError as error:
        raise DatasetError(f"Nothing was written: the copies cannot be made in {backups} ({error.strerror})") from error
    for done, each in enumerate(plan.writes):
        draft = each.file.with_name(f".{each.file.name}.{secrets.token_hex(4)}.part")
        try:
            # Never over a file, nor through a link, that lies there already.
            with draft.open("x", encoding="utf-8", newline="\n") as content:
                content.write(each.new)
            if each.old is not None:
                shutil.copymode(each.file, draft)
            draft.replace(each.file)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise DatasetError(
                f"{each.file} cannot be written ({error.strerror}), after {done} of {len(plan.writes)} captions. What "
                f"they held before lies in {folder}"
            ) from error
    return folder


def _told_apart(planned: Sequence[Write]) -> tuple[list[Write], list[str]]:
    """One for each file, and why others are left out: `a.png` and `a.jpg` share `a.txt`."""
    by_file: dict[Path, list[Write]] = {}
    for each in planned:
        by_file.setdefault(each.file, []).append(each)
    return [rows[0] for rows in by_file.values() if len({each.new for each in rows}) == 1], [
        f"{each.key}: {each.file.name} is the caption file of {len(rows)} pictures whose captions differ"
        for rows in by_file.values()
        if len({each.new for each in rows}) > 1
        for each in rows
    ]


def _planned(
    key: str, record: Record, others: Sequence[Record], walked: dict[Path, Found], check: Callable[[Path], Path]
) -> Write | None:
    """What its file should hold for one picture, which may be what it holds; None where there is neither file nor
    caption. Raises OSError and ValueError.
    """
    if any(other.caption != record.caption for other in others):
        raise ValueError("it is in the dataset several times, with different captions")
    check(record.image)
    if record.image.is_symlink():
        raise ValueError("the picture is a link, and what lies beside its target may be somebody else's")
    folder = record.image.parent
    if folder not in walked:
        walked[folder] = walk_folder(folder, inner=False)
    file = walked[folder].caption(record.image, _ENDINGS)
    if file is None and not record.caption:
        return None
    if file is None:
        return Write(key=key, file=record.image.with_suffix(".txt"), old=None, new=record.caption)
    if file.is_symlink():
        raise ValueError(f"{file.name} is a link, and is left alone")
    old = read_caption(file)
    words = Reader().text(old)
    if " ".join(old.split()) == record.caption or (words.tags, words.prose) == (record.tags, record.prose):
        return Write(key=key, file=file, old=old, new=old)
    return Write(key=key, file=file, old=old, new=record.caption + ("\n" if old.endswith("\n") else ""))


def _back_up(plan: WritePlan, backups: Path, now: datetime) -> Path:
    folder = _new_folder(backups, now)
    places: dict[Path, str] = {}
    rows = []
    for each in plan.writes:
        parent = each.file.parent
        if parent not in places:
            taken = set(places.values())
            names = (f"{parent.name}{f' {number}' if number else ''}" for number in range(len(taken) + 1))
            places[parent] = next(name for name in names if name not in taken)
        copy = folder / places[parent] / each.file.name if each.old is not None else None
        if copy is not None:
            copy.parent.mkdir(exist_ok=True)
            shutil.copy2(each.file, copy)
        rows.append({"file": str(each.file), "copy": copy.relative_to(folder).as_posix() if copy else None})
    (folder / MANIFEST).write_text(json.dumps({"files": rows}, indent=1), encoding="utf-8")
    return folder


def _new_folder(backups: Path, now: datetime) -> Path:
    number = 1
    while True:
        folder = backups / f"{now:%Y-%m-%d %H.%M.%S}{f' {number}' if number > 1 else ''}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder
