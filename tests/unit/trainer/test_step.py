"""One update: what the network is asked, and what its batches count for."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer import loop, step
from lora_kiln.trainer.batches import Batch, Batches, Update
from lora_kiln.trainer.errors import NotFinite
from lora_kiln.trainer.formats import load_file
from lora_kiln.trainer.groups import Amount, Optimizer
from lora_kiln.trainer.latents import LatentStore
from lora_kiln.trainer.noise_groups import Noise
from lora_kiln.trainer.plan import make_plan
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.state import load_state
from lora_kiln.trainer.streams import stream
from lora_kiln.trainer.values import Run

# The first call of `denoise` is the preflight's.
TRIAL = 1

Pictures = Callable[..., Dataset]
Recipes = Callable[..., Recipe]
Train = Callable[..., Run]


def _eps(s: np.ndarray, x0: np.ndarray, n: np.ndarray) -> np.ndarray:
    return n


def _v(s: np.ndarray, x0: np.ndarray, n: np.ndarray) -> np.ndarray:
    """v = alpha n - sigma x0 of the variance-preserving form, from the host's s = sigma / alpha."""
    alpha = 1 / np.sqrt(s**2 + 1)
    return np.asarray(alpha * n - s * alpha * x0)


def _flow(s: np.ndarray, x0: np.ndarray, n: np.ndarray) -> np.ndarray:
    return n - x0


# Rows: how the family noises, how it reads the network's output, and what that output should be.
PERTURBED: dict[str, tuple[Any, Any, Any]] = {
    "eps": (lambda x0, n, s: x0 + s * n, lambda s, out, x: x - s * out, _eps),
    "v": (lambda x0, n, s: x0 + s * n, lambda s, out, x: x / (s**2 + 1) - out * s / (s**2 + 1) ** 0.5, _v),
    "flow": (lambda x0, n, s: (1 - s) * x0 + s * n, lambda s, out, x: x - s * out, _flow),
}


@pytest.mark.parametrize("family", PERTURBED)
def test_input_perturbation_moves_what_the_network_sees_and_not_its_native_target(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, train: Train, family: str
) -> None:
    """A network that answers with the unperturbed pair's target has no loss, and sees the perturbed input."""
    noised, denoised, target = PERTURBED[family]
    model, reporter = fake_model(), fake_reporter()
    model.schedule.noised = lambda x0, n, s: noised(x0, n, s.view(-1, 1, 1, 1))
    model.schedule.denoised_from = lambda s, out, x: denoised(s.view(-1, 1, 1, 1), out, x)
    model.schedule._levels = torch.tensor((0.2, 0.5, 0.9))
    recipe = small_recipe(epochs=3, noise=Noise(ip_noise_gamma=0.5))
    pixels = torch.zeros(1, 64, 64, 3)
    pixels[..., 0] = 1
    x0, number, seen = model.encode_pixels(pixels).numpy(), [-1], []

    def perfect(x_t: Tensor, sigma: Tensor, conds: Any) -> Tensor:
        noise, more = (
            torch.randn(x0.shape, generator=stream(0, name, number[0])).numpy() for name in ("noise", "perturbation")
        )
        number[0] += 1
        s = sigma.numpy().reshape(-1, 1, 1, 1)
        seen.append(np.abs(noised(x0, noise + 0.5 * more, s) - x_t.numpy()).max())
        out = torch.from_numpy(target(s, x0, noise)) + 0 * torch.stack(list(conds)).sum()
        return torch.as_tensor(denoised(sigma.view(-1, 1, 1, 1), out, x_t))

    model.denoise = perfect
    train(pictures("red"), recipe, model=model, reporter=reporter)
    assert len(seen) == TRIAL + 3
    assert max(seen) < 1e-5
    assert max(step.loss for step in reporter.steps) < 1e-10


def split(batch: Batch, *sizes: int) -> tuple[Batch, ...]:
    """The batch cut into pieces."""
    pieces, at = [], 0
    for size in sizes:
        rows = slice(at, at + size)
        at += size
        pieces.append(
            dataclasses.replace(
                batch,
                x0=batch.x0[rows],
                noise=batch.noise[rows],
                levels=batch.levels[rows],
                captions=batch.captions[rows],
                views=batch.views[rows],
                weights=batch.weights[rows],
                regular=batch.regular[rows],
            )
        )
    return tuple(pieces)


