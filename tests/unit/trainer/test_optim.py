"""Optimizers, their groups and learning-rate schedules, against hand-written curves."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lora_kiln.trainer.adapters import Lora
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.groups import OPTIMIZERS, SCHEDULES, Optimizer
from lora_kiln.trainer.network import Placed
from lora_kiln.trainer.optim import ADAPTIVE, NEEDS_CUDA, make_optimizer, parse_arguments, rates, switch
from lora_kiln.trainer.ports import Layer
from lora_kiln.trainer.schedules import make_schedule

ON_CPU = [name for name in OPTIMIZERS if name not in NEEDS_CUDA]
EACH = pytest.mark.parametrize("name", ON_CPU)
# Rates that suit a problem of a few numbers; those that look for their own begin large enough to be seen.
RATES: dict[str, dict[str, Any]] = {
    "Lion": {"unet_lr": 0.02},
    "SGD": {"unet_lr": 1.0},
    **{name: {"unet_lr": 1.0, "optimizer_args": ("d0=0.01",)} for name in ADAPTIVE},
}


def loras(*parts: str, rate: float = 1.0) -> list[Placed]:
    draw = torch.Generator().manual_seed(0)
    layers = [Layer(key=p, module=nn.Linear(4, 4), part=p, conv=False) for p in parts]
    return [Placed(adapter=Lora(layer, 2, 2.0, draw), rate=rate) for layer in layers]


def settings_of(name: str) -> Optimizer:
    return Optimizer(**{"optimizer_type": name, "unet_lr": 0.05, "text_lr": 0.0, **RATES.get(name, {})})


def rates_of(settings: Optimizer, steps: int) -> list[float]:
    """The rate of each step, as a training loop would see them."""
    optimizer = make_optimizer(settings, loras("unet"))
    schedule = make_schedule(settings, optimizer, steps, 10)
    seen = []
    for _ in range(steps):
        seen.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return seen


class Problem:
    """A LoRA that must become a given matrix: its loss, and updates towards it."""

    def __init__(self, settings: Optimizer) -> None:
        [self.placed] = loras("unet")
        self.lora: Any = self.placed.adapter
        self.optimizer = make_optimizer(settings, [self.placed])
        self.target = torch.randn(4, 4, generator=torch.Generator().manual_seed(2))
        switch(self.optimizer, "train")

    def loss(self) -> Tensor:
        error: Tensor = self.lora.up @ self.lora.down - self.target
        return error.square().mean()

    def value(self) -> float:
        return float(self.loss().detach())

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss().backward()
            self.optimizer.step()


@EACH
def test_five_updates_lower_the_loss(name: str) -> None:
    problem = Problem(settings_of(name))
    before = problem.value()
    problem.steps(5)
    switch(problem.optimizer, "eval")
    assert problem.value() < before * 0.999


@EACH
def test_an_optimizer_goes_on_from_its_saved_state_to_the_bit(name: str) -> None:
    whole, first = Problem(settings_of(name)), Problem(settings_of(name))
    whole.steps(7)
    first.steps(4)
    file = io.BytesIO()
    torch.save(first.optimizer.state_dict(), file)
    file.seek(0)
    second = Problem(settings_of(name))
    with torch.no_grad():
        for mine, theirs in zip(second.lora.parameters, first.lora.parameters, strict=True):
            mine.copy_(theirs)
    second.optimizer.load_state_dict(torch.load(file, weights_only=True))
    second.steps(3)
    for mine, theirs in zip(second.lora.parameters, whole.lora.parameters, strict=True):
        assert torch.equal(mine, theirs)
    assert rates(second.optimizer) == rates(whole.optimizer)


@EACH
def test_parameters_without_a_gradient_stand_still(name: str) -> None:
    """As the text encoder's do when it has stopped learning, weight decay or not."""
    settings = settings_of(name)
    problem = Problem(settings)
    problem.steps(2)
    problem.lora.down.requires_grad_(False)
    before, moving = problem.lora.down.detach().clone(), problem.lora.up.detach().clone()
    problem.steps(3)
    assert torch.equal(problem.lora.down, before)
    assert not torch.equal(problem.lora.up, moving)


@pytest.mark.parametrize("schedule", SCHEDULES)
@EACH
def test_every_optimizer_takes_every_schedule(name: str, schedule: str) -> None:
    settings = dataclasses.replace(settings_of(name), lr_scheduler=schedule, warmup="2")
    problem = Problem(settings)
    made = make_schedule(settings, problem.optimizer, 6, 3)
    for _ in range(6):
        problem.steps(1)
        made.step()
    final = float(problem.optimizer.param_groups[0]["lr"])
    if schedule.startswith("constant"):
        assert final == settings.unet_lr
    elif schedule == "inverse_sqrt":
        assert final == pytest.approx(settings.unet_lr * (2 / 6) ** 0.5)
    else:
        assert final == pytest.approx(0, abs=1e-9)


