"""What a prompt asks for, and what a tagger's findings say of it; references by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_kiln.dataset.kinds import hides, kind_of
from lora_kiln.sweep.judging import subject_of
from lora_kiln.sweep.marks import Asked, Subject, asked_of, bleed, by_trait, flexibility, trait_recall
from lora_kiln.sweep.prompts import names, prompted_tags
from lora_kiln.sweep.values import Row
from lora_kiln.trainer.values import Run

KNOWN = frozenset(
    (
        "green hair", "blue hair", "twintails", "ponytail", "yellow eyes", "striped kimono", "red dress", "forest",
        "white background", "sketch", "flat color", "smile", "1girl", "solo", "from behind", "portrait", "scarf",
        "black boots", "skirt", "black skirt", "upper body",
    )
)  # fmt: skip
SUBJECT = Subject(
    triggers=("kie",),
    traits=frozenset(("green hair", "twintails", "yellow eyes", "striped kimono", "never heard of")),
    habits=frozenset(("white background", "flat color")),
)


def asked(prompt: str) -> Asked:
    return asked_of(Row(label="", prompt=prompt, seed=0), SUBJECT, KNOWN)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("1girl, solo, smile, Red_Dress", {"smile", "red dress"}),
        ("(smile:1.2), ((forest)), [sketch], {red dress}", {"smile", "forest", "sketch", "red dress"}),
        ("<lora:kie:0.8>, smile, embedding:bad, masterpiece", {"smile"}),
        ("A girl in a red dress, smile on her face, in the forest.", {"red dress", "smile", "forest"}),
        ("black skirt", {"black skirt"}),
        ("she wears a black skirt", {"black skirt"}),
        ("smiles, forests", set()),
    ],
)
def test_prompted_tags_are_those_that_the_tagger_knows(prompt: str, expected: set[str]) -> None:
    assert prompted_tags(prompt, KNOWN) == expected


@pytest.mark.parametrize(
    ("prompt", "word", "there"),
    [
        ("kie, smile", "kie", True), ("(KIE:1.1)", "kie", True), ("kierose", "kie", False), ("rose", "kie", False),
        ("kie rose, hat", "kie rose", True), ("anything", "", True), ("c++ girl", "c++", True),
        ("kiana \\(honkai\\), 1girl", "kiana (honkai)", True),
        ("kiana, honkai", "kiana (honkai)", False),
    ],
)  # fmt: skip
def test_a_trigger_is_a_whole_word(prompt: str, word: str, there: bool) -> None:
    assert names(prompt, word) is there


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("green hair", "blue hair", True),
        ("green hair", "twintails", False),
        ("twintails", "ponytail", True),
        ("green hair", "green eyes", False),
        ("striped kimono", "red dress", True),
        ("striped kimono", "black skirt", True),
        ("striped kimono", "scarf", False),
        ("red dress", "black boots", False),
        ("forest", "white background", True),
        ("sketch", "flat color", True),
        ("sketch", "forest", False),
        ("smile", "open mouth", False),
    ],
)
def test_kinds_tell_what_replaces_what(one: str, other: str, same: bool) -> None:
    assert (kind_of(one) == kind_of(other)) is same


@pytest.mark.parametrize(
    ("view", "tag", "hidden"),
    [
        ("from behind", "yellow eyes", True),
        ("from behind", "green hair", False),
        ("portrait", "striped kimono", True),
        ("upper body", "red dress", False),
        ("upper body", "black skirt", True),
        ("cowboy shot", "black skirt", False),
        ("cowboy shot", "black boots", True),
        ("smile", "yellow eyes", False),
    ],
)
def test_a_view_hides_what_it_cannot_show(view: str, tag: str, hidden: bool) -> None:
    assert hides(frozenset((view,)), tag) is hidden


def test_traits_are_expected_where_the_trigger_alone_must_bring_them() -> None:
    everything = SUBJECT.traits - {"never heard of"}
    assert asked("kie, 1girl, smile, forest").traits == everything
    assert asked("1girl, smile, forest").traits == frozenset()
    assert asked("kie, green hair, smile").traits == everything - {"green hair"}
    assert asked("kie, blue hair, ponytail").traits == {"yellow eyes", "striped kimono"}
    assert asked("kie, red dress, from behind").traits == {"green hair", "twintails"}


def test_what_is_prompted_is_no_trait_and_foreign_is_what_others_were_asked_for() -> None:
    one = asked("kie, green hair, smile, forest, sketch")
    assert one.tags == {"smile", "forest", "sketch"}
    assert one.foreign == {"white background", "flat color"}
    assert asked("kie, smile, white background, sketch").foreign == {"flat color"}
    assert asked("kie, smile").foreign == frozenset()


def found(*tags: str) -> frozenset[str]:
    return frozenset(tags)


WISHES = (
    Asked(traits=found("a", "b", "c"), tags=found("x", "y"), foreign=found("w")),
    Asked(traits=found("a"), tags=found("x", "z"), foreign=found("w", "v")),
)


def test_scores_are_shares_over_all_pictures() -> None:
    with_lora = (found("a", "b", "x", "w"), found("x", "w", "v"))
    without = (found("x", "y"), found("x", "v"))
    assert trait_recall(WISHES, with_lora) == 2 / 4
    # Two of four prompted tags, against three of four.
    assert flexibility(WISHES, with_lora, without) == pytest.approx((2 / 4) / (3 / 4))
    # Three of three habits, against one of three.
    assert bleed(WISHES, with_lora, without) == pytest.approx(2 / 3)
    assert by_trait(WISHES, with_lora) == {"c": 0.0, "a": 0.5, "b": 1.0}
    assert list(by_trait(WISHES, with_lora)) == ["c", "a", "b"]


def test_scores_stay_between_nought_and_one_and_are_none_without_anything_to_measure() -> None:
    better = (found("x", "y"), found("x", "z"))
    worse = (found("x", "w"), found("w"))
    assert flexibility(WISHES, better, worse) == 1.0
    assert bleed(WISHES, better, worse) == 0.0
    empty = (Asked(traits=found(), tags=found(), foreign=found()),)
    assert trait_recall(empty, better[:1]) is None
    assert flexibility(empty, better[:1], better[:1]) is None
    assert bleed(empty, better[:1], better[:1]) is None
    assert flexibility(WISHES, better, (found(), found())) is None


def test_a_subject_takes_frequent_traits_and_the_datasets_own_style() -> None:
    shares = {"green hair": 0.9, "blue hair": 0.05}
    captions = {"white background": 0.8, "forest": 0.1, "smile": 0.9, "sketch": 0.5}
    run = Run(
        folder=Path("kie"), name="kie", checkpoints=(), trigger="kie", traits=("green hair", "blue hair", "old run"),
        trait_shares=shares,
    )  # fmt: skip
    one = subject_of(run, captions)
    assert one.triggers == ("kie",)
    assert one.traits == {"green hair", "old run"}
    assert one.habits == {"white background", "sketch"}
    own = subject_of(run, captions, own_traits=("Red_Eyes",), own_style=("forest",))
    assert (own.traits, own.habits) == ({"red eyes"}, {"forest"})


def learned(trigger: str, shares: dict[str, float], of_words: dict[str, dict[str, float]]) -> Run:
    return Run(
        folder=Path("x"), name="x", checkpoints=(), trigger=trigger, traits=tuple(shares), trait_shares=shares,
        traits_of_words=of_words,
    )  # fmt: skip


def wanted(subject: Subject, prompt: str) -> set[str]:
    return set(asked_of(Row(label="", prompt=prompt, seed=0), subject, KNOWN).traits)


def test_an_outfits_garments_are_expected_where_its_own_word_stands() -> None:
    shares = {"green hair": 1.0, "red dress": 0.1, "black skirt": 0.4, "scarf": 0.5}
    outfits = {
        "kie-dress": {"green hair": 1.0, "red dress": 0.9},
        "kie-school": {"green hair": 1.0, "black skirt": 0.8, "scarf": 1.0},
    }
    subject = subject_of(learned("kie", shares, outfits), {})
    assert subject.triggers == ("kie",)
    assert wanted(subject, "kie, kie-dress, forest") == {"green hair", "red dress"}
    assert wanted(subject, "kie, kie-school, forest") == {"green hair", "black skirt", "scarf"}
    assert wanted(subject, "kie, forest") == {"green hair"}
    assert wanted(subject, "1girl, forest") == set()
    row = Row(label="", prompt="kie, kie-red dress, forest", seed=0)
    outfit = Subject(triggers=("kie",), traits=frozenset(), habits=frozenset(), of_word={"kie-red dress": frozenset()})
    assert asked_of(row, outfit, KNOWN).tags == {"forest"}
    # Pictures without an outfit's word say what she wears otherwise.
    subject = subject_of(learned("kie", shares, {**outfits, "": {"green hair": 1.0, "scarf": 0.7}}), {})
    assert wanted(subject, "kie, forest") == {"green hair", "scarf"}


def test_of_several_characters_each_brings_her_own_traits() -> None:
    of_words = {"kie": {"green hair": 1.0}, "ame": {"blue hair": 1.0, "scarf": 0.6}}
    subject = subject_of(learned("kie", {"green hair": 0.5, "blue hair": 0.5, "scarf": 0.3}, of_words), {})
    assert subject.triggers == ()
    assert wanted(subject, "kie, forest") == {"green hair"}
    assert wanted(subject, "ame, forest") == {"blue hair", "scarf"}
    assert wanted(subject, "kie, ame") == {"green hair", "blue hair", "scarf"}
    assert wanted(subject, "1girl, forest") == set()


def test_a_triggers_own_words_are_no_wishes() -> None:
    subject = Subject(triggers=("red dress kie", "smile"), traits=frozenset(("green hair",)), habits=frozenset())
    found = asked_of(Row(label="", prompt="(Red dress kie:1.1), smile, forest", seed=0), subject, KNOWN)
    assert found.tags == {"forest"}
    assert found.traits == {"green hair"}