@pytest.mark.parametrize("sizes", [(2, 2), (1, 1, 1, 1), (3, 1)])
def test_accumulated_batches_are_one_update_on_all_their_images(
    fake_model: Any,
    fake_reporter: Any,
    folder: Any,
    pictures: Pictures,
    small_recipe: Recipes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sizes: tuple[int, ...],
) -> None:
    dataset, recipe = pictures("red", "blue", "lime", "navy"), small_recipe(batch=4, epochs=1)
    dataset = dataset.replace_records(
        dataclasses.replace(record, weight=weight) for record, weight in zip(dataset, (1, 0.5, 2, 1), strict=True)
    )
    store = LatentStore(tmp_path / "latents", "mark", fake_model().encode_pixels)
    [update] = Batches(make_plan(dataset, recipe), recipe, store).updates(1)

    def result(name: str, batches: tuple[Batch, ...]) -> tuple[Any, dict[str, Tensor]]:
        reporter = fake_reporter()
        monkeypatch.setattr(Batches, "updates", lambda *_: _updates(Update(step=1, epoch=1, batches=batches)))
        run = loop.train(fake_model(), dataset, recipe, folder(name), reporter, latents=tmp_path / "latents")
        return reporter.steps[0], load_file(run.checkpoint(0).file)[0]

    def _updates(one: Update) -> Any:
        yield one

    whole, tensors = result("whole", update.batches)
    pieces, found = result("pieces", split(update.batches[0], *sizes))
    assert pieces.loss == pytest.approx(whole.loss, rel=1e-5)
    assert pieces.grad_norm == pytest.approx(whole.grad_norm, rel=1e-4)
    for key, value in tensors.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


