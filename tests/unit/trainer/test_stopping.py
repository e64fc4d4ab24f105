"""Stop and keep, sample now, and what a page is told of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_kiln.trainer import watch
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.formats import load_file
from lora_kiln.trainer.groups import Amount, Buckets, Network, Optimizer, Saving
from lora_kiln.trainer.ports import Asked
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.runs import RunFolder, go_on, is_finished, is_kept, is_stranded, read_about, times_gone_on
from lora_kiln.trainer.task import Task
from lora_kiln.trainer.watch import overview, runs, steps_after

STOP, SAMPLE = Asked(stop=True), Asked(sample=True)


def recipe(**saving: Any) -> Recipe:
    return Recipe(
        amount=Amount(epochs=3, batch_size=1),
        seed=3,
        network=Network(dim=2, alpha=2.0),
        optimizer=Optimizer(unet_lr=1e-2, text_lr=1e-2),
        buckets=Buckets(resolution=64, bucket_step=64, min_bucket=64, max_bucket=64),
        saving=Saving(**saving),
    )


def test_a_stopped_run_is_saved_returned_and_goes_on_to_the_same_end(
    train: Callable[..., Any], pictures: Callable[..., Any], fake_reporter: Any, tmp_path: Path
) -> None:
    dataset = pictures("red", "blue", "green")
    whole = train(dataset, recipe(), "whole")
    reporter = fake_reporter(wishes={4: STOP})
    run = train(dataset, recipe(), "stopped", reporter=reporter)
    assert [report.step for report in reporter.steps] == [1, 2, 3, 4]
    assert run.checkpoint(0).step == 4
    assert run.checkpoint(0).file.is_file()
    about = read_about(run.folder)
    assert (about["finished"], about["stopped_at"], about["fingerprint"]) == (False, 4, "mark")
    assert "Stopped and kept after step 4 of 9." in reporter.notes

    reporter = fake_reporter()
    again = train(dataset, recipe(), "stopped", reporter=reporter)
    assert reporter.begins == [("stopped", 4, 9)]
    assert [report.step for report in reporter.steps] == [5, 6, 7, 8, 9]
    assert is_finished(again.folder)
    assert "stopped_at" not in read_about(again.folder)
    one, other = (load_file(found.checkpoint(0).file)[0] for found in (whole, again))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_stop_in_the_last_step_is_the_end(
    train: Callable[..., Any], pictures: Callable[..., Any], fake_reporter: Any
) -> None:
    run = train(pictures("red", "blue", "green"), recipe(), reporter=fake_reporter(wishes={9: STOP}))
    assert is_finished(run.folder)
    assert "stopped_at" not in read_about(run.folder)


def test_samples_come_when_asked_for_and_change_nothing(
    train: Callable[..., Any], pictures: Callable[..., Any], fake_reporter: Any
) -> None:
    dataset, reporter = pictures("red", "blue", "green"), fake_reporter(wishes={2: SAMPLE, 5: SAMPLE})
    plain, asked = train(dataset, recipe(), "plain"), train(dataset, recipe(), "asked", reporter=reporter)
    assert [file.name for file in reporter.paintings] == ["step00000002-00.png", "step00000005-00.png"]
    one, other = (load_file(found.checkpoint(0).file)[0] for found in (plain, asked))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_recipes_own_prompts_are_painted(
    train: Callable[..., Any], pictures: Callable[..., Any], fake_reporter: Any
) -> None:
    reporter = fake_reporter(wishes={1: SAMPLE})
    wanted = recipe(sample_prompts=("kiln, red", "kiln, blue"), sample_every="0 epochs")
    train(pictures("red"), wanted, reporter=reporter)
    assert [file.name for file in reporter.paintings[:2]] == ["step00000001-00.png", "step00000001-01.png"]


@pytest.fixture
def task(tmp_path: Path, fake_model: Any, pictures: Callable[..., Any]) -> Task:
    dataset = pictures("red", "blue", "green")
    return Task(model=fake_model(), mark="m", dataset=dataset, recipe=recipe(), root=tmp_path / "runs", name="rose")


def test_a_kept_run_counts_as_done_until_it_is_to_go_on(task: Task, fake_reporter: Any) -> None:
    folder = task.root / "rose"
    task.run(fake_reporter(wishes={4: STOP}), fork=False)
    assert is_kept(folder)
    assert times_gone_on(task.root, "rose") == 0

    reporter = fake_reporter()
    assert task.run(reporter, fork=False).checkpoint(0).step == 4
    assert reporter.steps == []
    assert "go on" in reporter.notes[0]

    go_on(folder)
    assert times_gone_on(task.root, "rose") == 1
    reporter = fake_reporter()
    assert task.run(reporter, fork=False).checkpoint(0).step == 9
    assert [report.step for report in reporter.steps] == [5, 6, 7, 8, 9]
    assert is_finished(folder)
    assert times_gone_on(task.root, "rose") == 1, "or the finished graph would run again"


def test_a_kept_run_without_its_state_stays_and_says_that_it_cannot_go_on(task: Task, fake_reporter: Any) -> None:
    folder = task.root / "rose"
    task.run(fake_reporter(wishes={4: STOP}), fork=False)
    (folder / "state.pt").unlink()
    assert not is_stranded(folder)
    assert task.run(fake_reporter(), fork=False).folder == folder
    with pytest.raises(KilnError, match="cannot go on"):
        go_on(folder)


def test_only_a_kept_run_is_told_to_go_on(task: Task, fake_reporter: Any) -> None:
    task.run(fake_reporter(), fork=False)
    with pytest.raises(KilnError, match="was not stopped"):
        go_on(task.root / "rose")


def test_what_is_told_of_a_run(task: Task, fake_reporter: Any) -> None:
    task.run(fake_reporter(wishes={2: SAMPLE, 4: STOP}), fork=False)
    about = overview(task.root / "rose")
    assert (about["run"], about["name"], about["finished"], about["stopped_at"]) == ("rose", "rose", False, 4)
    assert (about["steps"], about["steps_an_epoch"], about["epochs"], about["can_go_on"]) == (9, 3, 3, True)
    assert [(row["step"], row["there"]) for row in about["checkpoints"]] == [(3, True), (4, True)]
    assert [(row["step"], row["number"], row["file"]) for row in about["samples"]] == [(2, 0, "step00000002-00.png")]
    assert about["notes"] == [{"step": 4, "words": "Stopped and kept after step 4 of 9."}]
    json.dumps(about, allow_nan=False)


def test_steps_are_told_once(task: Task, fake_reporter: Any) -> None:
    folder = task.root / "rose"
    task.run(fake_reporter(wishes={4: STOP}), fork=False)
    first = steps_after(folder, 0, 0)
    assert (first["fresh"], first["more"], first["columns"]["step"]) == (True, False, [1, 2, 3, 4])
    assert set(first["columns"]["lr"]) == {"unet", "text"}
    assert first["place"] == (folder / "metrics.jsonl").stat().st_size
    nothing = steps_after(folder, first["place"], 4)
    assert (nothing["fresh"], nothing["columns"]["step"]) == (False, [])
    go_on(folder)
    task.run(fake_reporter(), fork=False)
    rest = steps_after(folder, first["place"], 4)
    assert (rest["fresh"], rest["columns"]["step"]) == (False, [5, 6, 7, 8, 9])


def test_steps_that_were_made_anew_are_told_anew(folder: Callable[..., RunFolder]) -> None:
    run = folder("rose")
    run.start(recipe(), 0)
    log(run, range(1, 7))
    before = steps_after(run.folder, 0, 0)
    run.start(recipe(), 3)
    log(run, range(4, 6))
    again = steps_after(run.folder, before["place"], 6)
    assert (again["fresh"], again["columns"]["step"]) == (True, [1, 2, 3, 4, 5])
    log(run, range(6, 12))
    longer = steps_after(run.folder, before["place"], 6)
    assert longer["columns"]["step"] == (list(range(7, 12)) if not longer["fresh"] else list(range(1, 12)))
    run.close()


def test_a_line_that_is_being_written_is_left_for_the_next_time(folder: Callable[..., RunFolder]) -> None:
    run = folder("rose")
    run.start(recipe(), 0)
    log(run, range(1, 3))
    run.close()
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    found = steps_after(run.folder, 0, 0)
    assert found["columns"]["step"] == [1, 2]
    assert steps_after(run.folder, found["place"] + 3, 2)["columns"]["step"] == [1, 2], "no line begins there"


def test_long_runs_are_told_in_parts(folder: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "MOST_ROWS", 4)
    run = folder("rose")
    run.start(recipe(), 0)
    log(run, range(1, 10))
    run.close()
    steps, place, more = [], 0, True
    while more:
        found = steps_after(run.folder, place, steps[-1] if steps else 0)
        place, more = found["place"], found["more"]
        assert found["fresh"] == (not steps)
        steps += found["columns"]["step"]
    assert steps == list(range(1, 10))


def test_runs_are_listed_newest_first_and_by_name(folder: Callable[..., RunFolder], tmp_path: Path) -> None:
    for name in ("rose", "iris"):
        folder(name).start(recipe(), 0)
    folder("rose-2").start(recipe(), 0)
    (tmp_path / "runs" / "rose-2" / "run.json").write_text(
        json.dumps({**read_about(tmp_path / "runs" / "rose-2"), "name": "rose"}), encoding="utf-8"
    )
    (tmp_path / "runs" / "linked").symlink_to(tmp_path / "runs" / "rose")
    assert [run["run"] for run in runs(tmp_path / "runs", "rose")] == ["rose-2", "rose"]
    assert {run["run"] for run in runs(tmp_path / "runs")} == {"rose-2", "iris", "rose"}
    assert overview(tmp_path) == {}


def log(run: RunFolder, steps: range) -> None:
    for step in steps:
        run.log(
            step=step, epoch=1, loss=0.1, grad_norm=1.0, lr={"unet": 1e-3}, seconds=0.5, it_s=2.0, memory=5, skipped=0
        )
