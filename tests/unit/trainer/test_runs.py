"""Runs on disk: found again by what they were made from, never mixed up."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.groups import Amount
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.runs import (
    START_FILE,
    RunFolder,
    changes,
    find_folder,
    fingerprint,
    is_finished,
    latest,
    load_run,
    read_losses,
)
from lora_kiln.trainer.values import Checkpoint


def write_run(folder: Path, mark: str, *, epochs: int = 2, finish: bool = True) -> RunFolder:
    run = RunFolder(folder, "cat", mark, Dataset(trigger="kiln"))
    run.start(Recipe(), 0)
    for epoch in range(1, epochs + 1):
        file = run.checkpoint_file(epoch, None)
        file.write_bytes(b"weights")
        run.add(Checkpoint(epoch=epoch, step=5 * epoch, file=file))
    if finish:
        run.finish()
    return run


def written(folder: Path) -> list[str]:
    """The files there, but for TensorBoard's, which are there only with its package."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return sorted(file.name for file in files if "tfevents" not in file.name)


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


def test_a_run_is_finished_when_it_says_so_and_its_last_lora_is_there(tmp_path: Path) -> None:
    assert not is_finished(tmp_path / "nothing")
    write_run(tmp_path / "half", "A", finish=False)
    assert not is_finished(tmp_path / "half")
    run = write_run(tmp_path / "whole", "A")
    assert is_finished(tmp_path / "whole")
    # Deleted by hand, to make room: nothing is trained again for it, and what is there stays.
    run.checkpoint_file(1, None).unlink()
    assert is_finished(tmp_path / "whole")
    assert [one.epoch for one in load_run(tmp_path / "whole").checkpoints] == [2]
    with pytest.raises(KilnError, match="no epoch 1; saved are 2"):
        load_run(tmp_path / "whole").checkpoint(1)
    run.checkpoint_file(2, None).unlink()
    assert not is_finished(tmp_path / "whole")


def test_a_loaded_run_knows_its_epochs_and_traits(tmp_path: Path, pictures: Callable[..., Dataset]) -> None:
    dataset = pictures("red", "blue", pruned=("green hair", "sash"))
    folder = RunFolder(tmp_path / "cat", "cat", "A", dataset)
    folder.start(Recipe(), 0)
    folder.checkpoint_file(3, None).write_bytes(b"weights")
    folder.add(Checkpoint(epoch=3, step=12, file=folder.checkpoint_file(3, None)))
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
    again.start(Recipe(), 0)
    assert written(tmp_path / "cat") == ["metrics.jsonl", "recipe.json", "run.json"]
    assert read_losses(tmp_path / "cat") == []


def test_losses_are_read_in_order(tmp_path: Path) -> None:
    run = write_run(tmp_path / "cat", "A")
    for step, loss in enumerate((0.5, 0.25, 0.125), 1):
        run.log(step=step, loss=loss)
    assert read_losses(tmp_path / "cat") == [0.5, 0.25, 0.125]
    assert read_losses(tmp_path / "nothing") == []


