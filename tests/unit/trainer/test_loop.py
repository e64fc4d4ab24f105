"""The whole loop on a model small enough to learn in a second."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer.errors import NotFinite, NothingToTrain
from lora_kiln.trainer.formats import load_file
from lora_kiln.trainer.loop import train
from lora_kiln.trainer.plan import make_plan
from lora_kiln.trainer.recipe import Captions, Loss, Optimizer, Recipe
from lora_kiln.trainer.runs import RunFolder, load_run, read_losses

Pictures = Callable[..., Dataset]
Recipes = Callable[..., Recipe]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], RunFolder]:
    return lambda name: RunFolder(tmp_path / "runs" / name, name, "mark", Dataset(trigger="kiln"))


@pytest.fixture
def trained(fake_model: Any, fake_reporter: Any, folder: Any) -> Callable[..., dict[str, Tensor]]:
    """Trains a fresh model and returns the last epoch's tensors."""

    def run(dataset: Dataset, recipe: Recipe, name: str) -> dict[str, Tensor]:
        result = train(fake_model(), dataset, recipe, folder(name), fake_reporter())
        return load_file(result.checkpoint(0).file)[0]

    return run


def untouched(model: Any, before: list[Tensor]) -> bool:
    """Whether every weight and every forward is what it was."""
    same = all(torch.equal(a, b) for a, b in zip(model.snapshot(), before, strict=True))
    return same and not model.is_open and not any("forward" in module.__dict__ for module in model.modules())


def test_a_tiny_model_learns_one_batch_by_heart(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, folder: Any
) -> None:
    model, reporter = fake_model(), fake_reporter()
    before = model.snapshot()
    run = train(model, pictures("red", "blue", repeats=25), small_recipe(epochs=10), folder("overfit"), reporter)
    losses = read_losses(run.folder)
    assert len(losses) == 250
    first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
    assert first > 0.5
    assert last < first / 10
    assert untouched(model, before)


