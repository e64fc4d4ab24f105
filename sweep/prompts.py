"""Which tags a prompt asks for, in the words of a tagger."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..dataset.tags import parse_tags, tag_key, word_pattern

_WEIGHT = re.compile(r":\s*-?\d*\.?\d+\s*(?=[)\]])")
_NETWORK = re.compile(r"<[^<>]*>|\bembedding:\S+", re.IGNORECASE)
_BRACKET = re.compile(r"(?<!\\)[()\[\]{}]")
_COUNTS = re.compile(r"\d\+?(?:girl|boy|other)s?|solo|multiple (?:girls|boys|others)")
_LONGEST = 4
"""Words of the longest tag that is looked for in prose."""


def prompted_tags(prompt: str, known: frozenset[str]) -> frozenset[str]:
    """The tags (`tag_key`) among `known` that a prompt names: emphasis and weights read away, prose word by word.

    How many people there are is left out: everything passes that test.
    """
    plain = _BRACKET.sub("", _WEIGHT.sub("", _NETWORK.sub(" ", prompt)))
    found = set()
    for part in parse_tags(plain):
        key = tag_key(part)
        found |= {key} if key in known else set(_in_prose(key, known))
    return frozenset(tag for tag in found if not _COUNTS.fullmatch(tag))


def names(prompt: str, word: str) -> bool:
    """Whether a prompt has the word, or words, as they stand; an empty one is in every prompt."""
    return not word or re.search(word_pattern(word), _unescaped(prompt), re.IGNORECASE) is not None


def without_names(prompt: str, words: Iterable[str]) -> str:
    """The prompt without words that it `names`; as it stands where it names none."""
    # A trigger may begin as another one does.
    for word in sorted(words, key=len, reverse=True):
        if word and names(prompt, word):
            prompt = re.sub(word_pattern(word), " ", _unescaped(prompt), flags=re.IGNORECASE)
    return prompt


def _unescaped(prompt: str) -> str:
    """Brackets of a trigger are written so that they are no weights."""
    return re.sub(r"\\([()\[\]])", r"\1", prompt)


def _in_prose(text: str, known: frozenset[str]) -> Iterator[str]:
    """The longest known tags among the words, from left to right; none within another."""
    words = re.findall(r"[^\s.;!?\"]+", text)
    at = 0
    while at < len(words):
        for length in range(min(_LONGEST, len(words) - at), 0, -1):
            candidate = " ".join(words[at : at + length])
            if candidate in known:
                yield candidate
                at += length
                break
        else:
            at += 1
