"""Characters from outside the world: each has a hair colour and a garment that the base model never saw."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .figure import Figure, Garment, random_scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Character:
    """A named stranger. `trigger` is the word that a LoRA of her learns."""

    name: str
    trigger: str
    figure: Figure

    @property
    def traits(self) -> tuple[str, ...]:
        """Every tag of who she is, seen from the front in full."""
        return self.figure.trait_tags()

    def picture(self, seed: int) -> Figure:
        """Her, in the random scene number `seed`."""
        return random_scene(self.figure, random.Random(f"{self.name} {seed}"))


def _stranger(name: str, trigger: str, hair: tuple[str, str], eyes: str, extra: str, *outfit: Garment) -> Character:
    color, style = hair
    figure = Figure(hair_color=color, hair_style=style, eye_color=eyes, outfit=outfit, extra=extra)
    return Character(name=name, trigger=trigger, figure=figure)


def characters() -> dict[str, Character]:
    """All strangers by name."""
    cast = (
        _stranger(
            "mirelva", "mirelva", ("green", "twintails"), "yellow", "mismatched sleeves",
            Garment(kind="dress", color="red", pattern="striped", second="white"),
        ),
        _stranger(
            "tornika", "tornika", ("orange", "ponytail"), "blue", "half cape",
            Garment(kind="kimono", color="black", pattern="striped", second="yellow"),
        ),
        _stranger(
            "sazuyo", "sazuyo", ("purple", "double bun"), "red", "sash",
            Garment(kind="dress", color="black", pattern="polka dot", second="yellow"),
        ),
        _stranger(
            "quelline", "quelline", ("aqua", "long hair"), "purple", "half cape",
            Garment(kind="kimono", color="pink", pattern="checkered", second="blue"),
        ),
    )  # fmt: skip
    return {character.name: character for character in cast}
