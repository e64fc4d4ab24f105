"""The filter language: which records of a dataset are meant.

1girl AND NOT (long hair OR hat)        tags, in any spelling; AND, OR, NOT in capitals; a comma is AND
*hair, -hat                             * is any text; a minus before a word is NOT
group:kierose* AND tokens:>75           fields of text and of numbers, 512..1024 is a range
is:derived OR name:front.png            what a record is
"AND", ":)", tag:re:zero                quotes and tag: for tags that look like something else
"""

from __future__ import annotations

import fnmatch
import math
import operator
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from .errors import BadFilter
from .filter_fields import FIELDS, NUMBERS, PARTS, STATES, TAGS, TEXTS, Test, about_tokens
from .tags import KAOMOJI, tag_key
from .values import Record

CountTokens = Callable[[str], int]

DEEPEST = 50
"""Parentheses within parentheses; nobody writes more, and each costs a few frames of Python's stack."""

_ANY = "\ud800"  # stands for the wildcard while a tag is cleaned: half a character, which no text has
_STOP = re.compile(r"\s*(?:$|[,)])|\s+(?:AND|OR|NOT)(?=[\s(\"]|$)")
_OPERATOR = re.compile(r"(AND|OR|NOT)(?=[\s(\"]|$)")
_FIELD = re.compile(r"([A-Za-z]+):")
_RANGE = re.compile(r"(.+?)\.\.(.+)")
_COMPARED = re.compile(r"(<=|>=|!=|<|>|=)?(.+)", re.DOTALL)
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled filter, called with a record. `terms` are its parts by the words that were written."""

    text: str
    test: Test
    terms: tuple[tuple[str, Test], ...]

    def __call__(self, record: Record) -> bool:
        return self.test(record)


def compile_filter(text: str, count_tokens: CountTokens | None = None) -> Filter:
    """The filter that `text` writes; an empty one lets every record pass.

    `count_tokens` counts a caption for `tokens:`; without one they are estimated (`about_tokens`). Raises BadFilter.
    """
    if not text.strip():
        return Filter(text, lambda record: True, ())
    return _Parser(text, count_tokens or about_tokens).filter()


def quote(text: str) -> str:
    """`text` as a filter that means it literally, whatever signs it has."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True, slots=True)
class _Word:
    """One operand as written: its text with wildcards as `_ANY`, where it stands, its field ("" for none)."""

    field: str
    value: str
    start: int
    end: int


