"""The corruption floor, likeness and copies, on pictures and features whose truth is known."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image

from demo.world.draw import draw
from demo.world.figure import random_figure
from lora_kiln.sweep.corruption import BROKEN, FLAT, NOISE, flaws, roughness, unrest
from lora_kiln.sweep.likeness import Spread, cosine, is_copy, likeness, own_spread


def noise(side: int, *, blotch: int = 1) -> Image.Image:
    """Uniform noise, in squares of so many pixels smoothly joined, as an undenoised latent decodes."""
    small = np.random.default_rng(3).integers(0, 256, (side // blotch, side // blotch, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(
        (side, side), Image.Resampling.BICUBIC if blotch > 1 else Image.Resampling.NEAREST
    )


@pytest.mark.parametrize("side", [64, 128, 512])
def test_white_noise_and_flat_pictures_are_spoiled(side: int) -> None:
    assert flaws(noise(side)) == (NOISE,)
    assert flaws(Image.new("RGB", (side, side), "grey")) == (FLAT,)
    assert flaws(Image.new("RGB", (side, side)), broken=1.0) == (BROKEN, FLAT)


@pytest.mark.parametrize("side", [128, 512])
def test_the_blotches_of_an_undenoised_latent_are_noise(side: int) -> None:
    assert flaws(noise(side, blotch=8)) == (NOISE,)


def test_drawn_figures_are_sound_whatever_they_show() -> None:
    rng = random.Random(5)
    drawn = [draw(random_figure(rng, strange=0.5)).image for _ in range(40)]
    assert [flaws(picture) for picture in drawn] == [()] * 40
    assert [flaws(picture.resize((512, 512))) for picture in drawn[:3]] == [()] * 3


def test_a_picture_with_a_broken_value_is_spoiled_though_it_looks_well() -> None:
    picture = draw(random_figure(random.Random(1))).image
    assert flaws(picture, broken=1e-6) == (BROKEN,)


def test_roughness_is_one_minus_the_correlation_of_neighbours() -> None:
    steps = np.array([[0, 0, 1, 1]] * 4, dtype=np.float32)
    # Across: of 12 pairs a row has two equal and one opposite, (1 + 1 - 1) / 3; down all are equal.
    assert roughness(steps) == pytest.approx(1 - (1 / 3 + 1) / 2)
    assert roughness(np.zeros((4, 4), dtype=np.float32)) == 0


def test_unrest_is_the_share_that_the_calmest_quarter_varies() -> None:
    checks = np.indices((16, 16)).sum(axis=0) % 2
    assert unrest(checks.astype(np.float32)) == pytest.approx(1.0)
    calm = checks.astype(np.float32)
    calm[:8] = 0.5
    assert unrest(calm) == 0
    assert unrest(np.zeros((4, 4), dtype=np.float32)) == 0


def features(*angles: float) -> np.ndarray:
    return np.array([[np.cos(a), np.sin(a)] for a in np.deg2rad(angles)], dtype=np.float32)


def test_the_spread_is_that_of_the_training_pictures_among_themselves() -> None:
    own = features(0, 60, 120)
    spread = own_spread(own, ["a", "b", "c"], cosine)
    # Mean cosines to the others: (0.5 - 0.5) / 2, (0.5 + 0.5) / 2, 0; the nearest is at 0.5 for all.
    assert spread is not None
    assert spread.middle == pytest.approx(0.0, abs=1e-6)
    assert spread.low == pytest.approx(0.0, abs=1e-6)
    assert spread.near == pytest.approx(0.5)


def test_crops_of_one_picture_do_not_count_as_copies_of_each_other() -> None:
    own = features(0, 0.1, 60)
    spread = own_spread(own, ["a", "a", "b"], cosine)
    assert spread is not None
    assert spread.near < 0.51
    assert own_spread(own[:2], ["a", "a"], cosine) is None


def test_likeness_is_one_at_the_middle_half_at_the_least_like_and_nought_beyond() -> None:
    spread = Spread(middle=0.8, low=0.6, near=0.95)

    def of(mean: float) -> float:
        return likeness(np.array([mean - 0.1, mean + 0.1], dtype=np.float32), spread)

    assert [of(mean) for mean in (0.9, 0.8, 0.7, 0.6, 0.4, 0.1)] == pytest.approx([1, 1, 0.75, 0.5, 0, 0], abs=1e-6)


def test_a_copy_is_nearer_than_training_pictures_are_to_each_other() -> None:
    spread = Spread(middle=0.5, low=0.4, near=0.9)
    assert is_copy(np.array([0.2, 0.95], dtype=np.float32), spread)
    assert not is_copy(np.array([0.85, 0.85], dtype=np.float32), spread)
