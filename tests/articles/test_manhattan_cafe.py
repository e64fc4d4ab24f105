"""The article on Manhattan Cafe: a tagger's raw list pruned to the article's, and her race uniform aligned.

Its steps: take away what the trigger stands for (four regular expressions), then what other tags say already, then
give all pictures of the race uniform one list. Where we differ is said beside the test.
"""

from __future__ import annotations

from pathlib import Path

from lora_kiln.dataset.align import AlignOptions, align_tags
from lora_kiln.dataset.prune import PruneRules, prune_tags
from lora_kiln.dataset.tags import compile_patterns, matches_any, parse_tags
from lora_kiln.dataset.values import Dataset, Record

TRIGGER = r"manhattan cafe \(umamusume\)"
RAW = (
    r"1girl, manhattan cafe \(umamusume\), solo, horse ears, animal ears, long hair, yellow shirt, black hair, cup, "
    "hair between eyes, skirt, shirt, ahoge, looking at viewer, holding, yellow eyes, frilled shirt collar, "
    "white background, holding cup, disposable cup, horse girl, bangs, simple background, long sleeves, closed mouth, "
    "frills, multicolored hair, green skirt, very long hair"
)
WITHOUT_FEATURES = (
    r"manhattan cafe \(umamusume\), yellow shirt, cup, skirt, shirt, looking at viewer, holding, frilled shirt collar, "
    "white background, holding cup, disposable cup, simple background, long sleeves, closed mouth, frills, green skirt"
)
PRUNED = (
    r"manhattan cafe \(umamusume\), yellow shirt, looking at viewer, frilled shirt collar, white background, "
    "holding cup, disposable cup, long sleeves, closed mouth, green skirt"
)
BY_HAND = ("1girl", "solo")
"""What the article takes away without a rule for it. We keep both: `1girl` is the class tag, and `solo` tells these
pictures from those with others in them; the trigger should stand for neither."""

REGEXES = (
    r"[a-zA-Z\s\-]+hair[a-zA-Z\s\-]*", r"[a-zA-Z\s\-]+eyes[a-zA-Z\s\-]*", r"[a-zA-Z\s\-]+ears[a-zA-Z\s\-]*",
    r"[a-zA-Z\s\-]*bangs",
)  # fmt: skip

UNIFORM = (
    "black choker, black gloves, long sleeves, collared shirt, yellow necktie, black vest, black coat, belt, "
    "black skirt, pleated skirt, black pantyhose, shoes, white footwear"
)
FIRST = (
    r"manhattan cafe \(umamusume\), yellow necktie, black gloves, shirt, long sleeves, black skirt, pleated skirt, "
    "black pantyhose, reaching towards viewer, looking at viewer"
)
SECOND = (
    r"manhattan cafe \(umamusume\), yellow necktie, gloves, black shirt, long sleeves, black coat, black skirt, "
    "pleated skirt, black pantyhose, shoes, white footwear, closed mouth, mug, hand in pocket, holding cup, sitting, "
    "stool, looking at viewer, white background, steam, full body"
)


def dataset(*captions: str, group: str = "") -> Dataset:
    return Dataset(
        records=tuple(
            Record(image=Path(f"/p/{i}.png").absolute(), size=(64, 64), tags=parse_tags(caption), group=group)
            for i, caption in enumerate(captions)
        ),
        trigger=parse_tags(TRIGGER)[0],
    )


def test_the_raw_list_gives_the_articles_list() -> None:
    pruned, report = prune_tags(dataset(RAW), PruneRules(trigger=TRIGGER))
    (record,) = pruned
    assert tuple(tag for tag in record.tags if tag not in BY_HAND) == parse_tags(PRUNED)
    assert record.tags[:3] == (parse_tags(TRIGGER)[0], *BY_HAND)
    # Taken by hand it is the article's list, letter for letter.
    by_hand, _ = prune_tags(dataset(RAW), PruneRules(trigger=TRIGGER, patterns=BY_HAND))
    assert by_hand.records[0].tags == parse_tags(PRUNED)
    assert "horse girl: 1 (body)" in report


def test_what_went_is_remembered_as_her_traits() -> None:
    pruned, _ = prune_tags(dataset(RAW), PruneRules(trigger=TRIGGER))
    features = set(parse_tags(RAW)) - set(parse_tags(WITHOUT_FEATURES)) - set(BY_HAND)
    assert set(pruned.records[0].pruned) == features
    assert len(features) == 11


def test_the_articles_first_step_alone() -> None:
    pruned, _ = prune_tags(dataset(RAW), PruneRules(trigger=TRIGGER, implied=False))
    assert tuple(tag for tag in pruned.records[0].tags if tag not in BY_HAND) == parse_tags(WITHOUT_FEATURES)


def test_its_four_expressions_need_the_etc_after_them() -> None:
    """The article's own expressions leave `ahoge` and `horse girl`, which its author took by the "etc.".

    `hair between eyes` has nothing in front of `hair`, but the second expression takes it for its eyes.
    """
    patterns = compile_patterns(REGEXES)
    left = [tag for tag in parse_tags(RAW) if not matches_any(tag, patterns)]
    assert set(left) - set(parse_tags(WITHOUT_FEATURES)) == {*BY_HAND, "ahoge", "horse girl"}
    alone = PruneRules(trigger=TRIGGER, purpose="concept", patterns=REGEXES)
    pruned, _ = prune_tags(dataset(RAW), alone)
    assert set(pruned.records[0].tags) - set(parse_tags(PRUNED)) == {*BY_HAND, "ahoge", "horse girl"}


def test_the_race_uniform_is_aligned() -> None:
    """The article leaves out by eye what a picture does not show; camera tags say it here, and a line by hand the rest.

    Its second picture is a full body and shows all. Its first has no camera tag, so her shoes are named by hand.
    """
    options = AlignOptions(outfits=(f"race uniform: {UNIFORM}",), not_seen=("0.png: shoes, white footwear",))
    result, report = align_tags(dataset(FIRST, SECOND, group="race uniform"), options)
    first, second = (record.tags for record in result)
    trigger, uniform = parse_tags(TRIGGER)[0], parse_tags(UNIFORM)
    assert first == (trigger, *uniform[:-2], "reaching towards viewer", "looking at viewer")
    assert second[: 1 + len(uniform)] == (trigger, *uniform)
    # What is no garment stays, in order.
    assert second[1 + len(uniform) :] == parse_tags(
        "closed mouth, mug, hand in pocket, holding cup, sitting, stool, looking at viewer, white background, steam, "
        "full body"
    )
    # The taggers' looser words are gone from both.
    assert "gloves: 1" in report
    assert "black shirt: 1" in report


def test_a_list_for_the_uniform_is_proposed_from_the_captions() -> None:
    _, report = align_tags(dataset(FIRST, SECOND, group="race uniform"), AlignOptions())
    proposed = next(line for line in report.splitlines() if line.strip().startswith("race uniform:"))
    # Choker, vest, belt and the collar of the shirt no tagger had seen: those the article adds by eye.
    seen = (set(parse_tags(UNIFORM)) - set(parse_tags("black choker, black vest, belt, collared shirt"))) | {
        "black shirt"
    }
    assert set(parse_tags(proposed.partition(":")[2])) == seen
