"""The forward pass at another precision, and blocks that are computed again in backward."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import comfy.ops
import torch
import torch.utils.checkpoint
from torch import Tensor, nn

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@contextlib.contextmanager
def at_precision(model: Any, precision: str) -> Iterator[None]:
    """Run a loaded diffusion model (`comfy.model_base.BaseModel`) at `precision` for a while.

    Its weights are cast once, not at every step, and the ones that the host holds come back afterwards. 8-bit weights,
    packed ones too, stay as they are and are cast layer by layer, as the host does it.
    """
    dtype, network = _DTYPES.get(precision), model.diffusion_model
    if dtype is None or _computes_in(model, dtype):
        yield
        return
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    # The host's layers have a switch of their own, which PyTorch's types do not know.
    flagged: list[tuple[Any, bool | None]] = []
    before = model.manual_cast_dtype
    try:
        model.manual_cast_dtype = dtype
        for module in network.modules():
            for name, weight in module._parameters.items():
                if (
                    type(weight) is nn.Parameter
                    and weight.is_floating_point()
                    and weight.dtype.itemsize >= 2
                    and weight.dtype != dtype
                ):
                    replaced.append((module._parameters, name, weight))
                    module._parameters[name] = nn.Parameter(weight.detach().to(dtype), requires_grad=False)
            if hasattr(module, "comfy_cast_weights"):
                flagged.append((module, module.__dict__.get("comfy_cast_weights")))
                flagged[-1][0].comfy_cast_weights = True
        yield
    finally:
        model.manual_cast_dtype = before
        for table, name, weight in replaced:
            table[name] = weight
        for layer, flag in flagged:
            layer.__dict__.pop("comfy_cast_weights", None)
            if flag is not None:
                layer.comfy_cast_weights = flag


@contextlib.contextmanager
def in_full_precision(network: nn.Module) -> Iterator[None]:
    """Let packed layers multiply as they do without a GPU for 8 bits, where the host's own way has no backward."""
    # Newer hosts have one.
    changed = [] if hasattr(comfy.ops, "QuantLinearFunc") else list(network.modules())
    changed = [module for module in changed if getattr(module, "_full_precision_mm", True) is False]
    try:
        for module in changed:
            setattr(module, "_full_precision_mm", True)  # noqa: B010
        yield
    finally:
        for module in changed:
            setattr(module, "_full_precision_mm", False)  # noqa: B010


def _computes_in(model: Any, dtype: torch.dtype) -> bool:
    """Whether the host has the whole model at this precision; casting layer by layer would only cost time then."""
    weights = (weight for weight in model.diffusion_model.parameters() if weight.is_floating_point())
    return model.manual_cast_dtype is None and all(weight.dtype == dtype for weight in weights)


@contextlib.contextmanager
def recomputed(network: nn.Module) -> Iterator[None]:
    """Let each block of a model or text encoder keep only its input, and compute the rest again in backward."""
    # Another pack may have put its own forward on a block.
    before = [(block, block.__dict__.get("forward")) for block in blocks_of(network)]
    try:
        for block, _ in before:
            block.forward = _checkpointed(block.forward)
        yield
    finally:
        for block, forward in before:
            block.__dict__.pop("forward", None)
            if forward is not None:
                block.forward = forward


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """The members of the network's lists of layers: a transformer's blocks; in a UNet, whose lists hold sequences
    that the host walks through itself, the residual blocks and transformers in these.
    """
    found: list[nn.Module] = []

    def descend(module: nn.Module, inside: bool) -> None:
        for child in module.children():
            if isinstance(child, nn.ModuleList | nn.Sequential):
                descend(child, True)
            elif inside and any(True for _ in child.children()):
                found.append(child)
            else:
                descend(child, False)

    descend(network, False)
    return found


def _checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
    def again(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        out: Tensor = torch.utils.checkpoint.checkpoint(on_copies, *args, use_reentrant=False, **kwargs)
        return out

    def on_copies(*args: Any, **kwargs: Any) -> Any:
        # Some of the host's blocks write over their input, which is all that is kept for the second time.
        return forward(*map(_copied, args), **{name: _copied(value) for name, value in kwargs.items()})

    return again


def _copied(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_copied, value))
    return value.clone() if isinstance(value, Tensor) and value.is_floating_point() else value
