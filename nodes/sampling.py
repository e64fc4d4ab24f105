"""KSampler's settings as a node's inputs, and back."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..host.sampling import SAMPLERS, SCHEDULERS, Sampling


def sampling_inputs(*, steps: int, cfg: float) -> list[io.Input]:
    """Inputs with the names that core's KSampler gives them."""
    return [
        io.Int.Input("steps", default=steps, min=1, max=1000, tooltip="Sampling steps a picture."),
        io.Float.Input("cfg", default=cfg, min=0.0, max=100.0, step=0.1, tooltip="How closely the prompt is followed."),
        io.Combo.Input("sampler_name", options=list(SAMPLERS), default="euler", tooltip="Sampler."),
        io.Combo.Input("scheduler", options=list(SCHEDULERS), default="normal", tooltip="Noise schedule."),
    ]


def sampling_from(steps: int, cfg: float, sampler_name: str, scheduler: str) -> Sampling:
    """The value that `host.sampling.sample` takes."""
    return Sampling(steps=steps, cfg=cfg, sampler=sampler_name, scheduler=scheduler)


def take_sampling(values: dict[str, Any]) -> Sampling:
    """The same out of all of a node's values."""
    return sampling_from(*(values[name] for name in ("steps", "cfg", "sampler_name", "scheduler")))
