"""TensorBoard's events: the run's own lines once more, and none where there is no TensorBoard."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.runs import RunFolder
from lora_kiln.trainer.values import Run

SETTINGS = {"validation_share": 0.25, "validate_every": "2 steps", "text_lr": 0.003}


def events(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """(step, value, time) by tag, as TensorBoard reads them."""
    read = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = read.EventAccumulator(str(folder)).Reload()
    tags = found.Tags()["scalars"]
    return {tag: [(one.step, one.value, one.wall_time) for one in found.Scalars(tag)] for tag in tags}


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def check(run: Path, steps: int) -> None:
    """Every number of the run's lines is in the events, once, in order of time."""
    shown, rows = events(run), lines(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, steps + 1))
    for key in ("loss", "grad_norm", "it_s", "memory", "skipped"):
        found = shown[f"metrics/{key}"]
        assert [(step, pytest.approx(value, rel=1e-6)) for step, value, _ in found] == [
            (row["step"], row[key]) for row in rows
        ]
    for part in ("unet", "text"):
        assert [value for _, value, _ in shown[f"metrics/lr/{part}"]] == pytest.approx(
            [row["lr"][part] for row in rows]
        )
    times = [time for *_, time in shown["metrics/loss"]]
    assert times == sorted(times)
    tests = lines(run / "validation.jsonl")
    assert [step for step, *_ in shown["validation/loss"]] == [row["step"] for row in tests]
    for band in range(4):
        found = [value for _, value, _ in shown[f"validation/bands/{band}"]]
        assert found == pytest.approx([row["bands"][band] for row in tests], rel=1e-6)


def test_every_number_of_a_run_is_shown(
    pictures: Callable[..., Dataset], small_recipe: Callable[..., Recipe], train: Callable[..., Run]
) -> None:
    run = train(pictures("red", "blue", "lime", "navy"), small_recipe(epochs=3).with_settings(**SETTINGS))
    check(run.folder, 6)


def test_a_run_that_goes_on_shows_each_step_once_and_no_gap(
    pictures: Callable[..., Dataset],
    small_recipe: Callable[..., Recipe],
    train: Callable[..., Run],
    folder: Callable[..., RunFolder],
    fake_reporter: Any,
) -> None:
    dataset, recipe = pictures("red", "blue", "lime", "navy"), small_recipe(epochs=3).with_settings(**SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        train(dataset, recipe, reporter=fake_reporter(stop_at=5))
    [cut] = folder("run").folder.glob("events.out.tfevents.*")
    # As a kill in the middle of a line would leave it.
    cut.write_bytes(cut.read_bytes()[:-7])
    run = train(dataset, recipe)
    assert len(list(run.folder.glob("events.out.tfevents.*"))) == 1
    check(run.folder, 6)


def test_a_number_that_is_not_finite_is_left_out(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, "run", "mark", Dataset())
    run.start(Recipe(), 0)
    for step, loss in enumerate((0.5, float("nan"), float("inf"), 0.25), 1):
        run.log(step=step, loss=loss)
    assert [(step, value) for step, value, _ in events(tmp_path)["metrics/loss"]] == [(1, 0.5), (4, 0.25)]


@pytest.mark.parametrize("error", [ImportError, TypeError])
def test_without_tensorboard_a_run_is_the_same_but_for_the_events(
    error: type[Exception],
    pictures: Callable[..., Dataset],
    small_recipe: Callable[..., Recipe],
    train: Callable[..., Run],
    outcome: Callable[[Path], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A TypeError is what a package made for another protobuf raises: that is told, absence is not."""
    dataset, recipe = pictures("red", "blue", "lime", "navy"), small_recipe().with_settings(**SETTINGS)
    expected = outcome(train(dataset, recipe).folder)
    (train(dataset, recipe).folder / "run.json").unlink()

    class Refusing:
        def find_spec(self, name: str, *_: Any) -> None:
            if name.startswith("tensorboard"):
                raise error(name)

    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Refusing(), *sys.meta_path])
    run = train(dataset, recipe)
    assert outcome(run.folder) == expected
    assert not list(run.folder.glob("events*"))
    assert ("TensorBoard" in caplog.text) == (error is TypeError)
