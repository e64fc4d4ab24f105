"""A layer and its LoRA in one step: the same answer and gradients as one operation after the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from lora_kiln.trainer import fused
from lora_kiln.trainer.adapters import Lora
from lora_kiln.trainer.ports import Layer

# Rows: the layer, and the shapes of what goes in.
PLAIN: dict[str, tuple[nn.Module, tuple[tuple[int, ...], ...]]] = {
    "linear": (nn.Linear(6, 10), ((3, 6), (2, 5, 6), (2, 2, 3, 6))),
    "linear without bias": (nn.Linear(6, 10, bias=False), ((3, 6), (2, 5, 6))),
    "1x1 conv": (nn.Conv2d(6, 10, 1), ((2, 6, 3, 5), (1, 6, 1, 1))),
    "1x1 conv without bias": (nn.Conv2d(6, 10, 1, bias=False), ((2, 6, 3, 5),)),
}
CASES = [
    pytest.param(module, shape, id=f"{name} {shape}") for name, (module, shapes) in PLAIN.items() for shape in shapes
]


def factors(module: nn.Module, rank: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, nn.Module]:
    """Random `down` and `up`, and a frozen copy of the layer, all of that type."""
    draw = torch.Generator().manual_seed(0)
    weight = module.weight
    assert isinstance(weight, Tensor)
    ones = (1,) * (weight.ndim - 2)
    down = torch.randn(rank, weight.shape[1], *ones, generator=draw).to(dtype).requires_grad_()
    up = torch.randn(weight.shape[0], rank, *ones, generator=draw).to(dtype).requires_grad_()
    copy = type(module)(*_arguments(module), bias=module.bias is not None)
    copy.load_state_dict(module.state_dict())
    return down, up, copy.to(dtype).requires_grad_(False)


def _arguments(module: nn.Module) -> tuple[int, ...]:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return (weight.shape[1], weight.shape[0], *weight.shape[2:3])


def merged(module: nn.Module, x: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """The layer with its weight changed, by PyTorch's own functions."""
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    assert bias is None or isinstance(bias, Tensor)
    whole = weight + scale * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
    return nn.functional.conv2d(x, whole, bias) if whole.ndim == 4 else nn.functional.linear(x, whole, bias)


@pytest.mark.parametrize(("module", "shape"), CASES)
def test_the_answer_is_the_merged_weights(module: nn.Module, shape: tuple[int, ...]) -> None:
    down, up, layer = factors(module)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = fused.with_lora(layer, x, down, up, 0.7)
    torch.testing.assert_close(found, merged(layer, x, down, up, 0.7))
    assert not torch.allclose(found, layer(x))


@pytest.mark.parametrize(("module", "shape"), CASES)
def test_its_gradients_are_those_of_small_differences(module: nn.Module, shape: tuple[int, ...]) -> None:
    down, up, layer = factors(module)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()

    def answer(x: Tensor, down: Tensor, up: Tensor) -> Tensor:
        return fused.with_lora(layer, x, down, up, 0.7)

    assert torch.autograd.gradcheck(answer, (x, down, up))
    # What is known, as the text is to cross attention, gets no gradient and costs none.
    known = x.detach()
    answer(known, down, up).square().sum().backward()
    assert known.grad is None
    assert down.grad is not None
    assert down.grad.abs().sum() > 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_images_may_lie_in_memory_either_way(layout: torch.memory_format) -> None:
    down, up, layer = factors(PLAIN["1x1 conv"][0])
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    weights = torch.randn(2, 10, 3, 5, dtype=torch.float64).to(memory_format=layout)
    grads = []
    for answer in (
        fused.with_lora(layer, x, down, up, 0.7),
        merged(layer, x, down, up, 0.7),
    ):
        grads.append(torch.autograd.grad((answer * weights).sum(), (x, down, up)))
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize(("module", "shape"), CASES)
def test_a_model_may_change_the_answer_in_place(module: nn.Module, shape: tuple[int, ...]) -> None:
    down, up, layer = factors(module)
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    changed = fused.with_lora(layer, x, down, up, 0.7)
    changed += 1
    grads = torch.autograd.grad(changed.square().sum(), (down, up))
    wanted = torch.autograd.grad((merged(layer, x, down, up, 0.7) + 1).square().sum(), (down, up))
    for mine, theirs in zip(grads, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_factors_stay_fp32_where_the_layer_computes_in_less() -> None:
    down, up, layer = factors(PLAIN["linear"][0], dtype=torch.float32)
    half = layer.to(torch.bfloat16)
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16).requires_grad_()
    out = fused.with_lora(half, x, down, up, 0.7)
    out.float().square().sum().backward()
    assert out.dtype == torch.bfloat16
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert down.grad is not None
    assert up.grad is not None
    assert down.grad.dtype == up.grad.dtype == torch.float32
    torch.testing.assert_close(out.float(), merged(half.float(), x.float(), down, up, 0.7), rtol=0.05, atol=0.1)


