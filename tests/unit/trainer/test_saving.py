"""What is written while training goes on, when, and of which weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer.formats import load_file
from lora_kiln.trainer.groups import Blocks, Network
from lora_kiln.trainer.network import make_adapters
from lora_kiln.trainer.plan import make_plan
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.streams import stream
from lora_kiln.trainer.values import Run

Pictures = Callable[..., Dataset]
Train = Callable[..., Run]
Tensors = dict[str, Tensor]


@pytest.fixture
def recipe_of(small_recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """Four pictures in batches of two: two updates an epoch, three epochs."""

    def make(**settings: Any) -> Recipe:
        return small_recipe(epochs=3).with_settings(**settings)

    return make


def saved(run: Run) -> dict[int, Tensors]:
    """The tensors of every saved LoRA by their step."""
    return {one.step: load_file(one.file)[0] for one in run.checkpoints}


def equal(a: Tensors, b: Tensors, only: str = "") -> bool:
    assert a.keys() == b.keys()
    return all(torch.equal(a[key], b[key]) for key in a if only in key and not key.endswith("alpha"))


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


FOUR = ("red", "blue", "lime", "navy")


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        ("1 epoch", {2: "000001", 4: "000002", 6: "000003"}),
        ("2 epochs", {4: "000002", 6: "000003"}),
        (
            "0.5 epochs",
            {1: "step00000001", 2: "000001", 3: "step00000003", 4: "000002", 5: "step00000005", 6: "000003"},
        ),
        ("3 steps", {3: "step00000003", 6: "000003"}),
        ("4", {4: "000002", 6: "000003"}),
        ("50 %", {3: "step00000003", 6: "000003"}),
        ("500", {6: "000003"}),
        ("0", {6: "000003"}),
        ("", {6: "000003"}),
    ],
)
def test_loras_are_saved_in_time_and_named_by_their_epoch_or_step(
    pictures: Pictures, recipe_of: Any, train: Train, every: str, steps: dict[int, str]
) -> None:
    run = train(pictures(*FOUR), recipe_of(save_every=every))
    assert {one.step: one.file.stem.removeprefix("run-") for one in run.checkpoints} == steps
    assert [one.epoch for one in run.checkpoints] == [-(-step // 2) for step in steps]


def test_a_run_that_ends_inside_an_epoch_saves_its_end(pictures: Pictures, recipe_of: Any, train: Train) -> None:
    run = train(pictures(*FOUR), recipe_of(max_train_steps=5))
    assert [(one.epoch, one.step, one.file.stem) for one in run.checkpoints] == [
        (1, 2, "run-000001"),
        (2, 4, "run-000002"),
        (3, 5, "run-000003"),
    ]


def test_only_the_last_loras_stay(pictures: Pictures, recipe_of: Any, train: Train) -> None:
    whole = saved(train(pictures(*FOUR), recipe_of(save_every="1 step"), "whole"))
    run = train(pictures(*FOUR), recipe_of(save_every="1 step", keep_last=2), "few")
    assert len(list(run.folder.glob("*.safetensors"))) == 2
    few = saved(run)
    assert sorted(few) == [5, 6]
    assert all(equal(few[step], whole[step]) for step in few)


OFTEN = {
    "save_every": "1 step",
    "validate_every": "1 step",
    "sample_prompts": ("kiln",),
    "sample_every": "1 step",
    "keep_last": 1,
}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ema_decay": 0.9},
        {"optimizer_type": "AdamWScheduleFree"},
        {"network_dropout": 0.5, "module_dropout": 0.2},
        {"network_type": "DyLoRA"},
        {"ema_decay": 0.9, "stop_text_at": "2"},
        {"optimizer_type": "AdamWScheduleFree", "stop_text_at": "2"},
    ],
    ids=lambda settings: ", ".join(f"{key}={value}" for key, value in settings.items()) or "plain",
)
def test_nothing_of_it_changes_what_is_learned(
    pictures: Pictures, recipe_of: Any, train: Train, settings: dict[str, Any]
) -> None:
    """All pictures have one caption, so that what validation reads of it could slip into training."""
    dataset = pictures(*FOUR, tags=("kiln",))
    once = recipe_of(**settings, validation_share=0.25, save_every="0", validate_every="0")
    often = once.with_settings(**OFTEN)
    first, second = train(dataset, once, "once"), train(dataset, often, "often")
    assert equal(saved(first)[6], saved(second)[6])
    assert len(rows(first.folder / "validation.jsonl")) == 1
    assert len(rows(second.folder / "validation.jsonl")) == 6
    last = [rows(run.folder / "validation.jsonl")[-1] for run in (first, second)]
    assert last[0] == last[1]


@pytest.mark.parametrize("decay", [0.2, 0.9, 0.999])
def test_the_average_is_what_is_saved_and_follows_its_formula(
    fake_model: Any, pictures: Pictures, recipe_of: Any, train: Train, decay: float
) -> None:
    dataset, plain = pictures(*FOUR), recipe_of(save_every="1 step")
    live = saved(train(dataset, plain, "live"))
    found = saved(train(dataset, plain.with_settings(ema_decay=decay), "average"))
    # The weights before the first step, which the average begins with.
    draws = stream(plain.seed, "adapters")
    begun = make_adapters(fake_model().layers(), plain.network, Blocks(), None, ("unet", "text"), draws)
    shadow = {key: value.numpy() for one in begun for key, value in one.adapter.state().items()}
    for step in range(1, 7):
        keep = min(decay, (1 + step) / (10 + step))
        shadow = {key: keep * value + (1 - keep) * live[step][key].numpy() for key, value in shadow.items()}
        for key, value in shadow.items():
            np.testing.assert_allclose(found[step][key].numpy(), value, rtol=1e-4, atol=1e-6, err_msg=f"{step} {key}")
        assert not equal(found[step], live[step])


@pytest.mark.parametrize(("optimizer", "at"), [("AdamW", "4"), ("Lion", "2 epochs"), ("Adafactor", "66 %")])
def test_the_text_encoder_stands_still_from_its_last_step_on(
    fake_model: Any, pictures: Pictures, recipe_of: Any, train: Train, at: str, optimizer: str
) -> None:
    model = fake_model()
    recipe = recipe_of(stop_text_at=at, save_every="1 step", optimizer_type=optimizer, weight_decay=0.1)
    run = train(pictures(*FOUR), recipe, "stops", model=model)
    found = saved(run)
    whole = saved(train(pictures(*FOUR), recipe.with_settings(stop_text_at="0"), "whole"))
    for step in range(1, 7):
        if step > 1:
            assert equal(found[step - 1], found[step], "lora_te_") == (step > 4)
        assert not equal(found[max(1, step - 1)], found[step], "lora_unet_") or step == 1
        assert equal(found[step], whole[step]) == (step <= 4)
    used = [row["lr"]["text"] > 0 for row in rows(run.folder / "metrics.jsonl")]
    assert used == [True] * 4 + [False] * 2
    # From then on each caption is encoded once more and kept; before, in every step and the preflight's.
    assert len(model.encoded) == 2 + 4 * 2 + 4


def test_a_stop_before_the_first_step_is_after_it(pictures: Pictures, recipe_of: Any, train: Train) -> None:
    """1 % of six updates is none; none would be never."""
    found = saved(train(pictures(*FOUR), recipe_of(stop_text_at="1 %", save_every="1 step")))
    assert all(equal(found[1], found[step], "lora_te_") for step in range(2, 7))
    assert any(value.any() for key, value in found[1].items() if key.startswith("lora_te_") and "up" in key)


def test_a_recipe_that_trains_text_alone_cannot_stop_it(pictures: Pictures, recipe_of: Any, train: Train) -> None:
    with pytest.raises(ValueError, match="nothing would learn"):
        train(pictures(*FOUR), recipe_of(unet_lr=0, stop_text_at="50 %"))
    train(pictures(*FOUR), recipe_of(unet_lr=0, stop_text_at="100 %"))


STILL = {"unet_lr": 1e-30, "text_lr": 1e-30}


def trained_file(fake_model: Any) -> Tensors:
    """A LoRA for the fake that moves its answers."""
    draw = torch.Generator().manual_seed(3)
    network = Network(dim=4, alpha=4.0, conv_dim=4, conv_alpha=4.0)
    found: Tensors = {}
    for one in make_adapters(fake_model().layers(), network, Blocks(), None, ("unet", "text"), draw):
        for parameter in one.adapter.parameters:
            parameter.data.normal_(0, 0.3, generator=draw)
        found |= one.adapter.state()
    return found


def test_validation_is_the_native_loss_at_fixed_noise(
    fake_model: Any, pictures: Pictures, recipe_of: Any, train: Train
) -> None:
    """At a rate that moves nothing: the base's own error, computed again from the held-out pictures."""
    dataset = pictures(*FOUR)
    recipe = recipe_of(**STILL, validation_share=0.5, validate_every="2 steps")
    run = train(dataset, recipe)
    found = rows(run.folder / "validation.jsonl")
    held_out = make_plan(dataset, recipe).held_out
    assert [row["step"] for row in found] == [2, 3]
    model, expected = fake_model(), {}
    model.is_open = True
    for index in held_out:
        record = dataset.records[index]
        color = {"red": (1, 0, 0), "blue": (0, 0, 1), "lime": (0, 1, 0), "navy": (0, 0, 128 / 255)}[record.tags[1]]
        x0 = model.encode_pixels(torch.tensor(color).float().expand(1, 64, 64, 3)).expand(4, 4, 8, 8)
        noise = torch.randn(x0.shape, generator=stream(0, "validation noise", index))
        # The fake's table has three levels; the shares are the middles of four bands.
        sigma = torch.tensor([0.5, 1.0, 1.0, 2.0])
        s = sigma.view(-1, 1, 1, 1)
        [cond] = model.encode_text([record.caption], [None], clip_skip=1, max_tokens=0)
        predicted = (x0 + s * noise - model.denoise(x0 + s * noise, sigma, [cond] * 4)) / s
        expected[f"{index} {record.image.name}"] = (predicted - noise).square().mean(dim=(1, 2, 3)).detach().numpy()
    for row in found:
        bands = np.mean(list(expected.values()), axis=0)
        np.testing.assert_allclose(row["bands"], bands, rtol=1e-4)
        assert row["loss"] == pytest.approx(bands.mean(), rel=1e-4)
        assert row["images"] == pytest.approx({name: values.mean() for name, values in expected.items()}, rel=1e-4)


