"""What kohya's settings are called here, and why some have no place. Facts about sd-scripts, kohya_ss and LyCORIS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .own import OF_PICTURES

DIRECT: Mapping[str, str] = {
    "train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulation",
    "network_dim": "dim",
    "network_alpha": "alpha",
    "network_dropout": "network_dropout",
    "scale_weight_norms": "scale_weight_norms",
    "network_weights": "start_from",
    "lr_scheduler_num_cycles": "cycles",
    "lr_scheduler_power": "power",
    "lr_scheduler_min_lr_ratio": "min_lr_ratio",
    "lr_scheduler_timescale": "timescale",
    "max_grad_norm": "max_grad_norm",
    "bucket_reso_steps": "bucket_step",
    "min_bucket_reso": "min_bucket",
    "max_bucket_reso": "max_bucket",
    "enable_bucket": "enable_bucket",
    "bucket_no_upscale": "bucket_no_upscale",
    "flip_aug": "flip_aug",
    "random_crop": "random_crop",
    "color_aug": "color_aug",
    "shuffle_caption": "shuffle_caption",
    "keep_tokens": "keep_tokens",
    "keep_tokens_separator": "keep_tokens_separator",
    "caption_separator": "caption_separator",
    "secondary_separator": "secondary_separator",
    "enable_wildcard": "enable_wildcard",
    "caption_dropout_rate": "caption_dropout",
    "caption_tag_dropout_rate": "tag_dropout",
    "caption_dropout_every_n_epochs": "caption_dropout_every_n_epochs",
    "token_warmup_min": "token_warmup_min",
    "weighted_captions": "weighted_captions",
    "clip_skip": "clip_skip",
    "guidance_scale": "guidance_scale",
    "max_token_length": "max_token_length",
    "noise_offset": "noise_offset",
    "noise_offset_random_strength": "noise_offset_random_strength",
    "adaptive_noise_scale": "adaptive_noise_scale",
    "multires_noise_iterations": "multires_noise_iterations",
    "multires_noise_discount": "multires_noise_discount",
    "ip_noise_gamma": "ip_noise_gamma",
    "ip_noise_gamma_random_strength": "ip_noise_gamma_random_strength",
    "min_timestep": "min_timestep",
    "max_timestep": "max_timestep",
    "logit_mean": "logit_mean",
    "logit_std": "logit_std",
    "mode_scale": "mode_scale",
    "zero_terminal_snr": "zero_terminal_snr",
    "min_snr_gamma": "min_snr_gamma",
    "prior_loss_weight": "prior_loss_weight",
    "debiased_estimation_loss": "debiased_estimation",
    "scale_v_pred_loss_like_noise_pred": "scale_v_pred_loss",
    "loss_type": "loss_type",
    "huber_c": "huber_c",
    "huber_schedule": "huber_schedule",
    "masked_loss": "masked_loss",
    "gradient_checkpointing": "gradient_checkpointing",
    "seed": "seed",
    "validation_split": "validation_share",
}
"""sd-scripts' name to ours, where both mean the same."""
NETWORK_DIRECT: Mapping[str, str] = {
    "conv_alpha": "conv_alpha",
    "rank_dropout": "rank_dropout",
    "module_dropout": "module_dropout",
    "dropout": "network_dropout",
    "dora_wd": "dora",
    "use_tucker": "use_tucker",
    "factor": "lokr_factor",
    "constraint": "constraint",
    "train_t5xxl": "train_t5xxl",
    "loraplus_unet_lr_ratio": "loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio": "loraplus_text_lr_ratio",
}
"""The same for the network's arguments."""
OF_PICTURES_THERE: Mapping[str, str] = {
    **{theirs: ours for theirs, ours in DIRECT.items() if ours in OF_PICTURES},
    "resolution": "resolution",
    "token_warmup_step": "token_warmup",
}
"""The same for what pictures can have for themselves."""
BLOCK_RANKS = ("block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas")
BLOCK_WEIGHTS = ("down_lr_weight", "mid_lr_weight", "up_lr_weight")
ZERO_IS_UNSET = (
    "clip_skip",
    "max_timestep",
    "lr_scheduler_num_cycles",
    "multires_noise_discount",
    "lr_scheduler_power",
)
"""The GUI writes 0 for these when they are left alone."""

ZERO_IS_RANK = {"network_alpha": "network_dim", "conv_alpha": "net:conv_dim"}
"""An alpha of 0 stands for the rank, which is under the second name."""

