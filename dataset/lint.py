"""Looking at a trigger word before it is trained: words that mean something already bleed into it, and it into them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .garments import OUTFIT
from .tag_tables import ACCESSORIES, BODY, CHEST, EARS, EYES, HAIR, POSE
from .tags import tag_key
from .values import Dataset

Pieces = Callable[[str], Sequence[str]]
"""A text as the pieces that a tokenizer reads it in; a piece that ends a word ends in a space."""

_TABLES = (HAIR, EYES, EARS, CHEST, BODY, ACCESSORIES, OUTFIT, POSE)
_SHORTEST_PIECE = 4
"""Shorter ends of words are syllables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """What is known of words outside the dataset: a tokenizer's pieces, and the tags of tagger lists (`tag_key`)."""

    pieces: Pieces | None = None
    tags: frozenset[str] = frozenset()

    def tags_with(self, word: str) -> list[str]:
        """Up to three tags that have the word, the shortest first."""
        found = [tag for tag in self.tags if word in tag and word in _words(tag)]
        return sorted(found, key=lambda tag: (len(tag), tag))[:3]


def lint_trigger(trigger: str, dataset: Dataset, lexicon: Lexicon | None = None) -> tuple[str, ...]:
    """Warnings about a trigger that is, or contains, what captions, tags or the text encoder already know."""
    own = tag_key(trigger)
    if not own:
        return ()
    known = lexicon or Lexicon()
    captions = {tag_key(tag) for record in dataset for tag in (*record.tags, *record.pruned)} - {own}
    in_captions = {word for tag in captions for word in _words(tag)}
    warnings = []
    if own in known.tags:
        warnings.append(
            f"The trigger {trigger!r} is a tag that taggers and many models know. That helps when just that is meant; "
            "else take a made-up word"
        )
    for word in dict.fromkeys(_words(own)):
        reasons = _reasons(word, in_captions, own, known)
        if reasons:
            warnings.append(
                f"The trigger {trigger!r} contains {word!r}, {' and '.join(reasons)}: the two will bleed into each "
                "other. Use one made-up word"
            )
    if known.pieces:
        warnings += _piece_warnings(trigger, own, known.pieces)
    if re.fullmatch(r"[a-z]{1,3}", own):
        warnings.append(f"The trigger {trigger!r} is very short and may be part of other words. Give a longer one")
    return tuple(warnings)


def _words(key: str) -> list[str]:
    return re.findall(r"[^\W_]+", key)


def _reasons(word: str, in_captions: set[str], own: str, known: Lexicon) -> list[str]:
    if len(word) < 3 or word.isdigit():
        return []
    reasons = ["a word of other tags"] if word in in_captions else []
    others = [tag for tag in known.tags_with(word) if tag != own]
    if others and not reasons:
        reasons.append(f"a word of tags that taggers know ({', '.join(others)})")
    if not reasons and any(table.has(word) for table in _TABLES):
        reasons.append("a tag of its own")
    if known.pieces and tuple(known.pieces(word)) == (f"{word} ",):
        reasons.append("a word that the text encoder knows")
    return reasons


def _piece_warnings(trigger: str, own: str, pieces: Pieces) -> list[str]:
    """Words of the trigger that the tokenizer takes apart, with a real word at the end of one."""
    warnings = []
    for word in dict.fromkeys(_words(own)):
        parts = tuple(pieces(word))
        last = parts[-1].rstrip() if parts else ""
        ends = bool(parts) and parts[-1].endswith(" ")
        if len(parts) > 1 and ends and last.isalpha() and len(last) >= _SHORTEST_PIECE:
            read = " + ".join(part.strip() for part in parts)
            warnings.append(
                f"The text encoder reads {word!r} of the trigger {trigger!r} as {read}, and knows {last!r} as a word: "
                "check that the LoRA does not show it, or spell the end in another way"
            )
    return warnings
