"""Noise levels and noise against their papers' formulas, written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lora_kiln.trainer.noise import draw_levels, draw_noise, draw_perturbation, sigma_at
from lora_kiln.trainer.noise_groups import Noise

COUNT = 40_000


class Table:
    """Noise prediction on a table of as many levels, each its own number from 1 on."""

    def __init__(self, length: int) -> None:
        self._length = length

    def sigmas(self) -> Tensor:
        return torch.arange(1, self._length + 1).float()

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        return x0 + sigma.view(-1, 1, 1, 1) * noise

    def denoised_from(self, sigma: Tensor, output: Tensor, x_t: Tensor) -> Tensor:
        return x_t - sigma.view(-1, 1, 1, 1) * output


class Flow(Table):
    """Rectified flow, its table shifted by 3."""

    def sigmas(self) -> Tensor:
        u = torch.arange(1, self._length + 1) / self._length
        return 3 * u / (1 + 2 * u)

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        s = sigma.view(-1, 1, 1, 1)
        return (1 - s) * x0 + s * noise


def levels(**settings: object) -> np.ndarray:
    drawn = draw_levels(COUNT, Noise(**settings), torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    assert drawn.dtype == torch.float32
    return drawn.numpy()


@pytest.mark.parametrize("kind", ["uniform", "logit_normal", "mode"])
@pytest.mark.parametrize(
    ("low", "high"), [(0, 1000), (200, 700), (900, 901), (0, 1), (999, 1000), (251, 252), (290, 571)]
)
def test_every_level_is_within_its_limits_and_none_at_the_upper_one(kind: str, low: int, high: int) -> None:
    drawn = levels(timestep_sampling=kind, min_timestep=low, max_timestep=high)
    index = sigma_at(torch.from_numpy(drawn), Table(1000), Noise(), flow=False).numpy() - 1
    assert low <= index.min() <= index.max() < high
    if kind == "uniform":
        assert (index.min(), index.max()) == (low, high - 1)


def test_uniform_levels_are_spread_evenly() -> None:
    drawn = np.sort(levels(min_timestep=200, max_timestep=700))
    expected = 0.2 + 0.5 * (np.arange(COUNT) + 0.5) / COUNT
    assert np.abs(drawn - expected).max() < 0.005


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.6), (-1.0, 2.0)])
def test_logit_normal_levels_have_normal_logits(mean: float, std: float) -> None:
    drawn = np.sort(levels(timestep_sampling="logit_normal", logit_mean=mean, logit_std=std)).astype(np.float64)
    shares = [0.5 * (1 + math.erf((math.log(t / (1 - t)) - mean) / (std * math.sqrt(2)))) for t in drawn[::40]]
    expected = (np.arange(COUNT)[::40] + 0.5) / COUNT
    assert np.abs(np.array(shares) - expected).max() < 0.01


@pytest.mark.parametrize("scale", [1.29, 0.0, -0.5, 0.8])
def test_mode_levels_have_esser_et_als_quantiles(scale: float) -> None:
    """f(u) = 1 - u - s (cos(pi u / 2)^2 - 1 + u), which falls with u: quantile q of f is f(1 - q)."""
    drawn = np.sort(levels(timestep_sampling="mode", mode_scale=scale))
    u = 1 - (np.arange(COUNT) + 0.5) / COUNT
    expected = 1 - u - scale * (np.cos(np.pi / 2 * u) ** 2 - 1 + u)
    assert np.abs(drawn - np.clip(expected, 0, 1)).max() < 0.015


@pytest.mark.parametrize("length", [3, 1000, 10000])
def test_a_level_takes_the_tables_entry_below_it(length: int) -> None:
    every = torch.arange(length) / length
    assert sigma_at(every, Table(length), Noise(), flow=False).tolist() == list(range(1, length + 1))
    edges = torch.tensor([0.0, 0.49999, 0.5, 0.999999])
    expected = [1, int(0.49999 * length) + 1, int(0.5 * length) + 1, length]
    assert sigma_at(edges, Table(length), Noise(), flow=False).tolist() == expected


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_a_shift_of_the_users_takes_the_place_of_the_flow_models(shift: float) -> None:
    u = np.linspace(0.01, 0.99, 50).astype(np.float32)
    found = sigma_at(torch.from_numpy(u), Flow(1000), Noise(flow_shift=shift), flow=True).numpy()
    np.testing.assert_allclose(found, shift * u / (1 + (shift - 1) * u), rtol=1e-5)


def test_without_a_shift_the_flow_models_own_table_counts_and_others_have_none() -> None:
    u = torch.tensor([0.25, 0.5])
    np.testing.assert_allclose(sigma_at(u, Flow(1000), Noise(), flow=True).numpy(), [0.5, 0.75], atol=2e-3)
    assert sigma_at(u, Table(1000), Noise(flow_shift=3.0), flow=False).tolist() == [251, 501]
    assert float(sigma_at(torch.zeros(1), Flow(1000), Noise(flow_shift=3.0), flow=True)) > 0


def drawn(x0: Tensor, seed: int = 0, **settings: object) -> Tensor:
    return draw_noise(x0, Noise(**settings), torch.Generator().manual_seed(seed))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(64, 4, 16, 16), (16, 4, 3, 16, 16)])
def test_plain_noise_is_unit_noise(shape: tuple[int, ...]) -> None:
    noise = drawn(torch.full(shape, 3.0)).numpy()
    assert noise.shape == shape
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert noise.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("shape", [(512, 4, 8, 8), (256, 8, 2, 4, 8)])
def test_an_offset_adds_its_square_to_the_variance_of_channel_means(shape: tuple[int, ...]) -> None:
    plain, moved = drawn(torch.zeros(shape)).numpy(), drawn(torch.zeros(shape), noise_offset=0.3).numpy()
    inner = tuple(range(2, len(shape)))
    difference = moved - plain
    np.testing.assert_allclose(difference.std(axis=inner), 0, atol=1e-6)
    assert difference.mean(axis=inner).std() == pytest.approx(0.3, rel=0.08)
    assert moved.mean(axis=inner).var() == pytest.approx(1 / math.prod(shape[2:]) + 0.09, rel=0.1)


def test_a_random_offset_is_a_share_of_the_whole_one_and_each_images_own() -> None:
    """sd-scripts draws the strength evenly from 0 to the offset."""
    shape = (4000, 6, 1, 2)
    whole = (drawn(torch.zeros(shape), noise_offset=0.3) - drawn(torch.zeros(shape))).numpy()
    plain = drawn(torch.zeros(shape)).numpy()
    moved = drawn(torch.zeros(shape), noise_offset=0.3, noise_offset_random_strength=True).numpy() - plain
    size = np.sqrt((moved.mean(axis=(2, 3)) ** 2).mean(axis=1))
    # Of a uniform strength, the mean square is a third.
    assert (moved**2).mean() / (whole**2).mean() == pytest.approx(1 / 3, rel=0.05)
    assert size.std() / size.mean() > 0.5
    assert np.array_equal(drawn(torch.zeros(shape), noise_offset_random_strength=True).numpy(), plain)


def perturbed(**settings: float) -> np.ndarray:
    found = draw_perturbation(torch.zeros(3000, 2, 4), Noise(**settings), torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    assert found is not None
    return found.numpy()


def test_a_random_perturbation_is_a_share_of_the_whole_one() -> None:
    whole = perturbed(ip_noise_gamma=0.1)
    share = perturbed(ip_noise_gamma=0.1, ip_noise_gamma_random_strength=True) / whole
    np.testing.assert_allclose(share.std(axis=(1, 2)), 0, atol=1e-6)
    strength = share.mean(axis=(1, 2))
    assert (strength.min() >= 0, strength.max() <= 1) == (True, True)
    assert (strength.mean(), strength.std()) == pytest.approx((0.5, 12**-0.5), abs=0.02)
    assert draw_perturbation(torch.zeros(1, 1), Noise(ip_noise_gamma_random_strength=True), torch.Generator()) is None


def test_an_adaptive_offset_grows_with_the_channels_mean_and_never_turns_around() -> None:
    x0 = torch.zeros(2000, 3, 2, 2)
    x0[:, 1], x0[:, 2] = 1.0, -2.0
    plain = drawn(x0).numpy()
    grown = (drawn(x0, noise_offset=0.05, adaptive_noise_scale=0.2).numpy() - plain).mean(axis=(2, 3))
    np.testing.assert_allclose(grown.std(axis=0), [0.05, 0.25, 0.45], rtol=0.07)
    shrunk = (drawn(x0, noise_offset=0.05, adaptive_noise_scale=-0.04).numpy() - plain).mean(axis=(2, 3))
    np.testing.assert_allclose(shrunk.std(axis=0), [0.05, 0.01, 0], rtol=0.07, atol=1e-7)
    only = (drawn(x0, adaptive_noise_scale=0.2).numpy() - plain).mean(axis=(2, 3))
    np.testing.assert_allclose(only.std(axis=0), [0, 0.2, 0.4], rtol=0.07, atol=1e-7)


def reference_pyramid(x0: Tensor, iterations: int, discount: float) -> Tensor:
    """sd-scripts' `pyramid_noise_like`, as it stands there, on the same draws."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(x0.shape, generator=generator)
    b, c, w, h = noise.shape
    upsample = torch.nn.Upsample(size=(w, h), mode="bilinear")
    for i in range(iterations):
        r = torch.rand((), generator=generator).item() * 2 + 2
        wn, hn = max(1, int(w / (r**i))), max(1, int(h / (r**i)))
        noise += upsample(torch.randn(b * c, 1, wn, hn, generator=generator).reshape(b, c, wn, hn)) * discount**i
        if wn == 1 or hn == 1:
            break
    return noise / noise.std()