ABSENT: Mapping[str, object] = {
    "dim": 4, "alpha": 1.0, "lr_scheduler": "constant", "warmup": "0", "max_bucket": 1024, "enable_bucket": False,
    "shuffle_caption": False, "keep_tokens": 0, "max_token_length": 75,
}  # fmt: skip
"""What sd-scripts does where a file says nothing, in our settings, where our own default is another."""
ABSENT_IN_DATASET = ("max_bucket", "enable_bucket", "shuffle_caption", "keep_tokens")
DEFAULT_RATE = 2e-6
DEFAULT_STEPS = 1600

OPTIMIZERS: Mapping[str, tuple[str, str]] = {
    "adamw": ("AdamW", ""),
    "adamw8bit": ("AdamW8bit", ""),
    "pagedadamw": ("AdamW", "without paging, which only saves memory"),
    "pagedadamw32bit": ("AdamW", "without paging, which only saves memory"),
    "pagedadamw8bit": ("PagedAdamW8bit", ""),
    "lion": ("Lion", ""),
    "lion8bit": ("Lion8bit", ""),
    "pagedlion8bit": ("PagedLion8bit", ""),
    "adafactor": ("Adafactor", ""),
    "came": ("CAME", ""),
    "prodigy": ("Prodigy", ""),
    "dadaptation": ("DAdaptAdam", ""),
    "dadaptadampreprint": ("DAdaptAdam", ""),
    "dadaptadam": ("DAdaptAdam", ""),
    "dadaptlion": ("DAdaptLion", ""),
    "adamwschedulefree": ("AdamWScheduleFree", ""),
    "schedulefreeadamw": ("AdamWScheduleFree", ""),
    "sgd": ("SGD", ""),
    "sgdnesterov": ("SGD", ""),
    "sgdnesterov8bit": ("SGD", "in 32 bits"),
}
"""Lower case, without a library's path: our optimizer, and what is different."""
OPTIMIZER_DEFAULTS: Mapping[str, tuple[float, float, float]] = {
    "AdamW": (0.01, 0.9, 0.999), "AdamW8bit": (0.01, 0.9, 0.999), "PagedAdamW8bit": (0.01, 0.9, 0.999),
    "Lion": (0.0, 0.9, 0.99), "Lion8bit": (0.0, 0.9, 0.99), "PagedLion8bit": (0.0, 0.9, 0.99),
    "DAdaptLion": (0.0, 0.9, 0.99), "SGD": (0.0, 0.0, 0.999),
}  # fmt: skip
"""Weight decay, beta1 and beta2 of the libraries that sd-scripts uses; else (0, 0.9, 0.999). SGD's beta1: momentum."""
ARGUMENT_NAMES: Mapping[str, str] = {"decouple": "weight_decouple", "use_bias_correction": "bias_correction"}
"""Arguments of Prodigy and D-Adaptation, as kohya's libraries and as ours call them; DAdaptAdam has both off there."""
SCHEDULES: Mapping[str, str] = {
    "piecewise_constant": "constant",
    "adafactor": "constant",
}
"""Schedules that are not there, and the nearest that is."""

