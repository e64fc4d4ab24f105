"""Attention while a model is trained: what a host chose for painting may be slow to train, or have no backward.

On a CPU the host multiplies out the whole table of scores; PyTorch's own attention takes about half as long, there and
back. SageAttention and 8-bit attention have no backward: layers before them would silently learn nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor

Attend = Callable[..., Tensor]
OVERRIDE = "optimized_attention_override"
"""Of the host's `transformer_options`: a function of the host's choice and its arguments."""


def trainable(chosen: Attend | None) -> Attend:
    """An override for training. `chosen` is the one that the graph has put on the model, which is asked first."""

    def attend(usual: Attend, *args: Any, **kwargs: Any) -> Tensor:
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        out = None
        if chosen:
            out = chosen(usual, *args, **kwargs)
        elif given[0].device.type != "cpu":
            out = usual(*args, **kwargs)
        if out is None or _leads_nowhere(out, given):
            out = attention_pytorch(*args, **kwargs)
        found: Tensor = out
        return found

    return attend


def _leads_nowhere(out: Tensor, given: Sequence[Tensor]) -> bool:
    """Whether a gradient would end at `out` that was meant to reach what it was made from."""
    return torch.is_grad_enabled() and not out.requires_grad and any(one.requires_grad for one in given)
