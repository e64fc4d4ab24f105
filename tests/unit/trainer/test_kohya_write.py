"""Recipes as sd-scripts' files: what is read again is the same, and what is not stands in a remark."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_kiln.dataset.subsets import Subset
from lora_kiln.dataset.toml_file import toml, write_toml
from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.trainer import groups, noise_groups
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.kohya import read_config, tomllib
from lora_kiln.trainer.kohya_write import (
    config_settings,
    lost_settings,
    save_config,
    write_config,
    write_prompts,
)
from lora_kiln.trainer.optim import ADAPTIVE
from lora_kiln.trainer.presets import PRESETS
from lora_kiln.trainer.recipe import Recipe

# Settings that sd-scripts has, each with values that it can hold; those that depend on others follow below.
SHARE = st.integers(0, 99).map(lambda percent: percent / 100)
RATE = st.floats(1e-6, 1.0)
WHOLE: dict[str, st.SearchStrategy[Any]] = {
    "batch_size": st.integers(1, 64), "accumulation": st.integers(1, 32), "dim": st.integers(1, 1024),
    "alpha": st.floats(0.01, 512), "network_dropout": SHARE, "rank_dropout": SHARE, "module_dropout": SHARE,
    "scale_weight_norms": st.floats(0, 10), "conv_dim": st.integers(0, 256), "conv_alpha": st.floats(0.01, 64),
    "start_from": st.sampled_from(["", "my lora.safetensors", 'C:\\lora "2"\\ä.safetensors']),
    "cycles": st.integers(1, 100), "power": st.floats(0.1, 10), "max_grad_norm": st.floats(0, 10),
    "weight_decay": SHARE, "beta1": SHARE, "beta2": SHARE, "unet_lr": RATE, "text_lr": st.one_of(st.just(0.0), RATE),
    "lr_scheduler": st.sampled_from([name for name in groups.SCHEDULES if name != "constant"]),
    "warmup": st.one_of(st.integers(0, 5000).map(str), st.integers(1, 99).map("{} %".format)),
    "min_lr_ratio": SHARE, "timescale": st.integers(0, 5000), "enable_wildcard": st.booleans(),
    "caption_separator": st.sampled_from([",", ";"]), "secondary_separator": st.sampled_from(["", ";;;"]),
    "noise_offset_random_strength": st.booleans(), "ip_noise_gamma_random_strength": st.booleans(),
    "zero_terminal_snr": st.booleans(),
    "train_t5xxl": st.booleans(),
    "loraplus_unet_lr_ratio": st.floats(0.5, 64), "loraplus_text_lr_ratio": st.floats(0.5, 64),
    "resolution": st.integers(1, 64).map(lambda n: n * 64), "bucket_step": st.sampled_from([8, 32, 64]),
    "min_bucket": st.integers(64, 512), "max_bucket": st.integers(512, 4096), "enable_bucket": st.booleans(),
    "bucket_no_upscale": st.booleans(), "flip_aug": st.booleans(), "random_crop": st.booleans(),
    "color_aug": st.booleans(), "shuffle_caption": st.booleans(), "keep_tokens": st.integers(0, 9),
    "keep_tokens_separator": st.sampled_from(["", "|||"]), "caption_dropout": SHARE, "tag_dropout": SHARE,
    "clip_skip": st.integers(1, 4),
    "guidance_scale": st.floats(0, 10), "max_token_length": st.sampled_from([75, 150, 225]), "noise_offset": SHARE,
    "adaptive_noise_scale": SHARE, "multires_noise_iterations": st.integers(0, 12),
    "multires_noise_discount": st.floats(0.01, 1), "ip_noise_gamma": SHARE, "min_timestep": st.integers(0, 499),
    "max_timestep": st.integers(500, 1000), "timestep_sampling": st.sampled_from(noise_groups.TIMESTEPS),
    "logit_mean": st.floats(-5, 5), "logit_std": st.floats(0.1, 5), "mode_scale": st.floats(-1, 2),
    "flow_shift": st.floats(0, 10), "expected_prediction": st.sampled_from(["any", "v"]),
    "prior_loss_weight": SHARE, "scale_v_pred_loss": st.booleans(), "loss_type": st.sampled_from(noise_groups.LOSSES),
    "huber_c": st.floats(0.01, 1), "huber_schedule": st.sampled_from(noise_groups.HUBER_SCHEDULES),
    "masked_loss": st.booleans(), "validation_share": st.sampled_from([0.0, 0.1, 0.5]),
    "save_every": st.sampled_from(["1 epoch", "3 epochs", "250 steps"]), "keep_last": st.integers(0, 9),
    "validate_every": st.sampled_from(["1 epoch", "50 steps"]), "precision": st.sampled_from(groups.PRECISIONS),
    "caption_dropout_every_n_epochs": st.integers(0, 9), "token_warmup_min": st.integers(0, 9),
    "token_warmup": st.one_of(st.integers(0, 5000).map(str), st.integers(1, 99).map("{} %".format)),
    "weighted_captions": st.booleans(),
    "gradient_checkpointing": st.booleans(), "seed": st.integers(0, 2**63 - 1),
}  # fmt: skip
AMOUNTS = st.fixed_dictionaries({"epochs": st.integers(1, 100), "max_train_steps": st.sampled_from([0, 1, 5000])})
SNR = st.sampled_from([{}, {"min_snr_gamma": 5.0}, {"debiased_estimation": True}])
NETWORKS = st.sampled_from(
    [
        {},
        {"down_lr_weight": "1,0,0.5", "mid_lr_weight": "0", "up_lr_weight": "sine+.25", "block_dims": "2,4,8"},
        {"dora": True},
        {"network_type": "LoKr", "lokr_factor": 6, "use_tucker": True},
        {"network_type": "OFT", "constraint": 0.5},
        {"network_args": ("use_scalar=True", "rs_lora=True")},
        {"network_type": "DyLoRA", "network_args": ("block_size=4",)},
        {"dora": True, "network_args": ("wd_on_out=False",)},
        *({"network_type": name} for name in ("LoHa", "DyLoRA", "GLoRA", "BOFT")),
    ]
)
OPTIMIZERS = st.one_of(
    st.sampled_from([name for name in groups.OPTIMIZERS if name not in ("SGD", "Adafactor", "CAME")]).map(
        lambda name: {"optimizer_type": name}
    ),
    st.just(
        {"optimizer_type": "Prodigy", "optimizer_args": ("d_coef=2", "weight_decouple=True", "bias_correction=True")}
    ),
    st.just({"optimizer_type": "DAdaptAdam", "optimizer_args": ("bias_correction=False",)}),
    st.just({"optimizer_type": "Adafactor", "beta1": 0.9, "beta2": 0.999, "optimizer_args": ("scale_parameter=True",)}),
    st.just({"optimizer_type": "SGD", "beta2": 0.999, "optimizer_args": ("nesterov=True",)}),
    st.just({"optimizer_type": "CAME", "beta1": 0.9, "beta2": 0.999}),
)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    values = draw(st.fixed_dictionaries({}, optional=WHOLE))
    # sd-scripts has no such thing as all tokens.
    values.setdefault("max_token_length", 75)
    if values.get("lr_scheduler") == "warmup_stable_decay":
        values["lr_decay"] = draw(st.sampled_from(["0", "300", "25 %"]))
    for part in (AMOUNTS, SNR, NETWORKS, OPTIMIZERS):
        values |= draw(part)
    if values.get("optimizer_type") in ADAPTIVE:
        # They learn everything at one rate.
        values["text_lr"] = values["unet_lr"] = draw(RATE)
    return Recipe().with_settings(**values)


def written(text: str) -> Recipe:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_text(text, encoding="utf-8")
        return read_config(file).recipe


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipe=recipes())
def test_a_recipe_that_sd_scripts_can_hold_comes_back_as_it_was(recipe: Recipe) -> None:
    text = write_config(recipe)
    assert written(text).differences(recipe) == {}
    assert "Not the same there" not in text


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_back_but_for_what_the_file_says(name: str) -> None:
    recipe = PRESETS[name].make()
    text = write_config(recipe)
    for lost in written(text).differences(recipe):
        assert f"# {lost} = " in text


@pytest.mark.parametrize(
    ("changes", "remark", "setting"),
    [
        ({"max_token_length": 0}, "# max_token_length = 0: it reads 75, 150 or 225", None),
        ({"stop_text_at": "40 %"}, '# stop_text_at = "40 %": its LoRA scripts', None),
        ({"ema_decay": 0.99}, "# ema_decay = 0.99: sd-scripts has no such setting", None),
        ({"only_layers": ('a"b', "c\nd")}, '# only_layers = ["a\\"b", "c\\nd"]', None),
        ({"block_preset": "OUTD"}, "# block_preset =", None),
        ({"warmup": "1 epoch", "epochs": 10}, "# warmup =", ("lr_warmup_steps", 0.1)),
        ({"warmup": "5 %", "lr_scheduler": "constant"}, "# warmup =", ("lr_warmup_steps", None)),
        ({"beta1": 0.5, "optimizer_type": "Adafactor"}, "# beta1 = 0.5", None),
        ({"sample_prompts": ("rain",)}, '# sample_prompts = ["rain"]', None),
    ],
)
def test_what_sd_scripts_lacks_is_a_remark(
    changes: dict[str, Any], remark: str, setting: tuple[str, Any] | None
) -> None:
    recipe = Recipe().with_settings(**{"max_token_length": 75, **changes})
    assert remark in write_config(recipe)
    if setting:
        assert config_settings(recipe).get(setting[0]) == setting[1]


def test_spans_written_otherwise_are_no_loss() -> None:
    recipe = Recipe().with_settings(max_token_length=75, warmup="0.1", save_every="1 epochs")
    assert "Not the same" not in write_config(recipe)


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({}, "resolution", "1024,1024"),
        ({}, "network_module", "networks.lora"),
        ({"dora": True}, "network_module", "lycoris.kohya"),
        ({"text_lr": 0.0}, "network_train_unet_only", True),
        ({"unet_lr": 0.0}, "network_train_text_encoder_only", True),
        ({"optimizer_type": "CAME"}, "optimizer_type", "pytorch_optimizer.CAME"),
        ({"max_token_length": 75}, "max_token_length", None),
        ({"max_train_steps": 100}, "max_train_epochs", None),
        ({"save_every": "10 steps", "keep_last": 3}, "save_last_n_steps", 20),
        ({"flow_shift": 3.0}, "timestep_sampling", "sigma"),
    ],
)
def test_the_file_says_it_as_sd_scripts_wants_it(changes: dict[str, Any], key: str, value: Any) -> None:
    assert config_settings(Recipe().with_settings(**changes)).get(key) == value
    assert tomllib.loads(write_config(Recipe().with_settings(**changes))).get(key) == value


def test_prodigys_arguments_are_written_as_kohyas_library_has_them() -> None:
    found = config_settings(PRESETS["prodigy"].make())["optimizer_args"]
    assert found[2:] == ["decouple=True", "d_coef=2", "use_bias_correction=True", "safeguard_warmup=True"]


@settings(max_examples=100, deadline=None)
@given(
    value=st.recursive(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"])), st.booleans(), st.integers(-(2**63), 2**63 - 1),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        st.lists,
        max_leaves=6,
    )
)  # fmt: skip
def test_values_are_toml(value: Any) -> None:
    assert tomllib.loads(f"x = {toml(value)}") == {"x": value}


def test_folders_come_back_as_they_were(tmp_path: Path) -> None:
    for name in ("a b", 'q"uote', "reg", "masks"):
        (tmp_path / name).mkdir()
    subsets = (
        Subset(folder=tmp_path / "a b", repeats=9, caption_extension=".txt", class_tokens="kie rose", own=()),
        Subset(folder=tmp_path / 'q"uote', caption_prefix="best,", mask_folder=tmp_path / "masks", own=()),
        Subset(folder=tmp_path / "reg", is_reg=True, caption_suffix=", girl", own=()),
    )
    text = write_toml(subsets, notes=["a\nnote"])
    assert "# a note" in text
    (tmp_path / "d.toml").write_text(text, encoding="utf-8")
    assert set(read_config(tmp_path / "d.toml").subsets) == set(subsets)
    masked = tomllib.loads(write_toml(subsets, masked_loss=True))["datasets"]
    assert [[("alpha_mask" in one) for one in dataset["subsets"]] for dataset in masked] == [[True, True], [False]]


def test_prompts_come_back_with_steps_and_guidance(tmp_path: Path) -> None:
    recipe = Recipe().with_settings(
        max_token_length=75, sample_prompts=("1girl, smile", "rain"), sample_steps=28, sample_cfg=4.5,
        sample_every="2 epochs",
    )  # fmt: skip
    assert write_prompts(recipe) == "1girl, smile --s 28 --l 4.5\nrain --s 28 --l 4.5\n"
    own = recipe.with_settings(sample_prompts=("1girl --n blurry --s 12", "rain --w 512 --l 3"))
    assert write_prompts(own) == "1girl --n blurry --s 12 --l 4.5\nrain --w 512 --l 3 --s 28\n"
    for same in (own, own.with_settings(sample_prompts=("a --s 30",), sample_steps=20)):
        settings = config_settings(same, "prompts.txt")
        assert not {"sample_prompts", "sample_steps", "sample_cfg"} & set(lost_settings(same, settings))
    file = save_config(tmp_path / "new", "my lora", recipe, None)
    assert read_config(file).recipe == recipe
    assert sorted(path.name for path in file.parent.iterdir()) == ["my lora.toml", "my lora_prompts.txt"]


def test_recipe_and_dataset_are_saved_together(tmp_path: Path) -> None:
    image = tmp_path / "9_kie" / "a.png"
    image.parent.mkdir()
    Image.new("RGB", (8, 8)).save(image)
    image.with_suffix(".caption").write_text("smile", encoding="utf-8")
    record = Record(image=image, size=(8, 8), tags=("smile",), repeats=4)
    recipe = PRESETS["animagine-oc"].make()
    file = save_config(tmp_path / "out", "kie", recipe, Dataset(records=(record,)))
    found = read_config(file)
    assert found.recipe == recipe
    assert found.subsets == (Subset(folder=image.parent, repeats=4, caption_extension=".caption", own=()),)
    assert len(list(file.parent.iterdir())) == 2
    changed = dataclasses.replace(record, tags=("rain",))
    save_config(tmp_path / "out", "kie", recipe, Dataset(records=(changed,)))
    assert "# 1 of 1 pictures have another caption" in (file.parent / "kie_dataset.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "..", " a", "a\n"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KilnError, match=r"name is '.*use letters"):
        save_config(tmp_path, name, Recipe(), None)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(KilnError, match="file cannot be written to"):
        save_config(tmp_path / "file", "a", Recipe(), None)
