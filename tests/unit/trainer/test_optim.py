"""Optimizer groups and learning-rate schedules, against hand-written curves."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lora_kiln.trainer.adapters import Lora
from lora_kiln.trainer.optim import make_optimizer, make_schedule, warmup_steps
from lora_kiln.trainer.ports import Layer
from lora_kiln.trainer.recipe import Optimizer


def loras(*parts: str) -> list[Lora]:
    draw = torch.Generator().manual_seed(0)
    return [Lora(Layer(key=p, module=nn.Linear(4, 4), part=p, conv=False), 2, 2.0, draw) for p in parts]


def rates(settings: Optimizer, steps: int) -> list[float]:
    """The rate of each step, as a training loop would see them."""
    optimizer = make_optimizer(settings, loras("unet"))
    schedule = make_schedule(settings, optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return seen


def test_each_part_has_a_group_with_its_own_rate() -> None:
    settings = Optimizer(unet_lr=1e-3, text_lr=2e-4, weight_decay=0.2, beta1=0.8, beta2=0.95)
    optimizer = make_optimizer(settings, loras("unet", "text", "unet"))
    groups = {group["part"]: group for group in optimizer.param_groups}
    assert {part: (group["lr"], len(group["params"])) for part, group in groups.items()} == {
        "unet": (1e-3, 4),
        "text": (2e-4, 2),
    }
    assert groups["unet"]["betas"] == (0.8, 0.95)
    assert groups["unet"]["weight_decay"] == 0.2
    assert [group["part"] for group in make_optimizer(settings, loras("text")).param_groups] == ["text"]


@pytest.mark.parametrize(
    ("warmup", "steps", "expected"),
    [(0.0, 100, 0), (0.1, 250, 25), (0.05, 30, 2), (1, 100, 1), (40, 100, 40), (500, 100, 100)],
)
def test_warmup_is_steps_or_a_share_of_them(warmup: float, steps: int, expected: int) -> None:
    assert warmup_steps(Optimizer(warmup=warmup), steps) == expected


def test_cosine_falls_as_half_a_wave_after_its_warmup() -> None:
    found = rates(Optimizer(unet_lr=2e-3, lr_scheduler="cosine", warmup=10), 110)
    expected = [2e-3 * i / 10 for i in range(10)]
    expected += [2e-3 * (1 + math.cos(math.pi * i / 100)) / 2 for i in range(100)]
    assert found == pytest.approx(expected, abs=1e-9)


def test_linear_falls_to_nothing() -> None:
    found = rates(Optimizer(unet_lr=1e-3, lr_scheduler="linear"), 50)
    assert found == pytest.approx([1e-3 * (1 - i / 50) for i in range(50)], abs=1e-9)


def test_restarts_begin_again_at_the_full_rate() -> None:
    found = rates(Optimizer(unet_lr=1e-3, lr_scheduler="cosine_with_restarts", cycles=3), 90)
    expected = [1e-3 * (1 + math.cos(math.pi * ((3 * i / 90) % 1))) / 2 for i in range(90)]
    assert found == pytest.approx(expected, abs=1e-9)


def test_constant_stays_and_constant_with_warmup_rises_to_it() -> None:
    assert set(rates(Optimizer(unet_lr=1e-3, lr_scheduler="constant"), 9)) == {1e-3}
    warm = rates(Optimizer(unet_lr=1e-3, lr_scheduler="constant_with_warmup", warmup=4), 9)
    assert warm == pytest.approx([0, 0.25e-3, 0.5e-3, 0.75e-3, *[1e-3] * 5])
