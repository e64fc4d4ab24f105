"""The loss against each family's own formulas, written out by hand in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from lora_kiln.trainer.noise_groups import Loss
from lora_kiln.trainer.objective import (
    error_form,
    huber_c,
    is_flow,
    level_weight,
    loss_per_image,
    min_snr_weight,
    native_weight,
    prediction,
    snr,
)

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
    "strong flow": Family(
        lambda x0, noise, s: s * 8 * noise + (1 - s) * x0,
        lambda s, out, x: x - s * out,
        lambda s: 1 / s**2,
        SIGMAS["flow"],
    ),
    "cosmos rflow": Family(add, rflow_denoised, lambda s: ((s + 1) / s) ** 2),
    "x0": Family(add, lambda s, out, x: out, lambda s: np.ones_like(s)),
}


class HandMade:
    """`trainer.ports.Schedule` of one family."""

    def __init__(self, family: Family, dtype: torch.dtype = torch.float64) -> None:
        self._family, self._dtype = family, dtype

    def sigmas(self) -> Tensor:
        return torch.tensor(self._family.sigmas, dtype=self._dtype)

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


def test_the_loss_of_an_image_is_its_mean_times_its_weight_in_fp32() -> None:
    draw = np.random.default_rng(0)
    pred, x0 = (draw.normal(size=(3, 4, 5, 2)).astype(np.float16) for _ in range(2))
    weight = np.array([0.5, 1.0, 3.0], dtype=np.float32)
    expected = np.square(pred.astype(np.float32) - x0.astype(np.float32)).mean(axis=(1, 2, 3)) * weight
    found = loss_per_image(torch.from_numpy(pred), torch.from_numpy(x0), torch.from_numpy(weight))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("eps", "epsilon"),
        ("v", "v"),
        ("flow", "flow"),
        ("strong flow", "flow"),
        ("edm", "other"),
        ("cosmos rflow", "other"),
        ("x0", "other"),
    ],
)
def test_what_a_model_predicts_is_read_from_its_schedule(name: str, expected: str) -> None:
    schedule = HandMade(FAMILIES[name], torch.float32)
    assert prediction(schedule) == expected
    assert is_flow(schedule) == (expected == "flow")


def weights_of(name: str, sigmas: tuple[float, ...], **settings: Any) -> np.ndarray:
    """`level_weight` of a batch at these noise levels."""
    sigma, schedule = torch.tensor(sigmas, dtype=torch.float64), HandMade(FAMILIES[name])
    return level_weight(schedule, sigma, Loss(**settings), prediction(schedule)).numpy()


# The first is what SD's own table begins with; one batch may hold nothing else.
LEVELS = [(0.0292,), (0.01, 0.0292), (0.01, 0.0292, 0.5, 1.0, 14.6), (14.6,)]


@pytest.mark.parametrize("sigmas", LEVELS)
def test_debiased_estimation_is_sd_scripts(sigmas: tuple[float, ...]) -> None:
    ratio = np.minimum(1 / np.array(sigmas) ** 2, 1000)
    np.testing.assert_allclose(weights_of("eps", sigmas, debiased_estimation=True), 1 / np.sqrt(ratio), rtol=1e-4)
    np.testing.assert_allclose(weights_of("v", sigmas, debiased_estimation=True), 1 / (ratio + 1), rtol=1e-4)


@pytest.mark.parametrize("sigmas", [(0.999,), (0.001, 0.3, 0.999)])
def test_debiased_estimation_of_a_flow_does_not_depend_on_the_rest_of_the_batch(sigmas: tuple[float, ...]) -> None:
    s = np.array(sigmas)
    expected = 1 / np.sqrt(np.minimum(((1 - s) / s) ** 2, 1000))
    np.testing.assert_allclose(weights_of("flow", sigmas, debiased_estimation=True), expected, rtol=1e-4)
    # Tables of flow models end at noise alone.
    np.testing.assert_allclose(weights_of("flow", (1.0,), debiased_estimation=True), [1000], rtol=1e-4)


@pytest.mark.parametrize("sigmas", LEVELS)
def test_a_v_loss_scaled_as_noise_is_snr_over_snr_plus_one(sigmas: tuple[float, ...]) -> None:
    ratio = 1 / np.array(sigmas) ** 2
    np.testing.assert_allclose(weights_of("v", sigmas, scale_v_pred_loss=True), ratio / (ratio + 1), rtol=1e-5)
    np.testing.assert_array_equal(weights_of("eps", sigmas, scale_v_pred_loss=True), np.ones(len(sigmas)))
    both = weights_of("v", sigmas, scale_v_pred_loss=True, min_snr_gamma=5.0)
    expected = np.minimum(ratio, 5) / (ratio + 1) * ratio / (ratio + 1)
    np.testing.assert_allclose(both, expected, rtol=1e-5)


def test_without_a_weighting_every_level_counts_the_same() -> None:
    np.testing.assert_array_equal(weights_of("v", (0.01, 1.0, 20.0)), np.ones(3))


ERROR = np.random.default_rng(0).normal(size=(3, 4, 5, 2)) * np.array([0.01, 1, 30]).reshape(-1, 1, 1, 1)
TURN = np.array([0.1, 1.0, 0.5])
_C = TURN.reshape(-1, 1, 1, 1)
FORMS = {
    "l2": ERROR**2,
    "l1": np.abs(ERROR),
    "huber": 2 * _C * (np.sqrt(ERROR**2 + _C**2) - _C),
    "smooth_l1": 2 * (np.sqrt(ERROR**2 + _C**2) - _C),
}


@pytest.mark.parametrize("kind", FORMS)
def test_the_forms_of_an_error_are_sd_scripts(kind: str) -> None:
    found = error_form(torch.from_numpy(ERROR), kind, torch.from_numpy(TURN))
    np.testing.assert_allclose(found.numpy(), FORMS[kind], rtol=1e-6)


@pytest.mark.parametrize("kind", FORMS)
def test_the_form_acts_on_the_native_error(kind: str) -> None:
    """The x0 error of a noise prediction is sigma times its own error."""
    s = np.array([0.3, 2.0, 14.6])
    x0 = np.random.default_rng(1).normal(size=ERROR.shape)
    found = loss_per_image(
        torch.from_numpy(x0 - s.reshape(-1, 1, 1, 1) * ERROR),
        torch.from_numpy(x0),
        torch.from_numpy(1 / s**2),
        kind=kind,
        c=torch.from_numpy(TURN),
    )
    np.testing.assert_allclose(found.numpy(), FORMS[kind].mean(axis=(1, 2, 3)), rtol=1e-3)


@pytest.mark.parametrize("name", ["eps", "flow"])
@pytest.mark.parametrize("c", [0.1, 0.7])
def test_where_huber_turns_linear_follows_sd_scripts_schedules(name: str, c: float) -> None:
    family = FAMILIES[name]
    schedule, sigma = HandMade(family), np.array([*family.sigmas[:3], 1.0])
    level = np.array([0.0, 0.25, 0.999, 0.5], dtype=np.float32)
    # sd-scripts' sigmas are noise over signal: s itself for noise prediction, s / (1 - s) for a flow.
    with np.errstate(divide="ignore"):
        ratio = sigma / (1 - sigma) if name == "flow" else sigma
    expected = {
        "constant": np.full(4, c),
        "exponential": np.exp(-(-np.log(c) / 1000) * level * 1000),
        "snr": (1 - c) / (1 + ratio) ** 2 + c,
    }
    for kind, values in expected.items():
        settings = Loss(loss_type="huber", huber_c=c, huber_schedule=kind)
        found = huber_c(schedule, torch.from_numpy(sigma), torch.from_numpy(level), settings)
        np.testing.assert_allclose(found.numpy(), values, rtol=1e-4, err_msg=kind)


@pytest.mark.parametrize("time", [(), (3,)], ids=["pictures", "video"])
def test_a_mask_multiplies_before_the_mean(time: tuple[int, ...]) -> None:
    draw = np.random.default_rng(0)
    pred, x0 = (draw.normal(size=(2, 4, *time, 5, 6)).astype(np.float32) for _ in range(2))
    mask = draw.uniform(size=(2, 1, 5, 6)).astype(np.float32)
    mask[1, :, :, 3:] = 0
    full = mask.reshape(2, 1, *(1,) * len(time), 5, 6)
    inner = tuple(range(1, pred.ndim))
    expected = (np.square(pred - x0) * full).mean(axis=inner)
    native = torch.ones(2)
    found = loss_per_image(torch.from_numpy(pred), torch.from_numpy(x0), native, mask=torch.from_numpy(mask))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    ones = loss_per_image(torch.from_numpy(pred), torch.from_numpy(x0), native, mask=torch.ones(2, 1, 5, 6))
    np.testing.assert_allclose(ones.numpy(), np.square(pred - x0).mean(axis=inner), rtol=1e-5)
