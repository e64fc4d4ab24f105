"""Tags that another tag of the same picture already says: `black skirt` says `skirt`."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from .tags import compile_globs, tag_key

Implications = tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]
"""A user's own: patterns of whole tags, and the keys of what they say."""

# A tag that ends in another one as whole words says it, except where the first words take it back.
_TAKES_BACK = re.compile(r"(?:no|missing|unworn|fake|without|removed|alternate|imaginary|toy) .*")
_COLORS = "aqua|beige|black|blue|brown|green|grey|orange|pink|purple|red|tan|white|yellow"
_TABLE: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), implied)
    for pattern, implied in (
        (
            rf"(?:(?:light|dark) )?(?:{_COLORS}|gradient|two-tone|striped|polka dot) background",
            ("simple background",),
        ),
        (r"holding .+", ("holding",)),
        (r"frilled .+", ("frills",)),
        (r"striped .+", ("striped",)),
        (r"plaid .+", ("plaid",)),
        (r"checkered .+", ("checkered",)),
        (r"polka dot .+", ("polka dot",)),
        (r"(?:cat|dog|fox|horse|rabbit|wolf|bear|mouse|tiger|lion|cow) ears", ("animal ears",)),
        (r"absurdly long hair", ("very long hair", "long hair")),
        (r"hair (?:ribbon|bow|flower|bobbles|clip|pin)|hairclip|hairpin", ("hair ornament",)),
        (r"serafuku", ("school uniform",)),
        (r"bikini|.+ bikini|school swimsuit", ("swimsuit",)),
        (r"open mouth smile|grin", ("smile",)),
    )
)


def parse_implications(text: str) -> Implications:
    """Implications written as JSON, `{"holding cup": ["cup", "holding"], "* dress": "dress"}`.

    A list of objects with `antecedent_name` and `consequent_name`, as boorus export theirs, is read too. Left sides
    may have * for any text. Raises ValueError for anything else.
    """
    if not text.strip():
        return ()
    try:
        pairs = tuple(_pairs(json.loads(text)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f'implications is not a JSON object of tags ({error}). Write {{"black skirt": ["skirt"], "* dress": '
            '"dress"}, or leave it empty'
        ) from error
    return tuple((compile_globs([left])[0], right) for left, right in pairs)


def _pairs(data: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    if isinstance(data, list):
        for row in data:
            yield row["antecedent_name"], (tag_key(row["consequent_name"]),)
        return
    for left, right in data.items():
        implied = [right] if isinstance(right, str) else list(right)
        if not left.strip() or not all(isinstance(tag, str) for tag in implied):
            raise ValueError(f"{left!r} must name a tag, and what it says must be tags")
        yield left, tuple(tag_key(tag) for tag in implied)


def drop_implied(tags: Sequence[str], keep: Sequence[str] = (), more: Implications = ()) -> tuple[str, ...]:
    """The tags without those that others among them imply; tags in `keep` stay in any case.

    `more` adds a user's own implications, which reach as far as they lead (a says b, b says c).
    """
    keys = [tag_key(tag) for tag in tags]
    implied = {other for key in keys for other in _implied(key)} | {o for key in keys for o in _said_by(key, more)}
    kept = {tag_key(tag) for tag in keep}
    for key in keys:
        if not _TAKES_BACK.fullmatch(key):
            implied.update(other for other in keys if key.endswith(f" {other}"))
    return tuple(tag for tag, key in zip(tags, keys, strict=True) if key in kept or key not in implied)


@functools.lru_cache(maxsize=1 << 14)
def _implied(key: str) -> tuple[str, ...]:
    return tuple(other for pattern, implied in _TABLE for other in implied if pattern.fullmatch(key) and other != key)


def _said_by(key: str, more: Implications) -> Iterable[str]:
    """Everything that a tag says by the user's own implications, itself left out (circles do not erase it)."""
    found: list[str] = []
    left = [key] if more else []
    while left:
        now = left.pop()
        for pattern, implied in more:
            if pattern.fullmatch(now):
                new = [other for other in implied if other != key and other not in found]
                found += new
                left += new
    return found
