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


class ModelMissing(DatasetError):
    """A tagger, a detector, or a library that they need, that is not there and could not be fetched."""


class BadModel(DatasetError):
    """A model whose files do not keep the contract of its kind."""


class BadEdit(DatasetError):
    """An edit of captions that cannot be read; the message says which of the list it is."""


class BadFilter(DatasetError):
    """A filter that cannot be read. `place` is the character, counted from 0, at which it goes wrong."""

    def __init__(self, text: str, place: int, what: str, mend: str) -> None:
        here = text[place : place + 20].strip()
        where = f"at character {place + 1}, {here!r}" if here else "at its end"
        super().__init__(f"The filter {text!r}, {where}: {what}. {mend}")
        self.place = place