MODULES: Mapping[str, str] = {
    "networks.lora": "LoRA", "networks.lora_flux": "LoRA", "networks.lora_sd3": "LoRA", "networks.lora_lumina": "LoRA",
    "networks.lora_anima": "LoRA", "networks.lora_hunyuan_image": "LoRA", "networks.loha": "LoHa",
    "networks.lokr": "LoKr", "networks.dylora": "DyLoRA", "networks.oft": "OFT", "networks.oft_flux": "OFT",
    "locon.locon_kohya": "LoRA",
}  # fmt: skip
SEVERAL_RATES = ("networks.lora_flux", "networks.lora_sd3", "networks.lora_lumina", "networks.lora_anima")
"""Networks to which sd-scripts gives a rate for each text encoder; to all others it gives the first."""
LYCORIS = "lycoris.kohya"
ALGORITHMS: Mapping[str, str] = {
    "lora": "LoRA", "locon": "LoRA", "loha": "LoHa", "lokr": "LoKr", "dylora": "DyLoRA", "glora": "GLoRA",
    "diag-oft": "OFT", "oft": "OFT", "boft": "BOFT",
}  # fmt: skip
LYCORIS_ARGS: Mapping[str, tuple[str, object, tuple[str, ...]]] = {
    "use_scalar": ("use_scalar", False, ("LoRA", "LoHa", "LoKr", "DyLoRA", "GLoRA", "OFT", "BOFT")),
    "rs_lora": ("rs_lora", False, ("LoRA", "LoHa", "DyLoRA")),
    "decompose_both": ("decompose_both", False, ("LoKr",)),
    "full_matrix": ("full_matrix", False, ("LoKr",)),
    "unbalanced_factorization": ("unbalanced_factorization", False, ("LoKr",)),
    "rescaled": ("rescaled", False, ("BOFT",)),
    "wd_on_output": ("wd_on_out", True, ("LoRA", "LoHa", "LoKr")),
    "block_size": ("block_size", 4, ("DyLoRA",)),
}
"""LyCORIS's arguments: its modules' names for them, their value where a file says nothing, networks that have them."""
LYCORIS_PRESETS: Mapping[str, Mapping[str, object]] = {
    "full": {},
    "full-lin": {"conv_dim": 0},
    "attn-mlp": {"conv_dim": 0},
    "attn-only": {"conv_dim": 0, "only_layers": ("attn",)},
    "unet-only": {"text_lr": 0.0},
    "unet-transformer-only": {"conv_dim": 0, "text_lr": 0.0},
}
TIMESTEPS: Mapping[str, str] = {
    "sigma": "", "uniform": "uniform", "sigmoid": "logit_normal", "shift": "logit_normal", "flux_shift": "logit_normal",
    "nextdit_shift": "uniform",
}  # fmt: skip

SD3 = "networks.lora_sd3"
FLOW_ABSENT: Mapping[str, tuple[str, float]] = {
    "networks.lora_flux": ("sigma", 3.0), "networks.oft_flux": ("sigma", 3.0), SD3: ("sigma", 1.0),
    "networks.lora_hunyuan_image": ("sigma", 5.0), "networks.lora_lumina": ("shift", 6.0),
    "networks.lora_anima": ("sigmoid", 1.0),
}  # fmt: skip
"""How sd-scripts draws noise levels where a file says nothing, and the shift that it then takes, by the network."""

NOT_OF_FLOW = (
    "min_snr_gamma", "debiased_estimation_loss", "noise_offset", "noise_offset_random_strength", "adaptive_noise_scale",
    "multires_noise_iterations", "multires_noise_discount", "clip_skip", "v_parameterization", "zero_terminal_snr",
    "scale_v_pred_loss_like_noise_pred",
)  # fmt: skip
"""What sd-scripts' scripts for flow models leave unread; all but SD3's have no range of timesteps either."""

SECRET = ("wandb_api_key", "huggingface_token")


def _all(why: str, names: str) -> Iterable[tuple[str, str]]:
    return ((name, why) for name in names.split())


def _each(neutral: str, why: str, names: str) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(names.split(), (neutral, why))


