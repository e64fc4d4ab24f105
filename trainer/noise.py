"""Noise levels and noise: which are drawn, and what is added to the latents.

x0 and noise are [B, C, h, w], or with a time axis before h; sigma is the host's noise level [B].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .noise_groups import Noise
from .ports import Schedule


def draw_levels(count: int, settings: Noise, generator: torch.Generator) -> Tensor:
    """Where in the schedule each image is shown, fp32 [count] in [min_timestep, max_timestep) / 1000.

    `logit_normal` and `mode`: Esser et al. 2024 (arXiv 2403.03206), section 3.1.
    """
    if settings.timestep_sampling == "logit_normal":
        drawn = torch.randn(count, generator=generator) * settings.logit_std + settings.logit_mean
        u = torch.sigmoid(drawn)
    else:
        u = torch.rand(count, generator=generator)
        if settings.timestep_sampling == "mode":
            u = 1 - u - settings.mode_scale * (torch.cos(math.pi / 2 * u) ** 2 - 1 + u)
    low, high = settings.min_timestep / 1000, settings.max_timestep / 1000
    # The last millionth is left out: rounded up, it would be the next level.
    return (low + (high - low) * u).clamp(low, high - 1e-6)


def sigma_at(levels: Tensor, schedule: Schedule, settings: Noise, *, flow: bool) -> Tensor:
    """The host's noise level [B] at each share of the schedule [B]; `flow` is whether it is a flow model's.

    Families with a table take its entry, a flow model's shift included. A `flow_shift` of the user's replaces the
    model's: sigma = shift * u / (1 + (shift - 1) * u).
    """
    table = schedule.sigmas()
    if settings.flow_shift and flow:
        u = levels.to(table.device).clamp(min=1e-4)
        return settings.flow_shift * u / (1 + (settings.flow_shift - 1) * u)
    # In fp32 a whole timestep may come out a hair below itself.
    return table[(levels * len(table) + 5e-4).long().clamp(max=len(table) - 1).to(table.device)]


def draw_noise(x0: Tensor, settings: Noise, generator: torch.Generator) -> Tensor:
    """Unit noise like x0 (on the CPU), with the recipe's offset and pyramid."""
    noise = torch.randn(x0.shape, generator=generator)
    if settings.multires_noise_iterations:
        noise = _pyramid(noise, settings, generator)
    if settings.noise_offset or settings.adaptive_noise_scale:
        inner = tuple(range(2, x0.ndim))
        ones = (1,) * len(inner)
        offset: Tensor | float = settings.noise_offset
        if settings.noise_offset_random_strength:
            offset = offset * torch.rand(len(x0), 1, *ones, generator=generator)
        size = offset + settings.adaptive_noise_scale * x0.mean(inner, keepdim=True).abs()
        noise = noise + size.clamp(min=0) * torch.randn(*x0.shape[:2], *ones, generator=generator)
    return noise


def draw_perturbation(x0: Tensor, settings: Noise, generator: torch.Generator) -> Tensor | None:
    """Unit noise for input perturbation, weaker by a random share where the recipe says so; None where it is off."""
    if not settings.ip_noise_gamma:
        return None
    noise = torch.randn(x0.shape, generator=generator)
    if settings.ip_noise_gamma_random_strength:
        noise = noise * torch.rand(len(x0), *(1,) * (x0.ndim - 1), generator=generator)
    return noise


def _pyramid(noise: Tensor, settings: Noise, generator: torch.Generator) -> Tensor:
    """Adds coarser and coarser noise, each weaker by the discount, and scales the sum to unit deviation.

    The multi-resolution noise that sd-scripts offers: level i is smaller by r^i, r drawn from 2 to 4.
    """
    height, width = noise.shape[-2:]
    flat = noise.reshape(-1, 1, height, width)
    total = flat
    for level in range(settings.multires_noise_iterations):
        ratio = float(torch.rand((), generator=generator)) * 2 + 2
        h, w = max(1, int(height / ratio**level)), max(1, int(width / ratio**level))
        coarse = torch.randn(len(flat), 1, h, w, generator=generator)
        total = total + functional.interpolate(coarse, (height, width), mode="bilinear") * (
            settings.multires_noise_discount**level
        )
        if h == 1 or w == 1:
            break
    return (total / total.std()).reshape(noise.shape)