class _Parser:
    """Reads one filter from left to right: OR binds least, then AND, then NOT."""

    def __init__(self, text: str, count_tokens: CountTokens) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.terms: list[tuple[str, Test]] = []
        # Asked twice for each caption: for the filter, and for the count of its part.
        self.count_tokens = lru_cache(maxsize=1 << 16)(count_tokens)

    def filter(self) -> Filter:
        test = self._either()
        if self.at < len(self.text):
            raise self._error("this ) closes nothing", 'Take it away, or put the tag in quotes: ":)"')
        return Filter(self.text, test, tuple(self.terms))

    def _either(self) -> Test:
        tests = [self._all()]
        while self._take("OR"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda record: any(test(record) for test in tests)

    def _all(self) -> Test:
        tests = [self._not()]
        while self._take("AND") or self._take_sign(","):
            tests.append(self._not())
        if word := self._operator("NOT"):
            raise self._error(f"{word} follows without AND or OR", "Write AND NOT")
        return tests[0] if len(tests) == 1 else lambda record: all(test(record) for test in tests)

    def _not(self) -> Test:
        negative = False
        while self._take("NOT") or self._take_minus():
            negative = not negative
        test = self._operand()
        return (lambda record: not test(record)) if negative else test

    def _operand(self) -> Test:
        self._skip_space()
        if face := self._kaomoji():
            return self._term(_Word("", face, self.at - len(face), self.at))
        if self._take_sign("("):
            return self._group()
        if self.at == len(self.text) or self.text[self.at] in ",)" or self._operator():
            raise self._error("a tag or a field is missing here", "Write one, such as long hair or group:kierose")
        return self._term(self._word())

    def _group(self) -> Test:
        opened = self.at - 1
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._error(f"more than {DEEPEST} parentheses are open", "Take some away", opened)
        test = self._either()
        if not self._take_sign(")"):
            raise self._error("this ( is never closed", "Write the ) that belongs to it", opened)
        self.depth -= 1
        self._expect_end('Put AND, OR or a comma between; a tag that begins with ( goes in quotes: "(o)_(o)"')
        return test

    # --- words -------------------------------------------------------------------------------------------------------

    def _word(self) -> _Word:
        start, field = self.at, ""
        if match := _FIELD.match(self.text, self.at):
            field = match[1].lower()
            if field not in FIELDS:
                raise self._error(
                    f"there is no field {match[1]}",
                    f"Fields are {', '.join(FIELDS)}. For a tag write tag:{match[0]}...",
                )
            self.at = match.end()
            self._skip_space()
        quoted = self.at < len(self.text) and self.text[self.at] == '"'
        value = self._quoted() if quoted else self._bare()
        if not value and not (quoted and field not in ("", "tag")):
            raise self._error(
                f"nothing stands after {field}:" if field else "nothing is quoted", "Write a value", start
            )
        return _Word(field, value, start, self.at)

    def _quoted(self) -> str:
        opened = self.at
        self.at += 1
        value = []
        while self.at < len(self.text) and self.text[self.at] != '"':
            self.at += self.text.startswith(("\\\\", '\\"'), self.at)
            value.append(self.text[self.at])
            self.at += 1
        if self.at == len(self.text):
            raise self._error('this " is never closed', 'Write the second "', opened)
        self.at += 1
        self._expect_end("Put AND, OR or a comma between")
        return "".join(value)

    def _bare(self) -> str:
        r"""Words up to the next operator, comma or closing parenthesis. `(` within belongs to the tag, `\` escapes."""
        value: list[str] = []
        opened: list[int] = []
        while self.at < len(self.text):
            sign = self.text[self.at]
            if sign == "\\" and self.at + 1 < len(self.text):
                self.at += 1
                value.append(self.text[self.at])
            elif sign == "(":
                opened.append(self.at)
                value.append(sign)
            elif sign == ")" and opened:
                opened.pop()
                value.append(sign)
            elif sign in ",)" or self._operator():
                if opened:
                    raise self._error("AND, OR or a comma is missing before this (", "Write it", opened[0])
                break
            else:
                value.append(_ANY if sign == "*" else sign)
            self.at += 1
        if opened:
            raise self._error("this ( is never closed", 'Write its ), or put the tag in quotes: ":("', opened[0])
        return "".join(value).strip()

    def _kaomoji(self) -> str:
        """A face such as `(o)_(o)` that stands here by itself; it is passed over."""
        here = [face for face in KAOMOJI if self.text.startswith(face, self.at)]
        face = max(here, key=len, default="")
        if face and _STOP.match(self.text, self.at + len(face)):
            self.at += len(face)
            return face
        return ""

    def _expect_end(self, mend: str) -> None:
        """Raise unless an operand may end here."""
        self._skip_space()
        if self.at < len(self.text) and self.text[self.at] not in ",)" and not self._operator():
            raise self._error("words follow without AND, OR or a comma", mend)

    # --- signs -------------------------------------------------------------------------------------------------------

    def _operator(self, *wanted: str) -> str:
        """The operator that stands here (one of `wanted`, or any), or ""; nothing is passed over."""
        before = self.text[self.at - 1] if self.at else " "
        match = _OPERATOR.match(self.text, self.at)
        if match is None or not (before.isspace() or before in '(),"') or (wanted and match[1] not in wanted):
            return ""
        return match[1]

    def _take(self, word: str) -> bool:
        self._skip_space()
        found = self._operator(word)
        self.at += len(found)
        return bool(found)

    def _take_sign(self, sign: str) -> bool:
        self._skip_space()
        found = self.text.startswith(sign, self.at)
        self.at += len(sign) if found else 0
        return found

    def _take_minus(self) -> bool:
        """A minus right before a word, a quote or a parenthesis; `-_-` is a face."""
        self._skip_space()
        following = self.text[self.at + 1 : self.at + 2]
        if not self.text.startswith("-", self.at) or not (following.isalnum() or following in ('"', "(", "*")):
            return False
        self.at += 1
        return True

    def _skip_space(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def _error(self, what: str, mend: str, place: int | None = None) -> BadFilter:
        return BadFilter(self.text, self.at if place is None else place, what, mend)

    # --- terms -------------------------------------------------------------------------------------------------------

    def _term(self, word: _Word) -> Test:
        test = self._test(word)
        self.terms.append((self.text[word.start : word.end].strip(), test))
        return test

    def _test(self, word: _Word) -> Test:
        if word.field == "is":
            return self._state(word)
        if word.field == "tokens":
            return self._number(word, lambda record: self.count_tokens(record.caption))
        if word.field in NUMBERS:
            return self._number(word, NUMBERS[word.field][1])
        return _text_test(word.field or "tag", word.value)

    def _state(self, word: _Word) -> Test:
        name = word.value.casefold().replace(_ANY, "*")
        if name not in STATES:
            raise self._error(f"nothing is {name!r}", f"After is: write one of {', '.join(STATES)}", word.start)
        return STATES[name][1]

    def _number(self, word: _Word, read: Callable[[Record], float]) -> Test:
        if match := _RANGE.fullmatch(word.value):
            low, high = (self._float(word, part) for part in match.groups())
            return lambda record: low <= read(record) <= high
        match = _COMPARED.fullmatch(word.value)
        assert match is not None
        compare, number = _COMPARE[match[1] or "="], self._float(word, match[2])
        return lambda record: compare(read(record), number)

    def _float(self, word: _Word, text: str) -> float:
        top, _, bottom = text.strip().partition("/")
        try:
            value = float(top) / float(bottom or 1)
        except (ValueError, ZeroDivisionError):
            value = math.nan
        if not math.isfinite(value):
            shown = text.strip().replace(_ANY, "*")
            raise self._error(
                f"{shown!r} is not a number", f"Write {word.field}:512, {word.field}:>=512 or {word.field}:512..1024",
                word.start,
            )  # fmt: skip
        return value


def _text_test(field: str, value: str) -> Test:
    read, plain = TEXTS[field][1], tag_key if field in TAGS else _plain
    matches = _matcher(value, plain, part=field in PARTS)
    return lambda record: any(matches(text) for text in read(record))


def _matcher(value: str, plain: Callable[[str], str], *, part: bool) -> Callable[[str], bool]:
    """Whether a text, made `plain`, is what was written: whole, or anywhere in it."""
    pattern = "".join("*" if c == _ANY else f"[{c}]" if c in "[?*" else c for c in plain(value))
    matches = re.compile(fnmatch.translate(f"*{pattern}*" if part else pattern)).match

    # The same tags come again and again.
    @lru_cache(maxsize=4096)
    def test(text: str) -> bool:
        return matches(plain(text)) is not None

    return test


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