def test_every_epoch_is_saved_and_every_step_reported(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, folder: Any
) -> None:
    reporter = fake_reporter()
    dataset = pictures("red", "blue", "lime", repeats=2)
    run = train(fake_model(), dataset, small_recipe(epochs=3, batch=4), folder("epochs"), reporter)
    assert [(one.epoch, one.step) for one in run.checkpoints] == [(1, 2), (2, 4), (3, 6)]
    assert reporter.files == [one.file for one in run.checkpoints]
    assert all(one.file.is_file() for one in run.checkpoints)
    assert run == load_run(run.folder)
    assert [(s.step, s.steps, s.epoch) for s in reporter.steps] == [(i, 6, (i + 1) // 2) for i in range(1, 7)]
    assert [s.loss for s in reporter.steps] == read_losses(run.folder)
    assert reporter.stages == [(0, 3), (1, 3), (2, 3)]
    tensors, metadata = load_file(run.checkpoint(2).file)
    assert {key.partition(".")[0] for key in tensors} == {"lora_unet_conv", "lora_unet_mix", "lora_te_words"}
    assert (metadata["ss_epoch"], metadata["ss_steps"]) == ("2", "4")
    assert metadata["ss_base_model_version"] == "fake"
    last = json.loads((run.folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["lr"] == {"unet": 0.01, "text": 0.01}


def test_the_same_seed_trains_the_same_tensors_and_another_seed_others(
    trained: Any, pictures: Pictures, small_recipe: Recipes
) -> None:
    dataset = pictures("red", "blue", "lime", tags=("kiln", "a", "b", "c"))
    drawing = Captions(shuffle_caption=True, tag_dropout=0.2)
    first, again, other = (
        trained(dataset, small_recipe(seed=seed, captions=drawing), name)
        for seed, name in ((5, "first"), (5, "again"), (6, "other"))
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first if not key.endswith("alpha"))


def test_the_global_random_state_is_neither_read_nor_moved(
    trained: Any, pictures: Pictures, small_recipe: Recipes
) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = trained(pictures("red"), small_recipe(), "first")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = trained(pictures("red"), small_recipe(), "second")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_reporter_that_stops_the_run_leaves_the_model_as_it_was(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, folder: Any
) -> None:
    model = fake_model()
    before, run = model.snapshot(), folder("stopped")
    with pytest.raises(KeyboardInterrupt):
        train(model, pictures("red", "blue"), small_recipe(epochs=5), run, fake_reporter(stop_at=3))
    assert untouched(model, before)
    assert [one.epoch for one in load_run(run.folder).checkpoints] == [1, 2]


def test_an_error_inside_the_model_leaves_it_as_it_was(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, folder: Any
) -> None:
    model = fake_model()
    before = model.snapshot()

    def broken(*_: object) -> Tensor:
        raise RuntimeError("out of memory")

    model.denoise = broken
    with pytest.raises(RuntimeError, match="out of memory"):
        train(model, pictures("red"), small_recipe(), folder("broken"), fake_reporter())
    assert untouched(model, before)


def test_single_bad_steps_are_skipped(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, folder: Any
) -> None:
    model, reporter = fake_model(bad_calls=(2, 3, 5)), fake_reporter()
    before = model.snapshot()
    run = train(model, pictures("red", "blue"), small_recipe(epochs=7), folder("bad steps"), reporter)
    assert [math.isfinite(step.loss) for step in reporter.steps] == [True, False, False, True, False, True, True]
    assert all(torch.isfinite(tensor).all() for tensor in load_file(run.checkpoint(0).file)[0].values())
    assert untouched(model, before)


def test_three_bad_steps_in_a_row_end_the_run_with_what_to_change(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, folder: Any
) -> None:
    model = fake_model(bad_calls=(3, 4, 5))
    before, run = model.snapshot(), folder("nan")
    with pytest.raises(NotFinite, match="Lower unet_lr"):
        train(model, pictures("red", "blue"), small_recipe(epochs=9), run, fake_reporter())
    assert untouched(model, before)
    assert model.calls == 5
    kept = load_run(run.folder).checkpoints
    assert len(kept) == 4
    assert all(torch.isfinite(t).all() for one in kept for t in load_file(one.file)[0].values())


def test_an_empty_dataset_is_refused_before_anything_is_written(
    fake_model: Any, fake_reporter: Any, small_recipe: Recipes, folder: Any
) -> None:
    run = folder("empty")
    with pytest.raises(NothingToTrain, match="0 records"):
        train(fake_model(), Dataset(), small_recipe(), run, fake_reporter())
    assert not run.folder.exists()


def test_without_a_text_rate_the_text_encoder_stays_and_each_caption_is_encoded_once(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, folder: Any
) -> None:
    model = fake_model()
    run = train(model, pictures("red", "blue"), small_recipe(epochs=4, text_lr=0.0), folder("unet"), fake_reporter())
    assert {key.partition(".")[0] for key in load_file(run.checkpoint(0).file)[0]} == {
        "lora_unet_conv",
        "lora_unet_mix",
    }
    assert Counter(model.encoded) == {"kiln, red": 1, "kiln, blue": 1}


def test_a_rate_of_nothing_at_all_says_so(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, folder: Any
) -> None:
    recipe = small_recipe(optimizer=Optimizer(unet_lr=0, text_lr=0))
    with pytest.raises(NothingToTrain, match="unet_lr"):
        train(fake_model(), pictures("red"), recipe, folder("none"), fake_reporter())


def test_weights_of_records_and_of_regularisation_scale_their_loss(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, folder: Any
) -> None:
    """The first step's loss, with the same draws, is a weighted mean of the two pictures' losses."""

    def first_loss(name: str, weights: tuple[float, float], prior: float = 1.0, is_reg: bool = False) -> float:
        red, blue = pictures("red", "blue")
        records = [dataclasses.replace(red, weight=weights[0])]
        records.append(dataclasses.replace(blue, weight=weights[1], is_reg=is_reg))
        reporter = fake_reporter()
        recipe = small_recipe(epochs=1, loss=Loss(prior_loss_weight=prior))
        train(fake_model(), Dataset(records=tuple(records)), recipe, folder(name), reporter)
        return float(reporter.steps[0].loss)

    red, blue = first_loss("red", (1, 0)), first_loss("blue", (0, 1))
    assert min(red, blue) > 0
    assert first_loss("both", (1, 1)) == pytest.approx(red + blue, rel=1e-5)
    assert first_loss("weighted", (0.5, 3)) == pytest.approx(0.5 * red + 3 * blue, rel=1e-5)
    assert first_loss("prior", (1, 2), prior=0.25, is_reg=True) == pytest.approx(red + 0.5 * blue, rel=1e-5)


def test_the_first_loss_is_the_mean_squared_error_of_the_noise(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, folder: Any
) -> None:
    """Computed again from what the model was asked, without any of the trainer's own arithmetic."""
    model, reporter = fake_model(), fake_reporter()
    asked: list[tuple[Tensor, Tensor, Tensor]] = []
    denoise = model.denoise

    def watched(x_t: Tensor, sigma: Tensor, conds: Any) -> Tensor:
        answer: Tensor = denoise(x_t, sigma, conds)
        asked.append((x_t.detach(), sigma, answer.detach()))
        return answer

    model.denoise = watched
    dataset = pictures("red")
    train(model, dataset, small_recipe(epochs=1), folder("loss"), reporter)
    x_t, sigma, answer = asked[0]
    pixels = torch.zeros(1, 64, 64, 3)
    pixels[..., 0] = 1
    noise, predicted = (x_t - model.encode_pixels(pixels)) / sigma, (x_t - answer) / sigma
    assert noise.std() == pytest.approx(1.0, abs=0.15)
    assert reporter.steps[0].loss == pytest.approx(float((predicted - noise).square().mean()), rel=1e-4)
    assert make_plan(dataset, small_recipe()).buckets == ((64, 64),)
