"""Captions from a tagger's scores and from other captioners' texts."""

from __future__ import annotations

import dataclasses
import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from demo.world.sheets import turnaround
from lora_kiln.dataset.autotag import TagOptions, auto_tag, caption_with, mcut_threshold, pick_tags
from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.score_cache import ScoreCache
from lora_kiln.dataset.split import SplitOptions, split_figures
from lora_kiln.dataset.tagger import TagScores
from lora_kiln.dataset.values import Box, Dataset, Record
from lora_kiln.dataset.view_options import ViewOptions
from lora_kiln.dataset.views import crop_views

SCORES = TagScores(
    rating={"general": 0.9},
    general={"1girl": 0.99, "hat": 0.4, "chat": 0.3, "white background": 0.8, "solo": 0.9},
    character={"kie rose (oc)": 0.9, "rose": 0.5},
)


def test_thresholds_order_and_exclusions() -> None:
    assert pick_tags(SCORES, TagOptions()) == ("kie rose (oc)", "1girl", "solo", "white background", "hat")
    chosen = TagOptions(general_threshold=0.3, character_threshold=1.0, exclude=("*_background", "HAT"))
    assert pick_tags(SCORES, chosen) == ("1girl", "solo", "chat")
    assert "white background" in pick_tags(SCORES, TagOptions(exclude=("*background",), keep=("white_background",)))
    with pytest.raises(ValueError, match="must be 1"):
        TagOptions(general_threshold=35)


def test_mcut_cuts_at_the_widest_gap_of_each_picture() -> None:
    assert mcut_threshold([0.9, 0.85, 0.3, 0.29]) == pytest.approx(0.575)
    assert mcut_threshold([0.9, 0.5, 0.1]) == pytest.approx(0.7)
    assert mcut_threshold([0.9]) == mcut_threshold([]) == 1.0
    scores = TagScores(
        rating={}, general={"a": 0.9, "b": 0.85, "c": 0.3, "d": 0.29}, character={"x": 0.1, "y": 0.01, "z": 0.0}
    )
    # Among the names the gap lies in the noise: none is taken.
    assert pick_tags(scores, TagOptions(mcut=True)) == ("a", "b")
    assert pick_tags(scores, TagOptions()) == ("a", "b")
    assert pick_tags(scores, TagOptions(general_threshold=0.3)) == ("a", "b", "c")


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_mcut_parts_the_scores_at_no_smaller_gap_than_any(scores: list[float]) -> None:
    ranked = sorted(scores, reverse=True)
    cut = mcut_threshold(ranked)
    above, below = [s for s in ranked if s > cut], [s for s in ranked if s <= cut]
    widest = max(a - b for a, b in itertools.pairwise(ranked))
    assert min(above, default=cut) - max(below, default=cut) == pytest.approx(widest)


def test_further_kinds_are_taken_when_asked_for() -> None:
    scores = TagScores(
        rating={"general": 0.4, "sensitive": 0.6},
        general={"hat": 0.9},
        character={"kie rose": 0.9},
        others={
            "copyright": {"some work": 0.9, "other work": 0.5},
            "quality": {"best quality": 0.6, "bad quality": 0.1},
        },
    )
    assert pick_tags(scores, TagOptions()) == ("kie rose", "hat")
    also = ("Copyright", "rating", "quality", "artist")
    assert pick_tags(scores, TagOptions(also=also)) == ("kie rose", "some work", "sensitive", "best quality", "hat")
    with pytest.raises(ValueError, match=r"'colour'; choose from: rating, copyright"):
        TagOptions(also=("colour",))


class Fixed:
    """Says the same of every picture, and remembers their sizes."""

    def __init__(self, *more: str) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.scores = dataclasses.replace(SCORES, general={**SCORES.general, **dict.fromkeys(more, 0.38)})

    def tag(self, images: list[Image.Image]) -> list[TagScores]:
        self.sizes += [image.size for image in images]
        return [self.scores for _ in images]


@pytest.fixture
def tagged(tmp_path: Path) -> Dataset:
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 10)).save(path)
    plain = Record(image=path, size=(20, 10))
    crop = Record(image=path, size=(20, 10), crop=Box(left=0, top=0, right=5, bottom=10), tags=("kierose", "frown"))
    prose = Record(image=path, size=(20, 10), prose="A girl.", pruned=("hat", "red hair"))
    return Dataset(records=(plain, crop, prose), trigger="kierose")


