"""LoRA on loaded layers, attached for the time of training only.

y = layer(x) + alpha / rank * up(down(x)); `down` starts random, `up` at zero, so an adapter starts as the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import fused
from .errors import KilnError
from .groups import Network
from .ports import Layer


class Adapter(Protocol):
    """One layer's trainable addition."""

    layer: Layer
    rank: int
    alpha: float

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """What the optimizer moves: fp32 leaf tensors."""

    @property
    def fast(self) -> tuple[Tensor, ...]:
        """Those of them that LoRA+ lets learn faster: what stands at zero at first."""

    def attach(self) -> None:
        """Let the layer add this adapter to its output."""

    def detach(self) -> None:
        """Give the layer its own forward back."""

    def state(self) -> dict[str, Tensor]:
        """Tensors under their names in a file, fp32 copies on the CPU."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the values of such tensors. Raises `KilnError` where shapes differ."""

    def limit_norm(self, limit: float) -> None:
        """Scale the addition's norm down to `limit`, where it is above."""

    def learn(self, on: bool) -> None:
        """Whether dropouts act, as they do at first. At rest an adapter does what its file will do."""


class Lora:
    """One layer's LoRA. `down` is [rank, in, ...], `up` is [out, rank, ...], both fp32 leaf tensors.

    Dropouts draw from PyTorch's global generator, which the loop seeds for each step and gives back afterwards.
    """

    def __init__(
        self, layer: Layer, rank: int, alpha: float, generator: torch.Generator, dropouts: Network | None = None
    ) -> None:
        weight = layer.module.weight
        assert isinstance(weight, Tensor)
        self.layer, self.rank, self.alpha = layer, rank, alpha
        self._dropouts = dropouts if dropouts and _drops(dropouts) else None
        down = torch.empty(rank, *weight.shape[1:])
        # Kaiming-uniform with a = sqrt(5), drawn from the run's own generator.
        bound = 1 / math.sqrt(math.prod(weight.shape[1:]))
        down.uniform_(-bound, bound, generator=generator)
        ones = (1,) * (weight.ndim - 2)
        self.down = down.to(weight.device).requires_grad_()
        self.up = torch.zeros(weight.shape[0], rank, *ones, device=weight.device).requires_grad_()
        self._before: Any = None
        self._learning = True

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return self.down, self.up

    @property
    def fast(self) -> tuple[Tensor, ...]:
        return (self.up,)

    def attach(self) -> None:
        """Let the layer add this adapter to its output."""
        module, original, scale = self.layer.module, self.layer.module.forward, self.alpha / self.rank
        # Another pack may have put its own forward on the very same module.
        self._before = module.__dict__.get("forward")
        plain = self._added()
        dropping = self._with_dropouts() if self._dropouts else plain
        fast = self._before is None and fused.fits(module)

        def forward(x: Tensor, *args: object, **kwargs: object) -> Tensor:
            added = dropping if self._learning else plain
            if fast and added is plain and fused.is_plain(module, x):
                return fused.with_lora(module, x, self.down, self.up, scale)
            out: Tensor = original(x, *args, **kwargs)
            more = added(x)
            return out if more is None else out + more.to(out.dtype) * scale

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

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The way back; a file of another rank or alpha is refused."""
        for name, mine in (("lora_down.weight", self.down), ("lora_up.weight", self.up)):
            copy_into(mine, tensors, f"{self.layer.key}.{name}")

    @torch.no_grad()
    def limit_norm(self, limit: float) -> None:
        """sd-scripts' scale_weight_norms: norm of alpha / rank * up @ down, both factors taking the root.

        The sum of the squares of U D is that of (U^T U) * (D D^T), which is rank by rank; the host never waits for it.
        """
        up, down = self.up.flatten(1), self.down.flatten(1)
        square = ((up.t() @ up) * (down @ down.t())).sum().clamp(min=0)
        ratio = (limit / (square.sqrt() * self.alpha / self.rank)).clamp(max=1).sqrt()
        self.down.mul_(ratio)
        self.up.mul_(ratio)

    def learn(self, on: bool) -> None:
        """Whether dropouts act."""
        self._learning = on

    def _lower(self, x: Tensor) -> Tensor:
        module, down = self.layer.module, self.down.to(x.dtype)
        if isinstance(module, nn.Conv2d):
            padding = module.padding
            return functional.conv2d(x, down, None, module.stride, padding, module.dilation)
        return functional.linear(x, down)

    def _raise(self, x: Tensor) -> Tensor:
        up = self.up.to(x.dtype)
        return functional.conv2d(x, up) if isinstance(self.layer.module, nn.Conv2d) else functional.linear(x, up)

    def _added(self) -> Callable[[Tensor], Tensor | None]:
        return lambda x: self._raise(self._lower(x))

    def _with_dropouts(self) -> Callable[[Tensor], Tensor | None]:
        """sd-scripts' three dropouts: the whole module, values between the factors, and ranks."""
        settings = self._dropouts
        assert settings is not None
        axis = 1 if isinstance(self.layer.module, nn.Conv2d) else -1

        def added(x: Tensor) -> Tensor | None:
            if settings.module_dropout and float(torch.rand(())) < settings.module_dropout:
                return None
            x = self._lower(x)
            if settings.network_dropout:
                x = functional.dropout(x, settings.network_dropout)
            if settings.rank_dropout:
                shape = [len(x)] + [1] * (x.ndim - 1)
                shape[axis] = self.rank
                kept = (torch.rand(shape, device=x.device) > settings.rank_dropout).to(x.dtype)
                x = x * kept / (1 - settings.rank_dropout)
            return self._raise(x)

        return added


def copy_into(mine: Tensor, tensors: Mapping[str, Tensor], key: str) -> None:
    """The file's values into `mine`; raises `KilnError` where they are not there or of another shape."""
    other = tensors.get(key)
    if other is None:
        raise KilnError(
            f"The file to start from has no {key}, which this kind of network trains; "
            "choose the network_type, dora and use_tucker that the file was made with."
        )
    if mine.shape != other.shape:
        raise KilnError(
            f"{key} is {tuple(other.shape)} in the file and {tuple(mine.shape)} in this run; "
            "use the same dims, factor and network type, or another file."
        )
    mine.copy_(other.to(mine))


def _drops(settings: Network) -> bool:
    return bool(settings.network_dropout or settings.rank_dropout or settings.module_dropout)
