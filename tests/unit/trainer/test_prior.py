"""Prior-output preservation: what regularisation images teach is what the model answers without the LoRA."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer.batches import Batch
from lora_kiln.trainer.groups import Network, Optimizer
from lora_kiln.trainer.network import Placed, make_adapters
from lora_kiln.trainer.prior import Prior
from lora_kiln.trainer.recipe import Recipe

STILL = Optimizer(unet_lr=1e-30, text_lr=1e-30, lr_scheduler="constant")


def moved(model: Any, network: Network) -> list[Placed]:
    """Adapters on every layer that change what it answers."""
    draw = torch.Generator().manual_seed(0)
    placed = make_adapters(model.layers(), network, Recipe().blocks, None, ("unet", "text"), draw)
    for one in placed:
        for parameter in one.adapter.parameters:
            parameter.data += torch.randn(parameter.shape, generator=draw) * 0.3
    return placed


def batch_of(*regular: bool) -> Batch:
    draw = torch.Generator().manual_seed(1)
    x0 = torch.randn(len(regular), 4, 8, 8, generator=draw)
    return Batch(
        number=0, x0=x0, noise=x0, more_noise=None, levels=torch.zeros(len(x0)), regular=regular, mask=None,
        captions=tuple(f"kiln, {i}" for i in range(len(x0))), views=(None,) * len(x0), weights=torch.ones(len(x0)),  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("network", [Network(dim=2, conv_dim=2), Network(network_type="LoHa", dim=2, conv_dim=2)])
def test_the_targets_of_regularisation_images_are_the_bare_models_answers(fake_model: Any, network: Network) -> None:
    if network.network_type != "LoRA":
        pytest.importorskip("lycoris")
    model, batch, sigma = fake_model(), batch_of(False, True, True), torch.tensor([0.5, 1.0, 2.0])
    x_t = torch.randn(batch.x0.shape, generator=torch.Generator().manual_seed(2))

    def answer() -> Tensor:
        out: Tensor = model.denoise(
            x_t, sigma, model.encode_text(batch.captions, batch.views, clip_skip=1, max_tokens=0)
        )
        return out.detach()

    with model.open(precision="fp32", checkpointing=False):
        bare, placed = answer(), moved(model, network)
        for one in placed:
            one.adapter.attach()
        with_them = answer()
        assert (with_them - bare).abs().amax(dim=(1, 2, 3)).min() > 0.01
        prior = Prior(model, Recipe(), placed)
        for _ in range(2):
            found = prior.targets(batch, x_t, sigma, batch.x0)
            torch.testing.assert_close(found[1:], bare[1:])
            assert torch.equal(found[0], batch.x0[0])
            assert not found.requires_grad
            assert torch.equal(answer(), with_them)
        model.encoded.clear()
        prior.targets(batch, x_t, sigma, batch.x0)
        assert model.encoded == []
        assert prior.targets(batch_of(False, False), x_t[:2], sigma[:2], x_t[:2]) is not None
        assert model.encoded == []


def test_a_failing_model_has_its_adapters_back(fake_model: Any) -> None:
    model, batch = fake_model(), batch_of(True)
    placed = moved(model, Network(dim=2, conv_dim=2))
    for one in placed:
        one.adapter.attach()
    # It is not open.
    with pytest.raises(AssertionError):
        Prior(model, Recipe(), placed).targets(batch, batch.x0, torch.ones(1), batch.x0)
    assert all("forward" in module.__dict__ for module in model.modules())


def test_a_fresh_lora_has_nothing_to_learn_from_them(
    fake_reporter: Any, pictures: Callable[..., Dataset], small_recipe: Callable[..., Recipe], train: Any
) -> None:
    """It changes nothing yet; the loss of the images that are learned is what it was."""
    red, blue = pictures("red", "blue")

    def loss(name: str, prior: bool, *weights: float) -> float:
        records = (
            dataclasses.replace(red, weight=weights[0]),
            dataclasses.replace(blue, weight=weights[1], is_reg=True),
        )
        recipe = small_recipe(epochs=1, optimizer=STILL).with_settings(prior_preservation=prior)
        reporter = fake_reporter()
        train(Dataset(records=records), recipe, name, reporter=reporter)
        return float(reporter.steps[0].loss)

    plain = loss("plain", False, 1, 1)
    assert loss("both", True, 1, 1) == pytest.approx(loss("alone", False, 1, 0))
    assert loss("regular", True, 0, 1) == pytest.approx(0, abs=1e-9)
    assert plain > loss("again", True, 1, 1) > 0


def test_it_keeps_the_model_nearer_to_itself(
    fake_model: Any, pictures: Callable[..., Dataset], small_recipe: Callable[..., Recipe], trained: Any, tmp_path: Path
) -> None:
    """What the LoRA adds for the class is smaller with it; the weights differ from those without it."""
    dataset = Dataset(records=(*pictures("red"), *pictures("blue", is_reg=True, tags=("cat",))))
    recipe = small_recipe(epochs=8)
    tensors = {
        prior: trained(dataset, recipe.with_settings(prior_preservation=prior), f"prior {prior}")
        for prior in (False, True)
    }

    def drift(prior: bool) -> float:
        model = fake_model()
        x_t, sigma = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(5)), torch.tensor([0.5, 1.0, 2.0])
        with model.open(precision="fp32", checkpointing=False):
            bare = model.denoise(x_t, sigma, model.encode_text(["cat"] * 3, [None] * 3, clip_skip=1, max_tokens=0))
            draw = torch.Generator()
            network, blocks = recipe.network, recipe.blocks
            placed = make_adapters(model.layers(), network, blocks, None, ("unet", "text"), draw, tensors[prior])
            for one in placed:
                one.adapter.attach()
            now = model.denoise(x_t, sigma, model.encode_text(["cat"] * 3, [None] * 3, clip_skip=1, max_tokens=0))
        return float((now - bare).detach().square().mean())

    assert drift(True) < 0.7 * drift(False)
