"""Attention in training: the host's own answer and slope, whatever the graph has put in its place."""

from __future__ import annotations

from typing import Any

import pytest

SIGMA = 1.5


@pytest.fixture
def slopes(world: Any, view: Any) -> Any:
    """A function of an override: the answer for one caption, and its gradient by the input."""
    import torch

    from lora_kiln.host.model import HostModel

    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 16, 16, generator=draw)

    def found(chosen: Any) -> tuple[Any, Any]:
        patcher = world.model.clone()
        if chosen:
            patcher.model_options["transformer_options"]["optimized_attention_override"] = chosen
        model = HostModel(patcher, world.clip, world.vae)
        with torch.inference_mode(), model.open(precision="model's own", checkpointing=False):
            conds = model.encode_text(["1girl", "a forest"], [view(128, 128)] * 2, clip_skip=1, max_tokens=0)
            x_t = x.clone().requires_grad_()
            out = model.denoise(x_t, torch.full((2,), SIGMA), conds)
            out.square().mean().backward()
        assert x_t.grad is not None
        return out.detach(), x_t.grad

    return found


def test_training_sees_the_answer_and_the_slope_of_the_hosts_own_attention(slopes: Any) -> None:
    import torch

    def hosts_own(usual: Any, *args: Any, **kwargs: Any) -> Any:
        return usual(*args, **kwargs)

    for mine, theirs in zip(slopes(None), slopes(hosts_own), strict=True):
        assert float(theirs.abs().max()) > 0
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)


def test_attention_without_a_backward_teaches_all_the_same(slopes: Any) -> None:
    """As SageAttention's kernels answer: right, and nothing leads back from it."""
    import torch

    called = []

    def forward_only(usual: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(usual)
        with torch.no_grad():
            return usual(*args, **kwargs)

    for mine, theirs in zip(slopes(forward_only), slopes(None), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)
    assert called


def test_attention_that_a_node_has_changed_is_trained_as_it_paints(slopes: Any) -> None:
    import torch

    def sharper(usual: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
        return usual(q * 3, *args, **kwargs)

    changed, plain = slopes(sharper)[0], slopes(None)[0]
    assert float((changed - plain).abs().max()) > 1e-3
    assert torch.isfinite(changed).all()
