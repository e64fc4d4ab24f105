"""Tags that another tag of the same picture already says: `black skirt` says `skirt`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .tags import tag_key

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


def drop_implied(tags: Sequence[str], keep: Sequence[str] = ()) -> tuple[str, ...]:
    """The tags without those that others among them imply; tags in `keep` stay in any case."""
    keys = [tag_key(tag) for tag in tags]
    implied = {other for key in keys for other in _implied(key)}
    kept = {tag_key(tag) for tag in keep}
    for key in keys:
        if not _TAKES_BACK.fullmatch(key):
            implied.update(other for other in keys if key.endswith(f" {other}"))
    return tuple(tag for tag, key in zip(tags, keys, strict=True) if key in kept or key not in implied)


def _implied(key: str) -> tuple[str, ...]:
    return tuple(other for pattern, implied in _TABLE for other in implied if pattern.fullmatch(key) and other != key)
