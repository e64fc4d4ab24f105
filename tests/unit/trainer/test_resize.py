"""Resizing: the best approximation of a rank, nothing lost where nothing has to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.resize import ResizeOptions, resize

SHAPES = {"linear": ((8, 20), (12, 8)), "conv": ((8, 5, 3, 3), (12, 8, 1, 1))}


def lora(kind: str, alpha: float = 4.0, decay: float = 1.0) -> dict[str, Tensor]:
    """Random factors; with `decay` below 1 each rank weighs less than the one before."""
    draw = torch.Generator().manual_seed(3)
    down, up = (torch.randn(shape, generator=draw) for shape in SHAPES[kind])
    weights = decay ** torch.arange(8.0)
    up = up * weights.view(1, -1, *(1,) * (up.ndim - 2))
    return {"x.lora_down.weight": down, "x.lora_up.weight": up, "x.alpha": torch.tensor(alpha)}


def change(tensors: dict[str, Tensor]) -> np.ndarray:
    down, up = tensors["x.lora_down.weight"].flatten(1).numpy(), tensors["x.lora_up.weight"].flatten(1).numpy()
    product: np.ndarray = float(tensors["x.alpha"]) / len(down) * up @ down
    return product


@pytest.mark.parametrize("kind", SHAPES)
def test_the_error_is_that_of_the_best_approximation(kind: str) -> None:
    before = lora(kind)
    after = resize(before, {}, ResizeOptions(new_dim=3))
    values = np.linalg.svd(change(before), compute_uv=False)
    error = np.linalg.norm(change(before) - change(after.tensors))
    assert error == pytest.approx(np.sqrt((values[3:] ** 2).sum()), rel=1e-4)
    assert after.tensors["x.lora_down.weight"].shape == (3, *SHAPES[kind][0][1:])
    assert float(after.tensors["x.alpha"]) == 3.0
    left = np.sqrt((values[:3] ** 2).sum() / (values**2).sum())
    assert after.layers["x"] == (8, 3, pytest.approx(left, rel=1e-4))


@pytest.mark.parametrize(("energy", "share"), [(0.5, 0.5), (0.9, 0.9), (0.999, 0.999)])
def test_energy_keeps_as_few_ranks_as_will_do(energy: float, share: float) -> None:
    before = lora("linear", decay=0.5)
    after = resize(before, {}, ResizeOptions(method="energy", energy=energy, new_dim=8))
    values = np.linalg.svd(change(before), compute_uv=False) ** 2
    rank = after.layers["x"][1]
    assert values[:rank].sum() / values.sum() >= share
    assert values[: rank - 1].sum() / values.sum() < share


def test_a_layer_that_is_small_already_stays_as_it_is() -> None:
    before = lora("linear")
    after = resize(before, {"ss_seed": "3", "sshs_model_hash": "old"}, ResizeOptions(new_dim=16))
    assert all(torch.equal(before[key], after.tensors[key]) for key in before)
    assert "sshs_model_hash" not in after.metadata
    assert after.metadata["ss_seed"] == "3"


def test_convolutions_may_have_a_rank_of_their_own() -> None:
    after = resize(lora("conv"), {}, ResizeOptions(new_dim=2, new_conv_dim=5))
    assert after.layers["x"][1] == 5


def test_other_networks_are_refused_by_what_they_hold() -> None:
    with pytest.raises(KilnError, match="hada_w1_a"):
        resize({"x.hada_w1_a": torch.zeros(2, 2)}, {}, ResizeOptions())
    with pytest.raises(KilnError, match="dora_scale"):
        resize({**lora("linear"), "x.dora_scale": torch.ones(12, 1)}, {}, ResizeOptions())
