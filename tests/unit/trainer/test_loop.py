"""The whole loop on a model small enough to learn in a second."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer.errors import NotFinite, NothingToTrain
from lora_kiln.trainer.formats import load_file
from lora_kiln.trainer.groups import Captions, Network, Optimizer, Saving
from lora_kiln.trainer.noise_groups import Loss
from lora_kiln.trainer.plan import make_plan
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.runs import load_run, read_losses
from lora_kiln.trainer.values import Run

# The first call of `denoise` is the preflight's.
TRIAL = 1

Pictures = Callable[..., Dataset]
Recipes = Callable[..., Recipe]
Train = Callable[..., Run]


def untouched(model: Any, before: list[Tensor]) -> bool:
    """Whether every weight and every forward is what it was."""
    same = all(torch.equal(a, b) for a, b in zip(model.snapshot(), before, strict=True))
    return same and not model.is_open and not any("forward" in module.__dict__ for module in model.modules())


def test_a_tiny_model_learns_one_batch_by_heart(
    fake_model: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    model = fake_model()
    before = model.snapshot()
    recipe = small_recipe(epochs=250, saving=Saving(save_every="100 %"))
    run = train(pictures("red", "blue"), recipe, model=model)
    losses = read_losses(run.folder)
    assert len(losses) == 250
    first, last = sum(losses[:10]) / 10, sum(losses[-10:]) / 10
    assert first > 0.5
    assert last < first / 10
    assert untouched(model, before)


def test_every_epoch_is_saved_and_every_step_reported(
    fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    reporter = fake_reporter()
    dataset = pictures("red", "blue", "lime", repeats=2)
    run = train(dataset, small_recipe(epochs=3, batch=4), reporter=reporter)
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


@pytest.mark.parametrize(
    "network",
    [
        Network(dim=4, alpha=4.0),
        Network(dim=4, alpha=4.0, network_dropout=0.5, rank_dropout=0.5, module_dropout=0.5),
        Network(network_type="LoHa", dim=4, alpha=4.0, conv_dim=4, rank_dropout=0.5, scale_weight_norms=0.1),
        Network(network_type="DyLoRA", dim=4, alpha=4.0, module_dropout=0.3),
    ],
    ids=["plain", "dropouts", "LoHa", "DyLoRA"],
)
def test_the_global_random_state_is_neither_read_nor_moved(
    trained: Any, pictures: Pictures, small_recipe: Recipes, network: Network
) -> None:
    recipe = small_recipe(network=network)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = trained(pictures("red"), recipe, "first")
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = trained(pictures("red"), recipe, "second")
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_reporter_that_stops_the_run_leaves_the_model_as_it_was(
    fake_model: Any, fake_reporter: Any, folder: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    model = fake_model()
    before = model.snapshot()
    with pytest.raises(KeyboardInterrupt):
        train(pictures("red", "blue"), small_recipe(epochs=5), model=model, reporter=fake_reporter(stop_at=3))
    assert untouched(model, before)
    assert [one.epoch for one in load_run(folder("run").folder).checkpoints] == [1, 2]
    # Nothing goes on behind the caller's back.
    assert not [one.name for one in threading.enumerate() if one.name.startswith("kiln-batches")]


def test_an_error_inside_the_model_leaves_it_as_it_was(
    fake_model: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    model = fake_model()
    before = model.snapshot()

    def broken(*_: object) -> Tensor:
        raise RuntimeError("out of memory")

    model.denoise = broken
    with pytest.raises(RuntimeError, match="out of memory"):
        train(pictures("red"), small_recipe(), model=model)
    assert untouched(model, before)


def test_single_bad_steps_are_skipped(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    model, reporter = fake_model(bad_calls=(TRIAL + 2, TRIAL + 3, TRIAL + 5)), fake_reporter()
    before = model.snapshot()
    run = train(pictures("red", "blue"), small_recipe(epochs=7), model=model, reporter=reporter)
    assert [math.isfinite(step.loss) for step in reporter.steps] == [True, False, False, True, False, True, True]
    saved = [load_file(one.file)[0]["lora_unet_mix.lora_up.weight"] for one in run.checkpoints]
    assert all(torch.isfinite(tensor).all() for tensor in saved)
    moved = [not torch.equal(a, b) for a, b in itertools.pairwise(saved)]
    assert moved == [False, False, True, False, True, True]
    skipped = [json.loads(line)["skipped"] for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert skipped == [0, 1, 2, 2, 3, 3, 3]
    assert untouched(model, before)


def test_three_bad_steps_in_a_row_end_the_run_with_what_to_change(
    fake_model: Any, folder: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    model = fake_model(bad_calls=(TRIAL + 3, TRIAL + 4, TRIAL + 5))
    before = model.snapshot()
    with pytest.raises(NotFinite, match="Lower unet_lr"):
        train(pictures("red", "blue"), small_recipe(epochs=9), model=model)
    assert untouched(model, before)
    assert model.calls == TRIAL + 5
    kept = load_run(folder("run").folder).checkpoints
    assert len(kept) == 4
    assert all(torch.isfinite(t).all() for one in kept for t in load_file(one.file)[0].values())


def test_an_empty_dataset_is_refused_before_anything_is_written(
    folder: Any, small_recipe: Recipes, train: Train
) -> None:
    with pytest.raises(NothingToTrain, match="0 records"):
        train(Dataset(), small_recipe())
    assert not folder("run").folder.exists()


def test_without_a_text_rate_the_text_encoder_stays_and_each_caption_is_encoded_once(
    fake_model: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    model = fake_model()
    run = train(pictures("red", "blue"), small_recipe(epochs=4, text_lr=0.0), model=model)
    keys = {key.partition(".")[0] for key in load_file(run.checkpoint(0).file)[0]}
    assert keys == {"lora_unet_conv", "lora_unet_mix"}
    assert Counter(model.encoded) == {"kiln, red": 1, "kiln, blue": 1}


def test_a_rate_of_nothing_at_all_says_so(pictures: Pictures, small_recipe: Recipes, train: Train) -> None:
    with pytest.raises(NothingToTrain, match="unet_lr"):
        train(pictures("red"), small_recipe(optimizer=Optimizer(unet_lr=0, text_lr=0)))


def test_weights_of_records_and_of_regularisation_scale_their_loss(
    fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    """The first step's loss, with the same draws, is a weighted mean of the two pictures' losses."""

    def first_loss(name: str, weights: tuple[float, float], prior: float = 1.0, is_reg: bool = False) -> float:
        red, blue = pictures("red", "blue")
        records = [dataclasses.replace(red, weight=weights[0])]
        records.append(dataclasses.replace(blue, weight=weights[1], is_reg=is_reg))
        reporter = fake_reporter()
        recipe = small_recipe(epochs=1, loss=Loss(prior_loss_weight=prior))
        train(Dataset(records=tuple(records)), recipe, name, reporter=reporter)
        return float(reporter.steps[0].loss)

    red, blue = first_loss("red", (1, 0)), first_loss("blue", (0, 1))
    assert min(red, blue) > 0
    assert first_loss("both", (1, 1)) == pytest.approx(red + blue, rel=1e-5)
    assert first_loss("weighted", (0.5, 3)) == pytest.approx(0.5 * red + 3 * blue, rel=1e-5)
    assert first_loss("prior", (1, 2), prior=0.25, is_reg=True) == pytest.approx(red + 0.5 * blue, rel=1e-5)


def test_the_first_loss_is_the_mean_squared_error_of_the_noise(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, train: Train
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
    train(dataset, small_recipe(epochs=1), model=model, reporter=reporter)
    x_t, sigma, answer = asked[TRIAL]
    pixels = torch.zeros(1, 64, 64, 3)
    pixels[..., 0] = 1
    noise, predicted = (x_t - model.encode_pixels(pixels)) / sigma, (x_t - answer) / sigma
    assert noise.std() == pytest.approx(1.0, abs=0.15)
    assert reporter.steps[0].loss == pytest.approx(float((predicted - noise).square().mean()), rel=1e-4)
    assert make_plan(dataset, small_recipe()).buckets == ((64, 64),)
