"""The loss: one for every family, from two probes of the host's own functions.

The host returns x0_pred = a(s) x_t + b(s) out for a noise level s, `out` being the network's raw output. The error of
`out` is therefore (x0_pred - x0) / b(s), and the family's native loss is mse(x0_pred, x0) / b(s)^2, whether the
network predicts noise, velocity or a flow. The signal-to-noise ratio comes from the host's noising in the same way.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .ports import Schedule


def native_weight(schedule: Schedule, sigma: Tensor) -> Tensor:
    """1 / b(sigma)^2 for sigma [B]: turns the x0 error into the error of the network's own output."""
    one = torch.ones(len(sigma), 1, 1, 1, device=sigma.device)
    slope = schedule.denoised_from(sigma, one, torch.zeros_like(one)).flatten()
    return slope.square().reciprocal()


def snr(schedule: Schedule, sigma: Tensor) -> Tensor:
    """Signal-to-noise ratio [B] of the host's noising at sigma [B]."""
    one = torch.ones(len(sigma), 1, 1, 1, device=sigma.device)
    zero = torch.zeros_like(one)
    signal = schedule.noised(one, zero.clone(), sigma).flatten()
    noise = schedule.noised(zero, one.clone(), sigma).flatten()
    return (signal / noise).square()


def min_snr_weight(ratio: Tensor, native: Tensor, gamma: float) -> Tensor:
    """Factor on the native loss, Hang et al. 2023 (arXiv 2303.09556): the x0 error is weighted by min(SNR, gamma).

    `ratio` is the SNR and `native` is 1/b^2, both [B]. For noise prediction this is min(SNR, gamma) / SNR, for
    v prediction min(SNR, gamma) / (SNR + 1).
    """
    return ratio.clamp(max=gamma) / native


def debiased_weight(ratio: Tensor, native: Tensor) -> Tensor:
    """Factor on the native loss, Yu et al. 2023 (arXiv 2310.08442), with sd-scripts' ceiling of 1000 on the SNR.

    `ratio` is the SNR and `native` is 1/b^2, both [B]. For noise prediction 1 / sqrt(SNR), for v prediction
    1 / (SNR + 1). Which one it is cannot be told where there is next to no noise, and there both are next to equal.
    """
    capped = ratio.clamp(max=1000)
    is_v = (native - ratio - 1).abs() < (native - ratio).abs()
    return torch.where(is_v, 1 / (capped + 1), capped.rsqrt())


def loss_per_image(x0_pred: Tensor, x0: Tensor, weight: Tensor) -> Tensor:
    """weight * mean squared x0 error, [B], in fp32."""
    error = (x0_pred.float() - x0.float()).square()
    return error.mean(dim=tuple(range(1, error.ndim))) * weight
