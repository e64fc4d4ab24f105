"""LyCORIS's modules as adapters: what their files say, computed in numpy, is what they do to a layer."""

from __future__ import annotations

import math
import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lora_kiln.trainer.adapters import Lora
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.groups import Network
from lora_kiln.trainer.lycoris_adapters import Lycoris
from lora_kiln.trainer.ports import Layer

from .lycoris_layers import ALPHA, EACH, KINDS, ON, RANK, adapter, delta, layer_of, run, x_of

pytest.importorskip("lycoris")


@EACH
@ON
def test_every_kind_starts_as_the_identity(kind: str, on: str) -> None:
    one = adapter(kind, on)
    torch.testing.assert_close(run(one, x_of(on)), one.layer.module(x_of(on)), rtol=1e-4, atol=1e-5)


@EACH
@ON
def test_a_trained_one_moves_the_layer_while_attached_and_leaves_nothing_behind(kind: str, on: str) -> None:
    one = adapter(kind, on, trained=True)
    one.learn(False)
    module, x = one.layer.module, x_of(on)
    before, names = module(x), set(module.__dict__)
    assert not torch.allclose(run(one, x), before, atol=1e-2)
    assert set(module.__dict__) == names
    assert torch.equal(module(x), before)


@EACH
def test_another_packs_forward_on_the_same_module_is_kept(kind: str) -> None:
    one = adapter(kind, "linear")
    module, x = one.layer.module, x_of("linear")
    own, plain = module.forward, module(x)
    module.forward = lambda x: own(x) + 1  # type: ignore[method-assign]
    theirs = module.__dict__["forward"]
    torch.testing.assert_close(run(one, x), plain + 1, rtol=1e-4, atol=1e-5)
    assert module.__dict__["forward"] is theirs


@EACH
@ON
def test_gradients_reach_the_adapter_only(kind: str, on: str) -> None:
    one = adapter(kind, on, trained=True)
    one.learn(False)
    run(one, x_of(on)).square().sum().backward()
    moved = [p.grad is not None and bool(p.grad.any()) for p in one.parameters]
    # DyLoRA trains the last of its ranks and holds the others.
    assert all(moved) or (kind == "DyLoRA" and any(moved))
    assert all(p.dtype == torch.float32 for p in one.parameters)
    assert all(p.grad is None for p in one.layer.module.parameters())


KEYS = {
    "LoCon": {"lora_down.weight", "lora_up.weight"},
    "DoRA": {"lora_down.weight", "lora_up.weight", "dora_scale"},
    "LoHa": {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"},
    "LoHa with DoRA": {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "dora_scale"},
    "LoKr": {"lokr_w1", "lokr_w2_a", "lokr_w2_b"},
    "DyLoRA": {"lora_down.weight", "lora_up.weight"},
    "GLoRA": {"a1.weight", "a2.weight", "b1.weight", "b2.weight"},
    "OFT": {"oft_blocks"},
    "BOFT": {"oft_blocks"},
    "Tucker": {"lora_down.weight", "lora_mid.weight", "lora_up.weight"},
    "LoCon, rank-stabilised": {"lora_down.weight", "lora_up.weight"},
    "LoCon, scalar": {"lora_down.weight", "lora_up.weight"},
    "LoKr, both": {"lokr_w1", "lokr_w2_a", "lokr_w2_b"},
    "DyLoRA, blocks": {"lora_down.weight", "lora_up.weight"},
    "BOFT, rescaled": {"oft_blocks", "rescale"},
}


@EACH
def test_a_file_has_each_kinds_own_keys(kind: str) -> None:
    one = adapter(kind, "conv", trained=True)
    state = one.state()
    assert {key.removeprefix("lora_unet_x.") for key in state} == KEYS[kind] | {"alpha"}
    assert state["lora_unet_x.alpha"].ndim == 0
    assert all(value.dtype == torch.float32 and not value.requires_grad for value in state.values())
    if "OFT" not in kind:
        # Where the rank's root divides, the alpha of a file, which the rank divides, is larger by that root.
        stabilised = math.sqrt(RANK) if "stabilised" in kind else 1
        assert float(state["lora_unet_x.alpha"]) == pytest.approx(ALPHA * stabilised)
    if "dora" in kind.lower():
        assert state["lora_unet_x.dora_scale"].shape == (16, 1, 1, 1)
    # A copy: training goes on without it.
    name = next(iter(sorted(KEYS[kind])))
    before = state[f"lora_unet_x.{name}"].clone()
    for parameter in one.parameters:
        parameter.data += 1
    assert torch.equal(state[f"lora_unet_x.{name}"], before)


def test_a_large_rank_leaves_lokrs_second_factor_whole() -> None:
    """Its alpha is the rank then, so that it is not scaled."""
    state = adapter("LoKr", "linear", rank=4).state()
    assert {key.removeprefix("lora_unet_x.") for key in state} == {"lokr_w1", "lokr_w2", "alpha"}
    assert float(state["lora_unet_x.alpha"]) == 4


@EACH
@ON
def test_a_file_makes_the_same_adapter_again(kind: str, on: str) -> None:
    one, other = adapter(kind, on, trained=True), adapter(kind, on, seed=7)
    other.load(one.state())
    one.learn(False)
    other.learn(False)
    torch.testing.assert_close(run(other, x_of(on)), run(one, x_of(on)), rtol=1e-5, atol=1e-6)
    assert all(torch.equal(value, other.state()[key]) for key, value in one.state().items())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("BOFT", "Tucker", "BOFT, rescaled")])
