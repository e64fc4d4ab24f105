"""Small tensors as a long one: the optimizer does to each what it would have done to it alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lora_kiln.trainer import loop
from lora_kiln.trainer.flat import ELEMENTWISE, Flat, gather
from lora_kiln.trainer.formats import load_file
from lora_kiln.trainer.groups import Network, Optimizer

SHAPES = ((3, 5), (7,), (2, 2, 3, 3), ())


def leaves() -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=draw).requires_grad_() for shape in SHAPES]


def loss(tensors: list[Tensor]) -> Tensor:
    return torch.stack([(number + 1) * tensor.sin().sum() for number, tensor in enumerate(tensors)]).sum()


def make(kind: Any, tensors: list[Tensor]) -> Any:
    groups = [
        {"params": tensors[:2], "lr": 0.1, "part": "unet"},
        {"params": tensors[2:], "lr": 0.01, "part": "text"},
    ]
    return kind(groups, lr=0.1, weight_decay=0.1)


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_updates_are_those_of_the_tensors_one_by_one(kind: Any) -> None:
    alone, together = leaves(), leaves()
    one, other = make(kind, alone), make(kind, together)
    flats = gather(other, [])
    assert [flat.part for flat in flats] == ["unet", "text"]
    assert [len(group["params"]) for group in other.param_groups] == [1, 1]
    for _ in range(4):
        one.zero_grad()
        for flat in flats:
            flat.clear()
        for tensors in (alone, together):
            # Twice, as with accumulation.
            loss(tensors).backward()
            loss(tensors).backward()
        norms = [
            torch.nn.utils.clip_grad_norm_(parameters, 1.0) for parameters in (alone, [flat.whole for flat in flats])
        ]
        torch.testing.assert_close(norms[1], norms[0])
        one.step()
        other.step()
    for mine, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(mine, theirs)
        assert mine.shape == theirs.shape
    assert not torch.allclose(together[0], leaves()[0], atol=0.01)


def test_what_never_has_a_gradient_is_left_alone() -> None:
    tensors = leaves()
    optimizer = make(torch.optim.AdamW, tensors)
    flats = gather(optimizer, [tensors[1]])
    before = tensors[1].detach().clone()
    for _ in range(3):
        for flat in flats:
            flat.clear()
        loss([tensor for tensor in tensors if tensor is not tensors[1]]).backward()
        optimizer.step()
    assert torch.equal(tensors[1], before)
    assert any(parameter is tensors[1] for parameter in optimizer.param_groups[0]["params"])


def test_a_part_at_rest_stands_still_whatever_its_momentum() -> None:
    tensors = leaves()
    optimizer = make(torch.optim.AdamW, tensors)
    [learning, resting] = gather(optimizer, [])
    for step in range(4):
        if step == 2:
            before = [tensor.detach().clone() for tensor in tensors]
            resting.rest()
        for flat in (learning, resting)[: 1 if step >= 2 else 2]:
            flat.clear()
        loss(tensors).backward()
        optimizer.step()
    assert not torch.equal(tensors[0], before[0])
    assert torch.equal(tensors[2], before[2])
    assert tensors[2].grad is None


def test_values_written_into_a_tensor_reach_the_optimizer() -> None:
    tensors = leaves()
    flat = Flat(tensors, "unet")
    with torch.no_grad():
        tensors[1].copy_(torch.arange(7.0))
    assert flat.whole.detach()[15:22].tolist() == list(range(7))


@pytest.mark.parametrize("ratio", [1.0, 4.0])
def test_a_run_learns_the_same_either_way(
    pictures: Any, small_recipe: Any, trained: Any, monkeypatch: pytest.MonkeyPatch, ratio: float
) -> None:
    optimizer = Optimizer(unet_lr=0.01, text_lr=0.02, lr_scheduler="cosine", loraplus_unet_lr_ratio=ratio)
    recipe = small_recipe(epochs=4, optimizer=optimizer)
    together = trained(pictures("red", "blue", "lime"), recipe, "together")
    monkeypatch.setattr(loop, "ELEMENTWISE", ())
    alone = trained(pictures("red", "blue", "lime"), recipe, "alone")
    assert together.keys() == alone.keys()
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=1e-4, atol=1e-6)


def test_what_was_not_reached_when_it_was_tried_learns_from_each_step_alone_when_it_is(
    fake_model: Any, pictures: Any, small_recipe: Any, train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As experts do in a mixture, which some captions alone ask for."""

    def learned(name: str) -> dict[str, Tensor]:
        model = fake_model()
        # The first call is the trial.
        hook = model.conv.register_forward_hook(
            lambda module, inputs, output: output.detach() if model.calls in (1, 4) else output
        )
        try:
            run = train(pictures("red", "blue", "lime"), small_recipe(epochs=4), name, model=model)
        finally:
            hook.remove()
        return load_file(run.checkpoint(0).file)[0]

    together = learned("together")
    monkeypatch.setattr(loop, "ELEMENTWISE", ())
    alone = learned("alone")
    assert together["lora_unet_conv.lora_up.weight"].any()
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=1e-4, atol=1e-6)


def test_a_step_without_a_module_leaves_it_alone_although_others_learn(
    pictures: Any, small_recipe: Any, train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Module dropout asks for tensors that can be left out one by one."""
    asked: list[Any] = []
    monkeypatch.setattr(loop, "gather", lambda *arguments: asked.append(arguments))
    network = Network(dim=4, alpha=4.0, conv_dim=4, conv_alpha=4.0, module_dropout=0.5)
    run = train(pictures("red"), small_recipe(network=network), "dropping")
    assert not asked
    assert load_file(run.checkpoint(0).file)[0]
