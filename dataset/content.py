"""Telling whether a file's content has changed, without reading all of it and whatever its date says."""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

SAMPLE = 16_384
"""Bytes that are read at either end of a large file."""
WEIGHTS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
PLACES = 64
"""Of a file of weights so many further samples are read, evenly over its length: two merges of one base have the same
size and often the same ends."""
WHOLE = (".bmp", ".tif", ".tiff", ".tga", ".txt", ".caption", ".json", ".jsonl", ".toml")
"""Read from end to end: text, and pictures that may be stored plain; a change in their middle moves nothing else."""


def content_mark(path: Path) -> str:
    """Equal for files of equal content, wherever they lie and whenever they were written. OSError as `stat` raises it.

    Taken are the size and both ends, of weights samples between them too; of text, plain formats and small files all.
    In a compressed picture a change in the middle moves or alters what follows: a PNG ends with checksums over all of
    its pixels, and the codes of the others are bits without a boundary, so that the same length and the same end do not
    come about.
    """
    stat = path.stat()
    if stat.st_size <= 2 * SAMPLE:
        return _read(path, stat.st_size)
    return _remembered(os.fspath(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


@lru_cache(maxsize=1 << 17)
def _remembered(path: str, size: int, mtime_ns: int, ctime_ns: int, inode: int) -> str:
    """A large file that was not even touched is not opened again."""
    return _read(Path(path), size)


def _read(path: Path, size: int) -> str:
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as file:
        if size <= 2 * SAMPLE or path.suffix.lower() in WHOLE:
            while block := file.read(1 << 20):
                digest.update(block)
        else:
            digest.update(file.read(SAMPLE))
            if path.suffix.lower() in WEIGHTS:
                for place in range(1, PLACES + 1):
                    file.seek(size * place // (PLACES + 1))
                    digest.update(file.read(SAMPLE))
            file.seek(-SAMPLE, os.SEEK_END)
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()
