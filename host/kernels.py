"""Parts of newer hosts that have no backward, and what stands in for them while a model is trained."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

# The fused kernels that Cosmos Predict2, Anima and JoyImage call without looking at `in_training`.
_FUSED = ("rope", "adaln")


class _Torch:
    """PyTorch as the host's language models see it; their blocks let a sum be written over what backward needs."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def add(self, one: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The sum, in memory of its own."""
        return one + other


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """PixelDiT's modulation, in memory of its own."""
    return x * (1 + scale) + shift


def _not_in_8_bit(*_: Any) -> None:
    """What `comfy.ops.fp8_linear` answers where it cannot multiply in 8 bits: the layer casts its weight instead."""


# By the host's module and its name there.
_INSTEAD: dict[tuple[str, str], Any] = {
    ("comfy.ops", "fp8_linear"): _not_in_8_bit,
    ("comfy.ldm.pixeldit.model", "apply_adaln_"): _modulated,
    ("comfy.ldm.pixeldit.modules", "apply_adaln_"): _modulated,
    ("comfy.text_encoders.llama", "torch"): _Torch(),
}


@contextlib.contextmanager
def differentiable() -> Iterator[None]:
    """Replace them for a while; hosts that do not have them are left as they are."""
    with contextlib.ExitStack() as stack:
        for name, plain in _plain_kernels().items():
            stack.enter_context(_replaced("comfy_kitchen", name, plain))
        for (module, name), other in _INSTEAD.items():
            stack.enter_context(_replaced(module, name, other))
        yield


def _plain_kernels() -> dict[str, Any]:
    """The library's own functions in plain PyTorch, by the names of the custom operators, which have no backward."""
    try:
        fused, plain = importlib.import_module("comfy_kitchen"), importlib.import_module("comfy_kitchen.backends.eager")
    except ImportError:
        return {}
    names = [name for name in vars(fused) if any(kind in name for kind in _FUSED)]
    return {name: getattr(plain, name) for name in names if hasattr(plain, name)}


@contextlib.contextmanager
def _replaced(module: str, name: str, other: Any) -> Iterator[None]:
    place = sys.modules.get(module)
    before = getattr(place, name, None)
    if before is None:
        yield
        return
    setattr(place, name, other)
    try:
        yield
    finally:
        setattr(place, name, before)
