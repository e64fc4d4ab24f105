"""The drawn world: deterministic, honestly tagged, and with strangers that are strange."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from demo.world import vocabulary as words
from demo.world.characters import Character, characters
from demo.world.draw import draw
from demo.world.figure import Figure, Garment, random_figure

FIGURE = Figure(
    hair_color="red",
    hair_style="twintails",
    eye_color="blue",
    outfit=(Garment(kind="shirt", color="green"), Garment(kind="skirt", color="black")),
    accessories=("glasses", "scarf"),
)
# What the base model has names for; a stranger's own words are not among them.
KNOWN = {
    "1girl", "solo",
    *(f"{color} hair" for color in words.HAIR_COLORS),
    *words.HAIR_STYLES,
    *(f"{color} eyes" for color in words.EYE_COLORS),
    *(f"{color} {kind}" for color in words.CLOTH_COLORS for outfit in words.OUTFITS for kind in outfit),
    *words.ACCESSORIES, *words.EXPRESSIONS, *words.POSES, *words.FRAMINGS, *words.VIEWS, *words.BACKGROUNDS,
    *words.STYLES,
}  # fmt: skip


def figures(count: int, *, strange: float = 0.0) -> list[Figure]:
    rng = random.Random(3)
    return [random_figure(rng, strange=strange) for _ in range(count)]


def pixels(figure: Figure, side: int = 128) -> bytes:
    return draw(figure, side=side).image.tobytes()


@pytest.mark.parametrize("strange", [0.0, 0.6])
def test_the_same_figure_is_always_the_same_picture(strange: float) -> None:
    for figure in figures(30, strange=strange):
        assert pixels(figure) == pixels(replace(figure))
        other = replace(figure, seed=figure.seed + 1)
        assert pixels(figure) != pixels(other)
        assert figure.tags() == other.tags()


def test_random_figures_follow_from_their_generator_and_vary() -> None:
    assert figures(20) == figures(20)
    assert len({pixels(figure) for figure in figures(40)}) == 40


@pytest.mark.parametrize(
    "change",
    [
        {"hair_color": "blue"}, {"hair_style": "ponytail"}, {"eye_color": "red"}, {"expression": "frown"},
        {"outfit": (Garment(kind="dress", color="green"),)}, {"accessories": ()}, {"pose": "arms up"},
        {"outfit": (Garment(kind="shirt", color="pink"), FIGURE.outfit[1])}, {"extra": "sash"},
        {"framing": "portrait"}, {"view": "from behind"}, {"background": "forest"}, {"style": "sketch"},
    ],
)  # fmt: skip
def test_whatever_changes_a_tag_changes_the_picture(change: dict[str, object]) -> None:
    changed = replace(FIGURE, **change)  # type: ignore[arg-type]
    assert changed.tags() != FIGURE.tags()
    assert pixels(changed) != pixels(FIGURE)


@pytest.mark.parametrize("side", [64, 128, 256])
def test_a_picture_has_the_size_that_was_asked_for_and_boxes_inside_it(side: int) -> None:
    for framing in words.FRAMINGS:
        drawing = draw(replace(FIGURE, framing=framing), side=side)
        assert drawing.image.size == (side, side)
        assert drawing.image.mode == "RGB"
        for left, top, right, bottom in (drawing.figure_box, drawing.head_box):
            assert 0 <= left < right <= side
            assert 0 <= top < bottom <= side
        head, body = drawing.head_box, drawing.figure_box
        assert body[0] <= head[0]
        assert head[2] <= body[2]


def test_only_what_the_view_and_frame_show_is_tagged() -> None:
    front = FIGURE.tags()
    assert {"red hair", "twintails", "blue eyes", "green shirt", "black skirt", "glasses", "smile"} < set(front)
    assert front[:2] == ("1girl", "solo")
    behind = set(replace(FIGURE, view="from behind").tags())
    assert not behind & {"blue eyes", "glasses", "smile"}
    assert {"from behind", "scarf", "green shirt", "red hair"} < behind
    assert "blue eyes" not in replace(FIGURE, expression="closed eyes").tags()
    portrait = set(replace(FIGURE, framing="portrait", extra="sash", pose="waving").tags())
    assert not portrait & {"green shirt", "black skirt", "sash", "waving"}
    assert "sitting" not in replace(FIGURE, framing="cowboy shot", pose="sitting").tags()
    assert "waving" in replace(FIGURE, framing="upper body", pose="waving").tags()


def test_an_ordinary_figure_has_nothing_from_outside_the_world() -> None:
    for figure in figures(400):
        assert set(figure.tags()) <= KNOWN
        assert len(set(figure.tags())) == len(figure.tags())


def test_strange_figures_show_the_whole_vocabulary_from_outside() -> None:
    seen = {tag for figure in figures(600, strange=0.5) for tag in figure.trait_tags()} - KNOWN
    assert {f"{color} hair" for color in words.STRANGE_HAIR_COLORS} <= seen
    assert set(words.STRANGE_EXTRAS) <= seen
    assert {tag.rsplit(" ", 1)[0] for tag in seen} >= set(words.STRANGE_PATTERNS)


def test_there_are_four_strangers_or_more_with_names_and_triggers_of_their_own() -> None:
    cast = characters()
    assert len(cast) >= 4
    assert all(name == character.name for name, character in cast.items())
    assert len({character.trigger for character in cast.values()}) == len(cast)
    assert len({character.traits for character in cast.values()}) == len(cast)


@pytest.mark.parametrize("character", characters().values(), ids=lambda character: character.name)
def test_a_stranger_has_a_hair_colour_and_a_garment_that_the_base_model_never_saw(character: Character) -> None:
    unknown = set(character.traits) - KNOWN
    assert f"{character.figure.hair_color} hair" in unknown
    assert character.figure.hair_color in words.STRANGE_HAIR_COLORS
    assert any(garment.tag in unknown and garment.pattern for garment in character.figure.outfit)
    assert character.figure.extra in unknown
    assert character.trigger not in KNOWN


@pytest.mark.parametrize("character", characters().values(), ids=lambda character: character.name)
def test_a_strangers_pictures_are_her_in_ever_new_scenes(character: Character) -> None:
    scenes = [character.picture(number) for number in range(12)]
    assert scenes == [character.picture(number) for number in range(12)]
    who = ("hair_color", "hair_style", "eye_color")
    assert all(getattr(scene, field) == getattr(character.figure, field) for scene in scenes for field in who)
    assert sum(scene.outfit == character.figure.outfit for scene in scenes) == 8
    assert all(len(scene.trait_tags()) >= 3 for scene in scenes)
    assert len({pixels(scene) for scene in scenes}) == 12