@pytest.mark.parametrize(("iterations", "discount"), [(1, 0.3), (6, 0.3), (10, 0.8)])
def test_pyramid_noise_is_sd_scripts(iterations: int, discount: float) -> None:
    x0 = torch.zeros(2, 4, 32, 16)
    found = drawn(x0, multires_noise_iterations=iterations, multires_noise_discount=discount)
    torch.testing.assert_close(found, reference_pyramid(x0, iterations, discount))


@pytest.mark.parametrize("shape", [(8, 4, 32, 32), (4, 4, 2, 32, 32)])
def test_pyramid_noise_has_unit_deviation_and_more_of_the_coarse(shape: tuple[int, ...]) -> None:
    plain = drawn(torch.zeros(shape)).numpy()
    noise = drawn(torch.zeros(shape), multires_noise_iterations=6, multires_noise_discount=0.8).numpy()
    assert noise.shape == shape
    assert noise.std() == pytest.approx(1, abs=1e-3)
    inner = (-2, -1)
    assert noise.mean(axis=inner).var() > 20 * plain.mean(axis=inner).var()


def test_noise_follows_from_its_generator() -> None:
    settings = {"noise_offset": 0.1, "multires_noise_iterations": 4}
    x0 = torch.zeros(1, 4, 8, 8)
    assert torch.equal(drawn(x0, 5, **settings), drawn(x0, 5, **settings))
    assert not torch.equal(drawn(x0, 5, **settings), drawn(x0, 6, **settings))
