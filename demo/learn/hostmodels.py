"""The host's own network classes with fresh weights, so that what is trained here loads there."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from torch import Tensor, nn

from .. import family


def import_host() -> None:
    """Make the host importable (`COMFYUI_PATH`), on the CPU unless there is CUDA, with PyTorch's attention."""
    path = os.environ.get("COMFYUI_PATH")
    if not path:
        raise SystemExit("COMFYUI_PATH names no ComfyUI; start this through `python dev.py world`")
    if path not in sys.path:
        sys.path.insert(0, path)
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    args.use_pytorch_cross_attention = True


def unet(**changes: Any) -> nn.Module:
    """The miniature UNet, freshly initialised, fp32."""
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    model = UNetModel(**{**family.UNET, **changes}, operations=comfy.ops.disable_weight_init)
    initialise(model)
    for name, module in model.named_modules():
        if name.endswith(("out_layers.3", "proj_out")) or name == "out.2":
            _zero(module)
    return model


def controlnet() -> nn.Module:
    """A ControlNet for the miniature UNet; its outputs start at zero."""
    import comfy.ops
    from comfy.cldm.cldm import ControlNet

    config = {key: value for key, value in family.UNET.items() if key != "out_channels"}
    model = ControlNet(**config, hint_channels=3, operations=comfy.ops.disable_weight_init)
    initialise(model)
    for name, module in model.named_modules():
        if name.startswith(("zero_convs", "middle_block_out")) or name == "input_hint_block.14":
            _zero(module)
    return model


def text_model() -> nn.Module:
    """The miniature text encoder, freshly initialised, fp32. Its layers add in place, which backward forbids."""
    import comfy.clip_model
    import comfy.ops

    model = comfy.clip_model.CLIPTextModel(family.TEXT, torch.float32, "cpu", comfy.ops.disable_weight_init)
    initialise(model)
    for layer in model.text_model.encoder.layers:
        for norm in (layer.layer_norm1, layer.layer_norm2):
            norm.register_forward_pre_hook(lambda _module, inputs: (inputs[0].clone(),))
    return model


def encode(model: nn.Module, tokens: Tensor) -> Tensor:
    """Token ids [B, 77] -> conditioning [B, 77, C], as the host's CLIP makes it (last layer, final norm)."""
    out: Tensor = model.text_model(tokens)[0]
    return out


def initialise(model: nn.Module) -> None:
    """PyTorch's usual initial weights; the host's classes leave their memory as it is."""
    for module in model.modules():
        for kind in (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm):
            if isinstance(module, kind):
                kind.reset_parameters(module)
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)


def _zero(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