@pytest.mark.parametrize(
    "settings",
    [{"network_dropout": 0.6}, {"rank_dropout": 0.6}, {"module_dropout": 0.6}],
    ids=lambda one: next(iter(one)),
)
def test_what_is_judged_and_painted_drops_nothing_out(
    fake_model: Any, pictures: Pictures, recipe_of: Any, train: Train, settings: dict[str, float]
) -> None:
    dataset, start = pictures(*FOUR), trained_file(fake_model)

    def judged(name: str, **more: Any) -> tuple[dict[str, Any], list[float]]:
        model, painted = fake_model(), []

        def sample(*_: Any, **__: Any) -> Tensor:
            painted.append(float(model.mix(torch.ones(8)).sum()))
            return torch.zeros(8, 8, 3)

        model.sample = sample
        recipe = recipe_of(**STILL, validation_share=0.25, sample_prompts=("kiln",), **more)
        run = train(dataset, recipe, name, model=model, start=start)
        return rows(run.folder / "validation.jsonl")[-1], painted

    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert judged("dropping", **settings) == judged("plain")
    assert torch.equal(torch.get_rng_state(), before)
    plain, without = judged("plain"), train(dataset, recipe_of(**STILL, validation_share=0.25), "base")
    assert plain[0]["loss"] != pytest.approx(rows(without.folder / "validation.jsonl")[-1]["loss"], rel=1e-3)