def test_a_loss_that_is_not_finite_is_written_as_plain_json(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", "run", "mark", Dataset())
    run.start(Recipe(), 0)

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
    others["held out"] = fingerprint(Recipe().with_settings(validation_share=0.1), dataset, "model")
    same = fingerprint(Recipe(), dataset, "model")
    assert len({same, *others.values()}) >= len(others)
    assert len(set(others.values())) == len(others)


def test_what_is_written_and_when_makes_no_other_run(pictures: Callable[..., Dataset], tmp_path: Path) -> None:
    dataset, same = pictures("red", "blue"), Recipe()
    writing = {
        "save_every": "3 steps", "keep_last": 2, "validate_every": "2 steps", "sample_prompts": ("kiln",),
        "sample_every": "5 steps", "sample_steps": 3, "sample_cfg": 2.0,
    }  # fmt: skip
    fields = {field.name for field in dataclasses.fields(same.saving)}
    assert set(writing) == fields - {"validation_share"}
    other = same.with_settings(**writing)
    assert len(same.differences(other)) == len(writing)
    assert fingerprint(other, dataset, "model") == fingerprint(same, dataset, "model")
    run = RunFolder(tmp_path / "cat", "cat", "A", Dataset())
    run.start(same, 0)
    assert changes(run.folder, other.with_settings(epochs=3)) == ["epochs was 10, is 3"]


def write_steps(folder: Path, *steps: int) -> RunFolder:
    """An unfinished run with a LoRA, a picture and a line of each kind for every step."""
    run = RunFolder(folder, "cat", "A", Dataset())
    run.start(Recipe(), 0)
    for step in steps:
        file = run.checkpoint_file(step, None)
        file.write_bytes(b"weights")
        run.log(step=step, loss=1 / step)
        run.log_validation(step=step, loss=2 / step)
        run.keep_sample(torch.zeros(2, 2, 3), step, 0)
        run.add(Checkpoint(epoch=step, step=step, file=file))
    return run


def lines(file: Path) -> list[int]:
    return [json.loads(line)["step"] for line in file.read_text().splitlines()]


def test_going_on_keeps_what_was_written_up_to_then_and_drops_the_rest(tmp_path: Path) -> None:
    before = write_steps(tmp_path / "cat", 1, 2, 3, 4)
    (tmp_path / "cat" / "cat-step00000003.safetensors").write_bytes(b"half")
    (tmp_path / "cat" / "best.safetensors").write_bytes(b"the user's")
    (tmp_path / "cat" / START_FILE).write_bytes(b"start")
    (tmp_path / "cat" / "notes.txt").write_text("mine")
    again = RunFolder(tmp_path / "cat", "cat", "A", Dataset())
    again.start(Recipe(), 2)
    assert [row["step"] for row in again.about["checkpoints"]] == [1, 2]
    assert again.started_at == before.started_at
    assert lines(tmp_path / "cat" / "metrics.jsonl") == lines(tmp_path / "cat" / "validation.jsonl") == [1, 2]
    assert written(tmp_path / "cat") == [
        "best.safetensors", "cat-000001.safetensors", "cat-000002.safetensors", "metrics.jsonl", "notes.txt",
        "recipe.json", "run.json", START_FILE, "step00000001-00.png", "step00000002-00.png", "validation.jsonl",
    ]  # fmt: skip
    assert again.has_checkpoint(2)
    assert not again.has_checkpoint(3)
    assert again.has_validation(2)
    assert not again.has_validation(3)


@pytest.mark.parametrize("cut", ['{"step": 3, "lo', "", "\x00\x00", "nonsense\n"])
def test_a_line_that_a_crash_cut_off_is_dropped(tmp_path: Path, cut: str) -> None:
    write_steps(tmp_path / "cat", 1, 2)
    with (tmp_path / "cat" / "metrics.jsonl").open("a") as file:
        file.write(cut)
    again = RunFolder(tmp_path / "cat", "cat", "A", Dataset())
    again.start(Recipe(), 2)
    again.log(step=3, loss=1.0)
    assert lines(tmp_path / "cat" / "metrics.jsonl") == [1, 2, 3]


@pytest.mark.parametrize("keep", [0, 1, 2, 9])
def test_the_last_loras_are_kept(tmp_path: Path, keep: int) -> None:
    run = RunFolder(tmp_path / "cat", "cat", "A", Dataset())
    run.start(Recipe(), 0)
    for step in range(1, 6):
        file = run.checkpoint_file(1, step)
        file.write_bytes(b"weights")
        run.add(Checkpoint(epoch=1, step=step, file=file), keep_last=keep)
    expected = [1, 2, 3, 4, 5][-keep:] if keep else [1, 2, 3, 4, 5]
    found = run.finish()
    assert [one.step for one in found.checkpoints] == expected
    names = [f"cat-step{step:08d}.safetensors" for step in expected]
    assert sorted(file.name for file in (tmp_path / "cat").glob("*.safetensors")) == names
    assert is_finished(tmp_path / "cat")
    # Of several inside one epoch, the last.
    assert found.checkpoint(1).step == 5


def test_only_an_unfinished_try_at_the_very_same_run_is_gone_on_with(tmp_path: Path) -> None:
    assert not RunFolder(tmp_path / "cat", "cat", "A", Dataset()).may_go_on()
    write_run(tmp_path / "cat", "A", finish=False)
    assert RunFolder(tmp_path / "cat", "cat", "A", Dataset()).may_go_on()
    assert not RunFolder(tmp_path / "cat", "cat", "B", Dataset()).may_go_on()


def test_the_latest_of_a_name_is_the_last_with_a_lora(tmp_path: Path) -> None:
    assert latest(tmp_path, "cat") is None
    write_run(tmp_path / "cat", "A")
    write_run(tmp_path / "cat-2", "B", finish=False)
    write_run(tmp_path / "cat-3", "C", epochs=0, finish=False)
    write_run(tmp_path / "cat-5", "D")
    assert latest(tmp_path, "cat") == tmp_path / "cat-2"


def test_what_a_changed_recipe_has_otherwise_is_told_in_words(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "cat", "cat", "A", Dataset())
    run.start(Recipe(), 0)
    assert changes(tmp_path / "cat", Recipe()) == []
    changed = Recipe(seed=4).with_settings(epochs=3, warmup="1 epoch", only_layers=("attn",))
    assert changes(tmp_path / "cat", changed) == [
        "epochs was 10, is 3", "only_layers was (), is ('attn',)", "warmup was 0, is 1 epoch", "seed was 0, is 4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content",
    ["", "no json", "[]", "null", '{"sed": 3}', '{"optimizer": {"warmup": 0.05}}', '{"amount": {"epochs": "many"}}'],
)
def test_a_recipe_of_another_version_cannot_be_compared_and_stops_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "recipe.json").write_text(content)
    assert changes(tmp_path, Recipe()) == []
    assert changes(tmp_path / "nowhere", Recipe()) == []


