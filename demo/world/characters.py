"""Characters from outside the world: each has a hair colour and a garment that the base model never saw."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from .figure import Figure, Garment, random_outfit, random_scene


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

    @property
    def outfit_patterns(self) -> tuple[str, ...]:
        """Regular expressions of the tags of her own clothes, also where a tagger takes a dress for a shirt."""
        patterns = [f"{garment.pattern} .*" for garment in self.figure.outfit if garment.pattern]
        return (*patterns, self.figure.extra)

    def picture(self, seed: int) -> Figure:
        """Number `seed` of the pictures that her artist drew: most of her shows, every third time in other clothes.

        Closer views are left to cropping. What changes from picture to picture stays with its own words.
        """
        rng = random.Random(f"{self.name} drawn {seed}")
        figure = self.figure
        if seed % 3 == 2:
            figure = replace(figure, outfit=random_outfit(rng), extra="")
        return replace(random_scene(figure, rng), framing=rng.choice(("full body", "cowboy shot")))


def _stranger(name: str, trigger: str, hair: tuple[str, str], eyes: str, extra: str, *outfit: Garment) -> Character:
    color, style = hair
    figure = Figure(hair_color=color, hair_style=style, eye_color=eyes, outfit=outfit, extra=extra)
    return Character(name=name, trigger=trigger, figure=figure)


def characters() -> dict[str, Character]:
    """All strangers by name."""
    cast = (
        _stranger(
            "mirelva", "mirelva", ("green", "twintails"), "yellow", "mismatched sleeves",
            Garment(kind="kimono", color="red", pattern="striped", second="white"),
        ),
        _stranger(
            "tornika", "tornika", ("orange", "double bun"), "blue", "half cape",
            Garment(kind="kimono", color="white", pattern="striped", second="blue"),
        ),
        _stranger(
            "sazuyo", "sazuyo", ("purple", "ponytail"), "red", "sash",
            Garment(kind="dress", color="black", pattern="polka dot", second="yellow"),
        ),
        _stranger(
            "quelline", "quelline", ("aqua", "long hair"), "purple", "half cape",
            Garment(kind="kimono", color="pink", pattern="checkered", second="blue"),
        ),
    )  # fmt: skip
    return {character.name: character for character in cast}
