"""sd-scripts' TOML as a recipe: what its scripts would do, with a line for every key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.kohya import Reading, read_config
from lora_kiln.trainer.presets import get_preset
from lora_kiln.trainer.recipe import Recipe, group_of


def scripts(tmp_path: Path, text: str) -> Reading:
    """An sd-scripts TOML, read."""
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    return read_config(file)


def verdicts(reading: Reading) -> dict[str, str]:
    return {line.key: line.verdict for line in reading.lines}


def words(reading: Reading, key: str) -> str:
    return next(line.words for line in reading.lines if line.key == key)


def values(recipe: Recipe, names: Any) -> dict[str, Any]:
    where = group_of()
    return {n: recipe.seed if n == "seed" else getattr(getattr(recipe, where[n]), n) for n in names}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unet_lr = 1e-3", {"unet_lr": 1e-3, "text_lr": 2e-6, "dim": 4, "alpha": 1.0, "lr_scheduler": "constant"}),
        ("learning_rate = 1e-3\ntext_encoder_lr = [1e-4, 2e-4]", {"unet_lr": 1e-3, "text_lr": 1e-4}),
        ("learning_rate = 1e-3\nunet_lr = 0.0", {"unet_lr": 0.0, "text_lr": 1e-3}),
        ("learning_rate = 1e-3\nnetwork_train_unet_only = true", {"unet_lr": 1e-3, "text_lr": 0.0}),
        ("network_dim = 8",
         {"max_train_steps": 1600, "shuffle_caption": False, "keep_tokens": 0, "max_token_length": 75}),
        ("[a]\nmax_train_epochs = 3\n[b]\nnetwork_dim = 8", {"epochs": 3, "max_train_steps": 0, "dim": 8}),
        ("lr_warmup_steps = 0.1", {"warmup": "10 %"}),
        ("lr_warmup_steps = 100", {"warmup": "100"}),
        ('lr_warmup_steps = "7%"', {"warmup": "7 %"}),
        ('network_module = "networks.lora"\nnetwork_args = ["conv_dim=8"]', {"conv_dim": 8, "conv_alpha": 1.0}),
        ('network_module = "lycoris.kohya"\nnetwork_dim = 8\nnetwork_alpha = 4\nnetwork_args = ["algo=loha"]',
         {"network_type": "LoHa", "conv_dim": 8, "conv_alpha": 4.0}),
        ('network_module = "lycoris.kohya"\nnetwork_args = ["preset=attn-only"]',
         {"conv_dim": 0, "only_layers": ("attn",)}),
        ('network_args = ["train_t5xxl=True"]', {"train_t5xxl": True}),
        ("network_dim = 12\nnetwork_alpha = 0", {"dim": 12, "alpha": 12.0}),
        ('network_alpha = 0\nnetwork_args = ["conv_dim=4", "conv_alpha=0"]', {"alpha": 4.0, "conv_alpha": 4.0}),
        ('timestep_sampling = "nextdit_shift"', {"timestep_sampling": "uniform"}),
        ('optimizer_type = "Prodigy"\nunet_lr = 1.0\ntext_encoder_lr = 0.5', {"unet_lr": 1.0, "text_lr": 1.0}),
        ("guidance_scale = 1.0", {"guidance_scale": 1.0}),
        ('network_module = "lycoris.kohya"\nnetwork_args = ["algo=lokr", "rs_lora=True", "full_matrix=false", '
         '"decompose_both=False", "block_size=4", "bypass_mode=True"]',
         {"network_type": "LoKr", "network_args": ("decompose_both=True",)}),
        ('network_module = "lycoris.kohya"\nnetwork_args = ["algo=lora", "dora_wd=True", "wd_on_output=False"]',
         {"dora": True, "network_args": ("wd_on_out=False",)}),
        ('network_module = "lycoris.kohya"\nnetwork_args = ["algo=dylora"]', {"network_args": ("block_size=4",)}),
        ('network_module = "networks.dylora"\nnetwork_args = ["unit=1"]', {"network_args": ()}),
        ("token_warmup_step = 0.25\ntoken_warmup_min = 3", {"token_warmup": "25 %", "token_warmup_min": 3}),
        ("token_warmup_step = 200.0", {"token_warmup": "200"}),
        ("caption_dropout_every_n_epochs = 4\nweighted_captions = true",
         {"caption_dropout_every_n_epochs": 4, "weighted_captions": True}),
        ("text_encoder_lr = [1e-4, 5e-5]", {"text_encoder_lrs": "", "text_lr": 1e-4}),
        ('network_module = "networks.lora_flux"\ntext_encoder_lr = [1e-4, 5e-5]',
         {"text_encoder_lrs": "0.0001, 5e-05", "text_lr": 1e-4}),
        ('network_module = "networks.lora_sd3"\ntext_encoder_lr = [0, 5e-5]', {"text_encoder_lrs": "0, 5e-05"}),
        ('network_module = "networks.lora_sd3"\noptimizer_type = "Prodigy"\nunet_lr = 0\ntext_encoder_lr = [0, 1, 0.5]',
         {"unet_lr": 0.0, "text_encoder_lrs": "0, 1, 1"}),
        ('network_module = "networks.lora_flux"\nmin_snr_gamma = 7\nnoise_offset = 0.05\nclip_skip = 2\n'
         'max_timestep = 900\nip_noise_gamma = 0.1',
         {"min_snr_gamma": 0.0, "noise_offset": 0.0, "clip_skip": 1, "max_timestep": 1000, "ip_noise_gamma": 0.1}),
        ('network_module = "networks.lora_sd3"\nmax_timestep = 900', {"max_timestep": 900}),
        ('network_module = "networks.lora_flux"\nnetwork_args = ["train_blocks=single"]',
         {"only_layers": ("lora_te*", "lora_unet_single_blocks*")}),
        ('resolution = "512,768"\nenable_bucket = true', {"resolution": 628}),
        ('optimizer_type = "AdamWScheduleFree"\nlr_scheduler = "cosine"\nlr_warmup_steps = 50',
         {"lr_scheduler": "constant", "warmup": "0"}),
        ('network_module = "lycoris.kohya"\nnetwork_dim = 10000\nnetwork_alpha = 10000\nnetwork_args = ["algo=lokr"]',
         {"dim": 1024, "alpha": 1024.0, "network_args": ("full_matrix=True",)}),
        ('network_module = "lycoris.kohya"\nnetwork_args = ["algo=diag-oft", "constrain=0.1"]', {"constraint": 0.1}),
        ('network_module = "lycoris.kohya"\nnetwork_args = ["algo=loha", "use_cp=True"]', {"use_tucker": True}),
        ('network_args = ["block_alphas=1,2"]', {"block_alphas": ""}),
        ('network_module = "networks.dylora"\nnetwork_args = ["unit=4"]', {"network_args": ("block_size=4",)}),
        ("max_grad_norm = 0", {"max_grad_norm": 0.0}),
        ("text_encoder_lr = [1e-4, 1e-4]", {"text_encoder_lrs": "", "text_lr": 1e-4}),
        ("text_encoder_lr = [1e-4, 5e-5]\nnetwork_train_unet_only = true", {"text_encoder_lrs": "", "text_lr": 0.0}),
        ('optimizer_type = "prodigyopt.Prodigy"\nunet_lr = 1\ntext_encoder_lr = [1, 0.5]',
         {"unet_lr": 1.0, "text_lr": 1.0, "text_encoder_lrs": ""}),
        ('network_args = ["loraplus_lr_ratio=16", "loraplus_text_encoder_lr_ratio=4"]',
         {"loraplus_unet_lr_ratio": 16.0, "loraplus_text_lr_ratio": 4.0}),
        ('optimizer_type = "adamw8bit"', {"optimizer_type": "AdamW8bit", "weight_decay": 0.01}),
        ('optimizer_type = "pytorch_optimizer.CAME"\noptimizer_args = ["betas=(0.9, 0.99, 0.999)"]',
         {"optimizer_type": "CAME", "optimizer_args": ("betas=(0.9, 0.99, 0.999)",)}),
        ('optimizer_type = "SGDNesterov"',
         {"optimizer_type": "SGD", "beta1": 0.9, "optimizer_args": ("nesterov=True",)}),
        ('optimizer_type = "AdaFactor"\nunet_lr = 1.0',
         {"optimizer_type": "Adafactor", "unet_lr": 1e-4, "text_lr": 5e-5}),
        ('optimizer_type = "AdaFactor"\nunet_lr = 1e-3\n'
         'optimizer_args = ["relative_step=False", "scale_parameter=False"]',
         {"unet_lr": 1e-3, "optimizer_args": ()}),
        ("use_8bit_adam = true", {"optimizer_type": "AdamW8bit"}),
        ("resolution = 768", {"resolution": 768}),
        ("resolution = [512, 512]", {"resolution": 512}),
        ('weighting_scheme = "logit_normal"\nlogit_std = 2', {"timestep_sampling": "logit_normal", "logit_std": 2.0}),
        ('weighting_scheme = "logit_normal"\nlogit_mean = 0.5', {"logit_mean": -0.5}),
        ('network_module = "networks.lora_sd3"\nlogit_mean = 0.5', {"logit_mean": 0.5}),
        ('timestep_sampling = "sigmoid"\nlogit_mean = 0.5\nlogit_std = 2\nsigmoid_scale = 1.5',
         {"timestep_sampling": "logit_normal", "logit_mean": 0.0, "logit_std": 1.5}),
        ('network_module = "networks.lora_flux"', {"timestep_sampling": "uniform", "flow_shift": 3.0}),
        ('network_module = "networks.lora_flux"\ntimestep_sampling = "uniform"', {"flow_shift": 1.0}),
        ('network_module = "networks.lora_hunyuan_image"\ndiscrete_flow_shift = 4', {"flow_shift": 4.0}),
        ('network_module = "networks.lora_lumina"', {"timestep_sampling": "logit_normal", "flow_shift": 6.0}),
        ('network_module = "networks.lora_anima"', {"timestep_sampling": "logit_normal", "flow_shift": 1.0}),
        ('network_module = "networks.lora_sd3"\ntraining_shift = 2', {"flow_shift": 2.0}),
        ('network_module = "networks.lora_sd3"\ndiscrete_flow_shift = 2', {"flow_shift": 1.0}),
        ('optimizer_type = "prodigyplus.ProdigyPlusScheduleFree"\nlearning_rate = 1\n'
         'optimizer_args = ["split_groups=False", "weight_decay=0.1"]',
         {"optimizer_type": "Prodigy", "unet_lr": 1.0, "weight_decay": 0.1, "optimizer_args": ()}),
        ('optimizer_type = "prodigyopt.Prodigy"\nunet_lr = 1\ntext_encoder_lr = 0.5', {"unet_lr": 1.0, "text_lr": 1.0}),
        ('optimizer_type = "some.NewProdigy"\nunet_lr = 1\ntext_encoder_lr = 0.5', {"unet_lr": 1.0, "text_lr": 1.0}),
        ('mixed_precision = "no"', {"precision": "fp32"}),
        ("validation_split = 0.1\nvalidate_every_n_steps = 50",
         {"validation_share": 0.1, "validate_every": "50 steps"}),
    ],
)  # fmt: skip
def test_sd_scripts_settings_mean_what_sd_scripts_does(tmp_path: Path, text: str, expected: dict[str, Any]) -> None:
    # A value that is applied whatever the row says, so that no row is a file of nothing.
    reading = scripts(tmp_path, f"train_batch_size = 2\n{text}")
    assert values(reading.recipe, expected) == expected


def test_the_list_of_an_article_is_its_preset(tmp_path: Path) -> None:
    """As printed, but for warmup and steps, which the article gives in epochs."""
    reading = scripts(
        tmp_path,
        """
        shuffle_caption = true
        random_crop = true
        resolution = "768,768"
        enable_bucket = true
        bucket_no_upscale = true
        save_precision = "fp16"
        save_every_n_epochs = 1
        train_batch_size = 4
        max_token_length = 225
        xformers = true
        persistent_data_loader_workers = true
        seed = 42
        gradient_checkpointing = true
        mixed_precision = "fp16"
        noise_offset = 0.03
        optimizer_type = "lion8bit"
        learning_rate = 0.00015
        optimizer_args = [ "weight_decay=1e-1",]
        lr_scheduler = "cosine_with_restarts"
        lr_scheduler_num_cycles = 3
        unet_lr = 0.00015
        text_encoder_lr = 7.5e-5
        network_module = "lycoris.kohya"
        network_dim = 4
        network_alpha = 4.0
        network_args = [ "conv_rank=4", "conv_alpha=4", "algo=loha",]
        max_train_epochs = 10
        """,
    )
    # The article leaves sd-scripts' largest bucket at its default.
    assert reading.recipe.differences(get_preset("flexible-loha").make()) == {
        "warmup": ("0", "1 epoch"),
        "max_bucket": (1024, 2048),
    }
    assert not [line for line in reading.lines if line.verdict == "unsupported"]


@pytest.mark.parametrize(
    ("key", "value", "verdict", "said"),
    [
        ("optimizer_type", "bitsandbytes.optim.AdEMAMix8bit", "unsupported", "AdamW is taken"),
        ("lr_scheduler", "piecewise_constant", "unsupported", "constant is taken"),
        ("network_module", "networks.lora_fa", "unsupported", "a LoRA is trained"),
        ("zero_terminal_snr", True, "applied", "the loaded model must have it"),
        ("zero_terminal_snr", False, "default", "off"),
        ("huber_scale", 1.0, "default", "off"),
        ("huber_scale", 2.0, "unsupported", "huber_c"),
        ("enable_wildcard", True, "applied", "lines are read as one"),
        ("weighted_captions", True, "applied", "(words) and [words] are not"),
        ("token_warmup_step", 0, "default", "from the start"),
        ("t5xxl_lr", 1e-4, "unsupported", "give text_encoder_lr a value"),
        ("lr_decay_steps", 100, "default", "only warmup_stable_decay has it"),
        ("network_dimm", 8, "unsupported", "spelled"),
        ("wandb_api_key", "s3cret", "default", "losses"),
        ("dataset_config", "nowhere.toml", "unsupported", "no such file"),
        ("train_data_dir", "/nowhere/at/all", "unsupported", "no such folder"),
        ("sample_prompts", "nowhere.txt", "unsupported", "no such file"),
        ("lr_warmup_steps", 10, "default", "constant has no warmup"),
    ],
)
def test_what_is_not_taken_says_why(tmp_path: Path, key: str, value: Any, verdict: str, said: str) -> None:
    reading = scripts(tmp_path, f"train_batch_size = 2\n{key} = {json.dumps(value)}")
    [line] = [line for line in reading.lines if line.key == key]
    assert line.verdict == verdict
    assert said in line.words
    assert "s3cret" not in reading.report
    assert f"- {key} = " in reading.report


def test_a_key_of_two_sections_is_told_twice_and_the_last_counts(tmp_path: Path) -> None:
    reading = scripts(tmp_path, "[a]\nnetwork_dim = 4\n[b]\nnetwork_dim = 8\n")
    assert reading.recipe.network.dim == 8
    assert verdicts(reading) == {"network_dim": "default", "b.network_dim": "applied"}


def test_prompts_are_read_from_their_file(tmp_path: Path) -> None:
    text = "# remark\n1girl, rain --n blurry --ss ddim --s 30\n\n"
    (tmp_path / "prompts.txt").write_text(text, encoding="utf-8")
    reading = scripts(tmp_path, 'train_batch_size = 2\nsample_prompts = "prompts.txt"\nsample_every_n_epochs = 2')
    saving = reading.recipe.saving
    assert (saving.sample_prompts, saving.sample_every) == (("1girl, rain --n blurry",), "2 epochs")
    assert saving.sample_steps == 30
    assert "left out: --ss" in words(reading, "sample_prompts")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '{\n"epoch": 3,\n"x": [}', r"a\.json is no JSON.*line 3, column 7"),
        ("a.json", '{"epoch": 3,}', r"last entry has no comma"),
        ("a.json", '{"prompts": "a", "nodes": 3}', r"a\.json has none of kohya's settings"),
        ("a.toml", "network_dim = 4\nx = = 1", r"a\.toml is no TOML.*line 2"),
        ("a.toml", 'output_dir = "C:\\users"', r"'single quotes'"),
        ("a.toml", 'network_dim = "four"', r"a\.toml: network_dim is 'four'; write a number"),
        ("a.toml", "network_dim = 4.5", r"network_dim is 4\.5; write a whole number"),
        ("a.toml", "network_dim = -4", r"network_dim is -4; dim goes from 1 to 1024"),
        ("a.toml", "bucket_reso_steps = 0", r"bucket_reso_steps is 0; bucket_step goes from 8 to 512"),
        ("a.toml", "train_batch_size = 0", r"train_batch_size is 0; batch_size goes from 1 to 1024"),
        ("a.toml", 'enable_bucket = "perhaps"', r"enable_bucket is 'perhaps'; write true or false"),
        ("a.toml", 'loss_type = "l3"', r"loss_type is 'l3'; choose one of l2, huber"),
        ("a.toml", 'resolution = "big"', r"resolution is 'big'; write one number"),
        ("a.toml", "lr_warmup_steps = -1", r"lr_warmup_steps is -1; give steps"),
        ("a.toml", 'network_args = ["conv_dim"]', r"network_args.*'conv_dim' is no name=value"),
        ("a.toml", 'optimizer_args = ["betas=0.9"]', r"optimizer_args\.betas is '0\.9'; write two numbers"),
        ("a.toml", 'text_encoder_lr = "slow"', r"text_encoder_lr is 'slow'; write numbers"),
        ("a.toml", "min_bucket_reso = 1024\nmax_bucket_reso = 512", r"a\.toml: Buckets\.min_bucket is 1024"),
        ("a.toml", 'timestep_sampling = "odd"', r"timestep_sampling is 'odd'; choose one of sigma"),
        ("a.toml", "[[datasets]]\nresolution = 512", r"no \[\[datasets\.subsets\]\]"),
        ("a.toml", "datasets = 3", r"datasets is 3; write tables"),
        ("a.toml", '[[datasets]]\n[[datasets.subsets]]\nimage_dir = "."\nnum_repeats = 0', r"num_repeats is 0; write"),
    ],
)
def test_errors_say_what_where_and_the_mend(tmp_path: Path, name: str, text: str, said: str) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    with pytest.raises(KilnError, match=said):
        read_config(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KilnError, match=r"no\.toml cannot be read"):
        read_config(tmp_path / "no.toml")


def test_what_a_file_leaves_out_is_told(tmp_path: Path) -> None:
    reading = scripts(tmp_path, "train_batch_size = 2\nunet_lr = 1e-4")
    assert {"max_train_steps = 1600", "text_lr = 2e-06", "dim = 4"} <= set(reading.assumed)
    assert "so as sd-scripts has it: " in reading.report
    assert "max_train_steps = 1600" in reading.report
    whole = scripts(tmp_path, "max_train_epochs = 2\nlearning_rate = 1e-4\nnetwork_dim = 8")
    assert not {one.split(" ")[0] for one in whole.assumed} & {"max_train_steps", "unet_lr", "text_lr", "dim"}


def test_a_part_that_is_left_out_is_not_called_applied(tmp_path: Path) -> None:
    reading = scripts(tmp_path, "unet_lr = 1e-4\ntext_encoder_lr = 1e-5\nnetwork_train_unet_only = true")
    assert verdicts(reading)["text_encoder_lr"] == "default"
    assert reading.recipe.optimizer.text_lr == 0
