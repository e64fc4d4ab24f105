"""Tags as text, the body groups, implied tags and pruning: the wrong hits and misses that people know."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_kiln.dataset.garments import OUTFIT
from lora_kiln.dataset.implied import drop_implied
from lora_kiln.dataset.prune import GROUPS, PURPOSES, PruneRules, lint_trigger, prune_tags, suggest
from lora_kiln.dataset.tags import clean_tag, compile_globs, join_tags, looks_like_prose, matches_any, parse_tags
from lora_kiln.dataset.values import Dataset, Record

CAFE = (
    r"1girl, manhattan cafe \(umamusume\), solo, horse ears, animal ears, long hair, yellow shirt, black hair, cup, "
    "hair between eyes, skirt, shirt, ahoge, looking at viewer, holding, yellow eyes, frilled shirt collar, "
    "white background, holding cup, disposable cup, horse girl, bangs, simple background, long sleeves, closed mouth, "
    "frills, multicolored hair, green skirt, very long hair"
)


def dataset(*captions: str, **changes: object) -> Dataset:
    records = tuple(
        Record(image=Path(f"/pictures/{i}.png").absolute(), size=(64, 64), tags=parse_tags(caption), **changes)  # type: ignore[arg-type]
        for i, caption in enumerate(captions)
    )
    return Dataset(records=records)


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("long_hair,  blue eyes,,", ("long hair", "blue eyes")),
        ("^_^, :d, >_<, (o)_(o), o_o", ("^_^", ":d", ">_<", "(o)_(o)", "o_o")),
        (r"cafe \(cat\), cafe_(cat)", ("cafe (cat)",)),
        ("Hat, hat, HAT", ("Hat",)),
        ("a\nb，c", ("a", "b", "c")),
        ("\ufeff1girl", ("1girl",)),
        (" , _ ,", ("_",)),
    ],
)
def test_parse_tags(text: str, tags: tuple[str, ...]) -> None:
    assert parse_tags(text) == tags


@given(st.text())
def test_parsing_what_was_joined_gives_the_same_tags(text: str) -> None:
    tags = parse_tags(text)
    assert parse_tags(join_tags(tags)) == tags
    assert all(clean_tag(tag) == tag for tag in tags)


@pytest.mark.parametrize(
    ("text", "prose"),
    [
        ("1girl, solo, looking at viewer, :d", False),
        ("kierose", False),
        ("long hair!?", False),
        ("A girl with red hair stands in the rain.", True),
        ("a girl standing in the rain at night", True),
        ("She smiles. Her hair, long and red, moves in the wind.", True),
        ("", False),
    ],
)
def test_prose_is_told_from_tags(text: str, prose: bool) -> None:
    assert looks_like_prose(text) is prose


@pytest.mark.parametrize(
    ("tag", "group"),
    [
        *((tag, "hair") for tag in ("black hair", "very_long_hair", "light brown hair", "two-tone hair", "ahoge")),
        *((tag, "hair") for tag in ("twintails", "side ponytail", "twin braids", "sidelocks", "hime cut", "hair bun")),
        *((tag, "hair") for tag in ("blunt bangs", "bangs", "hair over one eye", "hair between eyes", "braid")),
        *((tag, "eyes") for tag in ("blue eyes", "heterochromia", "slit pupils", "colored sclera", "long eyelashes")),
        *((tag, "ears") for tag in ("cat ears", "animal ears", "long pointy ears")),
        *((tag, "chest") for tag in ("large breasts", "flat chest", "breasts", "sagging breasts")),
        *((tag, "body") for tag in ("dragon horns", "cat tail", "black wings", "halo", "mole under eye", "skin fang")),
        *((tag, "body") for tag in ("dark skin", "dark-skinned female", "horse girl", "freckles", "mole")),
        *((tag, "accessories") for tag in ("hat", "hat ribbon", "hair ribbon", "glasses", "hair tie", "hoop earrings")),
        *((tag, "outfit") for tag in ("black thighhighs", "cross", "pleated skirt", "white shirt", "red necktie")),
        *((tag, "pose") for tag in ("sitting", "arms up", "index fingers together", "hand on own hip", "holding cup")),
    ],
)
def test_groups_take(tag: str, group: str) -> None:
    assert GROUPS[group].has(tag)


@pytest.mark.parametrize(
    "tag",
    [
        *("chair", "bears", "gears", "holding hair", "closed eyes", "covering own eyes", "alternate hairstyle"),
        *("hair ornament", "hair ribbon", "hair tie", "hat ribbon", "glasses", "hairbrush", "food in hair", "wet hair"),
        *(
            "playing with own hair",
            "hand in own hair",
            "grabbing another's hair",
            "adjusting hair",
            "looking at viewer",
        ),
        *("earrings", "ear piercing", "covering own ears", "headphones for animal ears", "fake animal ears"),
        *("cocktail", "ponytail holder", "between breasts", "breast pocket", "half-closed eyes", "rolling eyes"),
        *("red sweater", "white background", "tan background", "holding own tail", "fake horns", "smile", "eyewear"),
    ],
)
def test_a_character_keeps(tag: str) -> None:
    assert not [group for group in PURPOSES["character"] if GROUPS[group].has(tag)]


@pytest.mark.parametrize("tag", ["hair ribbon", "holding hat", "red hair", "bare legs", "shirt lift from behind"])
def test_an_outfit_is_garments_only(tag: str) -> None:
    assert not OUTFIT.has(tag)


def test_implied_tags_go_and_denials_stay() -> None:
    tags = ("black skirt", "skirt", "white background", "simple background", "no shoes", "shoes", "holding cup", "cup")
    assert drop_implied(tags) == ("black skirt", "white background", "no shoes", "shoes", "holding cup")
    assert drop_implied(("hair tie", "tie")) == ("hair tie",)
    assert drop_implied(("glasses", "ass", "chair", "hair")) == ("glasses", "ass", "chair", "hair")
    assert drop_implied(("black skirt", "skirt"), keep=("skirt",)) == ("black skirt", "skirt")


def test_the_manhattan_cafe_article() -> None:
    """The article's list, but for `1girl` and `solo`, which its author took away by hand."""
    pruned, _ = prune_tags(dataset(CAFE), PruneRules(trigger=r"manhattan_cafe_\(umamusume\)"))
    article = (
        r"manhattan cafe \(umamusume\), yellow shirt, looking at viewer, frilled shirt collar, white background, "
        "holding cup, disposable cup, long sleeves, closed mouth, green skirt"
    )
    (record,) = pruned
    assert tuple(tag for tag in record.tags if tag not in ("1girl", "solo")) == parse_tags(article)
    assert set(record.pruned) == set(
        parse_tags(
            "horse ears, animal ears, long hair, black hair, hair between eyes, ahoge, yellow eyes, horse girl, bangs, "
            "multicolored hair, very long hair"
        )
    )


