"""The article on an original character with Animagine XL: folders of 9, 5, 3, 1 and 7 repeats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lora_kiln.dataset.balance import BalanceOptions, balance_repeats
from lora_kiln.dataset.load import LoadOptions, load_dataset
from lora_kiln.dataset.report import dataset_report
from lora_kiln.dataset.save import SaveOptions, save_dataset
from lora_kiln.dataset.toml_file import load_toml

VIEWS = ("full body", "cowboy shot", "upper body", "portrait")
STYLES = 14

Write = Callable[..., Path]


@pytest.fixture
def folder(write_folder: Write) -> Path:
    """Iteration 4: front, side and back, swimwear, its back view, and the style variants."""
    front = [f"kierose, 1girl, {view}" for view in VIEWS]
    sides = [f"kierose, 1girl, {view}, {side}" for side in ("from_side", "from_behind") for view in VIEWS]
    wear = [f"kierose, 1girl, {view}, {wear}" for wear in ("bikini", "underwear") for view in VIEWS]
    write_folder("9_kierose", front)
    write_folder("5_kierose", sides)
    write_folder("3_kierose", wear)
    write_folder("1_kierose", ["kierose, 1girl, bikini, from_behind"])
    return write_folder("7_kierose", [f"kierose, 1girl, cowboy shot, style {n}" for n in range(STYLES)]).parent


def test_five_folders_are_one_group_with_five_repeats(folder: Path) -> None:
    dataset, problems = load_dataset(folder)
    assert problems == ()
    assert {record.group for record in dataset} == {"kierose"}
    seen = {r: sum(record.repeats == r for record in dataset) for r in (9, 5, 3, 1, 7)}
    assert seen == {9: 4, 5: 8, 3: 8, 1: 1, 7: STYLES}
    assert dataset.images_per_epoch == 9 * 4 + 5 * 8 + 3 * 8 + 1 + 7 * STYLES == 199
    assert all(record.tags[0] == "kierose" for record in dataset)
    assert {"from side", "from behind"} <= {tag for record in dataset for tag in record.tags}
    report = dataset_report(dataset, problems)
    for line in ("kierose: 4 x 9 = 36", "kierose: 8 x 5 = 40", "kierose: 1 x 1 = 1", "kierose: 14 x 7 = 98"):
        assert line in report


def test_iteration_nine_everything_at_three_but_the_back(folder: Path) -> None:
    """All of it in a folder of 3 repeats, the views from behind in one by themselves."""
    same, _ = load_dataset(folder, LoadOptions(repeats=3))
    assert same.images_per_epoch == 3 * 35
    back = [record for record in same if "from behind" in record.tags]
    assert len(back) == 5


def test_lower_repeats_keep_their_order(folder: Path) -> None:
    """Iteration 5 shifts the repeats down: the same ratios in about half of the steps."""
    dataset, _ = load_dataset(folder)
    wish = BalanceOptions(method="keep proportions", steps=1000, epochs=10)
    lower, report = balance_repeats(dataset, wish)
    pairs = sorted({(old.repeats, new.repeats) for old, new in zip(dataset, lower, strict=True)})
    assert [old for old, _ in pairs] == [1, 3, 5, 7, 9]
    assert [new for _, new in pairs] == sorted(new for _, new in pairs)
    assert abs(lower.images_per_epoch * 10 - 1000) <= 50
    assert "asked for 1000" in report


def test_the_folders_come_back_as_they_were(folder: Path, tmp_path: Path) -> None:
    dataset, _ = load_dataset(folder)
    saved, _ = save_dataset(dataset, tmp_path / "out", SaveOptions(name="kierose"))
    names = {path.name for path in saved.iterdir() if path.is_dir()}
    assert names == {"9_kierose", "5_kierose", "3_kierose", "1_kierose", "7_kierose"}
    for found, problems in (load_dataset(saved), load_toml(saved / "dataset.toml")):
        assert problems == ()
        assert [(r.tags, r.repeats, r.group) for r in found] == [(r.tags, r.repeats, r.group) for r in dataset]
