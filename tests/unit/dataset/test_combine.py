"""Datasets joined, weighed, made of pictures and given as pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_kiln.dataset.balance import BalanceOptions, balance_repeats
from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.exchange import (
    PictureOptions,
    dataset_to_pictures,
    memory_needed,
    part_of,
    pictures_to_dataset,
)
from lora_kiln.dataset.images import open_image, open_mask
from lora_kiln.dataset.merge import MergeOptions, merge_datasets
from lora_kiln.dataset.values import Box, Dataset, Record


def groups(*counts: tuple[str, int, int], is_reg: bool = False) -> Dataset:
    """(group, pictures, repeats) as records of files that need not be there."""
    root = Path("/pictures").absolute()
    return Dataset(
        records=tuple(
            Record(image=root / group / f"{repeats}-{n}.png", size=(8, 8), group=group, repeats=repeats, is_reg=is_reg)
            for group, count, repeats in counts
            for n in range(count)
        )
    )


def repeats(dataset: Dataset) -> dict[str, list[int]]:
    return {name: sorted({record.repeats for record in records}) for name, records in dataset.groups().items()}


def test_groups_are_seen_alike_and_ratios_inside_stay() -> None:
    dataset = groups(("a", 10, 1), ("b", 40, 2), ("kierose", 1, 9), ("kierose", 2, 3))
    found, report = balance_repeats(dataset)
    assert repeats(found) == {"a": [8], "b": [2], "kierose": [16, 48]}
    assert "a: 10 x 8 = 80, was 1" in report
    assert "kierose: 1 x 48 = 48, was 9" in report
    assert "80 + 80 + 48 + 32 = 240" in report
    assert "Steps: 240 x 10 epochs / batch of 1 = 2400" in report


def test_only_named_groups_change_and_regularisation_keeps_its_own() -> None:
    dataset = groups(("fanart~a", 10, 1), ("fanart~b", 30, 1), ("other", 7, 5))
    dataset = dataset.replace_records([*dataset, *groups(("class", 50, 1), is_reg=True)])
    found, report = balance_repeats(dataset, BalanceOptions(groups=("FANART~*",), target=100, rounding="down"))
    assert repeats(found) == {"fanart~a": [10], "fanart~b": [3], "other": [5], "class": [1]}
    assert "other: 7 x 5 = 35, stays" in report
    assert "With as many regularisation pictures, as the trainer takes them: 450" in report
    with pytest.raises(DatasetError, match="No picture to balance"):
        balance_repeats(dataset, BalanceOptions(groups=("nothing",)))
    brackets = groups(("[pixiv] x", 10, 1), ("other", 7, 5))
    found, _ = balance_repeats(brackets, BalanceOptions(groups=("[pixiv] x",), target=100))
    assert repeats(found) == {"[pixiv] x": [10], "other": [5]}


@pytest.mark.parametrize(("count", "expected"), [(20, 10), (100, 3), (400, 1), (1000, 1), (3000, 1), (1, 200), (40, 6)])
def test_the_articles_table(count: int, expected: int) -> None:
    found, _ = balance_repeats(groups(("x", count, 1)), BalanceOptions(method="by number of pictures"))
    assert repeats(found) == {"x": [expected]}


def test_about_so_many_steps() -> None:
    dataset = groups(("a", 7, 3), ("b", 13, 1))
    wish = BalanceOptions(method="keep proportions", steps=1500, epochs=10, batch_size=2)
    found, report = balance_repeats(dataset, wish)
    assert abs(found.images_per_epoch * 10 / 2 - 1500) <= 50
    assert "asked for 1500" in report
    few, report = balance_repeats(groups(("a", 500, 4)), dataclasses.replace(wish, steps=200))
    assert repeats(few) == {"a": [1]}
    assert "All repeats are 1 already; about 1 epochs come nearer" in report


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 60), st.integers(1, 30)), min_size=1, max_size=5),
    steps=st.integers(1, 20_000),
    method=st.sampled_from(["equalise groups", "by number of pictures", "keep proportions"]),
    rounding=st.sampled_from(["nearest", "down"]),
)
def test_steps_are_as_near_as_one_repeat_more_or_less_allows(
    counts: list[tuple[str, int, int]], steps: int, method: str, rounding: str
) -> None:
    dataset = groups(*counts)
    found, _ = balance_repeats(dataset, BalanceOptions(method=method, steps=steps, epochs=1, rounding=rounding))
    assert len(found) == len(dataset)
    assert min(record.repeats for record in found) >= 1
    assert found.images_per_epoch == len(dataset) or abs(found.images_per_epoch - steps) <= len(dataset)


@pytest.fixture
def drawn(tmp_path: Path) -> list[Record]:
    """Three records of two files."""
    paths = [tmp_path / "one" / "a.png", tmp_path / "two" / "b.png"]
    for path, color in zip(paths, ("red", "blue"), strict=True):
        path.parent.mkdir()
        Image.new("RGB", (16, 8), color).save(path)
    a, b = (Record(image=path, size=(16, 8), tags=("1girl",), group="g", repeats=2) for path in paths)
    return [a, b, dataclasses.replace(a, crop=Box(left=0, top=0, right=8, bottom=8))]


def test_datasets_are_joined(drawn: list[Record]) -> None:
    a, b, crop = drawn
    first, second = Dataset(records=(a, b), trigger="kie"), Dataset(records=(crop, a), trigger="rose")
    merged, report = merge_datasets([first, second])
    assert merged.records == (a, b, crop, a)
    assert merged.trigger == "kie"
    assert merged.words == ("rose",)
    assert "2 + 2 = 4 pictures, 4 after merging" in report
    assert "Triggers: 'kie', 'rose'" in report
    assert "Groups of several datasets that are one now: g" in report
    one, report = merge_datasets([first, second], MergeOptions(same_picture="keep the first", trigger="x"))
    assert one.records == (a, b, crop)
    assert one.trigger == "x"
    assert "Already there (keep the first, 1):\n  g/a.png" in report
    added, _ = merge_datasets([first, second], MergeOptions(same_picture="add repeats", group_prefix=True))
    assert [(record.repeats, record.group) for record in added] == [(4, "1 g"), (2, "1 g"), (2, "2 g")]
    with pytest.raises(DatasetError, match="empty"):
        merge_datasets([Dataset()])


def test_a_copied_file_is_the_same_picture(drawn: list[Record], tmp_path: Path) -> None:
    copy = tmp_path / "copy.png"
    copy.write_bytes(drawn[0].image.read_bytes())
    twin = dataclasses.replace(drawn[0], image=copy)
    merged, _ = merge_datasets(
        [Dataset(records=(drawn[0],)), Dataset(records=(twin,))], MergeOptions(same_picture="keep the first")
    )
    assert merged.records == (drawn[0],)


@pytest.mark.parametrize("how", ["keep the first", "add repeats"])
def test_the_only_caption_is_not_lost(drawn: list[Record], how: str) -> None:
    bare = dataclasses.replace(drawn[0], tags=(), pruned=("red hair",))
    told = dataclasses.replace(drawn[0], tags=(), prose="She waits.")
    datasets = [Dataset(records=(bare,)), Dataset(records=(told,)), Dataset(records=(drawn[0],))]
    merged, report = merge_datasets(datasets, MergeOptions(same_picture=how))
    [record] = merged
    assert (record.caption, record.pruned) == ("She waits.", ("red hair",))
    assert "Had no caption and took another's:\n  that of g/a.png of dataset 2" in report
    [record] = merge_datasets(datasets, MergeOptions(same_picture=how, fill_captions=False))[0]
    assert record.caption == ""


def test_pictures_become_a_dataset_and_pictures_again(tmp_path: Path) -> None:
    noise = [Image.effect_noise((10 + n, 8), 90).convert("RGB") for n in range(3)]
    masks = [Image.linear_gradient("L").resize(picture.size) for picture in noise]
    captions = ["1girl, long_hair", "She waits. It rains today.", ""]
    dataset = pictures_to_dataset(noise, masks, captions, [1, 2, 3], ["loop"], tmp_path)
    assert [record.tags for record in dataset] == [("1girl", "long hair"), (), ()]
    assert dataset.records[1].prose == captions[1]
    assert [(record.repeats, record.group, record.origin) for record in dataset] == [
        (n, "loop", ("taken from the graph",)) for n in (1, 2, 3)
    ]
    shown = list(dataset_to_pictures(dataset))
    assert [one.picture.tobytes() for one in shown] == [picture.tobytes() for picture in noise]
    assert [one.mask.tobytes() for one in shown] == [mask.tobytes() for mask in masks]
    assert [one.caption for one in shown] == ["1girl, long hair", captions[1], ""]
    assert len({one.key for one in shown}) == 3
    again = pictures_to_dataset(
        [one.picture for one in shown], [one.mask for one in shown], [one.caption for one in shown],
        [one.repeats for one in shown], [one.group for one in shown], tmp_path, [one.is_reg for one in shown],
    )  # fmt: skip
    assert again == dataset
    bare = pictures_to_dataset(noise, [], captions, [1], ["loop"], tmp_path, [False, True, False])
    shown = list(dataset_to_pictures(bare))
    assert {one.mask.getextrema() for one in shown} == {(255, 255)}
    assert [one.is_reg for one in shown] == [False, True, False]
    back = pictures_to_dataset(
        noise, [one.mask for one in shown], captions, [1], ["loop"], tmp_path, [one.is_reg for one in shown]
    )
    assert back == bare, "a mask that is white all over is none"
    assert memory_needed(dataset) == 16 * 8 * (10 + 11 + 12)
    assert part_of(dataset, 2, 1).records == dataset.records[1:2]
    assert part_of(dataset, 2, 0).records == dataset.records[1:]
    with pytest.raises(DatasetError, match="first is 4"):
        part_of(dataset, 4, 0)


def test_masks_of_the_host(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 40))
    [none] = pictures_to_dataset([picture], [Image.new("L", (64, 64))], ["x"], [1], [""], tmp_path)
    assert none.mask is None
    assert open_image(none).getpixel((0, 0)) == (255, 215, 215)
    turned = PictureOptions(invert_masks=True)
    [record] = pictures_to_dataset([picture], [Image.new("L", (8, 8), 55)], [], [], [], tmp_path, [True], turned)
    [white] = pictures_to_dataset([picture], [Image.new("L", (8, 8))], [], [], [], tmp_path, options=turned)
    assert white.mask is None
    mask = open_mask(record)
    assert mask is not None
    assert mask.getpixel((0, 0)) == 200
    assert record.is_reg


@pytest.mark.parametrize(
    ("masks", "captions", "said"),
    [
        ([Image.new("L", (9, 9), 1)] * 2, [], r"Mask 1 is 9 x 9 pixels, its picture 8 x 8"),
        ([], ["a", "b", "c"], "3 captions came for 2 pictures"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, masks: list[Image.Image], captions: list[str], said: str) -> None:
    pictures = [Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), "red")]
    with pytest.raises(DatasetError, match=said):
        pictures_to_dataset(pictures, masks, captions, [1], ["x"], tmp_path)
    with pytest.raises(DatasetError, match="No picture came"):
        pictures_to_dataset([], [], [], [], [], tmp_path)
