"""Regularisation pictures: counted, filtered by a tagger and by hand, captioned, found again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.regularize import (
    GROUP,
    Regularization,
    RegularizationOptions,
    Workshop,
    caption_lines,
    regularization_set,
)
from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.dataset.wildcards import Wildcards

Size = tuple[int, int]


class Brush:
    """Paints noise, and remembers what it was asked."""

    def __init__(self, settings: str = "m") -> None:
        self.asked: list[tuple[str, int, Size]] = []
        self._settings = settings

    def mark(self) -> str:
        return self._settings

    def __call__(self, prompt: str, seed: int, size: Size) -> Image.Image:
        self.asked.append((prompt, seed, size))
        rng = np.random.default_rng(seed)
        return Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Regularization]:
    def work(
        brush: Brush, progress: Any = lambda done, total: None, studio: dict[str, Any] | None = None, **options: Any
    ) -> Regularization:
        workshop = Workshop(painter=brush, cache=tmp_path / "cache", sizes=[(24, 32), (32, 24)])
        given = RegularizationOptions(**{"count": 4, "prompts": ("1girl, {day|night}", "1girl, hat"), **options})
        return regularization_set(given, dataclasses.replace(workshop, **(studio or {})), progress)

    return work


def odd_is_two(records: Dataset) -> Dataset:
    """A tagger that sees two girls in every picture with an even number (an odd seed)."""
    seen = []
    for record in records:
        seed = int(record.origin[-1].split("seed ")[1])
        seen.append(dataclasses.replace(record, tags=("2girls", "text") if seed % 2 else ("1girl", "solo", "smile")))
    return records.replace_records(seen)


def test_a_set_is_painted_from_prompts_in_turn(run: Callable[..., Regularization]) -> None:
    brush, heard = Brush(), []
    done = run(brush, lambda done, total: heard.append((done, total)), seed=5)
    assert len(done.dataset) == 4
    assert [seed for _, seed, _ in brush.asked] == [5, 6, 7, 8]
    assert [size for *_, size in brush.asked] == [(24, 32), (32, 24)] * 2
    assert {prompt for prompt, *_ in brush.asked[::2]} <= {"1girl, day", "1girl, night"}
    assert brush.asked[1][0] == "1girl, hat"
    assert heard == [(number, 4) for number in range(5)]
    for record, (prompt, _, size) in zip(done.dataset, brush.asked, strict=True):
        assert record.is_reg
        assert (record.group, record.repeats, record.size) == (GROUP, 1, size)
        assert ", ".join(record.tags) == prompt
    assert "4 regularisation pictures of 4: 4 painted now" in done.report


def test_a_second_run_paints_nothing_and_a_longer_one_what_is_missing(run: Callable[..., Regularization]) -> None:
    first, brush = run(Brush()), Brush()
    assert run(brush).dataset == first.dataset
    assert brush.asked == []
    assert run(brush, count=6).dataset.records[:4] == first.dataset.records
    assert len(brush.asked) == 2
    other = Brush("other")
    run(other)
    assert len(other.asked) == 4


def test_a_damaged_picture_is_painted_again(run: Callable[..., Regularization]) -> None:
    first = run(Brush())
    one, other = (record.image for record in first.dataset.records[:2])
    one.write_bytes(one.read_bytes()[:40])
    other.write_bytes(b"")
    brush = Brush()
    assert run(brush).dataset == first.dataset
    assert len(brush.asked) == 2


def test_rejected_by_hand_brings_one_more_for_each(run: Callable[..., Regularization]) -> None:
    first, brush = run(Brush()), Brush()
    done = run(brush, reject="2, 4-4")
    assert [seed for _, seed, _ in brush.asked] == [4, 5]
    assert done.dataset.records[:2] == (first.dataset.records[0], first.dataset.records[2])
    assert list(done.rejected) == [first.dataset.records[1], first.dataset.records[3]]
    assert "2: you rejected it" in done.report
    assert [words.split(";")[0] for _, words in done.shown][:2] == ["1: kept", "2: rejected: you rejected it"]
    # What was never painted is not painted to be rejected.
    late = Brush()
    run(late, reject="9", count=4)
    assert late.asked == []


def test_a_tagger_filters_and_captions(run: Callable[..., Regularization]) -> None:
    done = run(
        Brush(), studio={"tag": odd_is_two}, require=("solo",), forbid=("*text*", "multiple *"), class_tag="1girl"
    )
    assert len(done.dataset) == 4
    assert {record.tags for record in done.dataset} == {("1girl", "solo", "smile")}
    assert len(done.rejected) == 3
    assert "2: it lacks solo; it shows text" in done.report
    few = run(Brush(), studio={"tag": odd_is_two}, require=("solo",), tries=1.0)
    assert len(few.dataset) == 2
    assert "Warning: 2 are missing" in few.report
    with pytest.raises(DatasetError, match=r"None of 12 pictures passes(.|\n)*it lacks 3girls"):
        run(Brush(), studio={"tag": odd_is_two}, require=("3girls",))
    with pytest.raises(DatasetError, match="pick a tagger"):
        run(Brush(), require=("solo",))


def test_captions_of_a_dataset_are_prompts_without_the_trigger(
    run: Callable[..., Regularization], tmp_path: Path
) -> None:
    records = (
        Record(image=tmp_path / "a.png", size=(8, 8), tags=("kiln", "k-suit", "1girl", "hat (series)", "{|}")),
        Record(image=tmp_path / "b.png", size=(8, 8), prose="kiln, a girl."),
        Record(image=tmp_path / "c.png", size=(8, 8), tags=("kiln",)),
    )
    lines = caption_lines(Dataset(records=records, trigger="kiln", words=("k-suit",)))
    wildcards = Wildcards((), {"captions": lines})
    brush = Brush()
    run(brush, count=12, prompts=("__captions__, simple background",), studio={"wildcards": wildcards})
    assert {prompt for prompt, *_ in brush.asked} == {
        "1girl, hat \\(series\\), {|}, simple background", "a girl., simple background",
    }  # fmt: skip


def test_given_sizes_count_first(run: Callable[..., Regularization]) -> None:
    brush = Brush()
    run(brush, sizes=("48x16", "16 x 48"), count=3)
    assert [size for *_, size in brush.asked] == [(48, 16), (16, 48), (48, 16)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reject": "3, x"}, "'x'; write numbers"),
        ({"reject": "5-3"}, "'5-3'"),
        ({"reject": "0"}, "'0'"),
        ({"sizes": ("1024",)}, "'1024'; write sizes"),
        ({"class_tag": "a, b"}, "one tag"),
        ({"prompts": ()}, "prompts is empty"),
    ],
)
def test_settings_that_cannot_be_read(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegularizationOptions(**options)
