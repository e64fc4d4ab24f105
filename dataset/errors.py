"""The errors of this room. Each says what is wrong, where, and what mends it."""

from __future__ import annotations

from pathlib import Path


class DatasetError(ValueError):
    """Something about a dataset that its owner can put right."""


class EmptyFolder(DatasetError):
    """A folder that holds no picture we could use, or is not there."""


class BadImage(DatasetError):
    """A picture that cannot be read whole. `path` names it, `what` and `mend` are the parts of the message."""

    def __init__(self, path: Path, what: str, mend: str) -> None:
        super().__init__(f"{path}: {what}. {mend}")
        self.path = path
        self.what = what
        self.mend = mend


class TaggerMissing(DatasetError):
    """A tagger, or a library that it needs, that is not there."""


class BadTagger(DatasetError):
    """A tagger whose files do not keep the WD contract."""
