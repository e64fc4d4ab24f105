"""Cells on disk: what was painted once is never painted again, in this sweep or another."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from ..dataset.errors import BadImage
from ..dataset.images import read_size
from ..trainer.files import whole
from .values import Cell, Painting

log = logging.getLogger(__name__)

_VERSION = 1
_CHUNK = "kiln"
_LIGHT = 1
"""PNG's fastest compression: at 1024 pixels the usual one takes a tenth of a sampler's time."""


class CellStore:
    """Pictures in a folder, each named by a hash of everything that it was made from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def key(self, made_from: Mapping[str, Any]) -> str:
        """64 hex digits: equal for equal makings."""
        text = json.dumps({"version": _VERSION, **made_from}, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def read(self, key: str) -> Cell | None:
        """The cell of that key, or None; a damaged one counts as none and is painted anew."""
        file = self._file(key)
        if not file.is_file():
            return None
        try:
            size = read_size(file)
            with Image.open(file) as picture:
                about = json.loads(picture.info[_CHUNK])
                if _digest(picture.convert("RGB")) != about["digest"]:
                    raise ValueError("its pixels are not those that were painted")
            broken, unmatched = float(about["broken"]), tuple(about["unmatched"])
            return Cell(file=file, size=size, digest=about["digest"], broken=broken, unmatched=unmatched)
        except (BadImage, OSError, KeyError, ValueError, TypeError) as error:
            log.warning("the kept cell %s cannot be read (%s); it is painted again", file, error)
            return None

    def write(self, key: str, painting: Painting, made_from: Mapping[str, Any]) -> Cell:
        """Keep a painting with what it was made from. Raises `KilnError` when the disk refuses."""
        picture = painting.picture.convert("RGB")
        digest = _digest(picture)
        known = {"broken": painting.broken, "unmatched": list(painting.unmatched)}
        about = {"digest": digest, **known, "made from": dict(made_from)}
        notes = PngImagePlugin.PngInfo()
        notes.add_text(_CHUNK, json.dumps(about))
        file = self._file(key)
        with whole(file) as partial:
            picture.save(partial, "PNG", pnginfo=notes, compress_level=_LIGHT)
        return Cell(
            file=file, size=picture.size, digest=digest, broken=painting.broken, unmatched=painting.unmatched
        )  # fmt: skip

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.png"


def _digest(picture: Image.Image) -> str:
    """The size and the pixels of an RGB picture as a sha256 in hex."""
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()


def file_mark(file: Path) -> str:
    """A sha256 in hex over a whole file: LoRAs of neighbouring epochs differ in every byte or in none."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
