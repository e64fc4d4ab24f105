"""Tags as text, the body groups, implied tags and pruning: the wrong hits and misses that people know."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_kiln.dataset.garments import OUTFIT
from lora_kiln.dataset.implied import drop_implied, parse_implications
from lora_kiln.dataset.prune import GROUPS, PURPOSES, PruneRules, prune_tags, suggest
from lora_kiln.dataset.tags import (
    clean_tag,
    compile_globs,
    compile_patterns,
    join_tags,
    looks_like_prose,
    matches_any,
    parse_tags,
)
from lora_kiln.dataset.values import Dataset, Record


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
        ("1girl, sitting on a wooden chair, school uniform, k-on!", False),
        ("1girl, holding a cup of tea, love live!", False),
        ("1girl, holding a cup of tea, what is she doing?", True),
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


# The four expressions that people hand on, and what is known of them.
REGEXES = (
    r"[a-zA-Z\s\-]+hair[a-zA-Z\s\-]*", r"[a-zA-Z\s\-]+eyes[a-zA-Z\s\-]*", r"[a-zA-Z\s\-]+ears[a-zA-Z\s\-]*",
    r"[a-zA-Z\s\-]*bangs",
)  # fmt: skip
WRONG_HITS = ("chair", "bears", "gears", "holding hair", "closed eyes", "covering own eyes", "alternate hairstyle")
MISSES = (
    "ahoge", "twintails", "ponytail", "braid", "sidelocks", "hime cut", "heterochromia", "slit pupils", "horns",
    "symbol-shaped pupils", "demon horns", "tail", "cat tail", "wings", "black wings", "halo", "mole", "mole under eye",
    "fang", "fangs", "dark skin", "small breasts", "large breasts", "medium breasts", "flat chest",
)  # fmt: skip


@pytest.mark.parametrize("tag", WRONG_HITS)
def test_what_the_usual_expressions_hit_wrongly_stays(tag: str) -> None:
    assert matches_any(tag, compile_patterns(REGEXES))
    (record,) = prune_tags(dataset(f"1girl, {tag}"), PruneRules(trigger="kierose"))[0]
    assert record.tags == ("kierose", "1girl", tag)


@pytest.mark.parametrize("tag", MISSES)
def test_what_the_usual_expressions_miss_goes(tag: str) -> None:
    assert not matches_any(tag, compile_patterns(REGEXES))
    (record,) = prune_tags(dataset(f"1girl, {tag}"), PruneRules(trigger="kierose"))[0]
    assert record.tags == ("kierose", "1girl")
    assert record.pruned == (tag,)


@pytest.mark.parametrize(
    ("rule", "tag"),
    [("hat", "hat ribbon"), ("tie", "hair tie"), ("ass", "glasses"), ("hair", "chair"), ("ears", "bears")],
)
def test_a_rule_takes_no_part_of_a_tag(rule: str, tag: str) -> None:
    (record,) = prune_tags(dataset(f"1girl, {tag}"), PruneRules(purpose="style", patterns=(rule,)))[0]
    assert record.tags == ("1girl", tag)
    assert not matches_any(tag, compile_globs([rule]))
    assert drop_implied((rule, tag)) == ((tag,) if tag.endswith(f" {rule}") else (rule, tag))


def test_implications_of_the_users_own() -> None:
    written = '{"holding mug": "cup", "* dress": ["dress", "outfit"], "cup": ["thing"], "a": "b", "b": "a"}'
    more = parse_implications(written)
    tags = ("holding mug", "cup", "thing", "black_dress", "outfit", "dresser")
    # As far as they lead: a mug is a cup, a cup is a thing.
    assert drop_implied(tags, more=more) == ("holding mug", "black_dress", "dresser")
    assert drop_implied(("cup", "thing"), keep=("thing",), more=more) == ("cup", "thing")
    assert drop_implied(("a",), more=more) == ("a",)
    booru = '[{"antecedent_name": "holding_mug", "consequent_name": "holding_cup", "status": "active"}]'
    assert drop_implied(("holding mug", "holding cup"), more=parse_implications(booru)) == ("holding mug",)
    assert parse_implications("  ") == ()
    rules = PruneRules(purpose="style", implications=written)
    assert prune_tags(dataset("black dress, outfit"), rules)[0].records[0].tags == ("black dress",)
    for wrong in ("{", "3", '{"a": 3}', '{"a": [3]}', '{"": "a"}', '[{"a": "b"}]', '["a"]'):
        with pytest.raises(ValueError, match="implications is not a JSON object of tags"):
            PruneRules(implications=wrong)


def test_a_trigger_for_each_outfit() -> None:
    armour, dress, plain = (dataset("1girl, solo, black gloves, red hair").records[0] for _ in range(3))
    data = Dataset(
        records=(
            dataclasses.replace(armour, group="9_Armour red"),
            dataclasses.replace(dress, group="5_dress"),
            dataclasses.replace(plain, group="3_other"),
        )
    )
    rules = PruneRules(
        trigger="kierose", class_tag="1girl", outfit="where a group has a trigger",
        group_triggers=("9_armour*: kr_armour", "5_dress: kr-dress", "gone: x9y"),
    )  # fmt: skip
    result, report = prune_tags(data, rules)
    assert [record.tags for record in result] == [
        ("kierose", "kr_armour", "1girl", "solo"),
        ("kierose", "kr-dress", "1girl", "solo"),
        ("kierose", "1girl", "solo", "black gloves"),
    ]
    assert result.records[0].pruned == ("black gloves", "red hair")
    assert result.words == ("kr_armour", "kr-dress")
    assert result.triggers == ("kierose", "kr_armour", "kr-dress")
    assert "no group is called 'gone'" in report
    # Again, with nothing left to do.
    assert prune_tags(result, rules)[0] == result
    with pytest.raises(ValueError, match=r"group_triggers has the line 'armour'; write group: word"):
        PruneRules(group_triggers=("armour",))


def test_a_colour_that_is_not_her_own_stays() -> None:
    data = dataset(
        "1girl, dark green hair, long hair, red eyes", "1girl, blonde hair, red eyes, blue skin", "1girl, green hair"
    )
    rules = PruneRules(trigger="kierose", own=("green_hair", "red eyes"))
    assert [record.caption for record in prune_tags(data, rules)[0]] == [
        "kierose, 1girl",
        # Nothing is said of her skin: any colour of it is hers.
        "kierose, 1girl, blonde hair",
        "kierose, 1girl",
    ]
    auto = PruneRules(trigger="kierose", own=("auto",))
    assert prune_tags(data, auto)[0].records[1].caption == "kierose, 1girl, blonde hair"
    # What is said counts more than what is counted.
    mixed = PruneRules(trigger="kierose", own=("auto", "blonde hair"))
    assert prune_tags(data, mixed)[0].records[0].caption == "kierose, 1girl, dark green hair"
    with pytest.raises(ValueError, match=r"own has 'long hair', which gives no part of the body a colour"):
        PruneRules(own=("long hair",))


def test_underscores_when_asked_for() -> None:
    rules = PruneRules(trigger="kie rose", purpose="style", underscores=True)
    data = dataset(r"long hair, ^_^, cafe \(cat\)")
    (record,) = prune_tags(data, rules)[0]
    assert record.tags == ("kie rose", "long_hair", "^_^", "cafe_(cat)")
    assert parse_tags(record.caption) == ("kie rose", "long hair", "^_^", "cafe (cat)")


def test_a_trigger_is_written_as_it_was_typed() -> None:
    typed, _ = prune_tags(dataset("1girl, kie rose, smile"), PruneRules(trigger=" kie_rose "))
    assert typed.records[0].tags == ("kie_rose", "1girl", "smile")
    assert typed.trigger == "kie_rose"
    assert prune_tags(typed, PruneRules(underscores=True))[0].records[0].tags == ("kie_rose", "1girl", "smile")


def test_the_datasets_own_trigger_needs_no_second_typing() -> None:
    own = dataclasses.replace(dataset("1girl, elf, smile"), trigger="elf")
    result, report = prune_tags(own, PruneRules())
    assert result.records[0].tags == ("elf", "1girl", "smile")
    assert result.records[0].pruned == ()
    assert result.trigger == "elf"
    assert "The trigger 'elf'" in report
    # A saved or merged dataset may have several.
    two = dataclasses.replace(own, trigger="kie_rose, elf")
    assert prune_tags(two, PruneRules())[0].records[0].tags == ("kie_rose", "elf", "1girl", "smile")


def test_a_class_tag_is_not_put_beside_another_number() -> None:
    data = dataset("2girls, smile", "1girl, smile", "smile", "1girl, 1boy")
    result, report = prune_tags(data, PruneRules(trigger="kierose", class_tag="1girl"))
    assert [record.caption for record in result] == [
        "kierose, 2girls, smile", "kierose, 1girl, smile", "kierose, 1girl, smile", "kierose, 1girl, 1boy"
    ]  # fmt: skip
    assert "Without 1girl, they show others (1):\n  0.png" in report
    # A class that counts nobody stands beside any number.
    result, report = prune_tags(data, PruneRules(trigger="kierose", class_tag="girl"))
    assert result.records[0].caption == "kierose, girl, 2girls, smile"
    assert "they show others" not in report


def test_groups_with_brackets_have_their_triggers() -> None:
    record = dataclasses.replace(dataset("smile").records[0], group="[pixiv] x")
    rules = PruneRules(purpose="style", group_triggers=("[pixiv] *: px",))
    result, report = prune_tags(Dataset(records=(record,)), rules)
    assert result.records[0].tags == ("px", "smile")
    assert "no group is called" not in report


@given(
    st.lists(
        st.sampled_from([*MISSES, *WRONG_HITS, "1girl", "green hair", "black skirt", "skirt", "solo"]), max_size=12
    )
)
def test_pruning_loses_nothing_and_doing_it_again_changes_nothing(tags: list[str]) -> None:
    before = dataset(", ".join(tags))
    rules = PruneRules(trigger="kierose", class_tag="1girl")
    after, _ = prune_tags(before, rules)
    (old,), (new,) = before.records, after.records
    gone = set(old.tags) - set(new.tags) - set(new.pruned)
    assert gone <= {"skirt", "tail", "horns", "wings", "ponytail"}
    assert all(any(tag.endswith(f" {each}") for tag in old.tags) for each in gone)
    assert prune_tags(after, rules)[0] == after


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


@pytest.mark.parametrize(
    ("prose", "put"),
    [
        ("A girl with a cookie.", True), ("Kie smiles.", False), ("She is kie-like.", False), ("The kie_rose.", True),
    ],
)  # fmt: skip
def test_a_trigger_in_prose_is_a_whole_word(prose: str, put: bool) -> None:
    record = Record(image=Path("/a.png").absolute(), size=(8, 8), prose=prose)
    result, _ = prune_tags(Dataset(records=(record,)), PruneRules(trigger="kie"))
    assert result.records[0].caption == (f"kie, {prose}" if put else prose)


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


PIECES = (
    "1girl", "long_hair", r"\(", ")", ",", "，", "、", "\n", "\r\n", " ", "\t", "\u3000", "\x00", "\ufeff", "_", "^_^",
    ">_<", ":d", "...", "../..", "/etc", "C:\\", "\U0001f483\U0001f3fd", "\U0001f469\u200d\U0001f467", "é", "e\u0301",
    "ß", "İ", "ﬁ", "\u202e", "\udc80", "日本", "*", "[", "?", "(((", "holding", "no ", "hair", "x" * 255, "\u200b",
)  # fmt: skip


def test_five_thousand_captions_of_anything() -> None:
    chance = random.Random(4)
    texts = ["".join(chance.choices(PIECES, k=chance.randint(0, 8))) for _ in range(5000)]
    before = Dataset(
        records=tuple(
            Record(image=Path(f"/p/{i}.png").absolute(), size=(8, 8), tags=parse_tags(text))
            for i, text in enumerate(texts)
        )
    )
    after, report = prune_tags(before, PruneRules(trigger="kierose", class_tag="1girl", own=("auto",)))
    assert "5000 pictures" in report
    for text, record in zip(texts, after, strict=True):
        assert record.tags[:2] == ("kierose", "1girl")
        assert parse_tags(record.caption) == record.tags
        assert isinstance(looks_like_prose(text), bool)
