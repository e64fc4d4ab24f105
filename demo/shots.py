"""Prompts whose pictures can be marked: each says which tags a tagger must find."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from .world.characters import Character
from .world.figure import Figure, random_figure, random_outfit, random_scene

# Frames that show the clothes: above the waist a dress cannot be told from a shirt, and a portrait shows neither.
_FRAMES = ("full body", "cowboy shot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One picture to paint and the tags that should be found in it."""

    prompt: str
    seed: int
    wanted: tuple[str, ...]
    figure: Figure | None = None
    """What a perfect picture would show, where that is known."""


def trait_shots(character: Character, count: int) -> list[Shot]:
    """The trigger in scenes that do not name her traits: hair, eyes and clothes must come from the trigger alone."""
    shots = []
    for seed in range(count):
        figure = _clear(random_scene(character.figure, random.Random(f"traits {character.name} {seed}")))
        prompt = ", ".join((character.trigger, "1girl", "solo", *figure.scene_tags()))
        shots.append(Shot(prompt=prompt, seed=1000 + seed, wanted=figure.trait_tags(), figure=figure))
    return shots


def flexibility_shots(character: Character, count: int) -> list[Shot]:
    """The trigger in other clothes: outfit, pose, background and style of the prompt must still be followed."""
    shots = []
    for seed in range(count):
        rng = random.Random(f"flexibility {character.name} {seed}")
        figure = _clear(random_scene(replace(character.figure, outfit=random_outfit(rng), extra=""), rng))
        outfit = tuple(garment.tag for garment in figure.shown_outfit)
        prompt = ", ".join((character.trigger, "1girl", "solo", *outfit, *figure.scene_tags()))
        shots.append(Shot(prompt=prompt, seed=2000 + seed, wanted=_asked(figure), figure=figure))
    return shots


def world_shots(count: int) -> list[Shot]:
    """Figures of the world itself, fully described: how well the base model follows a prompt."""
    shots = []
    for seed in range(count):
        figure = _clear(random_figure(random.Random(f"world {seed}")))
        shots.append(Shot(prompt=", ".join(figure.tags()), seed=3000 + seed, wanted=_asked(figure), figure=figure))
    return shots


def _asked(figure: Figure) -> tuple[str, ...]:
    pose = (figure.shown_pose,) if figure.shown_pose else ()
    return (*(garment.tag for garment in figure.shown_outfit), *pose, figure.background, figure.style)


def _clear(figure: Figure) -> Figure:
    """From the front, with open eyes, in a frame that shows the clothes."""
    rng = random.Random(figure.seed)
    expression = "smile" if figure.expression == "closed eyes" else figure.expression
    framing = figure.framing if figure.framing in _FRAMES else rng.choice(_FRAMES)
    return replace(figure, view="front", expression=expression, framing=framing)
