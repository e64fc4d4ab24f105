"""The loss: one for every family, from probes of the host's own functions.

The host returns x0_pred = a(s) x_t + b(s) out for a noise level s, `out` being the network's raw output. The error of
`out` is therefore (x0_pred - x0) / b(s), and the family's native loss is mse(x0_pred, x0) / b(s)^2, whether the
network predicts noise, velocity or a flow. The signal-to-noise ratio comes from the host's noising in the same way.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .noise_groups import Loss
from .ports import Schedule

HUBER = ("huber", "smooth_l1")
"""Forms of the error that turn linear at `huber_c`."""
# sd-scripts' ceiling of the SNR in debiased estimation.
DEBIASED_SNR = 1000.0
# Where the tables of flow models end there is no signal at all, and the weight would be infinite.
LEAST_DEBIASED_SNR = 1e-6


def native_weight(schedule: Schedule, sigma: Tensor) -> Tensor:
    """1 / b(sigma)^2 for sigma [B]: turns the x0 error into the error of the network's own output."""
    one = _ones(sigma)
    slope = schedule.denoised_from(sigma, one, torch.zeros_like(one)).flatten()
    return slope.square().reciprocal()


def input_slope(schedule: Schedule, sigma: Tensor) -> Tensor:
    """a(sigma) [B]: how much of x_t is in x0_pred when the network's output is zero."""
    one = _ones(sigma)
    return schedule.denoised_from(sigma, torch.zeros_like(one), one).flatten()


def signal_and_noise(schedule: Schedule, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """What the host's noising multiplies x0 and unit noise by at sigma [B], both [B]."""
    one = _ones(sigma)
    zero = torch.zeros_like(one)
    signal = schedule.noised(one, zero.clone(), sigma).flatten()
    return signal, schedule.noised(zero, one.clone(), sigma).flatten()


def snr(schedule: Schedule, sigma: Tensor) -> Tensor:
    """Signal-to-noise ratio [B] of the host's noising at sigma [B]."""
    signal, noise = signal_and_noise(schedule, sigma)
    return (signal / noise).square()


def is_flow(schedule: Schedule) -> bool:
    """Whether x_t = (1 - sigma) x0 + k sigma noise: rectified flow, where sigma is the time itself.

    k is 1 for all but a few families, which noise their pictures with more than unit noise.
    """
    sigma = torch.tensor([0.25, 0.75])
    signal, noise = (found.cpu() for found in signal_and_noise(schedule, sigma.to(schedule.sigmas().device)))
    scale = noise / sigma
    return bool(torch.allclose(signal, 1 - sigma, atol=1e-5) and torch.allclose(scale, scale[:1], rtol=1e-4))


def predicts_velocity(schedule: Schedule, sigma: Tensor) -> bool:
    """Whether the native error is a v prediction's: 1/b^2 = SNR + 1."""
    ratio = snr(schedule, sigma)
    return bool(torch.allclose(native_weight(schedule, sigma), ratio + 1, rtol=1e-3))


def prediction(schedule: Schedule) -> str:
    """`epsilon`, `v`, `flow`, or `other`: what the network predicts, as the host reads its output."""
    if is_flow(schedule):
        return "flow"
    table = schedule.sigmas()
    sigma = table[[len(table) // 4, len(table) // 2, 3 * len(table) // 4]]
    if predicts_velocity(schedule, sigma):
        return "v"
    return "epsilon" if torch.allclose(native_weight(schedule, sigma), snr(schedule, sigma), rtol=1e-3) else "other"


def min_snr_weight(ratio: Tensor, native: Tensor, gamma: float) -> Tensor:
    """Factor on the native loss, Hang et al. 2023 (arXiv 2303.09556): the x0 error is weighted by min(SNR, gamma).

    `ratio` is the SNR and `native` is 1/b^2, both [B]. For noise prediction this is min(SNR, gamma) / SNR, for
    v prediction min(SNR, gamma) / (SNR + 1).
    """
    return ratio.clamp(max=gamma) / native


def level_weight(schedule: Schedule, sigma: Tensor, settings: Loss, kind: str) -> Tensor:
    """The recipe's factor on the native loss at sigma [B]: min-SNR, debiased estimation, v as noise.

    `kind` is what `prediction` says of the schedule: a batch of low noise alone cannot tell noise from v prediction.
    """
    weight = torch.ones_like(sigma)
    if not (settings.min_snr_gamma or settings.debiased_estimation or settings.scale_v_pred_loss):
        return weight
    ratio, native = snr(schedule, sigma), native_weight(schedule, sigma)
    if settings.min_snr_gamma:
        weight = weight * min_snr_weight(ratio, native, settings.min_snr_gamma)
    if settings.scale_v_pred_loss and kind == "v":
        weight = weight * ratio / (ratio + 1)
    if settings.debiased_estimation:
        capped = ratio.clamp(LEAST_DEBIASED_SNR, DEBIASED_SNR)
        weight = weight * (1 / (capped + 1) if kind == "v" else capped.rsqrt())
    return weight


def huber_c(schedule: Schedule, sigma: Tensor, levels: Tensor, settings: Loss) -> Tensor:
    """Where the Huber losses turn linear, [B], as sd-scripts schedules it; `levels` [B] is the share of the schedule.

    `exponential`: c^level. `snr`: (1 - c) / (1 + s)^2 + c with s = noise / signal. `constant`: c.
    """
    c = settings.huber_c
    if settings.huber_schedule == "exponential":
        return torch.exp(math.log(c) * levels)
    if settings.huber_schedule == "snr":
        signal, noise = signal_and_noise(schedule, sigma)
        return (1 - c) / (1 + noise / signal) ** 2 + c
    return torch.full_like(levels, c)


def error_form(error: Tensor, kind: str, c: Tensor) -> Tensor:
    """The loss of each value of a native error [B, ...]: e^2, |e|, or sd-scripts' smooth forms with c [B].

    huber: 2 c (sqrt(e^2 + c^2) - c); smooth_l1: 2 (sqrt(e^2 + c^2) - c).
    """
    if kind == "l2":
        return error.square()
    if kind == "l1":
        return error.abs()
    c = c.view(-1, *(1,) * (error.ndim - 1))
    smooth = 2 * ((error.square() + c.square()).sqrt() - c)
    return c * smooth if kind == "huber" else smooth


def loss_per_image(
    x0_pred: Tensor,
    target: Tensor,
    native: Tensor,
    *,
    kind: str = "l2",
    c: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Mean over each image of the native error's form, [B], in fp32.

    `native` is 1/b^2 [B]; `mask` [B, 1, h, w] in 0..1 multiplies before the mean, as kohya's masked loss does.
    """
    scale = native.sqrt().view(-1, *(1,) * (x0_pred.ndim - 1))
    error = (x0_pred.float() - target.float()) * scale
    found = error_form(error, kind, c if c is not None else native)
    if mask is not None:
        # Video latents have a time axis before the height.
        found = found * (mask.unsqueeze(2) if found.ndim > mask.ndim else mask)
    return found.mean(dim=tuple(range(1, error.ndim)))


def _ones(sigma: Tensor) -> Tensor:
    return torch.ones(len(sigma), 1, 1, 1, device=sigma.device)