def test_trigger_first_class_second_and_remembered() -> None:
    rules = PruneRules(trigger="kierose", class_tag="1girl", keep=("red hair",))
    once, report = prune_tags(dataset("solo, 1girl, red hair, blue eyes, kierose"), rules)
    assert once.records[0].tags == ("kierose", "1girl", "solo", "red hair")
    assert once.records[0].pruned == ("blue eyes",)
    assert once.trigger == "kierose"
    assert "blue eyes: 1 (eyes)" in report
    twice, _ = prune_tags(once, rules)
    assert twice == once


def test_purposes_and_choices() -> None:
    data = dataset("1girl, red hair, black thighhighs, sitting, hat")
    kept = {purpose: prune_tags(data, PruneRules(purpose=purpose))[0].records[0].tags for purpose in PURPOSES}
    assert kept["character"] == ("1girl", "black thighhighs", "sitting", "hat")
    assert kept["outfit"] == ("1girl", "red hair", "sitting", "hat")
    assert kept["pose"] == ("1girl", "red hair", "black thighhighs", "hat")
    assert kept["concept"] == kept["style"] == data.records[0].tags
    rules = PruneRules(purpose="style", accessories="prune", patterns=("red .*",))
    assert prune_tags(data, rules)[0].records[0].tags == ("1girl", "black thighhighs", "sitting")
    assert prune_tags(data, PruneRules(hair="keep"))[0].records[0].pruned == ()


def test_own_patterns_match_whole_tags_and_bad_ones_are_named() -> None:
    data = dataset("hat, hat ribbon, chat")
    assert prune_tags(data, PruneRules(purpose="style", patterns=("hat",)))[0].records[0].tags == ("hat ribbon", "chat")
    with pytest.raises(ValueError, match=r"'\(hat' is not a regular expression"):
        PruneRules(patterns=("(hat",))
    with pytest.raises(ValueError, match="without a comma"):
        PruneRules(trigger="a, b")
    with pytest.raises(ValueError, match="choose one of: character"):
        PruneRules(purpose="charakter")


def test_prose_gets_the_trigger_and_regularisation_pictures_nothing() -> None:
    prose = Record(image=Path("/a.png").absolute(), size=(8, 8), prose="A girl with red hair.")
    reg = Record(image=Path("/b.png").absolute(), size=(8, 8), tags=("red hair",), is_reg=True)
    result, _ = prune_tags(Dataset(records=(prose, reg)), PruneRules(trigger="kierose"))
    assert result.records[0].caption == "kierose, A girl with red hair."
    assert result.records[1] == reg


def test_trigger_lint() -> None:
    data = dataset("1girl, red rose, kie rose")
    assert any("'rose'" in warning for warning in lint_trigger("kie rose", data))
    assert lint_trigger("kierose", data) == ()
    assert lint_trigger("abc", data)


def test_suggestions_leave_scene_and_pose_out() -> None:
    data = dataset("1girl, striped capelet, sitting, smile, white background", "1girl, striped capelet, indoors")
    assert suggest(data) == {"": ("striped capelet",)}


@pytest.mark.parametrize(
    ("entry", "tag", "hit"),
    [
        ("*background", "white_background", True),
        (r"cafe \(cat\)", "cafe_(cat)", True),
        ("hat", "hat ribbon", False),
        (":[", ":[", True),
        ("holding *", "holding cup", True),
        ("a?b", "axb", False),
    ],
)
def test_hand_written_lists(entry: str, tag: str, hit: bool) -> None:
    assert matches_any(tag, compile_globs([entry])) is hit
