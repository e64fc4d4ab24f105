"""The keys of a kohya file: read with their types, each with a verdict in the end."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from .errors import KilnError
from .kohya_keys import NO_EFFECT, NO_HOME, SECRET

VERDICTS = ("unsupported", "applied", "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What became of one key. `verdict` is `applied`, `default` (off, or without effect here) or `unsupported`."""

    key: str
    value: str
    verdict: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A key as it stands in `file`, with its value."""

    file: str
    key: str
    value: Any


class Sheet:
    """Values by sd-scripts' names, and a line for each key of the files they stand in.

    `dialect` is `gui` (kohya_ss JSON), `sd-scripts` (TOML), or `dataset` when only a dataset is described.
    `assumed` are settings of ours, by name, that no key says and that are sd-scripts' own defaults.
    A later value of a name replaces an earlier one, as the command line replaces the file.
    """

    def __init__(self, file: str, dialect: str) -> None:
        self.file, self.dialect = file, dialect
        self._cells: dict[str, Cell] = {}
        self._lines: dict[str, Line | None] = {}
        self._names: dict[str, str] = {}
        self._given: dict[str, Any] = {}
        self.assumed: dict[str, Any] = {}

    # --- filling ---------------------------------------------------------------------------------

    def put(self, name: str, key: str, value: Any, file: str = "") -> None:
        """A value under sd-scripts' `name`, which the file calls `key`."""
        before = self._cells.get(name)
        if before is not None and before.key != key:
            self.note(before.key, "default", f"{key} replaces it")
        self._cells[name] = Cell(file=file or self.file, key=key, value=value)
        self._names[key] = name
        self._given.setdefault(key, value)
        self._lines.setdefault(key, None)

    def note(self, key: str, verdict: str, words: str, value: Any = None) -> None:
        """The line of a key that is settled; `value` is what stands in the file, where `put` has not told it."""
        shown = _shown(key, self._given.setdefault(key, value))
        self._lines[key] = Line(key=key, value=shown, verdict=verdict, words=words)

    def say(self, name: str, verdict: str, words: str) -> None:
        """The line of the key under `name`, if there is one."""
        cell = self._cells.get(name)
        if cell is not None:
            self.note(cell.key, verdict, words)

    def drop(self, name: str, words: str) -> None:
        """Leave the value under `name` out: it has no effect."""
        self.say(name, "default", words)
        self._cells.pop(name, None)

    def fail(self, name: str, mend: str) -> KilnError:
        """The error for the value under `name`; `mend` says what would do."""
        cell = self._cells[name]
        return KilnError(f"{cell.file}: {cell.key} is {self._given[cell.key]!r}; {mend}.")

    def knows(self, key: str) -> bool:
        """Whether the file's key has been met."""
        return key in self._given

    # --- reading ---------------------------------------------------------------------------------

    def names(self, prefix: str = "") -> tuple[str, ...]:
        """Names that have a value and start so, in the file's order."""
        return tuple(name for name in self._cells if name.startswith(prefix) and self.has(name))

    def has(self, name: str) -> bool:
        """Whether there is a value that is not blank."""
        cell = self._cells.get(name)
        return cell is not None and not is_blank(cell.value)

    def cell(self, name: str) -> Cell | None:
        """What stands in the file under a name, if anything does."""
        return self._cells.get(name)

    def text(self, name: str, default: str = "") -> str:
        """A string; numbers are written out."""
        return str(self._cells[name].value).strip() if self.has(name) else default

    def flag(self, name: str) -> bool:
        """Yes or no; a blank is no. Raises `KilnError` for anything else."""
        if not self.has(name):
            return False
        found = as_flag(self._cells[name].value)
        if found is None:
            raise self.fail(name, "write true or false")
        return found

    def real(self, name: str, default: float = 0.0) -> float:
        """A number, also one that is written as text. Raises `KilnError`."""
        if not self.has(name):
            return default
        value = self._cells[name].value
        if value is False:  # as the GUI has written for a field that was left alone
            return default
        try:
            found = float("nan") if value is True else float(value)
        except (TypeError, ValueError):
            found = float("nan")
        if not math.isfinite(found):
            raise self.fail(name, "write a number")
        return found

    def whole(self, name: str, default: int = 0) -> int:
        """A whole number; 1.0 and "1" are one. Raises `KilnError`."""
        if not self.has(name):
            return default
        value = self._cells[name].value
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        found = self.real(name)
        if found != int(found):
            raise self.fail(name, "write a whole number")
        return int(found)

    def reals(self, name: str) -> list[float]:
        """Numbers, from a list or from text with commas, in brackets or not. Raises `KilnError`."""
        try:
            return [float(one) for one in re.split(r"[\s,()\[\]]+", self.text(name)) if one]
        except ValueError as error:
            raise self.fail(name, "write numbers with commas between them") from error

    def items(self, name: str) -> list[str]:
        """A list of texts: TOML's own, or the GUI's in one line with spaces, values in brackets kept whole."""
        if not self.has(name):
            return []
        value = self._cells[name].value
        if isinstance(value, list):
            return [str(one).strip().strip("\"'") for one in value if str(one).strip()]
        bare = str(value).replace('"', "").replace("'", "")
        return re.findall(r"[^\s=]+\s*=\s*(?:\([^)]*\)|\[[^\]]*\]|\S+)|\S+", bare)

    def arguments(self, name: str, prefix: str, aliases: Mapping[str, str] = MappingProxyType({})) -> None:
        """Take `name`'s `key=value` items apart: each becomes a value under `prefix` + its key, with its own line.

        `aliases` are older names of keys, and what they are now.
        """
        found = self.items(name)
        origin = self._cells[name].key if name in self._cells else name
        for item in found:
            key, equals, value = item.partition("=")
            if not equals:
                raise self.fail(name, f"{item!r} is no name=value")
            key = key.strip()
            self.put(prefix + aliases.get(key, key), f"{origin}.{key}", value.strip().strip("\"'"))
        if found:
            self.say(name, "applied", "its parts are listed by themselves")

    # --- the end ---------------------------------------------------------------------------------

    def lines(self) -> tuple[Line, ...]:
        """One line for each key, in the file's order; what nobody read is judged by the tables."""
        return tuple(line if line is not None else self._unread(key) for key, line in self._lines.items())

    def _unread(self, key: str) -> Line:
        name, value = self._names[key], self._given[key]
        bare = name.partition(":")[2] or name
        verdict, words = "unsupported", "no setting of kohya's that is known here; is it spelled right?"
        if is_blank(value):
            verdict, words = "default", "blank"
        elif bare in NO_EFFECT:
            verdict, words = "default", f"no effect here: {NO_EFFECT[bare]}"
        elif bare in NO_HOME:
            neutral, words = NO_HOME[bare]
            if is_off(value) or str(value).lower().removesuffix(".0") == neutral:
                verdict, words = "default", "off"
        elif is_off(value):
            verdict, words = "default", "off, and not known here"
        return Line(key=key, value=_shown(key, value), verdict=verdict, words=words)


