"""Spans in steps that run, as the host counts them: in shares of a model's whole noise schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import comfy.samplers

from .sampling import Sampling

_ABOVE = 1e-4
"""A border stands this share above the noise of the step that it is at: that step is behind the border."""
_HALVINGS = 40


def step_noise(model: Any, settings: Sampling, denoise: float) -> list[float]:
    """The noise level (sigma) that each step starts from, and the last one's end: falling, one more than steps run."""
    sampler = comfy.samplers.KSampler(
        model, steps=settings.steps, device="cpu", sampler=settings.sampler, scheduler=settings.scheduler,
        denoise=denoise, model_options=model.model_options,
    )  # fmt: skip
    noise: list[float] = sampler.sigmas.tolist()
    return noise


def share_of_schedule(model: Any, noise: Sequence[float], share: float) -> float:
    """The host's percent for a border after `share` (0 to 1) of the steps that run; `noise` is theirs.

    A step is behind the border when at least that share of the steps comes before it. The host knows percents by the
    model's `percent_to_sigma`, which falls and has no inverse: it is halved down to the place.
    """
    if share <= 0.0 or share >= 1.0:
        return min(1.0, max(0.0, share))
    sampling = model.get_model_object("model_sampling")
    step, within = divmod(share * (len(noise) - 1), 1.0)
    before, after = noise[int(step)], noise[int(step) + 1]
    level = (before + within * (after - before)) * (1 + _ABOVE)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if float(sampling.percent_to_sigma(middle)) > level else (low, middle)
    return high
