"""Booru tags as text: splitting captions, joining them, and comparing tags."""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Iterable, Sequence

KAOMOJI = frozenset(
    (
        "0_0", "(o)_(o)", "+_+", "+_-", "._.", "<o>_<o>", "<|>_<|>", "=_=", ">_<", "3_3", "6_9", ">_o", "@_@", "^_^",
        "o_o", "u_u", "x_x", "|_|", "||_||", "t_t", "d_d", "c_c", "z_z", "o_O", "O_o", "O_O", "^_~", "-_-", ";_;",
        "n_n", "w_w", "v_v", "q_q", "=_^", "^_;", ">_>", "<_<", "T_T", "X_X", "U_U",
    )
)  # fmt: skip
"""Tags whose underscore is a mouth."""

_ESCAPED = re.compile(r"\\+([()])")
_NEXT_SENTENCE = re.compile(r"[.!?]\s+[A-Z]")
_SPACE = re.compile(r"\s+")
_SEPARATOR = re.compile(r"[,\uff0c\u3001\r\n]+")


@functools.lru_cache(maxsize=1 << 16)
def clean_tag(tag: str) -> str:
    r"""One tag as this pack writes it: spaces for underscores, plain parentheses for `\(` and `\)`."""
    tag = _SPACE.sub(" ", _ESCAPED.sub(r"\1", tag)).strip()
    if tag in KAOMOJI or not any(letter.isalnum() for letter in tag):
        return tag
    return _SPACE.sub(" ", tag.replace("_", " ")).strip()


def literal_tag(tag: str) -> str:
    r"""A trigger as it was typed, underscores too; only `\(` becomes `(` and no blanks are left over.

    The text encoder reads `kie_rose` and `kie rose` in different pieces, so nobody but its owner may choose.
    """
    return _SPACE.sub(" ", _ESCAPED.sub(r"\1", tag)).strip()


def split_literal(text: str) -> tuple[str, ...]:
    """The words of a trigger, which a saved or merged dataset may have several of, as `literal_tag` writes them."""
    return distinct_tags(tag for part in _SEPARATOR.split(text) if (tag := literal_tag(part)))


def underscored(tag: str) -> str:
    """A tag with underscores for its spaces, as boorus write it; `clean_tag` takes them back."""
    return clean_tag(tag).replace(" ", "_")


def tag_key(tag: str) -> str:
    """What two spellings of one tag have in common: clean, and without upper case."""
    return clean_tag(tag).casefold()


def word_pattern(word: str) -> str:
    """A regular expression for a word, or words, that stand by themselves; they may end in brackets."""
    return rf"(?<!\w){re.escape(word)}(?!\w)"


def without_words(text: str, words: Iterable[str]) -> str:
    """A text in sentences without triggers and the commas behind them; an empty one is nowhere."""
    # One trigger may begin as another does.
    for word in sorted(filter(None, words), key=len, reverse=True):
        text = re.sub(rf"{word_pattern(word)}[,\s]*", "", text)
    return text


def parse_tags(text: str) -> tuple[str, ...]:
    """Split a caption at commas and line ends into clean tags, each once, in order."""
    return unique_tags(_SEPARATOR.split(text.lstrip("\ufeff")))


def unique_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags cleaned, empty ones and later spellings of the same one left out, in order."""
    found: dict[str, str] = {}
    for tag in tags:
        clean = clean_tag(tag)
        if clean:
            found.setdefault(clean.casefold(), clean)
    return tuple(found.values())


def distinct_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags as they are spelled, later spellings of the same one left out, in order."""
    found: dict[str, str] = {}
    for tag in tags:
        found.setdefault(tag_key(tag), tag)
    return tuple(found.values())


def join_tags(tags: Sequence[str]) -> str:
    """Tags as a caption; `parse_tags` gives them back."""
    return ", ".join(tags)


def looks_like_prose(text: str) -> bool:
    """Whether a caption is written in sentences rather than in tags.

    Tags are short and have no full stops; names end in `!` or `?` (k-on!). Without any comma, six words are a sentence.
    """
    parts = [part.split() for part in _SEPARATOR.split(text) if part.strip()]
    longest = max((len(part) for part in parts), default=0)
    ends = text.rstrip().endswith(".") or (text.rstrip().endswith(("!", "?")) and len(parts[-1]) > 2)
    return (
        (ends and longest >= 5)
        or (longest >= 4 and _NEXT_SENTENCE.search(text) is not None)
        or (len(parts) == 1 and longest >= 6)
    )


def matches_any(tag: str, patterns: Sequence[re.Pattern[str]]) -> bool:
    """Whether a whole tag, cleaned and in lower case, is matched by one of the patterns."""
    key = tag_key(tag)
    return any(pattern.fullmatch(key) for pattern in patterns)


def compile_globs(tags: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Patterns for a list that people write by hand: whole tags in any spelling, `*` for any text."""
    # fnmatch would read the brackets of tags such as `:[` as a set of letters.
    return tuple(
        re.compile(fnmatch.translate(re.sub(r"([\[?])", r"[\1]", tag_key(tag)))) for tag in tags if tag.strip()
    )


def compile_patterns(lines: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    """Regular expressions, one a line, matched against whole tags. ValueError names a line that is none."""
    patterns = []
    for line in lines:
        try:
            patterns.append(re.compile(line.strip(), re.IGNORECASE))
        except re.error as error:
            raise ValueError(
                f"{line.strip()!r} is not a regular expression: {error}. Mend it, or write a backslash before "
                "characters that stand for themselves, such as ( ) + ?"
            ) from error
    return tuple(patterns)
