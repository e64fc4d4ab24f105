"""Named random numbers: the same again for the same name, unlike for any other."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
import torch

from lora_kiln.trainer.streams import derived, stream


@pytest.mark.parametrize(
    ("seed", "name", "numbers", "expected"),
    [
        (0, "order", (1,), 7825938063290953878),
        (7, "noise", (-1,), 9135713242483246594),
        (2**63 - 1, "timesteps", (12,), 2027230717424092407),
    ],
)
def test_the_values_stay_what_they_were_when_earlier_runs_drew_them(
    seed: int, name: str, numbers: tuple[int, ...], expected: int
) -> None:
    """A run of an older version must be able to go on, so these may never change."""
    assert derived(seed, name, *numbers) == expected
    words = " ".join(map(str, (seed, name, *numbers)))
    assert derived(seed, name, *numbers) == int(hashlib.sha256(words.encode()).hexdigest()[:16], 16) // 2


def test_the_same_stream_gives_the_same_draws_and_disturbs_nobody() -> None:
    before = torch.get_rng_state()
    first = torch.rand(5, generator=stream(3, "noise", 8))
    torch.rand(100, generator=stream(3, "noise", 9))
    assert torch.equal(first, torch.rand(5, generator=stream(3, "noise", 8)))
    assert torch.equal(torch.get_rng_state(), before)


def test_every_seed_name_and_number_has_a_stream_of_its_own() -> None:
    names = ("adapters", "order", "noise", "perturbation", "timesteps", "captions", "looks", "validation")
    found = [derived(*key) for key in itertools.product(range(4), names, range(-1, 50))]
    found += [derived(0, name) for name in names]
    assert len(set(found)) == len(found)
    assert all(0 <= one < 2**63 for one in found)


def test_neighbouring_streams_have_nothing_to_do_with_each_other() -> None:
    draws = torch.stack([torch.randn(50, generator=stream(0, "noise", i)) for i in range(400)]).numpy()
    assert abs(draws[:, 0].mean()) < 0.15
    correlations = np.corrcoef(draws)[~np.eye(400, dtype=bool)]
    # Of independent rows of 50 the correlation has deviation 1 / sqrt(50) = 0.14.
    assert correlations.std() == pytest.approx(1 / np.sqrt(50), rel=0.05)
    assert np.abs(correlations).max() < 0.75
