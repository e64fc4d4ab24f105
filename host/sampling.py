"""Pictures from the host's own sampler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import latent_preview
import torch
from comfy_extras.nodes_canny import Canny
from torch import Tensor

from nodes import ControlNetApplyAdvanced

from .progress import check_interrupted

SAMPLERS: tuple[str, ...] = tuple(comfy.samplers.KSampler.SAMPLERS)
SCHEDULERS: tuple[str, ...] = tuple(comfy.samplers.KSampler.SCHEDULERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a picture is sampled: the host's KSampler settings."""

    steps: int
    cfg: float
    sampler: str
    scheduler: str


Watch = Callable[[int, Any, Any, int], None]
"""What the sampler calls after each step, as watch(step from 0, x0, x, steps)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One ControlNet and its span. `start` and `end` are shares of the whole noise schedule, as the host counts them;
    in a `painting.Guide`, of the steps that run."""

    net: Any
    strength: float
    start: float
    end: float


def encode_prompt(clip: Any, text: str) -> Any:
    """A prompt as the host's CLIPTextEncode makes it."""
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def empty_latent(model: Any, vae: Any, width: int, height: int) -> Tensor:
    """Zeros [1, C, h, w] for a picture of that many pixels; the host adds a time axis where a family has one."""
    channels, side = model.model.latent_format.latent_channels, vae.spacial_compression_encode()
    return torch.zeros(1, channels, height // side, width // side)


def sample(
    model: Any,
    vae: Any,
    positive: Any,
    negative: Any,
    latent: Tensor,
    settings: Sampling,
    *,
    seed: int,
    denoise: float = 1.0,
    watch: Watch | None = None,
) -> Tensor:
    """One picture [H, W, 3] in 0..1, as KSampler and VAEDecode give it.

    Without a `watch` the node's bar counts the steps, as KSampler's does. Raises the host's interrupt exception once
    the user has cancelled.
    """
    check_interrupted()
    start = comfy.sample.fix_empty_latent_channels(model, latent)
    samples = comfy.sample.sample(
        model, comfy.sample.prepare_noise(start, seed), settings.steps, settings.cfg, settings.sampler,
        settings.scheduler, positive, negative, start, denoise=denoise, seed=seed,
        callback=watch or latent_preview.prepare_callback(model, settings.steps),
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
    )  # fmt: skip
    picture: Tensor = vae.decode(samples)
    return picture.reshape(-1, *picture.shape[-3:])[0].cpu().clamp(0, 1)


def canny_edges(pixels: Tensor, low: float, high: float) -> Tensor:
    """[1, H, W, 3] -> the host's Canny picture of it, [1, H, W, 3]."""
    edges: Tensor = Canny.execute(pixels, low, high).result[0]
    return edges


def steered(positive: Any, negative: Any, control: Control, hint: Tensor, vae: Any) -> tuple[Any, Any]:
    """Both conditionings with a ControlNet that looks at `hint` [1, H, W, 3]."""
    made = ControlNetApplyAdvanced().apply_controlnet(
        positive, negative, control.net, hint, control.strength, control.start, control.end, vae=vae
    )
    return made[0], made[1]