NO_EFFECT: Mapping[str, str] = dict(
    (
        *_all(
            "pictures and captions are encoded once and kept",
            "cache_latents cache_latents_to_disk vae_batch_size skip_cache_check cache_text_encoder_outputs cache_info "
            "cache_text_encoder_outputs_to_disk text_encoder_batch_size",
        ),
        *_all(
            "the model that is loaded in the graph counts",
            "pretrained_model_name_or_path model_list v2 sdxl vae no_half_vae tokenizer_cache_dir clip_l clip_g t5xxl "
            "ae model_type flux1_checkbox sd3_checkbox hunyuan_image_checkbox anima_checkbox lumina_checkbox ckpt "
            "t5xxl_device t5xxl_dtype disable_mmap_load_safetensors gemma2 qwen3 text_encoder byt5 "
            "llm_adapter_path t5_tokenizer_path",
        ),
        *_all(
            "runs lie in ComfyUI's output folder, under the name that Train LoRA gives",
            "output_dir output_name logging_dir log_prefix save_as_bool file_path config_file output_config",
        ),
        *_all(
            "every run keeps its losses",
            "log_with log_tracker_name log_tracker_config log_config wandb_api_key wandb_run_name use_wandb "
            "console_log_level console_log_file console_log_simple",
        ),
        *_all(
            "ComfyUI and PyTorch choose it",
            "xformers sdpa mem_eff_attn max_data_loader_n_workers persistent_data_loader_workers lowram highvram "
            "lowvram num_cpu_threads_per_process dynamo_backend dynamo_mode dynamo_use_fullgraph dynamo_use_dynamic "
            "torch_compile fused_backward_pass cpu_offload_checkpointing blocks_to_swap single_blocks_to_swap "
            "double_blocks_to_swap extra_accelerate_launch_args main_process_port mem_eff_save split_mode "
            "ddp_timeout ddp_gradient_as_bucket_view ddp_static_graph attn_mode split_attn "
            "use_flash_attn use_sage_attn "
            "text_encoder_cpu vae_chunk_size vae_disable_cache unsloth_offload_checkpointing zero_stage "
            "zero3_init_flag zero3_save_16bit_model fp16_master_weights_and_gradients offload_optimizer_device "
            "offload_optimizer_nvme_path offload_param_device offload_param_nvme_path",
        ),
        *_all(
            "a stopped run goes on from its last checkpoint by itself",
            "save_state save_state_on_train_end save_last_n_epochs_state save_last_n_steps_state "
            "resume_from_huggingface",
        ),
        *_all("Save LoRA asks for it", "save_model_as save_precision use_safetensors no_metadata"),
        *_all("the previews use ComfyUI's own sampler", "sample_sampler sample_batch_size"),
        *_all("it is a note in kohya's file", "training_comment noise_offset_type debug_dataset show_timesteps"),
        *_all("a file that training starts from has its own ranks", "dim_from_weights"),
        *_all("it only prints", "log_every verbose show_timesteps_resolution"),
        *_all("it is not of a LoRA", "save_clip save_t5xxl controlnet_model_name_or_path"),
        *_all(
            "ComfyUI and PyTorch choose it",
            "qwen_image_vae_2d compile_backend compile_mode compile_dynamic compile_fullgraph cache_size_limit",
        ),
        *_all("LyCORIS's script takes any text for yes, and then it changes nothing", "disable_conv_cp"),
        *_all("it only saves memory", "fsdp_in_use slice_p use_triton"),
        *_all("adapters add to a layer's output wherever that is exact", "bypass_mode"),
        *_all("LyCORIS's script does not read it; network_args has it", "rank_dropout_scale"),
    )
)
"""Keys that change nothing that is learned here, and why."""

