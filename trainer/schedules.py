"""Learning-rate schedules as factors on the rate, those of transformers and sd-scripts by their names.

Written out here because importing transformers' takes seconds, and every run would wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch.optim.lr_scheduler import LambdaLR

from .groups import Optimizer
from .spans import parse_span


def make_schedule(
    settings: Optimizer, optimizer: torch.optim.Optimizer, steps: int, steps_an_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The recipe's schedule for a run of so many updates; call `.step()` once an update."""
    length = partial(_updates, steps=steps, steps_an_epoch=steps_an_epoch)
    warmup = length(settings.warmup)
    decay = min(length(settings.lr_decay), steps - warmup)
    make: Callable[..., float] = partial(factor, settings=settings, steps=steps, warmup=warmup, decay=decay)
    return LambdaLR(optimizer, make)


def factor(step: int, *, settings: Optimizer, steps: int, warmup: int, decay: int) -> float:
    """What the rate is multiplied by at update `step` (from 0) of `steps`; `warmup` and `decay` are in updates."""
    kind, floor = settings.lr_scheduler, settings.min_lr_ratio
    if kind == "constant":
        return 1.0
    if step < warmup:
        rising = step / warmup
        return floor + (1 - floor) * rising if kind == "warmup_stable_decay" else rising
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    if kind == "linear":
        return 1 - done
    if kind == "cosine":
        return _wave(done)
    if kind == "cosine_with_restarts":
        return _wave(settings.cycles * done % 1) if done < 1 else 0.0
    if kind == "polynomial":
        return float((1 - done) ** settings.power)
    if kind == "cosine_with_min_lr":
        # Waves that go up again too: an even number of cycles ends at the top.
        return floor + (1 - floor) * _wave(settings.cycles * done)
    if kind == "warmup_stable_decay":
        falling = (step - (steps - decay)) / decay if step > steps - decay else 0.0
        return floor + (1 - floor) * _wave(settings.cycles * falling) if step < steps else floor
    if kind == "inverse_sqrt":
        # Without a warmup, the scale of the paper that it comes from (Zhai et al. 2021, arXiv 2106.04560).
        scale = settings.timescale or warmup or 10_000
        return 1 / math.sqrt((step - warmup + scale) / scale)
    assert kind == "constant_with_warmup", kind
    return 1.0


def _wave(done: float) -> float:
    """Half a cosine from 1 at 0 to 0 at 1, and on."""
    return (1 + math.cos(math.pi * done)) / 2


def _updates(text: str, *, steps: int, steps_an_epoch: int) -> int:
    return parse_span(text).steps(steps=steps, steps_an_epoch=steps_an_epoch)