def test_dadaptadams_first_step_is_as_long_as_the_rate_says() -> None:
    """Without the correction that the library leaves out, sqrt(1 - beta2) makes it three times as long."""
    lengths = {}
    for given in ((), ("bias_correction=False",)):
        settings = Optimizer(optimizer_type="DAdaptAdam", unet_lr=1.0, optimizer_args=("d0=0.01", *given))
        problem = Problem(settings)
        before = problem.lora.up.detach().clone()
        problem.steps(1)
        lengths[given] = float((problem.lora.up.detach() - before).abs().max())
    assert lengths[()] == pytest.approx(0.01, rel=1e-3)
    assert lengths["bias_correction=False",] == pytest.approx(0.01 * 0.1 / math.sqrt(0.001), rel=1e-3)


@pytest.mark.parametrize("name", [name for name in ON_CPU if name != "SGD"])
def test_weights_shrink_by_the_rate_times_the_decay_whatever_the_gradient_is(name: str) -> None:
    """Decoupled: a decay that is added to the gradient would be lost in its normalisation."""
    moved = {}
    for decay in (0.0, 0.5):
        problem = Problem(dataclasses.replace(settings_of(name), weight_decay=decay))
        problem.lora.up.data += 0.3
        problem.optimizer.zero_grad(set_to_none=True)
        # A gradient far above the weights, the same every time.
        for parameter in problem.lora.parameters:
            parameter.grad = torch.full_like(parameter, 100.0)
        before = problem.lora.up.detach().clone()
        problem.optimizer.step()
        switch(problem.optimizer, "eval")
        moved[decay] = (problem.lora.up.detach() - before, before)
    group = problem.optimizer.param_groups[0]
    rate = group["lr"] * (0.01 if name in ADAPTIVE else 1.0)
    if name == "DAdaptAdam":
        # Its correction of the first step is a part of the rate.
        rate *= math.sqrt(1 - 0.999) / (1 - 0.9)
    shrunk = moved[0.5][0] - moved[0.0][0]
    torch.testing.assert_close(shrunk, -0.5 * rate * moved[0.0][1], rtol=0.02, atol=1e-6)


def test_sgd_adds_its_decay_to_the_gradient_as_its_help_says() -> None:
    problem = Problem(Optimizer(optimizer_type="SGD", unet_lr=0.1, weight_decay=0.5, beta1=0.0))
    problem.lora.up.data += 0.3
    for parameter in problem.lora.parameters:
        parameter.grad = torch.full_like(parameter, 2.0)
    problem.optimizer.step()
    torch.testing.assert_close(problem.lora.up.detach(), torch.full((4, 2), 0.3 - 0.1 * (2 + 0.5 * 0.3)))


@EACH
def test_a_name_that_the_optimizer_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(KilnError, match=rf"optimizer_args: {name} does not take d_ceof"):
        make_optimizer(Optimizer(optimizer_type=name, optimizer_args=("d_ceof=2",)), loras("unet"))


@pytest.mark.parametrize("line", ["betas=(2, 0.9)", "eps='small'"])
def test_a_value_that_the_optimizer_does_not_take_is_refused(line: str) -> None:
    with pytest.raises(KilnError, match="optimizer_args: AdamW does not take"):
        make_optimizer(Optimizer(optimizer_args=(line,)), loras("unet"))


