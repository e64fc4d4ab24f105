"""Files of the kohya_ss GUI: read as the GUI would pass them on, with a line for every key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_kiln.trainer.kohya import Reading, read_config
from lora_kiln.trainer.presets import get_preset
from lora_kiln.trainer.recipe import Recipe, group_of

# What people share: a file of the kohya_ss GUI of 2024. "CUT" stands for a path that its author took out.
CUT = "CUT"
SHARED: dict[str, Any] = {
    "LoRA_type": "Standard", "adaptive_noise_scale": 0, "additional_parameters": "", "block_alphas": "",
    "block_dims": "", "block_lr_zero_threshold": "", "bucket_no_upscale": True, "bucket_reso_steps": 64,
    "cache_latents": True, "cache_latents_to_disk": False, "caption_dropout_every_n_epochs": 0.0,
    "caption_dropout_rate": 0, "caption_extension": "", "clip_skip": 2, "color_aug": False, "conv_alpha": 1,
    "conv_block_alphas": "", "conv_block_dims": "", "conv_dim": 1, "decompose_both": False, "dim_from_weights": False,
    "down_lr_weight": "", "enable_bucket": True, "epoch": 10, "factor": -1, "flip_aug": False, "full_bf16": False,
    "full_fp16": False, "gradient_accumulation_steps": 1.0, "gradient_checkpointing": True, "keep_tokens": 2,
    "learning_rate": 0.0001, "logging_dir": CUT, "lora_network_weights": "", "lr_scheduler": "cosine",
    "lr_scheduler_num_cycles": "", "lr_scheduler_power": "", "lr_warmup": 10, "max_bucket_reso": 2048,
    "max_data_loader_n_workers": "0", "max_resolution": "1024,1024", "max_timestep": 1000, "max_token_length": "75",
    "max_train_epochs": "", "mem_eff_attn": False, "mid_lr_weight": "", "min_bucket_reso": 256, "min_snr_gamma": 0,
    "min_timestep": 0, "mixed_precision": "fp16", "model_list": "custom", "module_dropout": 0,
    "multires_noise_discount": 0, "multires_noise_iterations": 0, "network_alpha": 2, "network_dim": 4,
    "network_dropout": 0, "no_token_padding": False, "noise_offset": 0, "noise_offset_type": "Original",
    "num_cpu_threads_per_process": 2, "optimizer": "AdamW8bit", "optimizer_args": "", "output_dir": CUT,
    "output_name": "kie_v1_xl", "persistent_data_loader_workers": False, "pretrained_model_name_or_path": CUT,
    "prior_loss_weight": 1.0, "random_crop": False, "rank_dropout": 0, "reg_data_dir": "", "resume": "",
    "sample_every_n_epochs": 0, "sample_every_n_steps": 0, "sample_prompts": "", "sample_sampler": "euler_a",
    "save_every_n_epochs": 1, "save_every_n_steps": 0, "save_last_n_steps": 0, "save_last_n_steps_state": 0,
    "save_model_as": "safetensors", "save_precision": "fp16", "save_state": False,
    "scale_v_pred_loss_like_noise_pred": False, "scale_weight_norms": 0, "sdxl": True,
    "sdxl_cache_text_encoder_outputs": False, "sdxl_no_half_vae": True, "seed": "", "shuffle_caption": False,
    "stop_text_encoder_training": 0, "text_encoder_lr": 5e-05, "train_batch_size": 1, "train_data_dir": CUT,
    "train_on_input": True, "training_comment": "", "unet_lr": 0.0001, "unit": 1, "up_lr_weight": "", "use_cp": False,
    "use_wandb": False, "v2": False, "v_parameterization": False, "vae_batch_size": 0, "wandb_api_key": "",
    "weighted_captions": False, "xformers": True,
}  # fmt: skip


def gui(tmp_path: Path, **changes: Any) -> Reading:
    """The shared file with some keys changed, read."""
    text = json.dumps({**SHARED, **changes}, indent=2).replace(f'"{CUT}"', "")
    file = tmp_path / "config.json"
    file.write_text(text, encoding="utf-8")
    return read_config(file)


def verdicts(reading: Reading) -> dict[str, str]:
    return {line.key: line.verdict for line in reading.lines}


def words(reading: Reading, key: str) -> str:
    return next(line.words for line in reading.lines if line.key == key)


def values(recipe: Recipe, names: Any) -> dict[str, Any]:
    where = group_of()
    return {n: recipe.seed if n == "seed" else getattr(getattr(recipe, where[n]), n) for n in names}


def test_the_shared_file_is_the_preset_of_its_article(tmp_path: Path) -> None:
    reading = gui(tmp_path)
    assert reading.recipe.differences(get_preset("animagine-oc").make()) == {}
    assert reading.subsets == ()
    assert [line.key for line in reading.lines] == list(SHARED)
    found = verdicts(reading)
    assert not [line for line in reading.lines if line.verdict == "unsupported"]
    applied = (
        "epoch",
        "network_dim",
        "text_encoder_lr",
        "shuffle_caption",
        "lr_warmup",
        "LoRA_type",
        "mixed_precision",
    )
    without_effect = ("conv_dim", "flip_aug", "cache_latents", "output_dir", "learning_rate", "seed", "train_data_dir")
    assert {found[key] for key in applied} == {"applied"}
    assert {found[key] for key in without_effect} == {"default"}
    assert "wire in Load Dataset" in words(reading, "train_data_dir")
    assert "here it is 0" in words(reading, "seed")
    assert "Standard" in words(reading, "conv_dim")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"lr_warmup": "5"}, {"warmup": "5 %"}),
        ({"lr_warmup": 5, "lr_warmup_steps": 120}, {"warmup": "120"}),
        ({"lr_warmup": 0}, {"warmup": "0"}),
        ({"max_train_steps": "1600"}, {"max_train_steps": 1600, "epochs": 10}),
        ({"max_train_steps": 1600, "max_train_epochs": "4"}, {"max_train_steps": 0, "epochs": 4}),
        ({"max_train_steps": 0, "epoch": "3"}, {"max_train_steps": 0, "epochs": 3}),
        ({"unet_lr": 0, "text_encoder_lr": "0"}, {"unet_lr": 1e-4, "text_lr": 1e-4}),
        ({"text_encoder_lr": 0.0}, {"unet_lr": 1e-4, "text_lr": 0.0}),
        ({"unet_lr": ""}, {"unet_lr": 0.0, "text_lr": 5e-5}),
        ({"max_resolution": "512,768"}, {"resolution": 628}),
        ({"bucket_reso_steps": 1}, {"bucket_step": 8}),
        ({"seed": "1234"}, {"seed": 1234}),
        ({"clip_skip": "1"}, {"clip_skip": 2}),
        ({"clip_skip": "1", "sdxl": False}, {"clip_skip": 1}),
        ({"clip_skip": 0, "sdxl": False}, {"clip_skip": 1}),
        ({"stop_text_encoder_training": 40}, {"stop_text_at": "40 %"}),
        ({"stop_text_encoder_training": -1}, {"stop_text_at": "0"}),
        ({"noise_offset": "0.05", "multires_noise_iterations": 8},
         {"noise_offset": 0.05, "multires_noise_iterations": 0}),
        (
            {"noise_offset_type": "Multires", "noise_offset": 0.1, "multires_noise_iterations": 8,
             "multires_noise_discount": 0.2},
            {"noise_offset": 0.0, "multires_noise_iterations": 8, "multires_noise_discount": 0.2},
        ),
        ({"LoRA_type": "Kohya LoCon", "conv_dim": 8, "conv_alpha": 4},
         {"network_type": "LoRA", "conv_dim": 8, "conv_alpha": 4.0}),
        (
            {"LoRA_type": "LyCORIS/LoHa", "conv_dim": 4, "rank_dropout": 0.1, "LyCORIS_preset": "attn-mlp"},
            {"network_type": "LoHa", "conv_dim": 0, "rank_dropout": 0.1},
        ),
        (
            {"LoRA_type": "LyCORIS/LoKr", "network_dim": 100000, "factor": 6, "use_cp": True, "dora_wd": True},
            {"network_type": "LoKr", "dim": 1024, "lokr_factor": 6, "use_tucker": True, "dora": True},
        ),
        ({"LoRA_type": "LyCORIS/LoCon", "use_cp": True, "use_tucker": False},
         {"network_type": "LoRA", "use_tucker": True}),
        ({"LoRA_type": "LyCORIS/Diag-OFT", "constrain": 0.01}, {"network_type": "OFT", "constraint": 0.01}),
        (
            {"down_lr_weight": "0.05,1,,1", "block_lr_zero_threshold": "0.1", "mid_lr_weight": "0"},
            {"down_lr_weight": "0,1,0,1", "mid_lr_weight": "0"},
        ),
        ({"block_dims": "2,4", "loraplus_unet_lr_ratio": 16}, {"block_dims": "2,4", "loraplus_unet_lr_ratio": 16.0}),
        ({"optimizer": "Prodigy", "optimizer_args": '"d0=1e-5" "decouple=True" "betas=0.9,0.99"'},
         {"optimizer_type": "Prodigy", "weight_decay": 0.0, "beta2": 0.99,
          "optimizer_args": ("d0=1e-5", "weight_decouple=True")}),
        ({"optimizer": "Adafactor", "unet_lr": 1.0, "text_encoder_lr": 0}, {"unet_lr": 1e-4, "text_lr": 0.0}),
        ({"optimizer": "DAdaptation"},
         {"optimizer_type": "DAdaptAdam", "weight_decay": 0.0,
          "optimizer_args": ("weight_decouple=False", "bias_correction=False")}),
        ({"optimizer": "DAdaptAdam", "optimizer_args": "decouple=True use_bias_correction=true weight_decay=0.1"},
         {"optimizer_type": "DAdaptAdam", "weight_decay": 0.1, "optimizer_args": ()}),
        ({"optimizer": "DAdaptAdam", "optimizer_args": "decouple=True use_bias_correction=false"},
         {"optimizer_args": ("bias_correction=False",)}),
        ({"lr_scheduler": "cosine_with_min_lr", "additional_parameters": "--lr_scheduler_min_lr_ratio=0.1"},
         {"lr_scheduler": "cosine_with_min_lr", "min_lr_ratio": 0.1}),
        ({"lr_scheduler": "warmup_stable_decay", "additional_parameters": "--lr_decay_steps 0.25"},
         {"lr_scheduler": "warmup_stable_decay", "lr_decay": "25 %"}),
        ({"lr_scheduler": "warmup_stable_decay"}, {"lr_decay": "0"}),
        ({"lr_scheduler": "inverse_sqrt", "additional_parameters": "--lr_scheduler_timescale=300"},
         {"lr_scheduler": "inverse_sqrt", "timescale": 300}),
        ({"noise_offset": 0.1, "noise_offset_random_strength": True, "ip_noise_gamma": 0.05,
          "ip_noise_gamma_random_strength": True},
         {"noise_offset_random_strength": True, "ip_noise_gamma_random_strength": True}),
        ({"v_parameterization": True, "zero_terminal_snr": True},
         {"expected_prediction": "v", "zero_terminal_snr": True}),
        ({"additional_parameters": "--caption_separator ; --secondary_separator=;;; --enable_wildcard"},
         {"caption_separator": ";", "secondary_separator": ";;;", "enable_wildcard": True}),
        ({"optimizer": "Lion"}, {"optimizer_type": "Lion", "weight_decay": 0.0, "beta2": 0.99}),
        ({"lr_scheduler": "cosine_with_restarts"}, {"cycles": 10}),
        ({"lr_scheduler": "cosine_with_restarts", "lr_scheduler_num_cycles": "3"}, {"cycles": 3}),
        ({"v_parameterization": True}, {"expected_prediction": "v"}),
        ({"save_every_n_epochs": 0, "save_every_n_steps": 250, "save_last_n_steps": 500},
         {"save_every": "250 steps", "keep_last": 3}),
        ({"sample_every_n_steps": 25, "sample_prompts": "1girl, smile --s 28 --w 512\nrain --l 7.5"},
         {"sample_prompts": ("1girl, smile --s 28 --w 512", "rain --l 7.5"), "sample_every": "25 steps"}),
        ({"sample_every_n_steps": 25, "sample_prompts": "1girl, smile --s 28 --L 7.5\nrain --l 7.5 --s 28"},
         {"sample_prompts": ("1girl, smile", "rain"), "sample_steps": 28, "sample_cfg": 7.5,
          "sample_every": "25 steps"}),
        ({"additional_parameters": "--network_train_unet_only --max_grad_norm=0.5"},
         {"text_lr": 0.0, "max_grad_norm": 0.5}),
        ({"flux1_checkbox": True, "timestep_sampling": "shift", "discrete_flow_shift": 3.1},
         {"timestep_sampling": "logit_normal", "flow_shift": 3.1}),
        ({"flux1_checkbox": False, "timestep_sampling": "shift", "discrete_flow_shift": 3.1},
         {"timestep_sampling": "uniform", "flow_shift": 0.0}),
        ({"anima_checkbox": True, "anima_discrete_flow_shift": 2}, {"flow_shift": 2.0}),
        ({"debiased_estimation_loss": True, "min_snr_gamma": 5}, {"debiased_estimation": False, "min_snr_gamma": 5.0}),
        ({"flux1_checkbox": True, "LoRA_type": "Flux1", "text_encoder_lr": 1e-4, "unet_lr": 1e-4, "t5xxl_lr": 2e-5},
         {"text_encoder_lrs": "0.0001, 2e-05"}),
        ({"flux1_checkbox": False, "text_encoder_lr": 1e-4, "unet_lr": 1e-4, "t5xxl_lr": 2e-5},
         {"text_encoder_lrs": "", "text_lr": 1e-4}),
        ({"flux1_checkbox": True, "LoRA_type": "Flux1", "train_t5xxl": True, "split_mode": True, "clip_skip": 2},
         {"train_t5xxl": True, "only_layers": ("lora_te*", "lora_unet_single_blocks*"), "clip_skip": 1}),
        ({"max_grad_norm": 0, "prior_loss_weight": 0}, {"max_grad_norm": 1.0, "prior_loss_weight": 1.0}),
        ({"additional_parameters": "--max_grad_norm=0"}, {"max_grad_norm": 0.0}),
        ({"dataset_config": "x.toml", "epoch": 7}, {"max_train_steps": 1600}),
        ({"LoRA_type": "LyCORIS/DyLoRA", "unit": 8, "network_dim": 16}, {"network_args": ("block_size=8",)}),
        ({"LoRA_type": "LyCORIS/DyLoRA", "unit": 1}, {"network_args": ()}),
        ({"masked_loss": True, "loss_type": "huber", "huber_c": 0.2},
         {"masked_loss": True, "loss_type": "huber", "huber_c": 0.2}),
    ],
)  # fmt: skip
def test_the_guis_settings_mean_what_the_gui_does(
    tmp_path: Path, changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    reading = gui(tmp_path, **changes)
    assert values(reading.recipe, expected) == expected
    keys = [line.key for line in reading.lines]
    assert len(keys) == len(set(keys))
    assert set(keys) >= {*SHARED, *changes}
