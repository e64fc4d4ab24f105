"""More strangers for studies: what holds for one character may be luck."""

from __future__ import annotations

import random

from .world import vocabulary as words
from .world.characters import Character, characters
from .world.figure import Figure, Garment

_NAMES = ("velmira", "kazumei", "brinova", "lirune", "settoka", "yarvine", "orvelle", "nadzuki")


def cast(count: int) -> list[Character]:
    """So many strangers: those of the world, then drawn by lot, each with hair and cloth that the base never saw."""
    found = list(characters().values())
    found += [_stranger(name) for name in _NAMES]
    if count > len(found):
        raise ValueError(f"the cast has {len(found)} strangers, {count} are asked for; give fewer")
    return found[:count]


def _stranger(name: str) -> Character:
    rng = random.Random(f"cast {name}")
    kind = rng.choice(("kimono", "dress"))
    color, second = rng.sample(tuple(words.CLOTH_COLORS), 2)
    figure = Figure(
        hair_color=rng.choice(tuple(words.STRANGE_HAIR_COLORS)),
        hair_style=rng.choice(words.HAIR_STYLES),
        eye_color=rng.choice(tuple(words.EYE_COLORS)),
        outfit=(Garment(kind=kind, color=color, pattern=rng.choice(words.STRANGE_PATTERNS), second=second),),
        extra=rng.choice(words.STRANGE_EXTRAS),
    )
    return Character(name=name, trigger=name, figure=figure)
