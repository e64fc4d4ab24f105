"""Optimizers and learning-rate schedules, from the libraries that keep them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .adapters import Lora
from .recipe import Optimizer


def make_optimizer(settings: Optimizer, loras: Sequence[Lora]) -> torch.optim.Optimizer:
    """One parameter group a part of the model, each with its own rate and its name under `part`."""
    rates = {"unet": settings.unet_lr, "text": settings.text_lr}
    groups: list[dict[str, Any]] = []
    for part, rate in rates.items():
        parameters = [p for lora in loras if lora.layer.part == part for p in lora.parameters]
        if parameters:
            groups.append({"params": parameters, "lr": rate, "part": part})
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW(groups, betas=betas, weight_decay=settings.weight_decay, fused=True)


def warmup_steps(settings: Optimizer, steps: int) -> int:
    """`warmup` in updates: a share of `steps` when it is below 1."""
    return round(settings.warmup * steps) if settings.warmup < 1 else min(steps, round(settings.warmup))


def make_schedule(settings: Optimizer, optimizer: torch.optim.Optimizer, steps: int) -> Any:
    """The schedule, by the name that transformers and kohya's scripts share; call `.step()` once an update."""
    # Slow to import, and needed only here.
    from transformers.optimization import get_scheduler

    extra = {"num_cycles": settings.cycles} if settings.lr_scheduler == "cosine_with_restarts" else {}
    return get_scheduler(
        settings.lr_scheduler,
        optimizer,
        num_warmup_steps=warmup_steps(settings, steps),
        num_training_steps=steps,
        scheduler_specific_kwargs=extra,
    )
