"""Colours of the body: which are a character's own, and which differ in one picture."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from .tags import tag_key
from .values import Dataset

FEATURES = ("hair", "eyes", "skin", "ears", "tail", "horns", "wings", "bangs", "eyebrows", "pupils", "sclera", "halo")
COLORS = (
    "aqua", "beige", "black", "blonde", "blue", "brown", "cyan", "gold", "golden", "gray", "green", "grey", "lavender",
    "maroon", "orange", "pink", "platinum blonde", "purple", "red", "silver", "tan", "teal", "turquoise", "violet",
    "white", "yellow",
)  # fmt: skip
AUTO = "auto"
"""In a list of a character's own looks: the colours that most of the pictures show."""

_SHADE = r"(?:(?:very )?(?:light|dark|pale|bright|deep) )?"
_COLORED = re.compile(rf"{_SHADE}({'|'.join(COLORS)}) ({'|'.join(FEATURES)})")
_ALIASES = {"gray": "grey", "golden": "gold", "platinum blonde": "blonde", "cyan": "aqua", "turquoise": "teal"}


def color_of(tag: str) -> tuple[str, str] | None:
    """(feature, colour) of a tag such as `dark green hair`, shades left out, or None."""
    found = _COLORED.fullmatch(tag_key(tag))
    return (found[2], _ALIASES.get(found[1], found[1])) if found else None


def own_colors(own: Sequence[str], dataset: Dataset) -> dict[str, set[str]]:
    """Feature to a character's own colours: those of the tags in `own`; `auto` adds what the captions show most."""
    found: dict[str, set[str]] = {}
    for feature, color in _colors(tag for tag in own if tag_key(tag) != AUTO):
        found.setdefault(feature, set()).add(color)
    if any(tag_key(tag) == AUTO for tag in own):
        for feature, color in _most_frequent(dataset).items():
            # What the user has said of a feature counts, not what is counted.
            found.setdefault(feature, {color})
    return found


def differs(tag: str, own: dict[str, set[str]]) -> bool:
    """Whether a tag gives a feature a colour that is not the character's own."""
    colored = color_of(tag)
    return colored is not None and colored[0] in own and colored[1] not in own[colored[0]]


def _colors(tags: Iterable[str]) -> list[tuple[str, str]]:
    return [colored for tag in tags if (colored := color_of(tag)) is not None]


def _most_frequent(dataset: Dataset) -> dict[str, str]:
    counts: dict[str, Counter[str]] = {}
    for record in dataset:
        if not record.is_reg:
            for feature, color in _colors(record.tags):
                counts.setdefault(feature, Counter())[color] += record.repeats
    return {feature: counter.most_common(1)[0][0] for feature, counter in counts.items()}
