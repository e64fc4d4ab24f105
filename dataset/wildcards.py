"""Prompts with wildcards: `{a|b}` is one of its parts, `__name__` a line of a text file, both as deep as one likes.

The forms of the dynamic-prompt packs: `{2$$a|b|c}` two different ones, `{1-2$$ and $$a|b|c}` joined by words of one's
own, `{3::a|b}` the first three times as often, `__colors/*__` any file of a folder, `\\{` a brace. Every draw comes
from a seed and a name, so that the same place of the same prompt draws the same again.
"""

from __future__ import annotations

import difflib
import fnmatch
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .content import content_mark
from .errors import DatasetError

_NAME = re.compile(r"__([\w\-./* ]+?)__(?!_)")
_COUNT = re.compile(r"(\d+)?(-)?(\d+)?\$\$")
_WEIGHT = re.compile(r"\s*(\d+(?:\.\d+)?)::")
_DEEPEST = 30


class Wildcards:
    """The lists that `__name__` stands for: text files below some folders, and lists that the graph brings.

    A file's name is its path below the folder without `.txt`, in any case; the first folder that has a name counts.
    """

    def __init__(self, folders: Sequence[Path] = (), lists: Mapping[str, Sequence[str]] | None = None) -> None:
        self._folders = tuple(folders)
        self._lists = {name.casefold(): tuple(lines) for name, lines in (lists or {}).items()}
        self._files: dict[str, Path] | None = None
        self._read: dict[str, tuple[str, ...]] = {}

    def expand(self, text: str, seed: int, name: str) -> str:
        """The text with every wildcard drawn. Raises DatasetError for a name that there is not, and for a brace that
        is not closed."""
        # A string seeds the same on every machine; see decision 6 for why draws have names.
        return " ".join(self._expanded(text, random.Random(f"{seed} {name}"), 0).split())

    def mark(self) -> str:
        """Tells the files' contents apart: the same mark, the same lists."""
        return repr(sorted((name, content_mark(path)) for name, path in self._found().items()))

    def _expanded(self, text: str, draws: random.Random, depth: int) -> str:
        if depth > _DEEPEST:
            raise DatasetError(f"The wildcards of {text[:80]!r} lead into each other without an end; take one out")
        done: list[str] = []
        at = 0
        while at < len(text):
            name = _NAME.match(text, at)
            if text[at] == "\\" and text[at + 1 : at + 2] in ("{", "}", "|"):
                done.append(text[at + 1])
                at += 2
            elif text[at] == "{":
                end = _closing(text, at)
                done.append(self._choice(text[at + 1 : end], draws, depth + 1))
                at = end + 1
            elif name:
                line = _drawn(self.lines(name[1]), 1, draws)[0]
                done.append(self._expanded(line, draws, depth + 1))
                at = name.end()
            else:
                done.append(text[at])
                at += 1
        return "".join(done)

    def _choice(self, inner: str, draws: random.Random, depth: int) -> str:
        """What stands for the inside of a pair of braces."""
        low = high = 1
        joint = ", "
        count = _COUNT.match(inner)
        if count:
            inner = inner[count.end() :]
            low = int(count[1] or 0) if count[2] else int(count[1] or 1)
            high = int(count[3] or 10**6) if count[2] else low
            head, mark, rest = inner.partition("$$")
            joint, inner = (head, rest) if mark else (joint, inner)
        options = _parts(inner)
        number = draws.randint(min(low, len(options)), min(max(low, high), len(options)))
        return joint.join(self._expanded(option.strip(), draws, depth) for option in _drawn(options, number, draws))

    def lines(self, name: str) -> tuple[str, ...]:
        """The options of `__name__`; `*` takes in every file that it fits. Raises DatasetError when there is none."""
        key = name.strip().casefold()
        if key in self._lists:
            return self._checked(name, self._lists[key])
        found = self._found()
        if key not in self._read:
            chosen = [path for each, path in found.items() if fnmatch.fnmatchcase(each, key)]
            if not chosen:
                raise DatasetError(self._unknown(name, [*self._lists, *found]))
            self._read[key] = tuple(line for path in chosen for line in _file_lines(path))
        return self._checked(name, self._read[key])

    def _checked(self, name: str, lines: tuple[str, ...]) -> tuple[str, ...]:
        if not lines:
            raise DatasetError(f"The wildcard __{name}__ has no line; write at least one option into it")
        return lines

    def _found(self) -> dict[str, Path]:
        if self._files is None:
            self._files = {}
            for folder in self._folders:
                for path in sorted(folder.rglob("*.txt")) if folder.is_dir() else ():
                    name = path.relative_to(folder).with_suffix("").as_posix().casefold()
                    self._files.setdefault(name, path)
        return self._files

    def _unknown(self, name: str, known: Sequence[str]) -> str:
        near = difflib.get_close_matches(name.casefold(), known, n=3, cutoff=0.5)
        places = ", ".join(map(str, self._folders)) or "no folder"
        hint = f"; there is {', '.join(f'__{each}__' for each in near)}" if near else ""
        return f"There is no wildcard __{name}__{hint}. Put {name}.txt with an option a line into one of: {places}"


def _closing(text: str, start: int) -> int:
    """The place of the brace that closes the one at `start`."""
    depth, at = 0, start
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in ("{", "}", "|"):
            at += 1
        elif text[at] == "{":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise DatasetError(
        f"{text!r}: the brace at character {start + 1} is not closed; write a closing one, or \\{{ for a plain brace"
    )


def _parts(inner: str) -> tuple[str, ...]:
    """The options of a choice: split at bars, but not at those of choices inside."""
    parts, depth, begin, at = [], 0, 0, 0
    while at < len(inner):
        if inner[at] == "\\" and inner[at + 1 : at + 2] in ("{", "}", "|"):
            at += 1
        elif inner[at] in "{}":
            depth += 1 if inner[at] == "{" else -1
        elif inner[at] == "|" and depth == 0:
            parts.append(inner[begin:at])
            begin = at + 1
        at += 1
    return (*parts, inner[begin:])


def _drawn(options: Sequence[str], number: int, draws: random.Random) -> list[str]:
    """So many different options, drawn by their weights, without these."""
    left = [(_weight(option), option) for option in options]
    drawn = []
    for _ in range(number):
        if not any(weight for weight, _ in left):
            left = [(1.0, option) for _, option in left]
        place = draws.choices(range(len(left)), weights=[weight for weight, _ in left])[0]
        drawn.append(_WEIGHT.sub("", left.pop(place)[1], count=1))
    return drawn


def _weight(option: str) -> float:
    found = _WEIGHT.match(option)
    return float(found[1]) if found else 1.0


def _file_lines(path: Path) -> list[str]:
    """Lines with something on them; those that begin with # are notes."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"The wildcard file {path} cannot be read ({error}); save it as UTF-8 text") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
