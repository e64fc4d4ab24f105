"""A run by its name: found again, gone on with, forked or begun, whatever was queued before."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.formats import load_file
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.runs import START_FILE, read_about
from lora_kiln.trainer.task import Task
from lora_kiln.trainer.values import Run

Tensors = dict[str, Tensor]


@pytest.fixture
def dataset(pictures: Callable[..., Dataset]) -> Dataset:
    return pictures("red", "blue")


@pytest.fixture
def task(tmp_path: Path, dataset: Dataset, fake_model: Any, small_recipe: Callable[..., Recipe]) -> Callable[..., Task]:
    """A task of two epochs of a step each, named `cat`; settings of the recipe or fields of the task may differ."""

    def make(*, name: str = "cat", mark: str = "model", **values: Any) -> Task:
        fields = {key: values.pop(key) for key in ("dataset", "start") if key in values}
        recipe = small_recipe().with_settings(**values)
        given = {"dataset": dataset, **fields}
        return Task(model=fake_model(), mark=mark, recipe=recipe, root=tmp_path / "kiln", name=name, **given)

    return make


@pytest.fixture
def run(fake_reporter: Any) -> Callable[..., tuple[Run, Any]]:
    """Runs a task and returns what came out and what was heard of it."""

    def go(one: Task, *, fork: bool = False, stop_at: int = 0) -> tuple[Run, Any]:
        reporter = fake_reporter(stop_at)
        return one.run(reporter, fork=fork), reporter

    return go


def weights(found: Run) -> Tensors:
    return load_file(found.checkpoint(0).file)[0]


def equal(a: Tensors, b: Tensors) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[key]) for key, value in a.items())


def test_a_finished_run_is_found_and_not_trained_again(task: Any, run: Any) -> None:
    first, heard = run(task())
    assert (first.folder.name, len(heard.steps), len(first.checkpoints)) == ("cat", 2, 2)
    again = task()
    second, heard = run(again)
    assert second == first
    assert (heard.steps, heard.notes, heard.stages) == ([], [], [])
    assert again.model.calls == 0


def test_a_finished_run_without_any_of_its_files_is_trained_again(task: Any, run: Any) -> None:
    first, _ = run(task())
    kept = weights(first)
    # The last ones are often the first to be thrown away: they have learned too much.
    first.checkpoint(2).file.unlink()
    found, heard = run(task())
    assert ([one.epoch for one in found.checkpoints], heard.steps) == ([1], [])
    assert heard.notes[0].startswith("cat is finished; 1 of its 2 LoRAs are still there. To train it anew")
    first.checkpoint(1).file.unlink()
    second, heard = run(task())
    assert second.folder == first.folder
    assert len(heard.steps) == 2
    assert equal(weights(second), kept)


def test_saved_loras_without_a_state_are_left_alone(task: Any, run: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(task(), stop_at=2)
    [file] = (task().root / "cat").glob("*.safetensors")
    kept = file.read_bytes()
    for damage in (lambda state: state.write_bytes(b"torn"), Path.unlink):
        damage(task().root / "cat" / "state.pt")
        found, heard = run(task())
        assert found.folder.name == "cat-2"
        assert file.read_bytes() == kept
        if heard.steps:
            assert heard.notes[0].startswith("cat holds LoRAs of this very run and no state to go on from")


@pytest.mark.parametrize("name", ["latents", "Cache"])
def test_folders_of_all_runs_are_no_name(task: Any, run: Any, name: str) -> None:
    with pytest.raises(KilnError, match=f"The run's name is '{name}', where the pack keeps files of all runs"):
        run(task(name=name))


def test_a_stopped_run_goes_on_where_it_stopped(task: Any, run: Any) -> None:
    whole, _ = run(task(name="whole"))
    with pytest.raises(KeyboardInterrupt):
        run(task(), stop_at=1)
    second, heard = run(task())
    assert [step.step for step in heard.steps] == [2]
    assert any("Going on after step 1 of 2" in note for note in heard.notes)
    assert equal(weights(second), weights(whole))


CHANGES: dict[str, dict[str, Any]] = {
    "a setting": {"unet_lr": 0.02},
    "the seed": {"seed": 1},
    "the held-out share": {"validation_share": 0.5},
    "the model": {"mark": "another"},
    "the LoRA to start from": {"start": None},
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_run_has_a_folder_of_its_own_and_says_what_changed(
    task: Any, run: Any, fake_model: Any, what: str
) -> None:
    first, _ = run(task())
    changes = CHANGES[what]
    if "start" in changes:
        changes = {"start": weights(first)}
    second, heard = run(task(**changes))
    assert second.folder.name == "cat-2"
    assert len(heard.steps) == 2
    names = [key for key in changes if key not in ("mark", "start")]
    told = f"{names[0]} was " if names else "the dataset, the captions or the model"
    assert heard.notes[0].startswith(f"Not the run in cat. Different: {told}")
    assert not equal(weights(second), weights(first)) or what == "the model"
    assert run(task())[0] == first
    assert run(task(**changes))[0] == second


WRITING = {
    "save_every": "1 step", "keep_last": 1, "validate_every": "1 step", "sample_prompts": ("kiln", "cat"),
    "sample_every": "1 step", "sample_steps": 3, "sample_cfg": 2.0,
}  # fmt: skip


def test_when_things_are_written_is_no_other_run(task: Any, run: Any) -> None:
    """A stopped run goes on with the new wishes and learns the same; a finished one stays as it is."""
    whole, _ = run(task(name="whole", epochs=3))
    with pytest.raises(KeyboardInterrupt):
        run(task(epochs=3), stop_at=1)
    second, heard = run(task(epochs=3, **WRITING))
    assert second.folder.name == "cat"
    assert [step.step for step in heard.steps] == [2, 3]
    assert [one.step for one in second.checkpoints] == [3]
    assert len(heard.paintings) == 6
    assert equal(weights(second), weights(whole))
    written = json.loads((second.folder / "recipe.json").read_text(encoding="utf-8"))
    assert written["saving"]["sample_prompts"] == ["kiln", "cat"]
    found, heard = run(task(epochs=3, save_every="2 steps"))
    assert (found, heard.steps) == (second, [])


def test_captions_and_pictures_make_another_run(task: Any, run: Any, dataset: Dataset) -> None:
    first, _ = run(task())
    retold = dataset.replace_records(dataclasses.replace(record, tags=("kiln", "cat")) for record in dataset)
    second, heard = run(task(dataset=retold))
    assert second.folder.name == "cat-2"
    assert "the dataset, the captions or the model" in heard.notes[0]
    assert run(task(dataset=Dataset(records=dataset.records, trigger="cat")))[0].folder.name == "cat-3"
    assert run(task())[0] == first


def test_a_fork_goes_on_from_the_last_lora_and_stays_one(task: Any, run: Any) -> None:
    first, _ = run(task())
    with pytest.raises(KeyboardInterrupt):
        run(task(unet_lr=1e-30, text_lr=1e-30), fork=True, stop_at=1)
    second, heard = run(task(unet_lr=1e-30, text_lr=1e-30), fork=True)
    assert [step.step for step in heard.steps] == [2]
    assert read_about(second.folder)["origin"] == "cat, step 2"
    assert equal(load_file(second.folder / START_FILE)[0], weights(first))
    # At such rates nothing moves: what comes out is what it went on from.
    assert equal(weights(second), weights(first))
    assert run(task(unet_lr=1e-30, text_lr=1e-30), fork=True)[0] == second


def test_a_fork_is_not_taken_for_a_run_that_began_with_nothing(task: Any, run: Any) -> None:
    run(task())
    forked, heard = run(task(seed=5), fork=True)
    assert "Going on from cat, step 2." in heard.notes
    plain, heard = run(task(seed=5))
    assert (forked.folder.name, plain.folder.name) == ("cat-2", "cat-3")
    assert not any("Going on from" in note for note in heard.notes)
    assert not equal(weights(plain), weights(forked))


def test_what_is_given_to_start_from_goes_before_a_fork(task: Any, run: Any) -> None:
    first, _ = run(task())
    given = {key: value * 2 if "up" in key else value for key, value in weights(first).items()}
    second, _ = run(task(unet_lr=1e-30, text_lr=1e-30, start=given), fork=True)
    assert not read_about(second.folder)["origin"]
    assert equal(weights(second), given)


def test_looking_ahead_says_what_a_run_would_and_leaves_latents_alone(
    task: Any, run: Any, fake_reporter: Any, tmp_path: Path
) -> None:
    found = task().look_ahead(fake_reporter())
    assert (found.steps, found.images) == (2, 2)
    assert [path.name for path in (tmp_path / "kiln").iterdir()] == ["latents"]
    _, heard = run(task())
    assert len(heard.steps) == found.steps


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\\b", " cat", "con:"])
def test_a_name_that_is_no_folders_is_refused(task: Any, run: Any, name: str) -> None:
    with pytest.raises(KilnError, match="use letters, digits, spaces"):
        run(task(name=name))
