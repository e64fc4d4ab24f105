"""Presets: the numbers of their articles, and the rules of thumb beside them."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.presets import PRESETS, get_preset
from lora_kiln.trainer.recipe import Recipe

CHARACTER: dict[str, Any] = {
    "resolution": 768, "batch_size": 2, "dim": 16, "alpha": 8.0, "unet_lr": 5e-4, "text_lr": 1e-4,
    "lr_scheduler": "cosine_with_restarts", "cycles": 3, "min_snr_gamma": 5.0, "optimizer_type": "AdamW8bit",
    "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "shuffle_caption": True, "keep_tokens": 1, "clip_skip": 2,
    "max_token_length": 225, "network_type": "LoRA", "conv_dim": 0, "epochs": 10, "precision": "fp16",
}  # fmt: skip
EXPECTED: dict[str, dict[str, Any]] = {
    "animagine-oc": {
        "resolution": 1024, "dim": 4, "alpha": 2.0, "unet_lr": 1e-4, "text_lr": 5e-5, "lr_scheduler": "cosine",
        "warmup": "10 %", "optimizer_type": "AdamW8bit", "batch_size": 1, "epochs": 10, "clip_skip": 2,
        "keep_tokens": 2, "shuffle_caption": False, "min_bucket": 256, "max_bucket": 2048, "bucket_step": 64,
        "bucket_no_upscale": True, "gradient_checkpointing": True, "conv_dim": 0, "precision": "fp16",
    },
    "character": CHARACTER,
    "prodigy": {
        "optimizer_type": "Prodigy", "unet_lr": 1.0, "text_lr": 1.0, "dim": 32, "alpha": 32.0,
        "lr_scheduler": "constant_with_warmup", "warmup": "5 %", "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999,
        "optimizer_args": ("weight_decouple=True", "d_coef=2", "bias_correction=True", "safeguard_warmup=True"),
        "epochs": 20,
    },
    "locon-style": CHARACTER | {"conv_dim": 8, "conv_alpha": 4.0},
    "loha-concepts": CHARACTER | {"network_type": "LoHa", "dim": 8, "alpha": 4.0, "conv_dim": 4, "conv_alpha": 1.0},
    "loha-lycoris": {
        "network_type": "LoHa", "dim": 8, "conv_dim": 4, "alpha": 1.0, "conv_alpha": 1.0, "unet_lr": 2e-4,
        "text_lr": 2e-4, "lr_scheduler": "constant", "optimizer_type": "AdamW8bit", "resolution": 512, "clip_skip": 1,
    },
    "single-image": {
        "resolution": 512, "dim": 16, "alpha": 16.0, "unet_lr": 1e-3, "text_lr": 5e-4,
        "lr_scheduler": "constant_with_warmup", "warmup": "5 %", "shuffle_caption": True,
        "keep_tokens": 2, "clip_skip": 2, "noise_offset": 0.1,
        "color_aug": True, "flip_aug": False, "down_lr_weight": "1,0,0,0,0,0,0,1,1,1,1,1", "mid_lr_weight": "0",
        "up_lr_weight": "0,1,1,1,1,1,0,0,0,0,1,1", "epochs": 10, "optimizer_type": "AdamW8bit", "batch_size": 1,
    },
    "flexible-loha": {
        "network_type": "LoHa", "dim": 4, "alpha": 4.0, "conv_dim": 4, "conv_alpha": 4.0, "resolution": 768,
        "random_crop": True, "batch_size": 4, "max_token_length": 225, "optimizer_type": "Lion8bit",
        "weight_decay": 0.1, "unet_lr": 1.5e-4, "text_lr": 7.5e-5, "lr_scheduler": "cosine_with_restarts",
        "cycles": 3, "warmup": "1 epoch", "epochs": 10, "noise_offset": 0.03, "seed": 42, "bucket_no_upscale": True,
        "gradient_checkpointing": True, "shuffle_caption": True,
    },
}  # fmt: skip


def settings(recipe: Recipe) -> dict[str, Any]:
    """Every setting by its name alone."""
    groups = {name: group for name, group in recipe.to_dict().items() if isinstance(group, dict)}
    return {"seed": recipe.seed, **{name: value for group in groups.values() for name, value in group.items()}}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_preset_has_its_articles_numbers(name: str) -> None:
    found = settings(get_preset(name).make())
    expected = {key: list(value) if isinstance(value, tuple) else value for key, value in EXPECTED[name].items()}
    assert {key: found[key] for key in expected} == expected


def test_all_presets_are_tested_and_say_where_they_come_from() -> None:
    assert list(PRESETS) == list(EXPECTED)
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert len(preset.article) > 10
        assert preset.note.endswith(".")
    assert len({preset.make() for preset in PRESETS.values()}) == len(PRESETS)


@pytest.mark.parametrize(
    ("name", "article"),
    [
        ("animagine-oc", "SDXL OC Training with Animagine"),
        ("prodigy", "Characters, Clothing, Poses, Among Other Things: A Guide"),
        ("single-image", "Single Image LoRa Part 2"),
        ("flexible-loha", "How to create character LoRA with flexibility"),
    ],
)
def test_a_preset_names_its_article(name: str, article: str) -> None:
    assert get_preset(name).article == article


def test_prodigys_arguments_are_its_librarys() -> None:
    """The library takes any further name without a word, so a wrong one would do nothing."""
    library = pytest.importorskip("pytorch_optimizer")
    known = inspect.signature(library.Prodigy).parameters
    for line in get_preset("prodigy").make().optimizer.optimizer_args:
        assert line.partition("=")[0] in known


def test_an_unknown_preset_is_named_with_the_known_ones() -> None:
    assert get_preset(" Prodigy ") is PRESETS["prodigy"]
    with pytest.raises(KilnError, match=r"'prodgy'.*animagine-oc, character, prodigy"):
        get_preset("prodgy")
