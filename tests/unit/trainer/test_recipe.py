"""The recipe: every setting documented, checked, and the same after a trip through JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.groups import Amount, Buckets, Captions, Network, Optimizer
from lora_kiln.trainer.noise_groups import Loss
from lora_kiln.trainer.recipe import Recipe

GROUPS = (Network, Optimizer, Amount, Buckets, Captions, Loss)


def test_a_recipe_comes_back_from_json_as_it_was() -> None:
    recipe = Recipe(
        network=Network(dim=4, conv_dim=2, conv_alpha=0.5),
        optimizer=Optimizer(unet_lr=3e-4, lr_scheduler="cosine_with_restarts", cycles=3, warmup="5 %"),
        amount=Amount(epochs=3, batch_size=4),
        captions=Captions(shuffle_caption=False, tag_dropout=0.1),
        seed=2**63 - 1,
    )
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert Recipe.from_dict({}) == Recipe()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"sed": 3}, "recipe has no setting sed"),
        ({"optimizer": {"unet_rl": 1e-4}}, r"recipe\.optimizer has no setting unet_rl"),
    ],
)
def test_an_unknown_key_is_named(values: dict[str, Any], named: str) -> None:
    with pytest.raises(KilnError, match=named):
        Recipe.from_dict(values)


@pytest.mark.parametrize(
    ("group", "values", "named"),
    [
        (Network, {"dim": 0}, "Network.dim is 0"),
        (Optimizer, {"unet_lr": -1e-4}, "Optimizer.unet_lr"),
        (Optimizer, {"optimizer_type": "AdamV"}, "choose one of: AdamW"),
        (Amount, {"epochs": 0}, "Amount.epochs"),
        (Captions, {"caption_dropout": 1.5}, "Captions.caption_dropout is 1.5"),
        (Buckets, {"resolution": 3}, "Buckets.resolution"),
        (Recipe, {"seed": -1}, "Recipe.seed"),
    ],
)
def test_a_value_out_of_its_limits_is_named(group: type[Any], values: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        group(**values)


def test_every_setting_says_what_it_does_and_lives_once() -> None:
    fields = [field for group in GROUPS for field in dataclasses.fields(group)]
    assert all(field.metadata["help"].endswith(".") for field in fields)
    names = [field.name for field in fields]
    assert len(set(names)) == len(names)


def test_all_settings_count_but_those_that_say_when_things_are_written() -> None:
    recipe = Recipe().with_settings(validation_share=0.2, save_every="3 steps", dim=3, seed=7)
    assert recipe.learned() == {"validation_share": 0.2, "dim": 3, "seed": 7}
    assert recipe.with_settings(sample_prompts=("a", "b"), sample_cfg=2.0).learned() == recipe.learned()
    assert Recipe().with_settings(only_layers=("a",)).learned() == {"only_layers": ["a"]}
    # A version with more settings finds the runs of this one.
    assert Recipe().learned() == {}


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().seed = 3  # type: ignore[misc]
