"""Files that every UI loads: kohya's keys, kohya's and modelspec's metadata, kohya's hashes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ..dataset.values import Dataset, Record
from .arguments import parse_arguments
from .errors import KilnError
from .files import whole
from .own import recipe_for
from .plan import Plan
from .recipe import Recipe
from .spans import parse_span

TRAINED_WORDS = "trained_words"
"""The key of the triggers in a file's metadata, which no other trainer writes."""
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
_BLOCK_ARGS = (
    "down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_dims", "block_alphas", "conv_block_dims",
    "conv_block_alphas",
)  # fmt: skip


def save_file(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], file: Path) -> None:
    """Write a `.safetensors` whole or not at all, with kohya's and modelspec's hashes added.

    Raises `KilnError` when the disk refuses.
    """
    content = {key: tensor.contiguous() for key, tensor in tensors.items()}
    full = {**metadata, **_hashes(content, metadata)}
    with whole(file) as partial:
        safetensors.torch.save_file(content, partial, full)


def load_file(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a `.safetensors`. Raises `KilnError` naming a file that cannot be read."""
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            names = list(opened.keys())
            return {name: opened.get_tensor(name) for name in names}, dict(opened.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise KilnError(
            f"{file} is not a LoRA that can be read: {error}. Train it again, or give another file."
        ) from error


def metadata_of(file: Path) -> dict[str, str]:
    """The metadata of a `.safetensors` alone. Raises `KilnError` naming a file that cannot be read."""
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except (OSError, safetensors.SafetensorError) as error:
        raise KilnError(f"{file} has no metadata that can be read: {error}. Train it again.") from error


def tag_shares(file: Path) -> dict[str, float]:
    """From a LoRA's metadata, the share of the training pictures' captions that each tag stands in; empty without it.

    Raises `KilnError` naming a file that cannot be read.
    """
    about = metadata_of(file)
    try:
        groups = json.loads(about.get("ss_tag_frequency", "{}"))
        pictures = sum(row["img_count"] for row in json.loads(about.get("ss_dataset_dirs", "{}")).values())
        counts: Counter[str] = Counter()
        for group in groups.values():
            counts.update(group)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise KilnError(f"{file} has no metadata that can be read: {error}. Train it again.") from error
    return {tag: count / pictures for tag, count in counts.items()} if pictures else {}


def cast(tensors: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """The tensors at another precision, by its name in `DTYPES`."""
    return {key: tensor.to(DTYPES[dtype]) for key, tensor in tensors.items()}


def _hashes(tensors: dict[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """kohya's `sshs_model_hash` (SHA-256 after the header) and `sshs_legacy_hash`, over ss_* metadata only.

    The metadata does not change what comes after the header, so modelspec's hash of the tensors is the same.
    """
    blob = safetensors.torch.save(tensors, {key: value for key, value in metadata.items() if key.startswith("ss_")})
    after_header = 8 + int.from_bytes(blob[:8], "little")
    content = hashlib.sha256(blob[after_header:]).hexdigest()
    return {
        "sshs_model_hash": content,
        "modelspec.hash_sha256": f"0x{content}",
        "sshs_legacy_hash": hashlib.sha256(blob[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8],
    }


def describe(recipe: Recipe, dataset: Dataset, plan: Plan, facts: Mapping[str, str]) -> dict[str, str]:
    """The metadata that stays the same for every epoch of a run, kohya's names first."""
    network, optimizer = recipe.network, recipe.optimizer
    size = f"{recipe.buckets.resolution}x{recipe.buckets.resolution}"
    values = {
        "ss_network_module": "lycoris.kohya" if network.lycoris else "networks.lora",
        "ss_network_dim": network.dim,
        "ss_network_alpha": network.alpha,
        "ss_network_args": json.dumps(network_args(recipe)),
        "ss_network_dropout": network.network_dropout or None,
        "ss_learning_rate": optimizer.unet_lr,
        "ss_unet_lr": optimizer.unet_lr,
        "ss_text_encoder_lr": ", ".join(map(str, optimizer.text_rates)),
        "ss_lr_scheduler": optimizer.lr_scheduler,
        "ss_optimizer": optimizer.optimizer_type,
        "ss_max_grad_norm": optimizer.max_grad_norm,
        "ss_num_epochs": plan.epochs,
        "ss_max_train_steps": plan.steps,
        "ss_batch_size_per_device": recipe.amount.batch_size,
        "ss_gradient_accumulation_steps": recipe.amount.accumulation,
        "ss_gradient_checkpointing": recipe.compute.gradient_checkpointing,
        "ss_mixed_precision": {"bf16": "bf16", "fp16": "fp16"}.get(recipe.compute.precision, "no"),
        "ss_lr_warmup_steps": parse_span(optimizer.warmup).steps(steps=plan.steps, steps_an_epoch=plan.steps_an_epoch),
        "ss_clip_skip": recipe.captions.clip_skip,
        "ss_max_token_length": recipe.captions.max_token_length or None,
        "ss_noise_offset": recipe.noise.noise_offset or None,
        "ss_adaptive_noise_scale": recipe.noise.adaptive_noise_scale or None,
        "ss_multires_noise_iterations": recipe.noise.multires_noise_iterations or None,
        "ss_multires_noise_discount": recipe.noise.multires_noise_discount,
        "ss_ip_noise_gamma": recipe.noise.ip_noise_gamma or None,
        "ss_debiased_estimation": recipe.loss.debiased_estimation,
        "ss_loss_type": recipe.loss.loss_type,
        "ss_scale_weight_norms": network.scale_weight_norms or None,
        "ss_flip_aug": recipe.buckets.flip_aug,
        "ss_random_crop": recipe.buckets.random_crop,
        "ss_color_aug": recipe.buckets.color_aug,
        "ss_enable_bucket": recipe.buckets.enable_bucket,
        "ss_bucket_no_upscale": recipe.buckets.bucket_no_upscale,
        "ss_min_bucket_reso": recipe.buckets.min_bucket,
        "ss_max_bucket_reso": recipe.buckets.max_bucket,
        "ss_num_train_images": sum(n for n, r in zip(plan.repeats, plan.records, strict=True) if not r.is_reg),
        "ss_num_reg_images": sum(n for n, r in zip(plan.repeats, plan.records, strict=True) if r.is_reg),
        "ss_shuffle_caption": recipe.captions.shuffle_caption,
        "ss_keep_tokens": recipe.captions.keep_tokens,
        "ss_min_snr_gamma": recipe.loss.min_snr_gamma or None,
        "ss_prior_loss_weight": recipe.loss.prior_loss_weight,
        "ss_resolution": f"({recipe.buckets.resolution}, {recipe.buckets.resolution})",
        "ss_seed": recipe.seed,
        "ss_datasets": json.dumps([_as_kohya_lists_it(recipe, dataset, plan)]),
        "ss_tag_frequency": json.dumps(_tag_frequency(dataset)),
        "ss_dataset_dirs": json.dumps(_dataset_dirs(record for record in dataset if not record.is_reg)),
        "ss_reg_dataset_dirs": json.dumps(_dataset_dirs(record for record in dataset if record.is_reg)),
        "ss_bucket_info": json.dumps(_bucket_info(plan)),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.resolution": size,
        "modelspec.trigger_phrase": ", ".join(dataset.triggers),
        TRAINED_WORDS: ", ".join(dataset.triggers),
    }
    return {**{key: str(value) for key, value in values.items()}, **facts}


def network_args(recipe: Recipe) -> dict[str, Any]:
    """kohya's and LyCORIS's network_args for a recipe, those at their defaults left out."""
    network, blocks = recipe.network, recipe.blocks
    names = {"LoHa": "loha", "LoKr": "lokr", "DyLoRA": "dylora", "GLoRA": "glora", "OFT": "diag-oft", "BOFT": "boft"}
    values: dict[str, Any] = {
        "algo": names.get(network.network_type) or ("locon" if network.lycoris else None),
        "conv_dim": network.conv_dim,
        "conv_alpha": network.conv_alpha if network.conv_dim else None,
        "rank_dropout": network.rank_dropout,
        "module_dropout": network.module_dropout,
        "dora_wd": network.dora,
        "use_tucker": network.use_tucker,
        "factor": network.lokr_factor if network.network_type == "LoKr" else None,
        "constraint": network.constraint,
        **{name: getattr(blocks, name).strip() for name in _BLOCK_ARGS},
    }
    values |= parse_arguments(network.network_args, "network_args")
    if recipe.optimizer.loraplus_unet_lr_ratio != 1:
        values["loraplus_unet_lr_ratio"] = recipe.optimizer.loraplus_unet_lr_ratio
    if recipe.optimizer.loraplus_text_lr_ratio != 1:
        values["loraplus_text_encoder_lr_ratio"] = recipe.optimizer.loraplus_text_lr_ratio
    return {name: value for name, value in values.items() if value}


def _tag_frequency(dataset: Dataset) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for record in dataset:
        if record.is_reg:
            continue
        group = found.setdefault(f"{record.repeats}_{record.group or 'dataset'}", {})
        for tag in record.tags:
            group[tag] = group.get(tag, 0) + 1
    return found


def _dataset_dirs(records: Iterable[Record]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for record in records:
        row = found.setdefault(
            f"{record.repeats}_{record.group or 'dataset'}", {"n_repeats": record.repeats, "img_count": 0}
        )
        row["img_count"] += 1
    return found


def _as_kohya_lists_it(recipe: Recipe, dataset: Dataset, plan: Plan) -> dict[str, object]:
    """The dataset as an entry of `ss_datasets`: its settings, counts and groups; where it lies is nobody's business."""
    buckets = recipe.buckets
    kinds: dict[tuple[bool, tuple[str, ...]], list[Record]] = {}
    for record in sorted(dataset, key=lambda record: record.is_reg):
        kinds.setdefault((record.is_reg, record.own), []).append(record)
    subsets = [
        {
            "image_dir": name.partition("_")[2], "img_count": row["img_count"], "num_repeats": row["n_repeats"],
            "is_reg": is_reg, "color_aug": own.buckets.color_aug, "flip_aug": own.buckets.flip_aug,
            "random_crop": own.buckets.random_crop, "shuffle_caption": own.captions.shuffle_caption,
            "keep_tokens": own.captions.keep_tokens,
        }
        for (is_reg, _), records in kinds.items()
        for own in (recipe_for(recipe, records[0]),)
        for name, row in _dataset_dirs(records).items()
    ]  # fmt: skip
    seen = Counter[bool]()
    for repeats, record in zip(plan.repeats, plan.records, strict=True):
        seen[record.is_reg] += repeats
    return {
        "is_dreambooth": True,
        "batch_size_per_device": recipe.amount.batch_size,
        "num_train_images": seen[False],
        "num_reg_images": seen[True],
        "resolution": [buckets.resolution, buckets.resolution],
        "enable_bucket": buckets.enable_bucket,
        "min_bucket_reso": buckets.min_bucket,
        "max_bucket_reso": buckets.max_bucket,
        "tag_frequency": _tag_frequency(dataset),
        "bucket_info": _bucket_info(plan),
        "subsets": subsets,
    }


def _bucket_info(plan: Plan) -> dict[str, object]:
    rows = enumerate(sorted(plan.images().items()))
    return {"buckets": {str(i): {"resolution": list(size), "count": count} for i, (size, count) in rows}}
