"""The article on five characters and five artists: nineteen folders, whose repeats follow from three numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_kiln.dataset.balance import BalanceOptions, balance_repeats
from lora_kiln.dataset.load import load_dataset
from lora_kiln.dataset.save import SaveOptions, save_dataset
from lora_kiln.dataset.values import Dataset, Record

FOLDERS = {
    "17_characters~fanart~OyamaMihari": 53,
    "19_characters~fanart~OyamaMahiro+OyamaMihari": 47,
    "1_artists~kantoku": 2190,
    "24_characters~fanart~Anisphia": 37,
    "28_characters~screenshots~Anisphia+Tilty": 24,
    "2_artists~ke-ta": 738,
    "2_artists~momoko": 762,
    "2_characters~screenshots~Euphyllia": 235,
    "3_characters~fanart~OyamaMahiro": 299,
    "3_characters~screenshots~Anisphia": 217,
    "3_characters~screenshots~OyamaMahiro": 210,
    "3_characters~screenshots~OyamaMahiro+OyamaMihari": 199,
    "3_characters~screenshots~OyamaMihari": 177,
    "4_characters~screenshots~Anisphia+Euphyllia": 165,
    "57_characters~fanart~Euphyllia": 16,
    "5_artists~mochizuki_kei": 426,
    "5_artists~onono_imoko": 373,
    "7_characters~screenshots~Tilty": 95,
    "9_characters~fanart~Anisphia+Euphyllia": 97,
}
TARGETS = {"characters~fanart~*": 912, "characters~screenshots~*": 672, "artists~*": 2190}
"""Pictures of each group in an epoch, rounded down: the article's repeats follow from these, all nineteen."""


@pytest.fixture(scope="module")
def small() -> dict[str, int]:
    """A picture for every ten of the article's, one at the least."""
    return {name: max(1, count // 10) for name, count in FOLDERS.items()}


def test_nineteen_folders_load_nested_as_they_are(write_folder: Callable[..., Path], small: dict[str, int]) -> None:
    for name, count in small.items():
        kind = name.partition("_")[2].split("~")[0]
        folder = write_folder(f"set/{kind}/{name}", [f"{kind}, tag"] * count)
    dataset, problems = load_dataset(folder.parents[1])
    assert problems == ()
    found = dataset.groups()
    assert len(found) == len(FOLDERS) == 19
    for name, count in small.items():
        repeats, _, group = name.partition("_")
        assert len(found[group]) == count
        assert {record.repeats for record in found[group]} == {int(repeats)}
        assert {record.image.parent.name for record in found[group]} == {name}
    saved, _ = save_dataset(dataset, folder.parents[2] / "out", SaveOptions(name="all"))
    assert {path.name for path in saved.iterdir() if path.is_dir()} == set(FOLDERS)


def test_the_articles_repeats_follow_from_three_numbers(write_folder: Callable[..., Path]) -> None:
    [picture], _ = load_dataset(write_folder("plain", [""]))
    records: list[Record] = []
    for name, count in FOLDERS.items():
        records += [dataclasses.replace(picture, group=name.partition("_")[2])] * count
    dataset = Dataset(records=tuple(records))
    for groups, target in TARGETS.items():
        dataset, _ = balance_repeats(dataset, BalanceOptions(groups=(groups,), target=target, rounding="down"))
    found = {f"{records[0].repeats}_{group}": len(records) for group, records in dataset.groups().items()}
    assert found == FOLDERS
    assert dataset.images_per_epoch == sum(int(name.partition("_")[0]) * count for name, count in FOLDERS.items())