def test_held_out_pictures_are_judged_with_captions_that_could_be_trained_on(
    fake_model: Any, pictures: Pictures, recipe_of: Any, train: Train
) -> None:
    model = fake_model()
    recipe = recipe_of(validation_share=0.25, keep_tokens_separator="|||", text_lr=0.0)
    train(pictures(*FOUR, tags=("kiln", "|||", "smile")), recipe, model=model)
    assert set(model.encoded) == {"kiln, smile"}


def test_without_held_out_pictures_nothing_is_validated(pictures: Pictures, recipe_of: Any, train: Train) -> None:
    assert not (train(pictures(*FOUR), recipe_of()).folder / "validation.jsonl").exists()


def test_samples_are_painted_of_each_prompt_by_its_own_seed(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, recipe_of: Any, train: Train
) -> None:
    model, reporter, asked = fake_model(), fake_reporter(), []
    paint = model.sample

    def watched(prompt: str, **values: Any) -> Tensor:
        asked.append((prompt, values))
        return torch.as_tensor(paint(prompt, **values))

    model.sample = watched
    lines = ("kiln", "kiln, red", "kiln, high --n blurry, red --W 100 --h 136 --d 5 --s 3 --l 1")
    recipe = recipe_of(sample_prompts=lines, sample_every="4 steps", sample_steps=7, sample_cfg=3.5)
    run = train(pictures(*FOUR), recipe, model=model, reporter=reporter)
    names = [f"step{step:08d}-{number:02d}.png" for step in (4, 6) for number in range(3)]
    assert [file.name for file in reporter.paintings] == names
    assert sorted(file.name for file in (run.folder / "samples").iterdir()) == names
    assert [prompt for prompt, _ in asked] == ["kiln", "kiln, red", "kiln, high"] * 2
    own = {"negative": "blurry, red", "width": 96, "height": 136, "seed": 5, "steps": 3, "cfg": 1.0, "clip_skip": 1}
    assert [values for _, values in asked[2::3]] == [own] * 2
    usual = [values for _, values in asked[:2] + asked[3:5]]
    seeds = [values.pop("seed") for values in usual]
    assert seeds[:2] == seeds[2:]
    assert seeds[0] != seeds[1]
    expected = {"negative": "", "width": 64, "height": 64, "steps": 7, "cfg": 3.5, "clip_skip": 1}
    assert all(values == expected for values in usual)


def test_a_loss_that_explodes_is_told(
    fake_model: Any, fake_reporter: Any, pictures: Pictures, recipe_of: Any, train: Train
) -> None:
    model, reporter = fake_model(), fake_reporter()
    denoise = model.denoise
    # The first call is the preflight's. Step 2 has nothing to be measured by, and step 31 comes too soon after 30.
    model.denoise = lambda x, *rest: denoise(x, *rest) * (100 if model.calls - 1 in (2, 30, 31) else 1)
    train(pictures(*FOUR), recipe_of(**STILL, max_train_steps=40), model=model, reporter=reporter)
    told = [note for note in reporter.notes if "times what it was before" in note]
    assert len(told) == 1
    assert "The loss of step 30" in told[0]


def test_a_trained_lora_is_where_the_next_run_begins(
    fake_model: Any, pictures: Pictures, recipe_of: Any, train: Train
) -> None:
    start = trained_file(fake_model)
    run = train(pictures(*FOUR), recipe_of(**STILL, dim=9), start=start)
    assert equal(saved(run)[6], start)
    assert dataclasses.asdict(run)["name"] == "run"
