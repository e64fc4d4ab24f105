"""Writing captions back: planned first, backed up, only where the user's own caption files are."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.load import load_dataset
from lora_kiln.dataset.values import Box, Dataset
from lora_kiln.dataset.write_back import MANIFEST, plan_write_back, write_back

NOW = datetime(2026, 5, 4, 3, 2, 1)


def fine(path: Path) -> Path:
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, caption in {"a": "1girl, Long_Hair\n", "b": "1girl, hat", "c": None, "d": "hat"}.items():
        Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
        if caption is not None:
            (folder / f"{name}.txt").write_text(caption)
    return folder


@pytest.fixture
def dataset(folder: Path) -> Dataset:
    return load_dataset(folder)[0]


def tagged(dataset: Dataset, tags: dict[str, tuple[str, ...]]) -> Dataset:
    return dataset.replace_records(dataclasses.replace(r, tags=tags.get(r.image.stem, r.tags)) for r in dataset)


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.txt"))}


def test_nothing_to_do_touches_nothing(dataset: Dataset, folder: Path) -> None:
    plan = plan_write_back(dataset, fine)
    assert (plan.writes, plan.same, plan.skipped) == ((), 4, ())


def test_what_changed_is_written_and_what_was_there_is_kept(dataset: Dataset, folder: Path, tmp_path: Path) -> None:
    before = texts(folder)
    edited = tagged(dataset, {"b": ("1girl", "cap"), "c": ("new",), "d": ()})
    plan = plan_write_back(edited, fine)
    assert texts(folder) == before
    assert [(w.file.name, w.old, w.new) for w in plan.writes] == [
        ("b.txt", "1girl, hat", "1girl, cap"), ("c.txt", None, "new"), ("d.txt", "hat", ""),
    ]  # fmt: skip
    backup = write_back(plan, tmp_path / "backups", NOW)
    # The untouched file keeps its own spelling.
    assert texts(folder) == {"a.txt": "1girl, Long_Hair\n", "b.txt": "1girl, cap", "c.txt": "new", "d.txt": ""}
    assert (backup / "mine" / "b.txt").read_text() == "1girl, hat"
    rows = json.loads((backup / MANIFEST).read_text())["files"]
    assert rows == [
        {"file": str(folder / "b.txt"), "copy": "mine/b.txt"},
        {"file": str(folder / "c.txt"), "copy": None},
        {"file": str(folder / "d.txt"), "copy": "mine/d.txt"},
    ]
    assert [r.tags for r in load_dataset(folder)[0]] == [r.tags for r in edited]
    assert plan_write_back(edited, fine).writes == ()
    # A second backup in the same second does not fall upon the first.
    assert write_back(plan, tmp_path / "backups", NOW) != backup


def test_folders_of_one_name_are_backed_up_apart(tmp_path: Path) -> None:
    for parent in ("x", "y"):
        (tmp_path / "in" / parent / "same").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "in" / parent / "same" / "a.png")
        (tmp_path / "in" / parent / "same" / "a.txt").write_text(parent)
    data = load_dataset(tmp_path / "in")[0]
    plan = plan_write_back(data.replace_records(dataclasses.replace(r, tags=("z",)) for r in data), fine)
    backup = write_back(plan, tmp_path / "backups", NOW)
    assert sorted(path.read_text() for path in backup.rglob("a.txt")) == ["x", "y"]


def test_the_mark_follows_what_lies_there(dataset: Dataset, folder: Path) -> None:
    edited = tagged(dataset, {"b": ("cap",)})
    mark = plan_write_back(edited, fine).mark
    assert plan_write_back(edited, fine).mark == mark
    (folder / "b.txt").write_text("somebody else was here")
    assert plan_write_back(edited, fine).mark != mark


def test_pictures_of_the_graph_and_disagreeing_crops_are_left_out(dataset: Dataset, folder: Path) -> None:
    first, second, third, _ = dataset.records
    box = Box(left=0, top=0, right=4, bottom=4)
    data = dataset.replace_records((
        dataclasses.replace(first, origin=("crop:face of a.png",), tags=("x",)),
        dataclasses.replace(second, tags=("x",)),
        dataclasses.replace(second, tags=("y",), crop=box),
        dataclasses.replace(third, image=folder / f"{'a' * 64}.png", tags=("x",)),
    ))  # fmt: skip
    plan = plan_write_back(data, fine)
    assert plan.writes == ()
    assert len(plan.skipped) == 3
    assert any("several times, with different captions" in line for line in plan.skipped)
    assert sum("a node of the graph made it" in line for line in plan.skipped) == 2


def test_links_and_forbidden_folders_are_left_alone(dataset: Dataset, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "other.txt"
    target.write_text("private")
    (folder / "b.txt").unlink()
    (folder / "b.txt").symlink_to(target)
    (folder / "c.png").rename(tmp_path / "c.png")
    (folder / "c.png").symlink_to(tmp_path / "c.png")
    edited = tagged(dataset, {"b": ("x",), "c": ("x",), "d": ("x",)})

    def check(path: Path) -> Path:
        if path.stem == "d":
            raise ValueError("not open")
        return path

    plan = plan_write_back(edited, check)
    assert plan.writes == ()
    assert len(plan.skipped) == 3
    assert target.read_text() == "private"


def test_a_folder_that_cannot_be_written_says_how_far_it_came(dataset: Dataset, folder: Path, tmp_path: Path) -> None:
    plan = plan_write_back(tagged(dataset, {"b": ("x",), "c": ("x",)}), fine)
    (folder / "c.txt").mkdir()
    with pytest.raises(DatasetError, match="after 1 of 2 captions"):
        write_back(plan, tmp_path / "backups", NOW)
    assert (folder / "b.txt").read_text() == "x"


def test_pictures_that_share_a_caption_file_must_agree(folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "a.jpg")
    dataset = load_dataset(folder)[0]
    assert plan_write_back(dataset, fine).same == 5
    apart = dataset.replace_records(
        dataclasses.replace(r, tags=("cap",)) if r.image.name == "a.jpg" else r for r in dataset
    )
    plan = plan_write_back(apart, fine)
    assert (plan.writes, plan.same) == ((), 3)
    assert [line.split(": ", 1)[1] for line in plan.skipped] == [
        "a.txt is the caption file of 2 pictures whose captions differ"
    ] * 2
    plan = plan_write_back(tagged(dataset, {"a": ("cap",)}), fine)
    assert [(w.file.name, w.new) for w in plan.writes] == [("a.txt", "cap\n")]


def test_a_link_planted_as_a_draft_is_not_followed(dataset: Dataset, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    (folder / ".b.txt.part").symlink_to(secret)
    write_back(plan_write_back(tagged(dataset, {"b": ("cap",)}), fine), tmp_path / "backups", NOW)
    assert (secret.read_text(), (folder / "b.txt").read_text()) == ("mine", "cap")


def test_without_copies_nothing_is_written(dataset: Dataset, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("in the way")
    before = texts(folder)
    with pytest.raises(DatasetError, match="Nothing was written: the copies cannot be made"):
        write_back(plan_write_back(tagged(dataset, {"b": ("cap",)}), fine), tmp_path / "backups", NOW)
    assert texts(folder) == before
