"""The same step in other ways: two pictures at once, blocks computed again in backward, bf16. Needs the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lora_kiln.trainer import objective
from lora_kiln.trainer.groups import Blocks, Network
from lora_kiln.trainer.network import make_adapters

from .family import Family
from .trial import Still, alone, build, conditioning


@dataclass(frozen=True, kw_only=True)
class Ways:
    """What was seen; each is the largest difference as a share of the values' own spread."""

    mixed: float
    """Two pictures with their own captions at their own noise levels, and each of them by itself."""
    told: float
    """The second picture with its own caption and with the first one's."""
    recomputed: float
    """The adapters' gradients with blocks computed again in backward, and without."""
    coarse: float
    """The loss in bf16, and in fp32."""


def compare(family: Family) -> Ways:
    """Build a network and ask it; under inference mode, as prompts run."""
    with torch.inference_mode(), alone():
        latent, first = conditioning(family)
        _, second = conditioning(family, seed=5)
        model = Still(build(family), latent, first)
        mixed, told = _together(model, [_sized(model, cond) for cond in (first, second)])
        loss, gradients = _step(model, "model's own", checkpointing=False)
        _, again = _step(model, "model's own", checkpointing=True)
        coarse, _ = _step(model, "bf16", checkpointing=True)
        return Ways(mixed=mixed, told=told, recomputed=_apart(again, gradients), coarse=abs(coarse - loss) / loss)


def _sized(model: Still, cond: Any) -> Any:
    model.cond = cond
    return model.encode_text([""], [None], clip_skip=1, max_tokens=0)[0]


def _together(model: Still, conds: list[Any]) -> tuple[float, float]:
    draw = torch.Generator().manual_seed(6)
    with model.open(precision="model's own", checkpointing=False), torch.no_grad():
        levels = model.schedule.sigmas()
        sigma = levels[[2 * len(levels) // 5, 3 * len(levels) // 5]]
        x0 = model.latent.expand(2, *model.latent.shape[1:])
        x_t = model.schedule.noised(x0, torch.randn(x0.shape, generator=draw), sigma)
        both = model.denoise(x_t, sigma, conds)
        each = torch.cat([model.denoise(x_t[i : i + 1], sigma[i : i + 1], conds[i : i + 1]) for i in range(2)])
        other = model.denoise(x_t[1:], sigma[1:], conds[:1])
    return _apart(both, each), _apart(other, each[1:])


def _step(model: Still, precision: str, *, checkpointing: bool) -> tuple[float, Tensor]:
    """The loss on fixed noise in the middle of the schedule, and the gradients of adapters at their start."""
    draws = torch.Generator().manual_seed(7)
    with model.open(precision=precision, checkpointing=checkpointing):
        network = Network(dim=4, alpha=4.0, conv_dim=4, conv_alpha=4.0)
        placed = make_adapters(model.layers(), network, Blocks(), None, ["unet"], draws)
        levels = model.schedule.sigmas()
        sigma = levels[[len(levels) // 2]]
        noise = torch.randn(model.latent.shape, generator=draws)
        conds = model.encode_text([""], [None], clip_skip=1, max_tokens=0)
        for one in placed:
            one.adapter.attach()
        try:
            found = model.denoise(model.schedule.noised(model.latent, noise, sigma), sigma, conds)
            weight = objective.native_weight(model.schedule, sigma)
            loss = objective.loss_per_image(found, model.latent, weight).sum()
            loss.backward()
            value = float(loss.detach())
        finally:
            for one in placed:
                one.adapter.detach()
        gradients = [p.grad.flatten() for one in placed for p in one.adapter.parameters if p.grad is not None]
        return value, torch.cat(gradients)


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max() / other.std())