def test_arguments_reach_the_optimizer_and_go_before_the_recipes_own() -> None:
    lines = ("d_coef=2", "weight_decouple=True", "betas=(0.8, 0.9)", "safeguard_warmup=True", "bias_correction=True")
    settings = Optimizer(optimizer_type="Prodigy", unet_lr=1, text_lr=1, weight_decay=0.3, optimizer_args=lines)
    [group] = make_optimizer(settings, loras("unet")).param_groups
    assert (group["d_coef"], group["betas"], group["weight_decay"]) == (2, (0.8, 0.9), 0.3)
    assert group["safeguard_warmup"]
    assert group["bias_correction"]
    kohyas = dataclasses.replace(settings, optimizer_args=("decouple=False", "use_bias_correction=True"))
    [group] = make_optimizer(kohyas, loras("unet")).param_groups
    assert (group["weight_decouple"], group["bias_correction"]) == (False, True)
    [group] = make_optimizer(Optimizer(optimizer_args=("foreach=True",)), loras("unet")).param_groups
    assert group["foreach"]
    [group] = make_optimizer(Optimizer(optimizer_type="SGD", beta1=0.7), loras("unet")).param_groups
    assert group["momentum"] == 0.7


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("d_coef=2", {"d_coef": 2}),
        (" d_coef = 0.5 ", {"d_coef": 0.5}),
        ("betas=(0.9, 0.99)", {"betas": (0.9, 0.99)}),
        ("betas=0.9,0.99", {"betas": (0.9, 0.99)}),
        ("decouple=True", {"decouple": True}),
        ("eps=1e-8", {"eps": 1e-8}),
        ("beta3=None", {"beta3": None}),
        ("kind=fast", {"kind": "fast"}),
        ("text=a=b", {"text": "a=b"}),
    ],
)
def test_an_argument_is_read_as_kohya_writes_it(line: str, expected: dict[str, Any]) -> None:
    assert parse_arguments([line]) == expected


@pytest.mark.parametrize("line", ["d_coef", "=2", "2x=1", "d coef=2", ""])
def test_an_argument_without_a_name_or_value_is_named(line: str) -> None:
    with pytest.raises(KilnError, match="write name=value"):
        parse_arguments([line])


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
@pytest.mark.parametrize("name", NEEDS_CUDA)
def test_a_package_that_is_missing_is_named_with_what_mends_it(name: str) -> None:
    with pytest.raises(KilnError, match=r"needs the package bitsandbytes.*pip install bitsandbytes"):
        make_optimizer(Optimizer(optimizer_type=name), loras("unet"))


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


def test_loraplus_and_block_weights_multiply_the_rate_of_their_own_parameters() -> None:
    settings = Optimizer(unet_lr=1e-3, text_lr=2e-4, loraplus_unet_lr_ratio=16, loraplus_text_lr_ratio=4)
    placed = [*loras("unet"), *loras("unet", rate=0.5), *loras("text")]
    optimizer = make_optimizer(settings, placed)
    found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    expected = [(1e-3, 16e-3), (0.5e-3, 8e-3), (2e-4, 8e-4)]
    for one, (down, up) in zip(placed, expected, strict=True):
        lora: Any = one.adapter
        assert found[id(lora.down)] == pytest.approx(down)
        assert found[id(lora.up)] == pytest.approx(up)
    assert len(found) == 6
    assert rates(optimizer) == pytest.approx({"unet": 1e-3, "text": 2e-4})


def test_the_reported_rate_is_the_parts_own_whatever_its_blocks_weigh() -> None:
    optimizer = make_optimizer(Optimizer(unet_lr=1e-3), loras("unet", rate=0.25))
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25e-3)
    assert rates(optimizer) == pytest.approx({"unet": 1e-3})


def test_the_reported_rate_of_prodigy_holds_the_one_it_found() -> None:
    problem = Problem(settings_of("Prodigy"))
    assert rates(problem.optimizer) == {"unet": 0.01}
    problem.steps(30)
    found = problem.optimizer.param_groups[0]["d"]
    assert found > 0.01
    assert rates(problem.optimizer) == {"unet": pytest.approx(found)}


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize(
    ("settings", "rate"),
    [({"text_lr": 0.5}, 1.0), ({"loraplus_unet_lr_ratio": 16.0}, 1.0), ({}, 0.5)],
    ids=["text", "LoRA+", "blocks"],
)
def test_what_finds_its_own_rate_has_one_for_everything(name: str, settings: dict[str, Any], rate: float) -> None:
    """The library takes the first group's rate for all, and says nothing."""
    placed = [*loras("unet", "text"), *loras("unet", rate=rate)]
    values = {"optimizer_type": name, "unet_lr": 1.0, "text_lr": 1.0, **settings}
    with pytest.raises(KilnError, match=f"{name} learns everything at one rate"):
        make_optimizer(Optimizer(**values), placed)
    make_optimizer(Optimizer(optimizer_type=name, unet_lr=0.5, text_lr=0.5), loras("unet", "text"))


def test_a_part_that_has_stopped_has_no_rate() -> None:
    placed = loras("unet", "text")
    optimizer = make_optimizer(Optimizer(unet_lr=1e-3, text_lr=2e-4), placed)
    for parameter in placed[1].adapter.parameters:
        parameter.requires_grad_(False)
    assert rates(optimizer) == pytest.approx({"unet": 1e-3, "text": 0.0})


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
