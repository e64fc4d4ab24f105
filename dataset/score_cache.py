"""What a tagger has said of pictures, kept on disk: tagging the same pictures again costs no model.

A picture is known by its content and crop, so that a renamed or moved file is still known and an edited one is not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from .content import content_mark
from .errors import DatasetError
from .tagger import TagScores
from .values import Record, is_content_name

log = logging.getLogger(__name__)

LEAST = 0.01
"""Scores below this are noise and are not kept; no threshold reaches below it."""


class ScoreCache:
    """One folder of scores for one tagger, told from others by its mark (`tagger.tagger_mark`)."""

    def __init__(self, folder: Path, mark: str) -> None:
        self._folder = folder / mark[:32]

    def key(self, record: Record) -> str:
        """What stands for the content that a record shows, in hex. Raises DatasetError when its file is gone."""
        try:
            content = record.image.stem if is_content_name(record.image) else content_mark(record.image)
        except OSError as error:
            raise DatasetError(
                f"{record.image}: the file cannot be read any more ({error.strerror}). Put it back, or queue the "
                "loading node again"
            ) from error
        crop = record.crop.as_tuple() if record.crop else None
        return hashlib.sha256(f"{content} {crop}".encode()).hexdigest()

    def read(self, key: str) -> TagScores | None:
        """What was kept under the key, or None; a damaged file counts as none and is written anew."""
        try:
            return _from_json(json.loads(self._file(key).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            log.warning("the kept scores %s cannot be read (%s); the picture is tagged again", self._file(key), error)
            return None

    def write(self, key: str, scores: TagScores) -> TagScores:
        """Keep scores under the key; gives them as `read` will, so that the first run and the next agree."""
        text = json.dumps(_to_json(scores), ensure_ascii=False, separators=(",", ":"))
        file = self._file(key)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(suffix=".part", dir=file.parent)
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(text)
            Path(draft).replace(file)
        except OSError as error:
            # The scores are here; only the next run will have to ask for them again.
            log.warning("the scores cannot be kept in %s (%s)", file, error)
        return _from_json(json.loads(text))

    def _file(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"


def _to_json(scores: TagScores) -> dict[str, Any]:
    def kept(named: dict[str, float]) -> dict[str, float]:
        return {tag: round(score, 4) for tag, score in named.items() if score >= LEAST}

    kinds = {"rating": scores.rating, "general": scores.general, "character": scores.character}
    found: dict[str, Any] = {kind: kept(named) for kind, named in kinds.items()}
    found["others"] = {kind: kept(named) for kind, named in scores.others.items()}
    return found


def _from_json(data: dict[str, Any]) -> TagScores:
    def named(found: dict[str, Any]) -> dict[str, float]:
        return {str(tag): float(score) for tag, score in found.items()}

    return TagScores(
        rating=named(data["rating"]),
        general=named(data["general"]),
        character=named(data["character"]),
        others={str(kind): named(found) for kind, found in data["others"].items()},
    )
