"""Weights as the files that the host's loaders take: fp16 safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from . import vae
from .base import Base

MODELS = Path(__file__).resolve().parent.parent / "models"
CHECKPOINT = MODELS / "checkpoints" / "kiln-world-sd15.safetensors"
CONTROLNET = MODELS / "controlnet" / "kiln-world-canny.safetensors"
TAGGER = MODELS / "taggers" / "kiln-world-tagger"


def save_checkpoint(base: Base, enc: nn.Module, dec: nn.Module, file: Path = CHECKPOINT) -> None:
    """UNet, text encoder and autoencoder in one file, as `CheckpointLoaderSimple` loads SD1.5's."""
    _save(
        {
            **_prefixed("model.diffusion_model.", base.unet.state_dict()),
            **_prefixed("cond_stage_model.transformer.", base.text_state()),
            **_prefixed("first_stage_model.", vae.host_state(enc, dec)),
        },
        file,
    )


def save_controlnet(net: nn.Module, file: Path = CONTROLNET) -> None:
    """A ControlNet under its original (not diffusers') keys."""
    _save(net.state_dict(), file)


def _prefixed(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def _save(state: Mapping[str, Tensor], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    halves = {key: value.detach().to(torch.float16).contiguous() for key, value in state.items()}
    save_file(halves, file, {"format": "pt"})
