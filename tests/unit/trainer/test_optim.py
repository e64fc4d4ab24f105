"""Optimizers, their groups and arguments, against updates written by hand."""

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
from lora_kiln.trainer.arguments import parse_arguments
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.groups import OPTIMIZERS, SCHEDULES, Optimizer
from lora_kiln.trainer.network import Placed
from lora_kiln.trainer.optim import ADAPTIVE, NEEDS_CUDA, make_optimizer, rates, switch
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
    assert parse_arguments([line], "optimizer_args") == expected


@pytest.mark.parametrize("line", ["d_coef", "=2", "2x=1", "d coef=2", ""])
def test_an_argument_without_a_name_or_value_is_named(line: str) -> None:
    with pytest.raises(KilnError, match="write name=value"):
        parse_arguments([line], "optimizer_args")


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


def test_text_encoders_learn_at_rates_of_their_own() -> None:
    settings = Optimizer(unet_lr=1e-3, text_lr=7e-4, text_encoder_lrs="1e-4, 2e-4", loraplus_text_lr_ratio=4.0)
    placed = loras("unet", "text", "text", "text")
    for number, one in enumerate(placed[1:]):
        one.adapter.layer = dataclasses.replace(one.adapter.layer, encoder=number)
    optimizer = make_optimizer(settings, placed)
    found = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    downs = [found[id(one.adapter.down)] for one in placed]  # type: ignore[attr-defined]
    ups = [found[id(one.adapter.up)] for one in placed]  # type: ignore[attr-defined]
    # The last rate is that of all further encoders.
    assert downs == [1e-3, 1e-4, 2e-4, 2e-4]
    assert ups == [1e-3, *(pytest.approx(4 * rate) for rate in (1e-4, 2e-4, 2e-4))]
    assert rates(optimizer) == pytest.approx({"unet": 1e-3, "text": 1e-4, "text 2": 2e-4, "text 3": 2e-4})
    alike = make_optimizer(Optimizer(unet_lr=1e-3, text_lr=1e-4), placed)
    assert rates(alike) == {"unet": 1e-3, "text": 1e-4}
    assert len(alike.param_groups) == 2


@pytest.mark.parametrize("written", ["1e-4; 0", "a, b", "-1, 2", "1e-4, 11", ","])
def test_rates_that_cannot_be_read_are_told(written: str) -> None:
    with pytest.raises(ValueError, match=r"text_encoder_lrs is .*; write rates from 0 to 10"):
        Optimizer(text_encoder_lrs=written)


def test_a_state_that_knows_no_encoders_is_taken_up() -> None:
    """As those of runs that older versions left behind."""
    problem = Problem(settings_of("AdamW"))
    problem.steps(1)
    state = problem.optimizer.state_dict()
    for group in state["param_groups"]:
        del group["encoder"]
    problem.optimizer.load_state_dict(state)
    assert rates(problem.optimizer) == {"unet": 0.05}