_ONE = "1"
NO_HOME: Mapping[str, tuple[str, str]] = {
    "v_pred_like_loss": ("", "there is no such part of the loss"),
    "huber_scale": (_ONE, "huber_c is not scaled"),
    "face_crop_aug_range": ("", "Crop Views makes crops, random_crop varies them"),
    "resize_interpolation": ("", "pictures are scaled by Lanczos down and bicubic up"),
    "custom_attributes": ("", "nothing here reads it"),
    "no_token_padding": ("", "captions are encoded as ComfyUI does for sampling"),
    "full_fp16": ("", "the LoRA's weights stay fp32"),
    "full_bf16": ("", "the LoRA's weights stay fp32"),
    "fp8_base": ("", "load the model in fp8 in its loader"),
    "fp8_base_unet": ("", "load the model in fp8 in its loader"),
    "base_weights": ("", "put a LoRA loader between the model and Train LoRA"),
    "base_weights_multiplier": ("", "put a LoRA loader between the model and Train LoRA"),
    "resume": ("", "queue the same graph again: a stopped run goes on by itself"),
    "initial_epoch": (_ONE, "a run starts at its start, or where it stopped"),
    "initial_step": ("", "a run starts at its start, or where it stopped"),
    "skip_until_initial_step": ("", "a run starts at its start, or where it stopped"),
    "lr_scheduler_type": ("", "schedules of other libraries are not there; lr_scheduler counts"),
    "lr_scheduler_args": ("", "schedules take no more arguments than cycles and power"),
    "train_inpainting": ("", "inpainting is not trained"),
    "in_json": ("", "it goes with train_data_dir, and there is none"),
    "dataset_repeats": (_ONE, "repeats stand in the names of folders or in the dataset's TOML"),
    "dataset_class": ("", "pictures come from folders"),
    "conditioning_data_dir": ("", "sd-scripts takes the folder of masks from a subset of the dataset's TOML"),
    "save_n_epoch_ratio": ("", "save_every counts epochs or steps"),
    "sample_at_first": ("", "the first previews come after training has begun"),
    "validation_seed": ("", "the recipe's seed chooses the held-out pictures"),
    "max_validation_steps": ("", "all held-out pictures are tested"),
    "multi_gpu": ("", "one GPU trains"),
    "num_processes": (_ONE, "one GPU trains"),
    "num_machines": (_ONE, "one GPU trains"),
    "gpu_ids": ("", "ComfyUI chooses the GPU"),
    "deepspeed": ("", "one GPU trains"),
    "huggingface_repo_id": ("", "nothing is uploaded"),
    "huggingface_repo_type": ("", "nothing is uploaded"),
    "huggingface_path_in_repo": ("", "nothing is uploaded"),
    "huggingface_token": ("", "nothing is uploaded"),
    "huggingface_repo_visibility": ("", "nothing is uploaded"),
    "save_state_to_huggingface": ("", "nothing is uploaded"),
    "async_upload": ("", "nothing is uploaded"),
    "metadata_title": ("", "the file's metadata comes from the run"),
    "metadata_author": ("", "the file's metadata comes from the run"),
    "metadata_description": ("", "the file's metadata comes from the run"),
    "metadata_license": ("", "the file's metadata comes from the run"),
    "metadata_tags": ("", "the file's metadata comes from the run"),
    "model_prediction_type": ("raw", "the model's own native loss is used"),
    "apply_t5_attn_mask": ("", "captions are encoded as ComfyUI does for sampling"),
    "t5xxl_max_token_length": ("512", "captions are encoded as ComfyUI does for sampling"),
    "learning_rate_te": ("", "it is of full fine-tuning; a LoRA has text_encoder_lr"),
    "learning_rate_te1": ("", "it is of full fine-tuning; a LoRA has text_encoder_lr"),
    "learning_rate_te2": ("", "it is of full fine-tuning; a LoRA has text_encoder_lr"),
    "block_lr_zero_threshold": ("", "write 0 for the blocks to leave out"),
    "train_norm": ("", "norm layers are left alone"),
    "train_on_input": ("true", "there is no IA3"),
    **_each(
        "all",
        "choose layers by only_layers and skip_layers",
        "train_double_block_indices train_single_block_indices train_block_indices",
    ),
    **_each(
        "",
        "all linear layers have one rank; choose them by only_layers and skip_layers",
        "img_attn_dim img_mlp_dim img_mod_dim txt_attn_dim txt_mlp_dim txt_mod_dim single_dim single_mod_dim in_dims "
        "context_attn_dim context_mlp_dim context_mod_dim x_attn_dim x_mlp_dim x_mod_dim emb_dims attn_dim mlp_dim "
        "mod_dim refiner_dim embedder_dims",
    ),
    **_each(
        "", "all layers of the diffusion model have one rate", "self_attn_lr cross_attn_lr mlp_lr mod_lr llm_adapter_lr"
    ),
    **_each(
        "",
        "captions are dropped for all encoders together (caption_dropout_rate)",
        "clip_l_dropout_rate clip_g_dropout_rate t5_dropout_rate",
    ),
    **_each(
        "",
        "captions are encoded as ComfyUI does for sampling",
        "system_prompt apply_lg_attn_mask t5_max_token_length gemma2_max_token_length qwen3_max_token_length",
    ),
    **_each(
        "",
        "the file's metadata comes from the run",
        "metadata_trigger_phrase metadata_usage_hint metadata_thumbnail metadata_merged_from "
        "metadata_is_negative_embedding metadata_preprocessor",
    ),
    **_each("", "load the model in fp8 in its loader", "fp8_scaled fp8_vl"),
    **_each("", "positions are the host's own", "enable_scaled_pos_embed pos_emb_random_crop_rate"),
    "train_llm_adapter": ("", "layers are trained as the model has them"),
    "enable_all_linear": ("", "choose layers by only_layers and skip_layers"),
    "split_qkv": ("", "layers are trained as the model has them"),
    "train_lora_ggpo": ("", "there is no such noise on weights"),
    "ggpo_beta": ("", "there is no such noise on weights"),
    "ggpo_sigma": ("", "there is no such noise on weights"),
    "exclude_patterns": ("", "choose layers by only_layers and skip_layers"),
    "include_patterns": ("", "choose layers by only_layers and skip_layers"),
    "network_reg_dims": ("", "all layers have one rank"),
    "network_reg_lrs": ("", "all layers have one rate"),
}
"""Keys with an effect in kohya's scripts that have no place here: the value that means nothing, and why."""