def test_at_rest_a_layer_answers_as_its_file_says(kind: str) -> None:
    one = adapter(kind, "linear", trained=True)
    one.learn(False)
    state = {key.removeprefix("lora_unet_x."): value.numpy() for key, value in one.state().items()}
    module: Any = one.layer.module
    weight, x = module.weight.numpy(), x_of("linear").numpy()
    expected = x @ (weight + delta(kind, state, weight)).T + module.bias.numpy()
    np.testing.assert_allclose(run(one, x_of("linear")).detach().numpy(), expected, rtol=1e-3, atol=1e-4)
    assert np.abs(delta(kind, state, weight)).max() > 0.02


@EACH
def test_loraplus_speeds_up_what_stands_at_nothing_at_first(kind: str) -> None:
    one = adapter(kind, "conv")
    fast = {id(p) for p in one.fast}
    assert fast
    assert fast == {id(p) for p in one.parameters if not p.detach().numpy().any()}


@EACH
def test_first_values_follow_from_the_generator_and_disturb_nobody(kind: str) -> None:
    torch.manual_seed(4)
    random.seed(4)
    before, python = torch.get_rng_state(), random.getstate()
    first, again, other = adapter(kind, "linear"), adapter(kind, "linear"), adapter(kind, "linear", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python
    assert all(torch.equal(a, b) for a, b in zip(first.parameters, again.parameters, strict=True))
    if "OFT" not in kind:
        assert not all(torch.equal(a, b) for a, b in zip(first.parameters, other.parameters, strict=True))


@ON
def test_lycoriss_locon_is_our_lora_to_rounding(on: str) -> None:
    plain = Lora(layer_of(on), RANK, ALPHA, torch.Generator().manual_seed(0))
    plain.up.data.normal_(generator=torch.Generator().manual_seed(1))
    theirs = adapter("LoCon", on)
    theirs.load(plain.state())
    x = x_of(on)
    plain.attach()
    expected = plain.layer.module(x)
    plain.detach()
    torch.testing.assert_close(run(theirs, x), expected, rtol=1e-4, atol=1e-5)
    assert theirs.state().keys() == plain.state().keys()


@pytest.mark.parametrize("kind", ["LoCon", "DoRA", "LoHa", "LoKr", "DyLoRA", "GLoRA", "OFT", "BOFT"])
def test_modules_drop_out_in_training_only(kind: str) -> None:
    one = adapter(kind, "linear", trained=True, module_dropout=0.3)
    plain, x = one.layer.module(x_of("linear")), x_of("linear")
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        one.attach()
        kept = [not torch.equal(one.layer.module(x), plain) for _ in range(250)]
        one.learn(False)
        resting = [one.layer.module(x) for _ in range(20)]
        one.detach()
    assert sum(kept) / 250 == pytest.approx(0.7, abs=0.09)
    assert all(torch.equal(resting[0], other) for other in resting)
    assert not torch.equal(resting[0], plain)


def test_dylora_draws_its_ranks_from_pytorchs_generator() -> None:
    """Which is seeded by the step, and which gradient checkpointing replays; Python's own is neither."""
    one, x = adapter("DyLoRA", "linear", rank=8, trained=True), x_of("linear")
    python = random.getstate()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        first = [run(one, x) for _ in range(40)]
        torch.manual_seed(0)
        again = [run(one, x) for _ in range(40)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert 4 < len({tuple(one.flatten().tolist()) for one in first}) <= 8
    assert random.getstate() == python


@pytest.mark.parametrize("kind", ["LoCon", "DoRA", "LoHa", "LoKr"])
@pytest.mark.parametrize("limit", [0.05, 0.2])
def test_a_limited_norm_is_in_the_parameters_themselves(kind: str, limit: float) -> None:
    """So that a saved state and an average have it, which know of nothing else."""
    one = adapter(kind, "linear", trained=True, rank_dropout=0.5)
    module: Any = one.layer.module

    def norm(which: Lycoris) -> float:
        state = {key.removeprefix("lora_unet_x."): value.numpy() for key, value in which.state().items()}
        state.pop("dora_scale", None)
        return float(np.linalg.norm(delta(kind, state, module.weight.numpy())))

    random_state = torch.get_rng_state()
    assert norm(one) > limit
    one.limit_norm(limit)
    assert norm(one) == pytest.approx(limit, rel=1e-3)
    at_limit = [parameter.detach().clone() for parameter in one.parameters]
    one.limit_norm(limit * 1.01)
    assert all(torch.equal(mine.detach(), before) for mine, before in zip(one.parameters, at_limit, strict=True))
    assert torch.equal(torch.get_rng_state(), random_state)
    other = adapter(kind, "linear")
    with torch.no_grad():
        for mine, theirs in zip(other.parameters, one.parameters, strict=True):
            mine.copy_(theirs)
    assert norm(other) == pytest.approx(norm(one), rel=1e-6)


@pytest.mark.parametrize("kind", ["DoRA", "OFT", "BOFT", "DyLoRA"])
def test_a_base_in_8_bits_has_no_weights_for_some_kinds(kind: str) -> None:
    with pytest.raises(
        KilnError, match=r"needs the base's weights.*float8_e4m3fn.*use LoRA, LoHa, LoKr or GLoRA without"
    ):
        Lycoris(layer_of("linear", torch.float8_e4m3fn), 2, 1.0, torch.Generator(), Network(**KINDS[kind]))


# What a layer of 8 bits can carry, and settings that take other ways through LyCORIS.
ON_8_BITS: dict[str, dict[str, Any]] = {
    "LoCon": {}, "LoHa": {}, "LoKr": {}, "GLoRA": {}, "Tucker": {}, "Tucker, ranks": {"rank_dropout": 0.2},
    "LoKr, ranks": {"rank_dropout": 0.2}, "LoHa, ranks": {"rank_dropout": 0.2}, "GLoRA, ranks": {"rank_dropout": 0.2},
}  # fmt: skip


def cast_at_use(layer: Layer, dtype: torch.dtype) -> Layer:
    """The layer with weights of `dtype` that are cast to the input's when it is used, as the host does it."""
    module: Any = layer.module.to(dtype)
    functional = nn.functional.linear
    if isinstance(module, nn.Conv2d):
        functional = partial(nn.functional.conv2d, stride=module.stride, padding=module.padding)  # type: ignore[assignment]
    module.forward = lambda x: functional(x, module.weight.to(x.dtype), module.bias.to(x.dtype))
    return layer


@pytest.mark.parametrize("name", ON_8_BITS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@ON
def test_a_layer_in_8_bits_learns(name: str, on: str, dtype: torch.dtype) -> None:
    layer = cast_at_use(layer_of(on), torch.float8_e4m3fn)
    settings = Network(**{**KINDS[name.partition(",")[0]], **ON_8_BITS[name]})
    one = Lycoris(layer, RANK, ALPHA, torch.Generator().manual_seed(0), settings)
    x = x_of(on).to(dtype)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = run(one, x)
        out.float().square().sum().backward()
    assert out.dtype == dtype
    torch.testing.assert_close(out, layer.module(x), rtol=2e-2, atol=2e-2)
    assert any(p.grad is not None and bool(p.grad.any()) for p in one.parameters)


def nothing(forward: Any, x: Tensor) -> Tensor:
    """Zeros of the shape that the layer answers with."""
    return torch.as_tensor(forward(x)) * 0


@EACH
@ON
def test_a_small_change_is_not_rounded_away_on_a_base_of_16_bits(kind: str, on: str) -> None:
    """Small steps of training: added to weights of 16 bits, most of the change would be gone."""
    moved = {}
    for dtype in (torch.bfloat16, torch.float32):
        layer = cast_at_use(layer_of(on, torch.bfloat16), dtype)
        one = Lycoris(layer, RANK, ALPHA, torch.Generator().manual_seed(0), Network(**KINDS[kind]))
        draw = torch.Generator().manual_seed(1)
        for parameter in one.parameters:
            parameter.data += torch.randn(parameter.shape, generator=draw) * 2e-4
        one.learn(False)
        # Of the layer's own answer, which has its own rounding, nothing is left.
        layer.module.forward = partial(nothing, layer.module.forward)  # type: ignore[method-assign]
        moved[dtype] = run(one, x_of(on).to(dtype)).float()
    error = (moved[torch.bfloat16] - moved[torch.float32]).norm() / moved[torch.float32].norm()
    assert float(error.detach()) < 0.03


def test_a_conv_in_tucker_form_is_smaller() -> None:
    whole, small = (sum(math.prod(p.shape) for p in adapter(kind, "conv").parameters) for kind in ("LoCon", "Tucker"))
    assert whole == 2 * 24 * 9 + 16 * 2
    assert small == 2 * 24 + 2 * 2 * 9 + 16 * 2


def test_layers_with_packed_weights_are_refused_in_words() -> None:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.in_features = self.out_features = 4
            self.weight = nn.Parameter(torch.zeros(4, 4))

    layer = Layer(key="lora_unet_x", module=Packed(), part="unet", conv=False)
    with pytest.raises(KilnError, match=r"LoHa by LyCORIS cannot be put on lora_unet_x.*packed.*choose LoRA"):
        Lycoris(layer, 2, 1.0, torch.Generator(), Network(network_type="LoHa"))
