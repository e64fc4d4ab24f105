"""LoRA layers: identity at the start, the merged weight afterwards, nothing left behind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lora_kiln.trainer.adapters import Lora
from lora_kiln.trainer.groups import Network
from lora_kiln.trainer.ports import Layer

MODULES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 10), (2, 5, 6)),
    "conv": (nn.Conv2d(6, 10, 3, padding=1, stride=2), (2, 6, 9, 8)),
    "dilated conv": (nn.Conv2d(6, 10, 3, padding=2, dilation=2, bias=False), (2, 6, 9, 8)),
    "1x1 conv": (nn.Conv2d(6, 10, 1), (2, 6, 5, 5)),
}
EACH = pytest.mark.parametrize("kind", MODULES)


def lora_on(
    kind: str, *, rank: int = 4, alpha: float = 2.0, trained: bool = False, **settings: float
) -> tuple[Lora, Tensor]:
    """An adapter and an input for its layer; `trained` gives `up` random weights, `settings` are dropouts."""
    module, shape = MODULES[kind]
    layer = Layer(key="lora_unet_x", module=module, part="unet", conv=kind.endswith("conv"))
    draw = torch.Generator().manual_seed(0)
    lora = Lora(layer, rank, alpha, draw, Network(**settings) if settings else None)  # type: ignore[arg-type]
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


def answers(lora: Lora, x: Tensor, times: int) -> Tensor:
    """What the adapter adds to its layer's output, as often as asked, [times, ...]."""
    with torch.no_grad(), torch.random.fork_rng():
        plain = lora.layer.module(x)
        lora.attach()
        torch.manual_seed(0)
        found = torch.stack([lora.layer.module(x) - plain for _ in range(times)])
        lora.detach()
    return found


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("setting", ["network_dropout", "rank_dropout"])
def test_values_and_ranks_drop_out_without_moving_the_expected_answer(kind: str, setting: str) -> None:
    lora, x = lora_on(kind, trained=True)
    dropping, _ = lora_on(kind, trained=True, **{setting: 0.4})
    expected, found = answers(lora, x, 1)[0].numpy(), answers(dropping, x, 300).numpy()
    assert not np.allclose(found[0], found[1])
    deviation = found.std(axis=0) / np.sqrt(300)
    assert deviation.max() > 1e-3
    assert (np.abs(found.mean(axis=0) - expected) < 5 * deviation + 1e-5).all()


def test_a_rank_is_left_out_of_a_whole_image() -> None:
    """Of rank 1, an image has either all of the answer, made up for, or nothing."""
    lora, x = lora_on("conv", rank=1, trained=True)
    dropping, _ = lora_on("conv", rank=1, trained=True, rank_dropout=0.25)
    expected = answers(lora, x, 1)[0].numpy() / 0.75
    found = answers(dropping, x, 400).numpy()
    whole = np.isclose(found, expected, atol=1e-5).all(axis=(2, 3, 4))
    nothing = np.isclose(found, 0, atol=1e-6).all(axis=(2, 3, 4))
    assert (whole | nothing).all()
    assert nothing.mean() == pytest.approx(0.25, abs=0.05)
    # Each image by itself.
    assert (nothing[:, 0] != nothing[:, 1]).any()


def test_an_adapter_is_left_out_of_its_share_of_steps() -> None:
    lora, x = lora_on("linear", trained=True)
    dropping, _ = lora_on("linear", trained=True, module_dropout=0.3)
    expected, found = answers(lora, x, 1)[0], answers(dropping, x, 700)
    nothing = torch.tensor([not one.any() for one in found])
    assert float(nothing.float().mean()) == pytest.approx(0.3, abs=0.05)
    torch.testing.assert_close(found[~nothing], expected.expand_as(found[~nothing]))


def test_at_rest_nothing_drops_out_and_nothing_is_drawn() -> None:
    lora, x = lora_on("linear", trained=True)
    dropping, _ = lora_on("linear", trained=True, network_dropout=0.5, rank_dropout=0.5, module_dropout=0.5)
    dropping.learn(False)
    with torch.random.fork_rng():
        before = torch.get_rng_state()
        assert torch.equal(answers(dropping, x, 1), answers(lora, x, 1))
        assert torch.equal(torch.get_rng_state(), before)
    dropping.learn(True)
    assert len(answers(dropping, x, 20).unique(dim=0)) > 1


@EACH
@pytest.mark.parametrize("limit", [0.1, 1.0, 1000.0])
def test_a_norm_above_the_limit_comes_down_to_it(kind: str, limit: float) -> None:
    """Of alpha / rank * up @ down, computed in numpy; both factors take the root."""
    lora, _ = lora_on(kind, trained=True)

    def norm() -> float:
        up, down = (p.detach().flatten(1).numpy() for p in (lora.up, lora.down))
        return float(np.linalg.norm(up @ down * 2.0 / 4))

    before, down = norm(), lora.down.detach().clone()
    lora.limit_norm(limit)
    assert norm() == pytest.approx(min(before, limit), rel=1e-5)
    ratio = math.sqrt(min(1.0, limit / before))
    torch.testing.assert_close(lora.down.detach(), down * ratio)


def test_a_new_adapter_has_no_norm_to_limit() -> None:
    lora, _ = lora_on("linear")
    before = lora.down.detach().clone()
    lora.limit_norm(1e-6)
    assert torch.equal(lora.down.detach(), before)
    assert not lora.up.any()
