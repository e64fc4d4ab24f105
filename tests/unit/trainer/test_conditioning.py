"""Captions as conditionings: kept while the text encoder stands still, made anew while it learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_kiln.trainer.batches import Batches
from lora_kiln.trainer.conditioning import Conditioner
from lora_kiln.trainer.latents import LatentStore
from lora_kiln.trainer.plan import make_plan
from lora_kiln.trainer.ports import View
from lora_kiln.trainer.recipe import Recipe

VIEW = View(original=(64, 64), crop=(0, 0), target=(64, 64))


def test_a_frozen_text_encoder_is_asked_once_for_each_caption_however_it_is_seen(fake_model: Any) -> None:
    model = fake_model()
    conditioner = Conditioner(model, Recipe(), frozen=True)
    other = dataclasses.replace(VIEW, crop=(8, 0))
    first = conditioner.encode(["a", "b", "a"], [VIEW, VIEW, other])
    again = conditioner.encode(["a", "a", "b"], [other, VIEW, VIEW])
    assert model.encoded == ["a", "b"]
    assert model.seen == [VIEW, VIEW, other, other, VIEW, VIEW]
    assert all(torch.equal(a, b) for a, b in zip(first, (again[1], again[2], again[0]), strict=True))


def test_a_learning_text_encoder_is_asked_every_time_and_keeps_its_gradients(fake_model: Any) -> None:
    model = fake_model()
    model.words.weight.requires_grad_(True)
    conditioner = Conditioner(model, Recipe(), frozen=False)
    for _ in range(2):
        [found] = conditioner.encode(["a"], [VIEW])
        assert found.requires_grad
    assert model.encoded == ["a", "a"]
    [kept] = Conditioner(model, Recipe(), frozen=True).encode(["a"], [VIEW])
    assert not kept.requires_grad


def test_what_is_kept_has_a_limit(fake_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # A conditioning of the fake is 8 numbers of 4 bytes.
    monkeypatch.setattr("lora_kiln.trainer.conditioning.KEPT_BYTES", 64)
    model = fake_model()
    conditioner = Conditioner(model, Recipe(), frozen=True)
    for caption in ("a", "b", "b", "c", "b", "a"):
        conditioner.encode([caption], [VIEW])
    assert model.encoded == ["a", "b", "c", "a"]
    assert len(conditioner.encode(["x", "y", "z", "x"], [VIEW] * 4)) == 4


def test_clip_skip_guidance_and_the_length_of_captions_reach_the_host(fake_model: Any) -> None:
    model, asked = fake_model(), []
    encode = model.encode_text

    def watched(captions: Any, views: Any, **settings: Any) -> Any:
        asked.append(settings)
        return encode(captions, views, **settings)

    model.encode_text = watched
    recipe = Recipe().with_settings(clip_skip=2, max_token_length=150, guidance_scale=3.5, weighted_captions=True)
    Conditioner(model, recipe, frozen=True).encode(["a"], [VIEW])
    assert asked == [{"clip_skip": 2, "max_tokens": 150, "guidance": 3.5, "weighted": True}]


def test_captions_can_be_encoded_before_they_are_asked_for(fake_model: Any) -> None:
    model = fake_model()
    conditioner = Conditioner(model, Recipe(), frozen=True)
    assert list(conditioner.prepare(["a", "b", "a"], [VIEW] * 3)) == [1, 2, 3]
    assert model.encoded == ["a", "b"]
    assert model.readings == 1
    conditioner.encode(["b", "a"], [VIEW] * 2)
    assert model.readings == 1
    assert model.encoded == ["a", "b"]
    assert list(Conditioner(model, Recipe(), frozen=False).prepare(["a"], [VIEW])) == []
    assert model.encoded == ["a", "b"]


def test_no_more_is_encoded_beforehand_than_is_kept(fake_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # A conditioning of the fake is 8 numbers of 4 bytes.
    monkeypatch.setattr("lora_kiln.trainer.conditioning.KEPT_BYTES", 64)
    model = fake_model()
    conditioner = Conditioner(model, Recipe(), frozen=True)
    assert list(conditioner.prepare(["a", "b", "c", "d", "e"], [VIEW] * 5)) == [1, 2, 3]
    assert model.encoded == ["a", "b", "c"]


VARIANTS = {"shuffle_caption": True, "caption_variants": 4, "keep_tokens": 0}


@pytest.mark.parametrize("settings", [{}, VARIANTS], ids=["as written", "variants"])
def test_no_step_waits_for_a_caption_that_is_known_before(
    fake_model: Any, fake_reporter: Any, pictures: Any, small_recipe: Any, train: Any, settings: dict[str, Any]
) -> None:
    model, reporter, seen = fake_model(), fake_reporter(), []
    reporter.step = lambda report: seen.append((len(model.encoded), model.readings))
    recipe = small_recipe(text_lr=0.0, epochs=3).with_settings(**settings)
    train(pictures("red", "blue", "lime"), recipe, model=model, reporter=reporter)
    assert len(set(seen)) == 1
    written = ["kiln, blue", "kiln, lime", "kiln, red"]
    turned = [", ".join(reversed(caption.split(", "))) for caption in written]
    assert len(model.encoded) == len(set(model.encoded))
    if settings:
        assert {*model.encoded} <= {*written, *turned}
        assert len(model.encoded) > len(written)
    else:
        assert sorted(model.encoded) == written


def test_only_the_forms_that_are_still_asked_for_are_encoded(pictures: Any, small_recipe: Any, tmp_path: Path) -> None:
    recipe = small_recipe(text_lr=0.0, epochs=4, batch=1).with_settings(**{**VARIANTS, "caption_variants": 1000})
    plan = make_plan(pictures("red", "blue", "lime"), recipe)
    batches = Batches(plan, recipe, LatentStore(tmp_path, "", lambda pixels: pixels.permute(0, 3, 1, 2)))
    asked = [caption for update in batches.updates(9) for batch in update.batches for caption in batch.captions]
    assert plan.steps == 12
    assert {caption for caption, _ in batches.captions(9)} == set(asked)
    assert len(batches.captions(1)) == 12