def test_a_picture_is_kept_as_it_was_painted(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "cat", "cat", "A", Dataset())
    run.start(Recipe(), 0)
    picture = torch.tensor([[[0.0, 0.5, 1.0], [2.0, -1.0, 0.25]]])
    file = run.keep_sample(picture, 12, 3)
    assert file == tmp_path / "cat" / "samples" / "step00000012-03.png"
    assert np.asarray(Image.open(file)).tolist() == [[[0, 128, 255], [255, 0, 64]]]
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_run_remembers_in_what_share_of_the_pictures_each_trait_was(tmp_path: Path) -> None:
    def record(number: int, *pruned: str, is_reg: bool = False) -> Record:
        return Record(image=tmp_path / f"{number}.png", size=(8, 8), pruned=pruned, is_reg=is_reg)

    records = (record(0, "green hair", "ahoge"), record(1, "green hair"), record(2), record(3, "hat", is_reg=True))
    folder = RunFolder(tmp_path / "cat", "cat", "A", Dataset(records=records, trigger="kiln"))
    folder.start(Recipe(), 0)
    folder.finish()
    run = load_run(tmp_path / "cat")
    assert run.traits == ("ahoge", "green hair")
    assert run.trait_shares == {"ahoge": 0.3333, "green hair": 0.6667}
    assert run.traits_of_words == {}
    # A run of an older version does not say.
    about = json.loads((tmp_path / "cat" / "run.json").read_text(encoding="utf-8"))
    del about["trait_shares"], about["traits_of_words"]
    (tmp_path / "cat" / "run.json").write_text(json.dumps(about), encoding="utf-8")
    old = load_run(tmp_path / "cat")
    assert (old.trait_shares, old.traits_of_words) == ({}, {})


def test_a_run_remembers_which_trigger_brings_which_traits(tmp_path: Path) -> None:
    def record(number: int, words: tuple[str, ...], *pruned: str, prose: str = "") -> Record:
        return Record(image=tmp_path / f"{number}.png", size=(8, 8), tags=words, pruned=pruned, prose=prose)

    records = (
        record(0, ("kiln", "k-dress"), "green hair", "red dress"),
        record(1, (), "green hair", prose="kiln, k-dress, a girl."),
        record(2, ("kiln",), "green hair", "hat"),
        record(3, ("kiln", "k-suit"), "suit"),
    )
    dataset = Dataset(records=records, trigger="kiln", words=("k-dress", "k-suit", "k-none"))
    folder = RunFolder(tmp_path / "cat", "cat", "A", dataset)
    folder.start(Recipe(), 0)
    folder.finish()
    assert load_run(tmp_path / "cat").traits_of_words == {
        "k-dress": {"green hair": 1.0, "red dress": 0.5},
        "k-suit": {"suit": 1.0},
        "": {"green hair": 1.0, "hat": 1.0},
    }