def test_computing_a_block_again_in_backward_gives_the_same_gradients() -> None:
    down, up, layer = factors(PLAIN["linear"][0])
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)

    def block(x: Tensor) -> Tensor:
        out = fused.with_lora(layer, x.sin(), down, up, 0.7)
        return out.cos()

    wanted = torch.autograd.grad(block(x).sum(), (x, down, up))
    again: Any = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)
    for mine, theirs in zip(torch.autograd.grad(again.sum(), (x, down, up)), wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


def lora_on(module: nn.Module) -> Lora:
    lora = Lora(Layer(key="x", module=module, part="unet", conv=False), 2, 2.0, torch.Generator().manual_seed(0))
    lora.up.data.normal_(generator=torch.Generator().manual_seed(1))
    return lora


@pytest.fixture
def uses(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """Grows with every layer that is done in one step."""
    seen: list[Any] = []
    before = fused.with_lora

    def watched(*arguments: Any) -> Tensor:
        seen.append(arguments)
        return before(*arguments)

    monkeypatch.setattr(fused, "with_lora", watched)
    return seen


class Patched(nn.Linear):
    """As the host's layers are, with patches that it puts on the weight at every call."""

    def __init__(self) -> None:
        super().__init__(6, 10)
        self.weight_function: list[Any] = [lambda weight: 2 * weight]

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.weight
        for function in self.weight_function:
            weight = function(weight)
        return nn.functional.linear(x, weight, self.bias)


class Cast(nn.Linear):
    """As the host's layers are whose weights are held in less than they are used in."""

    def __init__(self) -> None:
        super().__init__(6, 10)
        self.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


@pytest.mark.parametrize("kind", [Patched, Cast])
def test_a_layer_that_is_more_than_its_weight_keeps_its_own_gradient(kind: Any, uses: list[Any]) -> None:
    module = kind().requires_grad_(False)
    lora = lora_on(module)
    own, x = module.forward, torch.randn(3, 6, requires_grad=True)
    change = lora.up @ lora.down
    wanted = torch.autograd.grad((own(x) + x @ change.t()).square().sum(), x)[0]
    lora.attach()
    found = torch.autograd.grad(module(x).square().sum(), x)[0]
    lora.detach()
    assert not uses
    torch.testing.assert_close(found, wanted)


def test_layers_without_any_of_that_are_done_in_one_step(uses: list[Any]) -> None:
    for module, shapes in PLAIN.values():
        module.requires_grad_(False)
        lora = lora_on(module)
        lora.attach()
        module(torch.randn(shapes[0]))
        lora.detach()
    assert len(uses) == len(PLAIN)
    strided = nn.Conv2d(6, 10, 1, stride=2)
    assert not fused.fits(strided)
    assert not fused.fits(nn.Conv2d(6, 10, 3, padding=1))
