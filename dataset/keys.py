"""Names for records: readable, unique within a dataset, and the same on every machine.

A hand-made selection or a list of edits in a workflow names records by these, so that the workflow still fits when the
folder lies elsewhere.
"""

from __future__ import annotations

import fnmatch
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from .values import Dataset, Record, is_content_name

_SOURCE = re.compile(r"(?:style:.* seed \d+|.*?) of ([^/\\]+)", re.DOTALL)
"""The file in a step such as `crop:face of front.png`; a style's own words may have an `of` too."""


def record_keys(dataset: Dataset) -> tuple[str, ...]:
    """One name for each record, in order: `<group>/<file name>`, then ` | <step>` for each step of its origin.

    Equal names are told apart by the folders of their files, ` (9_kierose)`, so that the loss of one of them does
    not give its name to the other; where that is not enough the later ones count on: ` #2`.
    """
    plain = [_key(record) for record in dataset]
    folders: dict[str, set[str]] = {}
    for key, record in zip(plain, dataset, strict=True):
        folders.setdefault(key, set()).add(_folder(record))
    keys = [
        f"{key} ({_folder(record)})" if len(folders[key]) > 1 and _folder(record) else key
        for key, record in zip(plain, dataset, strict=True)
    ]
    return tuple(_numbered(keys))


def source_name(record: Record) -> str:
    """The name of the file that a record stands for: its own, or where that is a hash, that of the file it came from.

    A derived picture's steps name their sources (`crop:face of front.png`). Where none does, the first twelve digits
    of the hash stand in.
    """
    if not is_content_name(record.image):
        return record.image.name
    for step in record.origin:
        found = _SOURCE.fullmatch(step)
        if found and not is_content_name(Path(found[1])):
            return found[1]
    return record.image.stem[:12]


def is_called(record: Record, pattern: str) -> bool:
    """Whether a name that somebody wrote, with `*` for any text, is a record's: its file's, `<group>/<file>`, or that
    of its last step in reports."""
    name = source_name(record)
    return any(fits(each, pattern) for each in (name, f"{record.group}/{name}", record.name))


def fits(text: str, pattern: str) -> bool:
    """Whether a whole name fits a pattern in which `*` is any text and every other character itself; case is one."""
    return _compiled(_folded(pattern.strip())).match(_folded(text)) is not None


@functools.lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # fnmatch would read the brackets of names such as `[pixiv] rose` as a set of letters.
    return re.compile(fnmatch.translate(re.sub(r"([\[?])", r"[\1]", pattern)))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _key(record: Record) -> str:
    name = source_name(record)
    steps = (step.removesuffix(f" of {name}").removesuffix(f" of {record.image.name}") for step in record.origin)
    return _one_line(" | ".join((f"{record.group}/{name}" if record.group else name, *steps)))


def _folder(record: Record) -> str:
    # A cache's folder says nothing; which cache it is depends on the machine.
    return "" if is_content_name(record.image) else _one_line(record.image.parent.name)


def _one_line(text: str) -> str:
    """The text composed (as Linux writes names, and macOS does not), with what cannot be printed as an escape."""
    line = " ".join(unicodedata.normalize("NFC", text).split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
    return shown or "_"


def _numbered(keys: Sequence[str]) -> Iterator[str]:
    taken, seen = set(keys), Counter[str]()
    for key in keys:
        seen[key] += 1
        if seen[key] == 1:
            yield key
            continue
        while (name := f"{key} #{seen[key]}") in taken:
            seen[key] += 1
        taken.add(name)
        yield name