def is_blank(value: Any) -> bool:
    """Nothing, an empty text, an empty list, or the GUI's word for nothing."""
    return value is None or value in ("", []) or (isinstance(value, str) and value.strip() in ("", "None"))


def is_off(value: Any) -> bool:
    """What stands for no: false, 0, also as text."""
    return is_blank(value) or as_flag(value) is False or str(value).strip() in ("0.0", "-1", "none", "no")


def as_flag(value: Any) -> bool | None:
    """Yes or no in the forms that files have; None for anything else."""
    return {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}.get(
        str(value).strip().lower()
    )


def report(lines: Iterable[Line], assumed: Iterable[str] = ()) -> str:
    """What was read, for people: what is not supported first, then what was taken, then what changes nothing."""
    rows = tuple(lines)
    heads = {
        "unsupported": "Not supported",
        "applied": "Applied",
        "default": "Off, as it is anyway, or without effect",
    }
    parts = []
    for verdict in VERDICTS:
        mine = [f"- {line.key} = {line.value}: {line.words}" for line in rows if line.verdict == verdict]
        if mine:
            parts.append("\n".join([f"{heads[verdict]} ({len(mine)})", *mine]))
    if left_out := ", ".join(assumed):
        parts.append(f"Not in the file, so as sd-scripts has it: {left_out}")
    return "\n\n".join(parts)


def _shown(key: str, value: Any) -> str:
    if key.rpartition(".")[2] in SECRET and not is_blank(value):
        return "(kept to itself)"
    if isinstance(value, bool):
        return str(value).lower()
    return "(blank)" if is_blank(value) else str(value)