def test_the_loss_of_an_update_is_the_mean_of_its_batches_also_at_the_end_of_an_epoch(
    fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    """At a rate that moves nothing: three batches of one picture, two an update, and the tail alone."""
    still = Optimizer(unet_lr=1e-30, text_lr=0, lr_scheduler="constant")

    def losses(accumulation: int) -> list[float]:
        reporter = fake_reporter()
        amount = Amount(epochs=1, batch_size=1, accumulation=accumulation)
        recipe = small_recipe(amount=amount, optimizer=still)
        train(pictures("red", "blue", "lime"), recipe, f"by {accumulation}", reporter=reporter)
        return [step.loss for step in reporter.steps]

    first, second, third = losses(1)
    assert losses(2) == pytest.approx([(first + second) / 2, third], rel=1e-5)
    assert losses(5) == pytest.approx([(first + second + third) / 3], rel=1e-5)


def halved(fake_model: Any, overflows: tuple[int, ...] = ()) -> Any:
    """A model that computes in fp16, as far as the engine knows; gradients overflow in these calls."""
    model = fake_model()
    denoise, traits = model.denoise, model.traits()
    model.traits = lambda: dataclasses.replace(traits, half=True)

    def answer(x_t: Tensor, sigma: Tensor, conds: Any) -> Tensor:
        out: Tensor = denoise(x_t, sigma, conds)
        if model.calls in overflows and out.requires_grad:
            out.register_hook(lambda grad: grad * float("inf"))
        return out

    model.denoise = answer
    return model


def test_scaling_fp16s_gradients_changes_nothing_that_is_learned(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    """A power of two, taken out again before clipping, leaves every bit where it was."""
    dataset, recipe = pictures("red", "blue", "lime"), small_recipe(amount=Amount(epochs=3, accumulation=2))
    plain, scaled = fake_reporter(), fake_reporter()
    first = train(dataset, recipe, "plain", reporter=plain)
    second = train(dataset, recipe, "half", model=halved(fake_model), reporter=scaled)
    tensors, found = (load_file(run.checkpoint(0).file)[0] for run in (first, second))
    assert all(torch.equal(found[key], value) for key, value in tensors.items())
    assert [(s.loss, s.grad_norm) for s in scaled.steps] == [(s.loss, s.grad_norm) for s in plain.steps]


def test_an_overflow_of_scaled_gradients_is_skipped_and_says_nothing_of_the_recipe(
    fake_model: Any, folder: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    """Four in a row, which unscaled would be a divergence; the scale halves with each."""
    calls = tuple(range(TRIAL + 2, TRIAL + 6))
    run = train(pictures("red"), small_recipe(epochs=8), model=halved(fake_model, calls))
    saved = [load_file(one.file)[0]["lora_unet_mix.lora_up.weight"] for one in run.checkpoints]
    moved = [not torch.equal(a, b) for a, b in itertools.pairwise(saved)]
    assert moved == [False, False, False, False, True, True, True]
    model = halved(fake_model, calls)
    model.traits = fake_model().traits
    with pytest.raises(NotFinite):
        train(pictures("red"), small_recipe(epochs=8), "whole", model=model)


def test_overflows_at_the_least_scale_are_a_divergence(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    """The loss stays finite all the time; no scale is low enough for such gradients."""
    reporter, halvings = fake_reporter(), int(math.log2(step.FIRST_SCALE / step.LEAST_SCALE))
    model = halved(fake_model, tuple(range(TRIAL + 2, 200)))
    with pytest.raises(NotFinite, match=f"{step.BAD_STEPS_IN_A_ROW} steps in a row"):
        train(pictures("red"), small_recipe(epochs=40), model=model, reporter=reporter)
    assert all(math.isfinite(step.loss) for step in reporter.steps)
    assert len(reporter.steps) == 1 + halvings + step.BAD_STEPS_IN_A_ROW


def test_the_scale_goes_on_with_a_run(
    fake_model: Any, fake_reporter: Any, folder: Any, pictures: Pictures, small_recipe: Recipes, train: Train
) -> None:
    model = halved(fake_model, (TRIAL + 2, TRIAL + 3))
    with pytest.raises(KeyboardInterrupt):
        train(pictures("red"), small_recipe(epochs=8), model=model, reporter=fake_reporter(stop_at=4))
    state = load_state(folder("run").folder)
    assert state is not None
    assert (state["counts"]["scale"], state["counts"]["good_steps"]) == (step.FIRST_SCALE / 4, 1)
    with pytest.raises(KeyboardInterrupt):
        train(pictures("red"), small_recipe(epochs=8), model=halved(fake_model), reporter=fake_reporter(stop_at=6))
    state = load_state(folder("run").folder)
    assert state is not None
    assert (state["counts"]["scale"], state["counts"]["good_steps"]) == (step.FIRST_SCALE / 4, 3)


@pytest.mark.parametrize("half", [False, True])
def test_a_step_in_which_every_adapter_is_left_out_moves_nothing(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, small_recipe: Recipes, train: Train, half: bool
) -> None:
    reporter = fake_reporter()
    recipe = small_recipe(epochs=25).with_settings(module_dropout=0.7, weight_decay=0.0)
    model = halved(fake_model) if half else fake_model()
    run = train(pictures("red"), recipe, model=model, reporter=reporter)
    without = [step.step for step in reporter.steps if step.grad_norm == 0]
    assert 3 < len(without) < 22
    saved = {one.step: load_file(one.file)[0] for one in run.checkpoints}
    first = next(step for step in without if step > 1)
    # Adam goes on by its momentum where there is a gradient of 0, and leaves alone what has none.
    assert all(torch.equal(value, saved[first - 1][key]) for key, value in saved[first].items())


@pytest.mark.parametrize("limit", [1e-4, 0.0, 1e4])
def test_gradients_are_clipped_to_their_limit_and_logged_as_they_were(
    pictures: Pictures, small_recipe: Recipes, train: Train, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    seen = []
    update = torch.optim.SGD.step

    def watched(self: torch.optim.SGD, *args: Any) -> Any:
        grads = [p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None]
        seen.append(float(torch.cat(grads).norm()))
        return update(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", watched)
    recipe = small_recipe(epochs=1).with_settings(optimizer_type="SGD", max_grad_norm=limit)
    run = train(pictures("red", "blue", "lime", "navy"), recipe)
    logged = [json.loads(line)["grad_norm"] for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert min(logged) > 1e-4
    assert seen == pytest.approx([1e-4] * len(logged) if limit == 1e-4 else logged, rel=1e-3)


def test_the_norm_is_pytorchs(fake_model: Any) -> None:
    tensors = [torch.randn(size, generator=torch.Generator().manual_seed(size)) for size in (1, 7, 4096)]
    holders = [torch.nn.Parameter(tensor) for tensor in tensors]
    for holder, tensor in zip(holders, tensors, strict=True):
        holder.grad = tensor.clone()
    torch.testing.assert_close(step.total_norm(tensors), torch.nn.utils.clip_grad_norm_(holders, 1.0))
    assert float(step.total_norm([])) == 0
    assert float(step.total_norm([torch.tensor([math.inf])])) == math.inf
