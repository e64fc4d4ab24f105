"""A figure's description, its tags, and random figures of the world."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from . import vocabulary as words

# Share of each framing and view among random figures: whole figures and front views teach most.
_FRAMING_SHARES = (42, 20, 23, 15)
_VIEW_SHARES = (78, 11, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Garment:
    """One piece of clothing: `kind` is a word of an outfit, `pattern` and `second` only strangers have."""

    kind: str
    color: str
    pattern: str = ""
    second: str = "white"

    @property
    def tag(self) -> str:
        """The booru tag: the pattern says more than the colour, as on a booru."""
        return f"{self.pattern or self.color} {self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """All that a drawing shows. `seed` moves only what no tag names: place, size, sway of the arms."""

    hair_color: str
    hair_style: str
    eye_color: str
    outfit: tuple[Garment, ...]
    extra: str = ""
    accessories: tuple[str, ...] = ()
    expression: str = "smile"
    pose: str = "standing"
    framing: str = "full body"
    view: str = "front"
    background: str = "white background"
    style: str = "flat color"
    seed: int = 0

    @property
    def sees_face(self) -> bool:
        return self.view != "from behind"

    @property
    def shown_outfit(self) -> tuple[Garment, ...]:
        """The garments that can be told: none in a portrait, and above the waist only the upper one."""
        return self.outfit[: {"portrait": 0, "upper body": 1}.get(self.framing, 2)]

    @property
    def shown_pose(self) -> str:
        """The pose's tag, or nothing when the frame cuts it off."""
        if self.framing == "full body":
            return self.pose
        if self.framing == "cowboy shot":
            return "" if self.pose == "sitting" else self.pose
        if self.framing == "upper body" and self.pose in ("arms up", "waving"):
            return self.pose
        return ""

    def trait_tags(self) -> tuple[str, ...]:
        """Tags of who she is in this picture: hair, eyes, clothes as far as the frame and view show them."""
        tags = [f"{self.hair_color} hair", self.hair_style]
        if self.sees_face and self.expression != "closed eyes":
            tags.append(f"{self.eye_color} eyes")
        tags += [garment.tag for garment in self.shown_outfit]
        if self.extra and self.shown_outfit:
            tags.append(self.extra)
        return tuple(tags)

    def scene_tags(self) -> tuple[str, ...]:
        """Tags of this one picture: accessories, expression, pose, framing, view, background, style."""
        tags = [tag for tag in self.accessories if tag != "glasses" or self.sees_face]
        if self.sees_face:
            tags.append(self.expression)
        tags += [tag for tag in (self.shown_pose, self.framing) if tag]
        if self.view != "front":
            tags.append(self.view)
        return (*tags, self.background, self.style)

    def tags(self) -> tuple[str, ...]:
        """All tags, in the order that a booru downloader would leave them: counts, traits, scene."""
        return ("1girl", "solo", *self.trait_tags(), *self.scene_tags())


def random_figure(rng: random.Random, *, strange: float = 0.0) -> Figure:
    """A figure of the world; with chance `strange` each trait comes from outside it instead."""
    hair = words.STRANGE_HAIR_COLORS if rng.random() < strange else words.HAIR_COLORS
    extra = rng.choice(words.STRANGE_EXTRAS) if rng.random() < strange else ""
    number = rng.choices((0, 1, 2), (55, 35, 10))[0]
    figure = Figure(
        hair_color=rng.choice(tuple(hair)),
        hair_style=rng.choice(words.HAIR_STYLES),
        eye_color=rng.choice(tuple(words.EYE_COLORS)),
        outfit=random_outfit(rng, strange=strange),
        extra=extra,
        accessories=tuple(sorted(rng.sample(words.ACCESSORIES, number))),
    )
    return random_scene(figure, rng)


def random_outfit(rng: random.Random, *, strange: float = 0.0) -> tuple[Garment, ...]:
    """An outfit with colours of its own for each garment."""
    kinds = rng.choice(words.OUTFITS)
    colors = rng.sample(tuple(words.CLOTH_COLORS), 3)
    patterned = rng.randrange(len(kinds)) if rng.random() < strange else -1
    return tuple(
        Garment(
            kind=kind,
            color=colors[i],
            pattern=rng.choice(words.STRANGE_PATTERNS) if i == patterned else "",
            second=colors[2],
        )
        for i, kind in enumerate(kinds)
    )


def random_scene(figure: Figure, rng: random.Random) -> Figure:
    """The same person in another picture: expression, pose, framing, view, background, style."""
    return replace(
        figure,
        expression=rng.choice(words.EXPRESSIONS),
        pose=rng.choice(words.POSES),
        framing=rng.choices(words.FRAMINGS, _FRAMING_SHARES)[0],
        view=rng.choices(words.VIEWS, _VIEW_SHARES)[0],
        background=rng.choice(words.BACKGROUNDS),
        style=rng.choice(words.STYLES),
        seed=rng.getrandbits(32),
    )
