"""Tiny untrained checkpoints of other families, made of the host's own classes: SDXL, SDXL with v prediction, SD3.

They keep the trainer honest about families: names in saved files, two text encoders, size conditioning, noise.
`register` makes the host know them (`hostpack` calls it); `write_checkpoint` needs the host importable.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import comfy.sdxl_clip
import comfy.supported_models as supported
import comfy.supported_models_base
import comfy.taesd.taesd
import comfy.text_encoders.sd3_clip as sd3_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

WIDTH = 64
# Three layers: these families read the last but one.
TEXT = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 2, "num_hidden_layers": 3}
# The pooled text of the larger encoder, and six numbers of 256 for the sizes.
SIZE_CHANNELS = WIDTH + 6 * 256
SDXL_UNET: dict[str, Any] = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1, 1],
    "channel_mult": [1, 2, 2],
    "transformer_depth": [0, 1, 1],
    "transformer_depth_output": [0, 0, 1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": 2 * WIDTH,
    "adm_in_channels": SIZE_CHANNELS,
    "num_classes": "sequential",
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "use_temporal_attention": False,
    "legacy": False,
}
SD3_DIT: dict[str, Any] = {
    "depth": 2,
    "in_channels": 16,
    "out_channels": 16,
    "patch_size": 2,
    "input_size": None,
    "num_patches": 256,
    "pos_embed_max_size": 16,
    "pos_embed_scaling_factor": None,
    "qk_norm": "rms",
    "adm_in_channels": 2 * WIDTH,
    # The host widens every text encoder's output to T5's 4096.
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 128}},
}


def _small(model_options: dict[str, Any] | None) -> dict[str, Any]:
    """The host's text encoders read their sizes from here too."""
    return {**(model_options or {}), "clip_l_model_config": TEXT, "clip_g_model_config": TEXT}


class MiniSDXLClip(comfy.sdxl_clip.SDXLClipModel):
    """SDXL's two text encoders at the miniature size."""

    def __init__(self, device="cpu", dtype=None, model_options=None):
        super().__init__(device=device, dtype=dtype, model_options={**_small(model_options), "model_name": "clip_l"})


class MiniSD3Clip(sd3_clip.SD3ClipModel):
    """SD3's text side without T5, at the miniature size."""

    def __init__(self, device="cpu", dtype=None, model_options=None):
        options = {**_small(model_options), "model_name": "clip_l"}
        super().__init__(clip_l=True, clip_g=True, t5=False, device=device, dtype=dtype, model_options=options)


class MiniSDXL(supported.SDXL):
    """SDXL's family, told apart by its width. With `v_pred` among its keys the host takes it for v prediction."""

    unet_config = {  # noqa: RUF012 - the host reads a plain class attribute
        **supported.SDXL.unet_config,
        **{key: SDXL_UNET[key] for key in ("model_channels", "transformer_depth", "context_dim", "adm_in_channels")},
    }

    def clip_target(self, state_dict=None):
        return comfy.supported_models_base.ClipTarget(comfy.sdxl_clip.SDXLTokenizer, MiniSDXLClip)


class MiniSD3(supported.SD3):
    """SD3's family, told apart by its depth."""

    unet_config = {**supported.SD3.unet_config, "depth": SD3_DIT["depth"]}  # noqa: RUF012 - as above

    def clip_target(self, state_dict=None):
        return comfy.supported_models_base.ClipTarget(sd3_clip.SD3Tokenizer, MiniSD3Clip)


class Variant(NamedTuple):
    """What a checkpoint is made of; `markers` are the empty tensors that tell the host more."""

    family: Callable[[dict[str, Any]], Any]
    network: dict[str, Any]
    text: Callable[[], nn.Module]
    markers: tuple[str, ...] = ()


VARIANTS: dict[str, Variant] = {
    "sdxl": Variant(MiniSDXL, SDXL_UNET, MiniSDXLClip),
    # As anime checkpoints with zero terminal SNR come.
    "sdxl-v": Variant(MiniSDXL, SDXL_UNET, MiniSDXLClip, ("v_pred", "ztsnr")),
    "sd3": Variant(MiniSD3, SD3_DIT, MiniSD3Clip),
}


def register() -> None:
    """Make the host recognise these checkpoints. Safe to call again."""
    for family in (MiniSDXL, MiniSD3):
        if family not in supported.models:
            supported.models.insert(0, family)


def write_checkpoint(variant: str, folder: Path, *, seed: int = 0) -> Path:
    """Write `<folder>/kiln-<variant>.safetensors`, fp16, in the layout of the family's real files."""
    chosen = VARIANTS[variant]
    generator = torch.Generator().manual_seed(seed)
    markers = {name: torch.zeros(0) for name in chosen.markers}
    family = chosen.family(chosen.network)
    family.set_inference_dtype(torch.float32, None)
    model = family.get_model(dict(markers), device="cpu")
    text = chosen.text()
    autoencoder = comfy.taesd.taesd.TAESD(latent_channels=chosen.network["in_channels"])
    for module in (model.diffusion_model, text, autoencoder):
        _fill(module, generator)
    parts = {"clip_state_dict": text.state_dict(), "vae_state_dict": autoencoder.state_dict()}
    # Newer hosts ask for the network's own too.
    if "unet_state_dict" in inspect.signature(model.state_dict_for_saving).parameters:
        parts["unet_state_dict"] = model.diffusion_model.state_dict()
    state = {**model.state_dict_for_saving(**parts), **markers}
    file = folder / f"kiln-{variant}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: _half(value) for key, value in state.items()}, file)
    return file


def _fill(module: nn.Module, generator: torch.Generator) -> None:
    """Random weights; the host's classes leave their memory as it was."""
    for name, tensor in module.state_dict().items():
        if tensor.ndim == 1:
            tensor.fill_(0.0 if name.endswith("bias") else 1.0)
        elif tensor.ndim > 1 and tensor.is_floating_point():
            tensor.normal_(0.0, 1 / math.sqrt(math.prod(tensor.shape[1:])), generator=generator)


def _half(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float16 if tensor.is_floating_point() else tensor.dtype).clone().contiguous()