def test_modes(tagged: Dataset) -> None:
    new = ("kie rose (oc)", "1girl", "solo", "white background", "hat")
    tagger = Fixed()
    steps: list[tuple[int, int]] = []
    replaced, report = auto_tag(tagged, tagger, TagOptions(), lambda done, total: steps.append((done, total)))
    assert [record.tags for record in replaced] == [new, ("kierose", *new), new]
    assert replaced.records[2].prose == ""
    assert replaced.records[2].pruned == ("red hair",)
    assert tagger.sizes == [(20, 10), (5, 10), (20, 10)]
    assert steps == [(3, 3)]
    assert "3 pictures tagged" in report
    kept, _ = auto_tag(tagged, Fixed(), TagOptions(keep=("fro*",)))
    assert kept.records[1].tags == ("kierose", "frown", *new)
    appended, _ = auto_tag(tagged, Fixed(), TagOptions(mode="append"))
    assert appended.records[1].tags == ("kierose", "frown", *new)
    assert appended.records[2].caption.startswith("A girl., kie rose (oc), 1girl")
    empty, report = auto_tag(tagged, Fixed(), TagOptions(mode="only if empty"))
    assert [record.caption for record in empty][1:] == ["kierose, frown", "A girl."]
    assert empty.records[0].tags == new
    assert "2 left as they were" in report


NEW = ("kie rose (oc)", "1girl", "solo", "white background", "hat")


@pytest.mark.parametrize("mode", ["replace", "only if empty"])
def test_what_split_and_crop_know_outlives_the_tagger(tmp_path: Path, mode: str) -> None:
    """An uncaptioned sheet, split, cropped and only then tagged."""
    sheet = next(
        s for s in (turnaround(random.Random(i)) for i in range(60)) if s.views == ("front", "from side", "from behind")
    )
    sheet.image.save(tmp_path / "sheet.png")
    data = Dataset(records=(Record(image=tmp_path / "sheet.png", size=sheet.image.size),))
    sides = SplitOptions(minimum_size=16, sides=("front, side, back",))
    figures, _, _ = split_figures(data, sides, folder=tmp_path / "cache")
    options = ViewOptions(
        minimum_size=16, cowboy_shot=False, face=False, bangs=True, view_tags=("bangs: blunt bangs, close-up",),
        custom=("sheet.png | buckle | 0% 0% 100% 100% | belt buckle",),
    )  # fmt: skip
    cropped, _, _ = crop_views(figures, options)
    tagged, report = auto_tag(cropped, Fixed(), TagOptions(mode=mode))
    side = {"1 front": (), "2 from side": ("from side",), "3 from behind": ("from behind",)}
    view = {"upper body": ("upper body",), "portrait": ("portrait",), "bangs": ("blunt bangs", "close-up"),
            "buckle": ("belt buckle",)}  # fmt: skip
    assert len(tagged) == 3 + 3 * len(view)
    for record in tagged:
        first, *rest = (step.partition(":")[2].removesuffix(" of sheet.png") for step in record.origin)
        assert record.tags == (*NEW, *side[first], *(view[rest[0]] if rest else ())), record.name
    assert "had been there" not in report
    assert auto_tag(tagged, Fixed(), TagOptions())[0] == tagged
    # What somebody took out stays out.
    bare = tagged.replace_records(dataclasses.replace(record, tags=("1girl",)) for record in tagged)
    assert {record.tags for record in auto_tag(bare, Fixed(), TagOptions())[0]} == {NEW}


def test_what_was_saved_still_tells_views_by_their_steps(tagged: Dataset) -> None:
    crop = dataclasses.replace(
        tagged.records[1], tags=("kierose", "frown", "portrait"), origin=("crop:portrait of a.png",)
    )
    whole = dataclasses.replace(tagged.records[0], tags=("portrait", "frown"))
    data = dataclasses.replace(tagged, records=(crop, whole))
    result, report = auto_tag(data, Fixed(), TagOptions())
    assert [record.tags for record in result] == [("kierose", *NEW, "portrait"), NEW]
    assert "Replaced 2 captions that had been there" in report
    prose, _ = caption_with(data, ["A girl stands in the rain. She smiles."] * 2, TagOptions())
    assert prose.records[0].caption == "kierose, portrait, A girl stands in the rain. She smiles."


def test_what_a_step_knows_a_tagger_does_not_say_otherwise(tagged: Dataset) -> None:
    crop = dataclasses.replace(
        tagged.records[0], tags=("portrait",), given=("portrait",), origin=("crop:portrait of a",)
    )
    front = dataclasses.replace(tagged.records[0], origin=("split:1 front of a",))
    data = dataclasses.replace(tagged, records=(crop, front, tagged.records[0]))
    result, _ = auto_tag(data, Fixed("upper body", "from behind"), TagOptions())
    assert [record.tags[len(NEW) :] for record in result] == [
        ("from behind", "portrait"), ("upper body",), ("upper body", "from behind"),
    ]  # fmt: skip


