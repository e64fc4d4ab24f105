"""Datasets that the page may look at: each kept as a file of its records, so that it outlives a restart."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DatasetError
from .values import Box, Dataset, Record

MOST = 300
"""Datasets that are kept; those that were not used for longest go."""
_ID = re.compile(r"[0-9a-f]{32}")
_GONE = "This dataset is not known here any more. Queue the workflow, so that its node gives it again"
_PATHS = ("image", "mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Datasets by their ids, in files below `folder`, which nobody but the server may write to.

    An id is the hash of all that the records say, with the paths of their files: two copies of a folder are two
    datasets, for captions can be written back to one of them.
    """

    folder: Path

    def add(self, dataset: Dataset) -> str:
        """Keep a dataset and return its id. Raises OSError where the disk is full or may not be written to."""
        text = dataset_text(dataset)
        name = _id_of(text)
        path = self.folder / f"{name}.json"
        if path.is_file():
            os.utime(path)
            return name
        self.folder.mkdir(parents=True, exist_ok=True)
        # Written aside and moved into place: half a file must not stand under an id.
        handle, draft = tempfile.mkstemp(suffix=".part", dir=self.folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        self._tidy()
        return name

    def get(self, name: str) -> Dataset:
        """The dataset of an id. Raises DatasetError where there is none, or its file is damaged."""
        if not _ID.fullmatch(name):
            raise DatasetError(_GONE)
        return _read(self.folder, name)

    def _tidy(self) -> None:
        """Let go of the oldest files beyond `MOST`."""
        files = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in files[MOST:]:
            path.unlink(missing_ok=True)


def dataset_text(dataset: Dataset) -> str:
    """All that a dataset says as JSON; `read_dataset` gives it back. Values at their defaults are left out."""
    records = [_plain(record) for record in dataset]
    # ASCII alone: file names may hold bytes that are no UTF-8, and come back as they were.
    about = {"trigger": dataset.trigger, "words": dataset.words, "records": records}
    return json.dumps(about, separators=(",", ":"))


def read_dataset(text: str) -> Dataset:
    """The dataset that `dataset_text` wrote. Raises ValueError, TypeError or KeyError for anything else."""
    data = json.loads(text)
    records = tuple(_record(each) for each in data["records"])
    return Dataset(records=records, trigger=data["trigger"], words=tuple(data.get("words", ())))


def _plain(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if value == field.default:
            continue
        if field.name == "crop":
            value = value.as_tuple()
        found[field.name] = os.fspath(value) if field.name in _PATHS else value
    return found


def _record(data: Mapping[str, Any]) -> Record:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
    for name in _PATHS:
        if name in values:
            values[name] = Path(values[name])
    if "crop" in values:
        left, top, right, bottom = values["crop"]
        values["crop"] = Box(left=left, top=top, right=right, bottom=bottom)
    return Record(**values)


def _id_of(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


@functools.lru_cache(maxsize=8)
def _read(folder: Path, name: str) -> Dataset:
    """A page asks for the same few datasets again and again."""
    try:
        text = (folder / f"{name}.json").read_text(encoding="ascii")
        if _id_of(text) != name:
            raise ValueError("its content does not fit its name")
        return read_dataset(text)
    except OSError as error:
        raise DatasetError(_GONE) from error
    except (ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"The file that keeps this dataset is damaged ({error}). Queue the workflow again"
        ) from error
