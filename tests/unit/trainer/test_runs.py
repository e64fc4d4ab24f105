"""Runs on disk: found again by what they were made from, never mixed up."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.recipe import Amount, Recipe
from lora_kiln.trainer.runs import RunFolder, find_folder, fingerprint, is_finished, load_run, read_losses
from lora_kiln.trainer.values import Checkpoint


def write_run(folder: Path, mark: str, *, epochs: int = 2, finish: bool = True) -> RunFolder:
    run = RunFolder(folder, "cat", mark, Dataset(trigger="kiln"))
    run.start(Recipe())
    for epoch in range(1, epochs + 1):
        file = run.checkpoint_file(epoch)
        file.write_bytes(b"weights")
        run.add(Checkpoint(epoch=epoch, step=5 * epoch, file=file))
    if finish:
        run.finish()
    return run


def test_the_first_free_or_matching_folder_is_taken(tmp_path: Path) -> None:
    assert find_folder(tmp_path, "cat", "A") == tmp_path / "cat"
    write_run(tmp_path / "cat", "A")
    assert find_folder(tmp_path, "cat", "A") == tmp_path / "cat"
    assert find_folder(tmp_path, "cat", "B") == tmp_path / "cat-2"
    write_run(tmp_path / "cat-2", "B")
    assert find_folder(tmp_path, "cat", "B") == tmp_path / "cat-2"
    assert find_folder(tmp_path, "cat", "C") == tmp_path / "cat-3"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "run.json").write_text("not json")
    assert find_folder(tmp_path, "cat", "A") == tmp_path / "cat-2"


@pytest.mark.parametrize("name", ["", " ", "..", ".", "a/b", "a\\b", "../x", "a:b", "cat ", "cat.", "a\n", "x" * 121])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KilnError, match="run's name"):
        find_folder(tmp_path, name, "A")


@pytest.mark.parametrize("name", ["cat", "my cat 2", "kätzchen", "猫", "a.b_c-d"])
def test_ordinary_names_are_taken(tmp_path: Path, name: str) -> None:
    assert find_folder(tmp_path, name, "A") == tmp_path / name


def test_a_run_is_finished_when_it_says_so_and_all_its_files_are_there(tmp_path: Path) -> None:
    assert not is_finished(tmp_path / "nothing")
    write_run(tmp_path / "half", "A", finish=False)
    assert not is_finished(tmp_path / "half")
    run = write_run(tmp_path / "whole", "A")
    assert is_finished(tmp_path / "whole")
    run.checkpoint_file(1).unlink()
    assert not is_finished(tmp_path / "whole")


def test_a_loaded_run_knows_its_epochs_and_traits(tmp_path: Path, pictures: Callable[..., Dataset]) -> None:
    dataset = pictures("red", "blue", pruned=("green hair", "sash"))
    folder = RunFolder(tmp_path / "cat", "cat", "A", dataset)
    folder.start(Recipe())
    folder.add(Checkpoint(epoch=3, step=12, file=folder.checkpoint_file(3)))
    run = folder.finish()
    assert run == load_run(tmp_path / "cat")
    assert (run.name, run.trigger, run.traits) == ("cat", "kiln", ("green hair", "sash"))
    assert run.checkpoint(0) == run.checkpoint(3)
    assert run.checkpoint(3).step == 12
    assert run.checkpoint(3).file.parent == tmp_path / "cat"
    with pytest.raises(KilnError, match="no epoch 1; saved are 3"):
        run.checkpoint(1)
    assert Recipe.from_dict(json.loads((tmp_path / "cat" / "recipe.json").read_text())) == Recipe()


def test_a_run_may_be_moved_as_a_folder(tmp_path: Path) -> None:
    write_run(tmp_path / "cat", "A")
    (tmp_path / "cat").rename(tmp_path / "elsewhere")
    assert is_finished(tmp_path / "elsewhere")
    assert load_run(tmp_path / "elsewhere").checkpoint(1).file.read_bytes() == b"weights"


def test_starting_again_leaves_nothing_of_the_try_before(tmp_path: Path) -> None:
    write_run(tmp_path / "cat", "A", finish=False).log(step=1, loss=0.5)
    again = RunFolder(tmp_path / "cat", "cat", "A", Dataset())
    again.start(Recipe())
    assert sorted(file.name for file in (tmp_path / "cat").iterdir()) == ["recipe.json", "run.json"]
    assert read_losses(tmp_path / "cat") == []


def test_losses_are_read_in_order(tmp_path: Path) -> None:
    run = write_run(tmp_path / "cat", "A")
    for step, loss in enumerate((0.5, 0.25, 0.125), 1):
        run.log(step=step, loss=loss)
    assert read_losses(tmp_path / "cat") == [0.5, 0.25, 0.125]
    assert read_losses(tmp_path / "nothing") == []


def test_a_loss_that_is_not_finite_is_written_as_plain_json(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", "run", "mark", Dataset())
    run.start(Recipe())

    run.log(step=1, loss=math.inf)
    run.log(step=2, loss=0.5)

    assert '"loss": null' in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    assert math.isnan(read_losses(tmp_path / "run")[0])
    assert read_losses(tmp_path / "run")[1] == 0.5


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(KilnError, match="KilnTrainLoRA"):
        load_run(tmp_path)


def test_the_fingerprint_changes_with_all_that_decides_the_result(pictures: Callable[..., Dataset]) -> None:
    dataset = pictures("red", "blue")
    first = dataset.records[0]
    others = {
        "recipe": fingerprint(Recipe(amount=Amount(epochs=11)), dataset, "model"),
        "seed": fingerprint(Recipe(seed=1), dataset, "model"),
        "model": fingerprint(Recipe(), dataset, "other"),
        "caption": fingerprint(
            Recipe(), dataset.replace_records([dataclasses.replace(first, tags=("x",)), *dataset.records[1:]]), "model"
        ),
        "order": fingerprint(Recipe(), dataset.replace_records(reversed(dataset.records)), "model"),
    }
    first.image.write_bytes(first.image.read_bytes() + b"edited")
    others["picture"] = fingerprint(Recipe(), dataset, "model")
    pictures("red", "blue")
    same = fingerprint(Recipe(), dataset, "model")
    assert len({same, *others.values()}) >= len(others)
    assert len(set(others.values())) == len(others)
