"""A LoRA saved at another strength gives the weights that its strength would."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.scaling import scaled


def parts(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    draws = torch.Generator().manual_seed(0)
    return {f"x.{name.replace('__', '.')}": torch.randn(shape, generator=draws) for name, shape in shapes.items()}


LORA = parts(lora_up__weight=(4, 2), lora_down__weight=(2, 3))
LOHA = parts(hada_w1_a=(4, 2), hada_w1_b=(2, 3), hada_w2_a=(4, 2), hada_w2_b=(2, 3))
LOKR = parts(lokr_w1=(2, 2), lokr_w2_a=(2, 1), lokr_w2_b=(1, 3))
LOKR_FACTORED = parts(lokr_w1_a=(2, 1), lokr_w1_b=(1, 2), lokr_w2=(2, 3))
GLORA = parts(a1__weight=(3, 2), a2__weight=(2, 3), b1__weight=(4, 2), b2__weight=(2, 3))
BASE = torch.arange(12.0).reshape(4, 3)


def change(t: dict[str, Tensor]) -> Tensor:
    """What each kind adds to the weight `BASE` [4, 3], written out."""
    t = {key.removeprefix("x."): value for key, value in t.items()}
    if "lora_up.weight" in t:
        return t["lora_up.weight"] @ t["lora_down.weight"]
    if "hada_w1_a" in t:
        return (t["hada_w1_a"] @ t["hada_w1_b"]) * (t["hada_w2_a"] @ t["hada_w2_b"])
    if "a1.weight" in t:
        return BASE @ t["a1.weight"] @ t["a2.weight"] + t["b1.weight"] @ t["b2.weight"]
    first = t["lokr_w1"] if "lokr_w1" in t else t["lokr_w1_a"] @ t["lokr_w1_b"]
    second = t["lokr_w2"] if "lokr_w2" in t else t["lokr_w2_a"] @ t["lokr_w2_b"]
    return torch.kron(first, second)


@pytest.mark.parametrize(
    "tensors", [LORA, LOHA, LOKR, LOKR_FACTORED, GLORA], ids=["lora", "loha", "lokr", "lokr2", "glora"]
)
@pytest.mark.parametrize("strength", [0.7, 1.5, -1.0])
def test_the_change_of_every_kind_is_multiplied_by_the_strength(tensors: dict[str, Tensor], strength: float) -> None:
    alpha = {"x.alpha": torch.tensor(2.0)}
    made = scaled({**tensors, **alpha}, strength)
    torch.testing.assert_close(change(made), strength * change(tensors))
    assert torch.equal(made["x.alpha"], alpha["x.alpha"])


def test_strength_one_changes_nothing_of_any_kind() -> None:
    turned = {**LORA, "x.dora_scale": torch.ones(4)}
    assert all(scaled(turned, 1.0)[key] is value for key, value in turned.items())


@pytest.mark.parametrize("key", ["x.dora_scale", "x.oft_blocks", "y.unknown"])
def test_a_kind_that_cannot_be_weakened_is_named(key: str) -> None:
    with pytest.raises(KilnError, match="Save it at 1"):
        scaled({**LORA, key: torch.ones(4)}, 0.8)
