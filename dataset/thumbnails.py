"""Small pictures for the page, made once and kept."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from .errors import BadImage
from .images import open_small, read_size
from .values import WHITE, Box, Color, Record

SIDES = (128, 256, 512, 1024)
"""Pixels of the longer side that can be asked for: any number would fill the disk with almost the same picture."""
KIND = "image/jpeg"
"""The media type of every small picture."""
_QUALITY = 85


def thumbnail(file: Path, crop: Box | None, side: int, cache: Path, *, background: Color = WHITE) -> Path:
    """The file of a small JPEG of the picture, or of its part `crop`, its longer side `side` pixels at most.

    It is made when `cache` holds none of this very file: another size or date makes another. `side` is one of `SIDES`,
    else ValueError, as for a crop that does not lie in the picture. Raises BadImage for what is no whole picture.
    """
    if side not in SIDES:
        raise ValueError(f"The side of a thumbnail is {side}; there are {', '.join(map(str, SIDES))}.")
    try:
        there = file.stat()
    except OSError as error:
        raise BadImage(file, "the file is not there", "Put it back, or queue the loading node again") from error
    box = crop.as_tuple() if crop else None
    # A name by the content would be surer, and reading all of a file to show little of it takes longer than that.
    makings = (os.fspath(file.resolve()), there.st_mtime_ns, there.st_size, box, background, side)
    name = hashlib.sha256(repr(makings).encode("utf-8", "surrogatepass")).hexdigest()
    made = cache / name[:2] / f"{name}.jpg"
    if not made.is_file():
        _make(file, crop, side, background, made)
    return made


def _make(file: Path, crop: Box | None, side: int, background: Color, made: Path) -> None:
    small = open_small(Record(image=file, size=read_size(file), crop=crop, background=background), side)
    made.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and moved into place: two browsers may ask for the same one at once.
    handle, draft = tempfile.mkstemp(suffix=".part", dir=made.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            small.save(out, "JPEG", quality=_QUALITY)
        Path(draft).replace(made)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
