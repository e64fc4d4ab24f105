"""Files that are whole or not there, and what is said when a disk refuses one."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

import safetensors

from .errors import KilnError


@contextlib.contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A path beside `file` to write to; it takes the file's place at the end, and until then the older one stays.

    Raises `KilnError` when the disk refuses. Whatever goes wrong, nothing half written is left.
    """
    partial = file.with_name(f"{file.name}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        # Some file systems put the new name on disk before the content, and a power cut would leave an empty file.
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        partial.replace(file)
    except (OSError, safetensors.SafetensorError) as error:
        # safetensors has an exception of its own for a full disk.
        raise refused(file, error) from error
    finally:
        partial.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """A text file, whole or not there. Raises `KilnError` when the disk refuses."""
    with whole(file) as partial:
        partial.write_text(text, encoding="utf-8")


class Log:
    """A file that grows by a line now and then, and stays open meanwhile. What was added is with the system at once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._opened: io.FileIO | None = None

    def add(self, content: bytes) -> None:
        """Raises `KilnError` when the disk refuses; part of the content may be there then."""
        try:
            if self._opened is None:
                self._opened = io.FileIO(self._file, "a")
            if self._opened.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.close()
            raise refused(self._file, error) from error

    def close(self) -> None:
        """Adding opens it again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __del__(self) -> None:
        self.close()


def refused(file: Path, error: BaseException) -> KilnError:
    """What to tell the user about a file that could not be written."""
    return KilnError(
        f"{file} could not be written: {error}. Free space, or choose another folder, and queue the graph again; what "
        "was saved before is whole, and a run goes on from there."
    )
