"""The words that a record is trained with."""

from __future__ import annotations

from pathlib import Path

import torch

from lora_kiln.dataset.values import Record
from lora_kiln.trainer.captions import draw_caption
from lora_kiln.trainer.recipe import Captions

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
