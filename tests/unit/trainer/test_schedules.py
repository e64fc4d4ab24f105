"""Learning-rate schedules, against hand-written curves and those of transformers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from lora_kiln.trainer.adapters import Lora
from lora_kiln.trainer.groups import SCHEDULES, Optimizer
from lora_kiln.trainer.network import Placed
from lora_kiln.trainer.optim import make_optimizer
from lora_kiln.trainer.ports import Layer
from lora_kiln.trainer.schedules import make_schedule


def rates_of(settings: Optimizer, steps: int) -> list[float]:
    """The rate of each step, as a training loop would see them."""
    lora = Lora(Layer(key="unet", module=nn.Linear(4, 4), part="unet", conv=False), 2, 2.0, torch.Generator())
    optimizer = make_optimizer(settings, [Placed(adapter=lora, rate=1.0)])
    schedule = make_schedule(settings, optimizer, steps, 10)
    seen = []
    for _ in range(steps):
        seen.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return seen


def test_cosine_falls_as_half_a_wave_after_its_warmup() -> None:
    found = rates_of(Optimizer(unet_lr=2e-3, lr_scheduler="cosine", warmup="10"), 110)
    expected = [2e-3 * i / 10 for i in range(10)]
    expected += [2e-3 * (1 + math.cos(math.pi * i / 100)) / 2 for i in range(100)]
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("warmup", "steps"), [("1 epoch", 10), ("20 %", 10), ("0.1", 5), ("7 steps", 7), ("0", 0)])
def test_a_warmup_may_be_written_as_any_length(warmup: str, steps: int) -> None:
    found = rates_of(Optimizer(unet_lr=1e-3, lr_scheduler="linear", warmup=warmup), 50)
    expected = [1e-3 * i / steps for i in range(steps)]
    expected += [1e-3 * (1 - i / (50 - steps)) for i in range(50 - steps)]
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_a_polynomial_falls_to_nothing_also_from_a_rate_below_the_librarys_floor(power: float) -> None:
    for rate in (1e-3, 1e-8):
        settings = Optimizer(unet_lr=rate, lr_scheduler="polynomial", power=power, warmup="10")
        expected = [rate * i / 10 for i in range(10)] + [rate * (1 - i / 40) ** power for i in range(40)]
        assert rates_of(settings, 50) == pytest.approx(expected, abs=rate * 1e-6)


@pytest.mark.parametrize("warmup", [0, 9])
def test_restarts_begin_again_at_the_full_rate(warmup: int) -> None:
    settings = Optimizer(unet_lr=1e-3, lr_scheduler="cosine_with_restarts", cycles=3, warmup=str(warmup))
    expected = [1e-3 * i / 9 for i in range(warmup)]
    rest = 90 - warmup
    expected += [1e-3 * (1 + math.cos(math.pi * ((3 * i / rest) % 1))) / 2 for i in range(rest)]
    assert rates_of(settings, 90) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("cycles", "ratio"), [(1, 0.1), (1, 0.0), (3, 0.25)])
def test_a_cosine_may_end_above_nothing(cycles: int, ratio: float) -> None:
    settings = Optimizer(
        unet_lr=1e-3, lr_scheduler="cosine_with_min_lr", min_lr_ratio=ratio, cycles=cycles, warmup="10"
    )
    expected = [1e-3 * i / 10 for i in range(10)]
    waves = [(1 + math.cos(math.pi * cycles * i / 90)) / 2 for i in range(90)]
    assert rates_of(settings, 100) == pytest.approx(expected + [1e-3 * (ratio + (1 - ratio) * w) for w in waves])


@pytest.mark.parametrize(("decay", "steps"), [("20 %", 20), ("30", 30), ("1 epoch", 10), ("0", 0), ("95 %", 90)])
def test_a_stable_rate_falls_in_the_last_part_alone(decay: str, steps: int) -> None:
    settings = Optimizer(
        unet_lr=1e-3, lr_scheduler="warmup_stable_decay", lr_decay=decay, min_lr_ratio=0.2, warmup="10"
    )
    expected = [0.2 + 0.8 * i / 10 for i in range(10)] + [1.0] * (90 - steps)
    expected += [0.2 + 0.8 * (1 + math.cos(math.pi * i / steps)) / 2 for i in range(steps)]
    assert rates_of(settings, 100) == pytest.approx([1e-3 * one for one in expected])


@pytest.mark.parametrize(("timescale", "scale"), [(0, 9), (25, 25)])
def test_an_inverse_root_falls_ever_more_slowly(timescale: int, scale: int) -> None:
    settings = Optimizer(unet_lr=1e-3, lr_scheduler="inverse_sqrt", warmup="9", timescale=timescale)
    expected = [1e-3 * i / 9 for i in range(9)] + [1e-3 * (scale / (i + scale - 9)) ** 0.5 for i in range(9, 60)]
    assert rates_of(settings, 60) == pytest.approx(expected)


# What transformers calls the settings that a schedule takes; sd-scripts passes half of its cycles on, too.
THEIRS: dict[str, dict[str, Any]] = {
    "cosine_with_restarts": {"num_cycles": 3},
    "polynomial": {"power": 2.0, "lr_end": 0.0},
    "cosine_with_min_lr": {"num_cycles": 1.5, "min_lr_rate": 0.2},
    "warmup_stable_decay": {"num_cycles": 1.5, "min_lr_ratio": 0.2, "num_decay_steps": 12},
    "inverse_sqrt": {"timescale": 20},
}


@pytest.mark.parametrize("warmup", [0, 7])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_are_transformers(schedule: str, warmup: int) -> None:
    reference = pytest.importorskip("transformers.optimization").get_scheduler
    settings = Optimizer(
        unet_lr=1e-3, lr_scheduler=schedule, warmup=str(warmup), cycles=3, power=2.0, min_lr_ratio=0.2, lr_decay="12",
        timescale=20,
    )  # fmt: skip
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    theirs = reference(
        schedule, optimizer, num_warmup_steps=warmup, num_training_steps=40,
        scheduler_specific_kwargs=THEIRS.get(schedule, {}),
    )  # fmt: skip
    expected = []
    for _ in range(40):
        expected.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert rates_of(settings, 40) == pytest.approx(expected, abs=1e-12)


def test_constant_stays_and_constant_with_warmup_rises_to_it() -> None:
    assert set(rates_of(Optimizer(unet_lr=1e-3, lr_scheduler="constant"), 9)) == {1e-3}
    warm = rates_of(Optimizer(unet_lr=1e-3, lr_scheduler="constant_with_warmup", warmup="4"), 9)
    assert warm == pytest.approx([0, 0.25e-3, 0.5e-3, 0.75e-3, *[1e-3] * 5])
