"""The words that a record is trained with."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_kiln.dataset.values import Record
from lora_kiln.trainer.captions import Moment, draw_caption, left_out, parts_of, settled, varies, written
from lora_kiln.trainer.groups import Captions

TAGS = ("kiln", "1girl", "smile", "forest", "full body", "from side", "sketch")
FILE = Path("/pictures/a.png").absolute()
RECORD = Record(image=FILE, size=(64, 64), tags=TAGS)


def drawn(settings: Captions, times: int, seed: int = 0, record: Record = RECORD) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    return [draw_caption(record, settings, generator) for _ in range(times)]


def test_without_any_setting_the_caption_stays_as_it_is() -> None:
    assert drawn(Captions(shuffle_caption=False), 2) == [", ".join(TAGS)] * 2


def test_shuffle_keeps_the_first_tags_and_loses_none() -> None:
    captions = [one.split(", ") for one in drawn(Captions(shuffle_caption=True, keep_tokens=2), 50)]
    assert all(tuple(one[:2]) == TAGS[:2] for one in captions)
    assert all(sorted(one) == sorted(TAGS) for one in captions)
    assert len({tuple(one) for one in captions}) > 30
    assert {one[2] for one in captions} == set(TAGS[2:])


def test_keeping_more_tags_than_there_are_changes_nothing() -> None:
    assert drawn(Captions(keep_tokens=50), 3) == [", ".join(TAGS)] * 3


def test_caption_dropout_empties_its_share_of_captions() -> None:
    captions = drawn(Captions(caption_dropout=0.3), 2000)
    assert abs(captions.count("") / 2000 - 0.3) < 0.04
    assert drawn(Captions(caption_dropout=1.0), 5) == [""] * 5


def test_tag_dropout_takes_its_share_of_the_tags_after_the_kept_ones() -> None:
    captions = [one.split(", ") for one in drawn(Captions(tag_dropout=0.25, keep_tokens=1), 1000)]
    assert all(one[0] == "kiln" for one in captions)
    left = sum(len(one) - 1 for one in captions) / (1000 * (len(TAGS) - 1))
    assert abs(left - 0.75) < 0.03


def test_the_draw_follows_from_the_generator() -> None:
    settings = Captions(caption_dropout=0.2, tag_dropout=0.2)
    assert drawn(settings, 40, seed=3) == drawn(settings, 40, seed=3)
    assert drawn(settings, 40, seed=3) != drawn(settings, 40, seed=4)


def test_prose_is_never_shuffled_but_may_be_dropped() -> None:
    record = Record(image=FILE, size=(64, 64), prose="A girl, in a forest, smiles.")
    assert set(drawn(Captions(), 10, record=record)) == {record.prose}
    assert set(drawn(Captions(caption_dropout=0.5), 50, record=record)) == {record.prose, ""}


MARKED = [
    (("kiln", "1girl", "|||", "smile", "forest"), "a tag of its own"),
    (("kiln", "1girl ||| smile", "forest"), "between two tags"),
    (("kiln", "1girl|||smile", "forest"), "without spaces"),
]


@pytest.mark.parametrize("tags", [row[0] for row in MARKED], ids=[row[1] for row in MARKED])
def test_a_separator_says_where_the_kept_tags_end_and_is_never_trained_on(tags: tuple[str, ...]) -> None:
    record = Record(image=FILE, size=(64, 64), tags=tags)
    settings = Captions(keep_tokens_separator=" ||| ", keep_tokens=1)
    assert parts_of(tags, settings) == (["kiln", "1girl"], ["smile", "forest"], [])
    assert set(drawn(settings, 30, record=record)) == {"kiln, 1girl, smile, forest", "kiln, 1girl, forest, smile"}
    assert written(record, settings) == "kiln, 1girl, smile, forest"


def test_what_comes_after_a_second_separator_stays_last() -> None:
    record = Record(image=FILE, size=(64, 64), tags=("kiln", "|||", "smile", "forest", "|||", "sketch ||| ink"))
    settings = Captions(keep_tokens_separator="|||")
    ends = {"kiln, smile, forest, sketch, ink", "kiln, forest, smile, sketch, ink"}
    assert set(drawn(settings, 30, record=record)) == ends
    assert written(record, settings) == "kiln, smile, forest, sketch, ink"
    assert set(drawn(Captions(keep_tokens_separator="|||", tag_dropout=1.0), 3, record=record)) == {"kiln, sketch, ink"}


def test_of_a_wildcard_one_is_drawn_each_time_and_all_come_up() -> None:
    record = Record(image=FILE, size=(64, 64), tags=("kiln", "{red|blue | green} dress", "{{ {a|b} }}"))
    settings = Captions(shuffle_caption=False, enable_wildcard=True)
    counts = Counter(drawn(settings, 1200, record=record))
    assert set(counts) == {f"kiln, {c} dress, {{ {x} }}" for c in ("red", "blue", "green") for x in "ab"}
    assert all(abs(count / 1200 - 1 / 6) < 0.04 for count in counts.values())
    assert written(record, settings) == "kiln, red dress, { a }"
    assert drawn(Captions(shuffle_caption=False), 1, record=record) == [record.caption]


def test_wildcards_may_hold_several_tags_and_stand_in_prose() -> None:
    """As text they come before tags: sd-scripts draws first, then splits."""
    settings = Captions(shuffle_caption=False, enable_wildcard=True)
    record = Record(image=FILE, size=(64, 64), tags=("kiln", "{smile", "open mouth|frown}"))
    assert set(drawn(settings, 40, record=record)) == {"kiln, smile, open mouth", "kiln, frown"}
    prose = Record(image=FILE, size=(64, 64), prose="A {tall|small} girl, smiling.")
    shuffled = Captions(enable_wildcard=True)
    assert set(drawn(shuffled, 40, record=prose)) == {"A tall girl, smiling.", "A small girl, smiling."}


def test_tags_behind_a_secondary_separator_stay_together() -> None:
    record = Record(image=FILE, size=(64, 64), tags=("kiln", "red hair;;;long hair", "smile", "forest"))
    settings = Captions(secondary_separator=";;;", tag_dropout=0.3)
    captions = [one.split(", ") for one in drawn(settings, 200, record=record)]
    with_hair = [one for one in captions if "red hair" in one]
    assert 20 < len(with_hair) < 200
    assert all(one[one.index("red hair") + 1] == "long hair" for one in with_hair)
    assert not any("long hair" in one for one in captions if "red hair" not in one)
    assert len({one.index("red hair") for one in with_hair}) == 3
    assert written(record, settings) == "kiln, red hair, long hair, smile, forest"


@pytest.mark.parametrize(
    "fields", [{"tags": ("kiln; red", "long hair; smile")}, {"prose": "kiln; red, long hair; smile"}]
)
def test_captions_may_be_separated_by_another_sign(fields: dict[str, Any]) -> None:
    record = Record(image=FILE, size=(64, 64), **fields)
    settings = Captions(caption_separator=";", keep_tokens=1)
    assert set(drawn(settings, 30, record=record)) == {"kiln, red, long hair, smile", "kiln, smile, red, long hair"}
    marked = Record(image=FILE, size=(64, 64), tags=("kiln; a ||| b; c",))
    settings = Captions(caption_separator=";", keep_tokens_separator="|||")
    assert set(drawn(settings, 30, record=marked)) == {"kiln, a, b, c", "kiln, a, c, b"}


def test_tags_after_the_separator_drop_out_and_those_before_it_stay() -> None:
    record = Record(image=FILE, size=(64, 64), tags=("kiln", "|||", "smile"))
    settings = Captions(keep_tokens_separator="|||", keep_tokens=0, tag_dropout=1.0)
    assert drawn(settings, 3, record=record) == ["kiln"] * 3


def test_a_record_without_the_separator_keeps_its_first_tags() -> None:
    settings = Captions(keep_tokens_separator="|||", keep_tokens=2)
    assert parts_of(TAGS, settings) == (list(TAGS[:2]), list(TAGS[2:]), [])
    assert written(RECORD, settings) == ", ".join(TAGS)
    assert written(Record(image=FILE, size=(64, 64), prose="A girl."), settings) == "A girl."


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Captions(shuffle_caption=False), False),
        (Captions(), True),
        (Captions(shuffle_caption=False, tag_dropout=0.1), True),
        (Captions(shuffle_caption=False, caption_dropout=0.1), True),
        (Captions(shuffle_caption=False, enable_wildcard=True), True),
    ],
)
def test_whether_captions_vary(settings: Captions, expected: bool) -> None:
    assert varies(settings) == expected
    record = Record(image=FILE, size=(64, 64), tags=("{kiln|clay}", *TAGS[1:]))
    several = {draw_caption(record, settings, torch.Generator().manual_seed(i)) for i in range(60)}
    assert (len(several) > 1) == expected


def warmed(step: int, warm: int, least: int, tags: int) -> int:
    """sd-scripts' arithmetic: updates from 0, the count at the start, and what it grows by."""
    done = step - 1
    return tags if done >= warm else int(done * (tags - least) / warm // 1) + least


@pytest.mark.parametrize("least", [0, 1, 3, 9])
def test_tags_become_more_until_all_are_read(least: int) -> None:
    settings = Captions(shuffle_caption=False, keep_tokens=1, token_warmup="40", token_warmup_min=least)
    generator = torch.Generator().manual_seed(0)
    for step in range(1, 60):
        read = draw_caption(RECORD, settings, generator, Moment(step=step, warm=40)).split(", ")
        assert read == list(TAGS[: 1 + min(6, warmed(step, 40, least, 6))]), step
    assert draw_caption(RECORD, settings, generator) == ", ".join(TAGS)
    assert not settled(RECORD, settings)
    assert settled(RECORD, Captions(shuffle_caption=False))


def test_a_shuffle_moves_only_the_tags_that_are_read_yet() -> None:
    settings = Captions(keep_tokens=1, token_warmup="10", token_warmup_min=2)
    generator = torch.Generator().manual_seed(0)
    several = {draw_caption(RECORD, settings, generator, Moment(step=1, warm=10)) for _ in range(40)}
    assert several == {"kiln, 1girl, smile", "kiln, smile, 1girl"}


def test_every_so_many_epochs_are_seen_without_captions() -> None:
    every_third = Captions(caption_dropout_every_n_epochs=3)
    assert [epoch for epoch in range(-1, 10) if left_out(every_third, epoch)] == [3, 6, 9]
    assert not any(left_out(Captions(), epoch) for epoch in range(10))
