"""LoRA layers: identity at the start, the merged weight afterwards, nothing left behind."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lora_kiln.trainer.adapters import Lora, make_loras
from lora_kiln.trainer.errors import NothingToTrain
from lora_kiln.trainer.ports import Layer
from lora_kiln.trainer.recipe import Network

MODULES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 10), (2, 5, 6)),
    "conv": (nn.Conv2d(6, 10, 3, padding=1, stride=2), (2, 6, 9, 8)),
    "dilated conv": (nn.Conv2d(6, 10, 3, padding=2, dilation=2, bias=False), (2, 6, 9, 8)),
    "1x1 conv": (nn.Conv2d(6, 10, 1), (2, 6, 5, 5)),
}
EACH = pytest.mark.parametrize("kind", MODULES)


def lora_on(kind: str, *, rank: int = 4, alpha: float = 2.0, trained: bool = False) -> tuple[Lora, Tensor]:
    """An adapter and an input for its layer; `trained` gives `up` random weights."""
    module, shape = MODULES[kind]
    layer = Layer(key="lora_unet_x", module=module, part="unet", conv=kind.endswith("conv"))
    draw = torch.Generator().manual_seed(0)
    lora = Lora(layer, rank, alpha, draw)
    if trained:
        lora.up.data.normal_(generator=draw)
    return lora, torch.randn(shape, generator=draw)


@EACH
def test_an_adapter_starts_as_the_identity(kind: str) -> None:
    lora, x = lora_on(kind)
    before = lora.layer.module(x)
    lora.attach()
    try:
        assert torch.equal(lora.layer.module(x), before)
    finally:
        lora.detach()
    bound = 1 / math.sqrt(math.prod(lora.down.shape[1:]))
    assert 0.5 * bound < lora.down.abs().max() <= bound


@EACH
def test_an_attached_adapter_equals_the_merged_weight(kind: str) -> None:
    lora, x = lora_on(kind, trained=True)
    module: Any = lora.layer.module
    delta = (lora.up.flatten(1) @ lora.down.flatten(1)).reshape(module.weight.shape) * (2.0 / 4)
    if isinstance(module, nn.Conv2d):
        expected = nn.functional.conv2d(
            x, module.weight + delta, module.bias, module.stride, module.padding, module.dilation
        )
    else:
        expected = nn.functional.linear(x, module.weight + delta, module.bias)
    lora.attach()
    try:
        torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(module(x), expected - 0.1)
    finally:
        lora.detach()


@EACH
def test_gradients_reach_the_adapter_only(kind: str) -> None:
    lora, x = lora_on(kind, trained=True)
    lora.layer.module.requires_grad_(False)
    lora.attach()
    try:
        lora.layer.module(x).square().sum().backward()
    finally:
        lora.detach()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in lora.parameters)
    assert all(p.grad is None for p in lora.layer.module.parameters())


def test_detaching_gives_the_layer_its_own_forward_back() -> None:
    lora, x = lora_on("linear", trained=True)
    module = lora.layer.module
    before = module(x)
    lora.attach()
    assert not torch.equal(module(x), before)
    lora.detach()
    assert "forward" not in module.__dict__
    assert torch.equal(module(x), before)


def test_another_packs_forward_on_the_same_module_is_kept() -> None:
    lora, x = lora_on("linear", trained=True)
    module = nn.Linear(6, 10)
    lora.layer = Layer(key="x", module=module, part="unet", conv=False)
    own, plain = module.forward, module(x)
    module.forward = lambda x: own(x) + 1  # type: ignore[method-assign]
    theirs = module.__dict__["forward"]
    lora.attach()
    with torch.no_grad():
        added = module(x) - plain - 1
    assert added.abs().max() > 0.01
    lora.detach()
    assert module.__dict__["forward"] is theirs
    torch.testing.assert_close(module(x), plain + 1)


def test_a_half_precision_layer_keeps_its_type() -> None:
    module = nn.Linear(6, 10).to(torch.bfloat16)
    lora = Lora(Layer(key="x", module=module, part="unet", conv=False), 4, 4.0, torch.Generator())
    assert lora.down.dtype == lora.up.dtype == torch.float32
    lora.attach()
    assert module(torch.zeros(1, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16
    lora.detach()


@EACH
def test_the_saved_state_has_kohyas_keys_and_shapes(kind: str) -> None:
    lora, _ = lora_on(kind, trained=True)
    state = lora.state()
    assert set(state) == {"lora_unet_x.lora_down.weight", "lora_unet_x.lora_up.weight", "lora_unet_x.alpha"}
    weight = lora.layer.module.weight
    assert isinstance(weight, Tensor)
    assert state["lora_unet_x.lora_down.weight"].shape == (4, *weight.shape[1:])
    assert state["lora_unet_x.lora_up.weight"].shape == (10, 4, *(1,) * (weight.ndim - 2))
    assert state["lora_unet_x.alpha"].shape == ()
    assert float(state["lora_unet_x.alpha"]) == 2.0
    lora.up.data.zero_()
    assert state["lora_unet_x.lora_up.weight"].abs().sum() > 0


def layers() -> list[Layer]:
    linear, conv, text = nn.Linear(4, 4), nn.Conv2d(4, 4, 3), nn.Linear(4, 4)
    return [
        Layer(key="linear", module=linear, part="unet", conv=False),
        Layer(key="conv", module=conv, part="unet", conv=True),
        Layer(key="text", module=text, part="text", conv=False),
    ]


@pytest.mark.parametrize(
    ("network", "parts", "expected"),
    [
        (Network(dim=8, alpha=4.0), ("unet", "text"), {"linear": (8, 4.0), "text": (8, 4.0)}),
        (Network(dim=8, alpha=4.0), ("text",), {"text": (8, 4.0)}),
        (
            Network(dim=8, alpha=4.0, conv_dim=2, conv_alpha=1.5),
            ("unet",),
            {"linear": (8, 4.0), "conv": (2, 1.5)},
        ),
    ],
)
def test_ranks_and_parts_decide_which_layers_are_trained(
    network: Network, parts: tuple[str, ...], expected: dict[str, tuple[int, float]]
) -> None:
    made = make_loras(layers(), network, parts, torch.Generator())
    assert {lora.layer.key: (lora.rank, lora.alpha) for lora in made} == expected


def test_no_layer_to_train_says_what_to_change() -> None:
    with pytest.raises(NothingToTrain, match="unet_lr or text_lr"):
        make_loras(layers(), Network(), (), torch.Generator())
