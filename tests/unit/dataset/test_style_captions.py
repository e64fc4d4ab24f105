"""What the painter is told, and what variants say."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_kiln.dataset.style_captions import (
    DIFFERING,
    FIRST,
    RETAG,
    CaptionOptions,
    Style,
    draw_style,
    painter_prompt,
    plain_tags,
    variant_words,
)
from lora_kiln.dataset.values import Record
from lora_kiln.dataset.wildcards import Wildcards

FILE = Path("/pictures/a.png")
SKETCH = Style(prompt="sketch, (monochrome:1.2)", tags=("sketch", "monochrome"))


def record(*tags: str, prose: str = "", pruned: tuple[str, ...] = ()) -> Record:
    return Record(image=FILE, size=(8, 8), tags=tags, prose=prose, pruned=pruned)


@pytest.mark.parametrize(
    ("prompt", "tags"),
    [
        ("flat color, (anime screencap:1.2)", ("flat color", "anime screencap")),
        ("masterpiece, best quality, sketch, score_9, highres", ("sketch",)),
        ("watercolor (medium), traditional media", ("watercolor (medium)", "traditional media")),
        ("watercolor \\(medium\\), ((ink))", ("watercolor (medium)", "ink")),
        ("(sketch, lineart:0.8) BREAK <lora:style:0.6>, embedding:kind of", ("sketch", "lineart", "of")),
        ("[retro artstyle], 1990s \\(style\\)", ("retro artstyle", "1990s (style)")),
        ("", ()),
    ],
)
def test_tags_of_a_prompt(prompt: str, tags: tuple[str, ...]) -> None:
    assert plain_tags(prompt) == tags


def test_a_line_names_its_own_tags_behind_an_arrow() -> None:
    style = draw_style("by {a|a}, soft:1 => style of a, soft", Wildcards(), 0, "x")
    assert style == Style(prompt="by a, soft:1", tags=("style of a", "soft"))
    assert draw_style("quiet colors =>", Wildcards(), 0, "x").tags == ()
    drawn = {draw_style("{oil|ink|chalk}", Wildcards(), seed, "x").tags for seed in range(40)}
    assert drawn == {("oil",), ("ink",), ("chalk",)}


def test_the_painter_hears_the_style_then_the_content_and_what_was_pruned() -> None:
    picture = record("kiln", "1girl", "hat (series)", pruned=("green hair",))
    told = painter_prompt(picture, SKETCH, ("kiln",), CaptionOptions())
    assert told == "sketch, (monochrome:1.2), 1girl, hat \\(series\\), green hair"
    told = painter_prompt(picture, SKETCH, ("kiln",), CaptionOptions(say_trigger=True, say_pruned=False))
    assert told == "sketch, (monochrome:1.2), kiln, 1girl, hat \\(series\\)"
    assert painter_prompt(record(), SKETCH, (), CaptionOptions()) == SKETCH.prompt
    prose = record(prose="kiln, a girl (happy).")
    assert painter_prompt(prose, SKETCH, ("kiln",), CaptionOptions()).endswith(", a girl \\(happy\\).")


def test_captions_have_the_trigger_the_style_and_the_sources_tags() -> None:
    picture = record("1girl", "kiln", "sketch", "smile", pruned=("green hair",))
    words = variant_words(picture, SKETCH, CaptionOptions(), triggers=("kiln",))
    assert words.tags == ("kiln", "sketch", "monochrome", "1girl", "smile")
    assert words.pruned == ("green hair",)
    words = variant_words(picture, SKETCH, CaptionOptions(style_place=FIRST), triggers=("kiln",))
    assert words.tags == ("sketch", "monochrome", "kiln", "1girl", "smile")
    assert variant_words(record(), SKETCH, CaptionOptions()).tags == SKETCH.tags
    assert variant_words(record(prose="A girl."), SKETCH, CaptionOptions()).prose == "sketch, monochrome, A girl."


def test_the_sources_own_style_and_background_give_way_to_those_of_the_line() -> None:
    picture = record("kiln", "1girl", "flat color", "white background", pruned=("pastel colors",))
    assert painter_prompt(picture, SKETCH, ("kiln",), CaptionOptions()) == f"{SKETCH.prompt}, 1girl, white background"
    words = variant_words(picture, SKETCH, CaptionOptions(), triggers=("kiln",))
    assert words.tags == ("kiln", "sketch", "monochrome", "1girl", "white background")
    forest = draw_style("in a forest => forest", Wildcards(), 0, "x")
    words = variant_words(picture, forest, CaptionOptions(), triggers=("kiln",))
    assert words.tags == ("kiln", "forest", "1girl", "flat color")


def test_a_groups_own_trigger_stays_with_the_trigger_and_is_not_painted() -> None:
    picture = record("kiln", "kiln-dress", "1girl", pruned=("red dress",))
    triggers = ("kiln", "kiln-dress")
    assert painter_prompt(picture, SKETCH, triggers, CaptionOptions()) == f"{SKETCH.prompt}, 1girl, red dress"
    words = variant_words(picture, SKETCH, CaptionOptions(), triggers=triggers)
    assert words.tags == ("kiln", "kiln-dress", "sketch", "monochrome", "1girl")
    retagged = variant_words(
        picture, SKETCH, CaptionOptions(tags=RETAG), triggers=triggers, found=("1girl", "red dress", "smile"),
        absorbed=("red dress",),
    )  # fmt: skip
    assert retagged.tags == ("kiln", "kiln-dress", "sketch", "monochrome", "1girl", "smile")
    prose = record(prose="kiln, kiln-dress, a girl.")
    assert variant_words(prose, SKETCH, CaptionOptions(), triggers=triggers).prose == (
        "kiln, kiln-dress, sketch, monochrome, a girl."
    )


def test_prose_keeps_a_trigger_with_brackets_first() -> None:
    picture = record(prose="kiana (honkai), a girl smiles.")
    words = variant_words(picture, SKETCH, CaptionOptions(), triggers=("kiana (honkai)",))
    assert words.prose == "kiana (honkai), sketch, monochrome, a girl smiles."
    told = painter_prompt(picture, SKETCH, ("kiana (honkai)",), CaptionOptions())
    assert told.endswith(", a girl smiles.")
    assert "kiana" not in told


def test_a_choice_of_words_is_drawn_once_for_prompt_and_caption() -> None:
    for seed in range(20):
        style = draw_style("{oil|ink|chalk} painting => {by_hand}", Wildcards(), seed, "x")
        assert style.tags == ("by hand",)
    whole = draw_style("{oil on canvas => oil|ink wash => ink}", Wildcards(), 3, "x")
    assert (whole.prompt, whole.tags) in {("oil on canvas", ("oil",)), ("ink wash", ("ink",))}


def test_a_differing_hair_colour_is_named() -> None:
    picture = record("kiln", "1girl", "red eyes", "smile", pruned=("green hair",))
    seen = ("1girl", "aqua hair", "dark red eyes", "hat")
    words = variant_words(picture, SKETCH, CaptionOptions(tags=DIFFERING), triggers=("kiln",), found=seen)
    assert words.tags == ("kiln", "sketch", "monochrome", "1girl", "red eyes", "smile", "aqua hair")
    words = variant_words(picture, SKETCH, CaptionOptions(tags=DIFFERING), triggers=("kiln",), found=("blue eyes",))
    assert words.tags == ("kiln", "sketch", "monochrome", "1girl", "smile", "blue eyes")
    assert words.pruned == ("green hair",)
    words = variant_words(picture, SKETCH, CaptionOptions(tags=DIFFERING), triggers=("kiln",), found=("aqua hair",))
    assert words.pruned == (), "the trigger does not stand for green hair where the caption says aqua"
    same = variant_words(picture, SKETCH, CaptionOptions(tags=DIFFERING), triggers=("kiln",), found=("green hair",))
    assert "green hair" not in same.tags


def test_retagging_leaves_out_what_the_trigger_absorbs_but_not_what_differs() -> None:
    picture = record("kiln", "1girl", "smile", pruned=("green hair",))
    seen = ("1girl", "blue hair", "ahoge", "open mouth")
    words = variant_words(
        picture, SKETCH, CaptionOptions(tags=RETAG), triggers=("kiln",), found=seen,
        absorbed=("green hair", "ahoge", "blue hair"),
    )  # fmt: skip
    assert words.tags == ("kiln", "sketch", "monochrome", "1girl", "blue hair", "open mouth")
