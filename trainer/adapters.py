"""LoRA on loaded layers, attached for the time of training only.

y = layer(x) + alpha / rank * up(down(x)); `down` starts random, `up` at zero, so an adapter starts as the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .errors import NothingToTrain
from .ports import Layer
from .recipe import Network


class Lora:
    """One layer's adapter. `down` is [rank, in, ...], `up` is [out, rank, ...], both fp32 leaf tensors."""

    def __init__(self, layer: Layer, rank: int, alpha: float, generator: torch.Generator) -> None:
        weight = layer.module.weight
        assert isinstance(weight, Tensor)
        self.layer, self.rank, self.alpha = layer, rank, alpha
        down = torch.empty(rank, *weight.shape[1:])
        # Kaiming-uniform with a = sqrt(5), drawn from the run's own generator.
        bound = 1 / math.sqrt(math.prod(weight.shape[1:]))
        down.uniform_(-bound, bound, generator=generator)
        ones = (1,) * (weight.ndim - 2)
        self.down = down.to(weight.device).requires_grad_()
        self.up = torch.zeros(weight.shape[0], rank, *ones, device=weight.device).requires_grad_()
        self._before: Any = None

    @property
    def parameters(self) -> tuple[Tensor, Tensor]:
        return self.down, self.up

    def attach(self) -> None:
        """Let the layer add this adapter to its output."""
        module, original, scale = self.layer.module, self.layer.module.forward, self.alpha / self.rank
        # Another pack may have put its own forward on the very same module.
        self._before = module.__dict__.get("forward")
        added = _conv(module, self) if isinstance(module, nn.Conv2d) else _linear(self)

        def forward(x: Tensor, *args: object, **kwargs: object) -> Tensor:
            out: Tensor = original(x, *args, **kwargs)
            return out + added(x).to(out.dtype) * scale

        module.forward = forward

    def detach(self) -> None:
        """Give the layer its own forward back."""
        self.layer.module.__dict__.pop("forward", None)
        if self._before is not None:
            self.layer.module.forward = self._before

    def state(self) -> dict[str, Tensor]:
        """kohya's keys: `<name>.lora_down.weight`, `.lora_up.weight`, `.alpha`; fp32 copies on the CPU."""
        key = self.layer.key
        return {
            f"{key}.lora_down.weight": self.down.detach().float().cpu().clone(),
            f"{key}.lora_up.weight": self.up.detach().float().cpu().clone(),
            f"{key}.alpha": torch.tensor(float(self.alpha)),
        }


def _linear(lora: Lora) -> Callable[[Tensor], Tensor]:
    def added(x: Tensor) -> Tensor:
        x = functional.linear(x, lora.down.to(x.dtype))
        return functional.linear(x, lora.up.to(x.dtype))

    return added


def _conv(module: nn.Conv2d, lora: Lora) -> Callable[[Tensor], Tensor]:
    def added(x: Tensor) -> Tensor:
        down = lora.down.to(x.dtype)
        x = functional.conv2d(x, down, None, module.stride, module.padding, module.dilation)
        return functional.conv2d(x, lora.up.to(x.dtype))

    return added


def make_loras(
    layers: Sequence[Layer], network: Network, parts: Sequence[str], generator: torch.Generator
) -> list[Lora]:
    """Adapters for the layers of `parts` (`unet`, `text`) that the network's ranks cover.

    Raises `NothingToTrain` when that is none.
    """
    loras = []
    for layer in layers:
        rank, alpha = (network.conv_dim, network.conv_alpha) if layer.conv else (network.dim, network.alpha)
        if rank and layer.part in parts:
            loras.append(Lora(layer, rank, alpha, generator))
    if not loras:
        raise NothingToTrain(
            f"No layer is left to train: parts with a learning rate are {', '.join(parts) or 'none'}, "
            f"the model offers {len(layers)} layers. Give unet_lr or text_lr a value above 0."
        )
    return loras
