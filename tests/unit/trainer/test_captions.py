"""The words that a record is trained with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lora_kiln.dataset.values import Record
from lora_kiln.trainer.captions import draw_caption, kept_and_rest, varies, written
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
    (("kiln", "1girl", "|||", "smile", "|||", "forest"), "twice"),
]


@pytest.mark.parametrize("tags", [row[0] for row in MARKED], ids=[row[1] for row in MARKED])
def test_a_separator_says_where_the_kept_tags_end_and_is_never_trained_on(tags: tuple[str, ...]) -> None:
    record = Record(image=FILE, size=(64, 64), tags=tags)
    settings = Captions(keep_tokens_separator=" ||| ", keep_tokens=1)
    assert kept_and_rest(tags, settings) == (["kiln", "1girl"], ["smile", "forest"])
    assert set(drawn(settings, 30, record=record)) == {"kiln, 1girl, smile, forest", "kiln, 1girl, forest, smile"}
    assert written(record, settings) == "kiln, 1girl, smile, forest"


def test_tags_after_the_separator_drop_out_and_those_before_it_stay() -> None:
    record = Record(image=FILE, size=(64, 64), tags=("kiln", "|||", "smile"))
    settings = Captions(keep_tokens_separator="|||", keep_tokens=0, tag_dropout=1.0)
    assert drawn(settings, 3, record=record) == ["kiln"] * 3


def test_a_record_without_the_separator_keeps_its_first_tags() -> None:
    settings = Captions(keep_tokens_separator="|||", keep_tokens=2)
    assert kept_and_rest(TAGS, settings) == (list(TAGS[:2]), list(TAGS[2:]))
    assert written(RECORD, settings) == ", ".join(TAGS)
    assert written(Record(image=FILE, size=(64, 64), prose="A girl."), settings) == "A girl."


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Captions(shuffle_caption=False), False),
        (Captions(), True),
        (Captions(shuffle_caption=False, tag_dropout=0.1), True),
        (Captions(shuffle_caption=False, caption_dropout=0.1), True),
    ],
)
def test_whether_captions_vary(settings: Captions, expected: bool) -> None:
    assert varies(settings) == expected
    several = {draw_caption(RECORD, settings, torch.Generator().manual_seed(i)) for i in range(60)}
    assert (len(several) > 1) == expected