def test_the_report_says_how_many_captions_were_replaced(tagged: Dataset) -> None:
    assert "Replaced 2 captions that had been there" in auto_tag(tagged, Fixed(), TagOptions())[1]
    for options in (TagOptions(mode="append"), TagOptions(mode="only if empty")):
        assert "had been there" not in auto_tag(tagged, Fixed(), options)[1]
    kept = tagged.replace_records(tagged.records[:2])
    assert "had been there" not in auto_tag(kept, Fixed(), TagOptions(keep=("frown",)))[1]


def test_underscores_of_what_stays_are_not_touched(tagged: Dataset) -> None:
    one = dataclasses.replace(tagged.records[1], tags=("kie_rose", "1girl"))
    result, _ = auto_tag(Dataset(records=(one,), trigger="kie_rose"), Fixed(), TagOptions())
    assert result.records[0].tags == ("kie_rose", *NEW)


def test_texts_of_another_captioner(tagged: Dataset) -> None:
    texts = ["1girl, long_hair, bad_hands", "A girl stands in the rain. She smiles.", "solo"]
    replaced, report = caption_with(tagged, texts, TagOptions(exclude=("bad hands",)))
    assert [record.caption for record in replaced] == ["1girl, long hair", f"kierose, {texts[1]}", "solo"]
    assert [bool(record.prose) for record in replaced] == [False, True, False]
    assert replaced.records[2].pruned == ("hat", "red hair")
    assert "captions from the wire" in report
    appended, _ = caption_with(tagged, texts, TagOptions(mode="append"))
    assert [record.caption for record in appended][1:] == [f"kierose, frown, {texts[1]}", "A girl., solo"]
    empty, _ = caption_with(tagged, texts, TagOptions(mode="only if empty"))
    assert [record.caption for record in empty] == ["1girl, long hair, bad hands", "kierose, frown", "A girl."]
    assert caption_with(tagged, ["a\n\nb\nc\n"], TagOptions())[0].records[2].tags == ("c",)
    with pytest.raises(DatasetError, match=r"2 captions for 3 pictures\. Give one for each"):
        caption_with(tagged, texts[:2], TagOptions())


def test_cancelling_stops(tagged: Dataset) -> None:
    class Cancelled(Exception):
        pass

    def cancel(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        auto_tag(tagged, Fixed(), TagOptions(), cancel)


def test_kept_scores_spare_the_tagger(tagged: Dataset, tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "tags", "a" * 64)
    first = Fixed()
    once, _ = auto_tag(tagged, first, TagOptions(), cache=cache)
    # Two of the three records show the same: they are asked for once.
    assert first.sizes == [(20, 10), (5, 10)]
    again = Fixed()
    twice, report = auto_tag(tagged, again, TagOptions(), cache=ScoreCache(tmp_path / "tags", "a" * 64))
    assert again.sizes == []
    assert twice == once
    assert "3 of them known from before" in report
    # Another threshold needs no tagger, another tagger does.
    lower, _ = auto_tag(tagged, again, TagOptions(general_threshold=0.3), cache=cache)
    assert "chat" in lower.records[0].tags
    assert again.sizes == []
    auto_tag(tagged, again, TagOptions(), cache=ScoreCache(tmp_path / "tags", "b" * 64))
    assert len(again.sizes) == 2


def test_pictures_are_known_by_content(tagged: Dataset, tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "tags", "a" * 64)
    record = tagged.records[0]
    moved = tmp_path / "elsewhere" / "b.png"
    moved.parent.mkdir()
    moved.write_bytes(record.image.read_bytes())
    assert cache.key(Record(image=moved, size=record.size, tags=("other",))) == cache.key(record)
    assert cache.key(tagged.records[1]) != cache.key(record)
    Image.new("RGB", (20, 10), "red").save(moved)
    assert cache.key(Record(image=moved, size=record.size)) != cache.key(record)
    moved.unlink()
    with pytest.raises(DatasetError, match="cannot be read any more"):
        cache.key(Record(image=moved, size=record.size))


def test_damaged_scores_are_asked_for_again(tagged: Dataset, tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path / "tags", "a" * 64)
    auto_tag(tagged, Fixed(), TagOptions(), cache=cache)
    for text in ("", "[]", '{"rating": 3}', '{"general": {"a": "b"}}'):
        for file in (tmp_path / "tags").rglob("*.json"):
            file.write_text(text)
        again = Fixed()
        auto_tag(tagged, again, TagOptions(), cache=cache)
        assert len(again.sizes) == 2, text


def test_a_folder_that_cannot_be_written_costs_only_the_keeping(tagged: Dataset, tmp_path: Path) -> None:
    (tmp_path / "tags").write_text("a file where the folder should be")
    result, _ = auto_tag(tagged, Fixed(), TagOptions(), cache=ScoreCache(tmp_path / "tags", "a" * 64))
    assert result.records[0].tags
