"""The loss against each family's own formulas, written out by hand in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from lora_kiln.trainer.objective import debiased_weight, loss_per_image, min_snr_weight, native_weight, snr

Affine = Callable[[Tensor, Tensor, Tensor], Tensor]
SIGMAS = {"small": (0.03, 0.5, 1.0, 14.6), "flow": (0.02, 0.3, 0.7, 0.99)}
DATA = 0.5


class Family(NamedTuple):
    """A noise schedule as its paper writes it, and what the weight must be (a function of sigma)."""

    noise: Affine
    denoised: Affine
    weight: Callable[[np.ndarray], np.ndarray]
    sigmas: tuple[float, ...] = SIGMAS["small"]


def add(x0: Tensor, noise: Tensor, s: Tensor) -> Tensor:
    return x0 + s * noise


def v_denoised(s: Tensor, out: Tensor, x: Tensor) -> Tensor:
    return x / (s**2 + 1) - out * s / (s**2 + 1) ** 0.5


def edm_denoised(s: Tensor, out: Tensor, x: Tensor) -> Tensor:
    return x * DATA**2 / (s**2 + DATA**2) + out * s * DATA / (s**2 + DATA**2) ** 0.5


def rflow_denoised(s: Tensor, out: Tensor, x: Tensor) -> Tensor:
    t = s / (s + 1)
    return x * (1 - t) - out * t


FAMILIES = {
    "eps": Family(add, lambda s, out, x: x - s * out, lambda s: 1 / s**2),
    "v": Family(add, v_denoised, lambda s: (s**2 + 1) / s**2),
    "edm": Family(add, edm_denoised, lambda s: (s**2 + DATA**2) / (s * DATA) ** 2),
    "flow": Family(
        lambda x0, noise, s: s * noise + (1 - s) * x0,
        lambda s, out, x: x - s * out,
        lambda s: 1 / s**2,
        SIGMAS["flow"],
    ),
    "cosmos rflow": Family(add, rflow_denoised, lambda s: ((s + 1) / s) ** 2),
    "x0": Family(add, lambda s, out, x: out, lambda s: np.ones_like(s)),
}


class HandMade:
    """`trainer.ports.Schedule` of one family."""

    def __init__(self, family: Family) -> None:
        self._family = family

    def sigmas(self) -> Tensor:
        return torch.tensor(self._family.sigmas, dtype=torch.float64)

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        return self._family.noise(x0, noise, sigma.view(-1, 1, 1, 1))

    def denoised_from(self, sigma: Tensor, output: Tensor, x_t: Tensor) -> Tensor:
        return self._family.denoised(sigma.view(-1, 1, 1, 1), output, x_t)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_probe_finds_each_familys_weight(name: str) -> None:
    family = FAMILIES[name]
    schedule = HandMade(family)
    found = native_weight(schedule, schedule.sigmas())
    np.testing.assert_allclose(found.numpy(), family.weight(np.array(family.sigmas)), rtol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_weighted_x0_loss_is_the_loss_of_the_networks_own_output(name: str) -> None:
    """Any output that is off by `e` from the one that denoises perfectly costs mean(e^2)."""
    family = FAMILIES[name]
    schedule = HandMade(family)
    draw = torch.Generator().manual_seed(0)
    sigma = schedule.sigmas()
    x0, noise, wrong = (torch.randn(len(sigma), 3, 4, 4, generator=draw, dtype=torch.float64) for _ in range(3))
    x_t = schedule.noised(x0, noise, sigma)
    offset = schedule.denoised_from(sigma, torch.zeros_like(x0), x_t)
    slope = schedule.denoised_from(sigma, torch.ones_like(x0), torch.zeros_like(x0))
    perfect = (x0 - offset) / slope
    x0_pred = schedule.denoised_from(sigma, perfect + wrong, x_t)
    losses = loss_per_image(x0_pred, x0, native_weight(schedule, sigma))
    np.testing.assert_allclose(losses.numpy(), np.square(wrong.numpy()).mean(axis=(1, 2, 3)), rtol=2e-3)


def test_the_snr_is_read_from_the_noising() -> None:
    eps, flow = HandMade(FAMILIES["eps"]), HandMade(FAMILIES["flow"])
    s = np.array(SIGMAS["small"])
    np.testing.assert_allclose(snr(eps, eps.sigmas()).numpy(), 1 / s**2, rtol=1e-5)
    s = np.array(SIGMAS["flow"])
    np.testing.assert_allclose(snr(flow, flow.sigmas()).numpy(), ((1 - s) / s) ** 2, rtol=1e-4)


@pytest.mark.parametrize(("name", "plus"), [("eps", 0.0), ("v", 1.0)])
def test_min_snr_is_hang_et_als(name: str, plus: float) -> None:
    schedule = HandMade(FAMILIES[name])
    sigma = schedule.sigmas()
    ratio = 1 / np.array(SIGMAS["small"]) ** 2
    expected = np.minimum(ratio, 5.0) / (ratio + plus)
    found = min_snr_weight(snr(schedule, sigma), native_weight(schedule, sigma), 5.0)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["eps", "v"])
def test_debiased_estimation_lifts_the_noisy_steps(name: str) -> None:
    schedule = HandMade(FAMILIES[name])
    sigma = schedule.sigmas()
    ratio = np.minimum(1 / np.array(SIGMAS["small"]) ** 2, 1000)
    expected = 1 / (ratio + 1) if name == "v" else 1 / np.sqrt(ratio)
    found = debiased_weight(snr(schedule, sigma), native_weight(schedule, sigma))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_the_loss_of_an_image_is_its_mean_times_its_weight_in_fp32() -> None:
    draw = np.random.default_rng(0)
    pred, x0 = (draw.normal(size=(3, 4, 5, 2)).astype(np.float16) for _ in range(2))
    weight = np.array([0.5, 1.0, 3.0], dtype=np.float32)
    expected = np.square(pred.astype(np.float32) - x0.astype(np.float32)).mean(axis=(1, 2, 3)) * weight
    found = loss_per_image(torch.from_numpy(pred), torch.from_numpy(x0), torch.from_numpy(weight))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
