"""Which loaded layers can carry an adapter, and what they are called in saved files.

Names come from the host's own LoRA key maps, so whatever it would load is what we write.
"""

from __future__ import annotations

from typing import Any

import comfy.lora
from torch import nn

from ..trainer.ports import BlockCounts, Layer

# kohya's choice for UNets: the transformer blocks and their projections; residual blocks and samplers are LoCon's, the
# ends and what reads the noise level only LyCORIS's.
_UNET_LINEAR = (".transformer_blocks.", ".proj_in", ".proj_out")
_UNET_LOCON = (".emb_layers.", ".skip_connection")
_UNET_LYCORIS = ("input_blocks.0.0", "out.2", "time_embed.0", "time_embed.2")
_DIFFUSERS_PREFIXES = (
    "lora_unet_down_blocks_", "lora_unet_mid_block_", "lora_unet_up_blocks_", "lora_unet_conv_in", "lora_unet_conv_out",
    "lora_unet_time_embedding_",
)  # fmt: skip


def unet_layers(model: Any) -> list[Layer]:
    """Layers of a loaded diffusion model (`comfy.model_base.BaseModel`), in their order in the model."""
    names = _names(comfy.lora.model_lora_keys_unet(model, {}))
    prefer = _DIFFUSERS_PREFIXES if _is_sd1(model) else ()
    is_unet = _is_unet(model)
    blocks = () if is_unet else _blocks(model.diffusion_model)
    layers = []
    for path, module in model.diffusion_model.named_modules():
        keys = [key for key in names.get(f"diffusion_model.{path}.weight", ()) if key.startswith("lora_unet_")]
        if not keys or not (is_linear(module) or isinstance(module, nn.Conv2d)):
            continue
        if isinstance(module, nn.Conv2d) and module.groups != 1:
            continue
        conv = isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)
        share = _unet_share(path, conv) if is_unet else "base" if not blocks or path.startswith(blocks) else "ends"
        if not share:
            continue
        key = next((key for key in keys if key.startswith(prefer)), keys[0]) if prefer else keys[0]
        layers.append(Layer(key=key, module=module, part="unet", conv=conv, share=share, place=_place(path)))
    return layers


def is_linear(module: nn.Module) -> bool:
    """A linear layer; those of the host that hold packed weights are of a class of their own."""
    return isinstance(module, nn.Linear) or (hasattr(module, "in_features") and hasattr(module, "out_features"))


def _blocks(network: nn.Module) -> tuple[str, ...]:
    """What the names of layers in a transformer's blocks begin with; kohya's networks cover these and nothing else."""
    lists = (nn.ModuleList, nn.ModuleDict)
    return tuple(f"{path}." for path, module in network.named_modules() if isinstance(module, lists))


def _unet_share(path: str, conv: bool) -> str:
    """Who trains a UNet's layer (`Layer.share`); empty for those that nobody does."""
    if path in _UNET_LYCORIS:
        return "lycoris"
    if any(part in f".{path}" for part in _UNET_LINEAR):
        return "base"
    return "locon" if conv or any(part in f".{path}" for part in _UNET_LOCON) else ""


def block_counts(model: Any) -> BlockCounts | None:
    """A UNet's input, middle and output blocks; SD's middle counts as one, SDXL's as three, as in kohya's lists."""
    network = model.diffusion_model
    if not hasattr(network, "input_blocks"):
        return None
    # KOALA's UNet has none.
    middle = 1 if _is_sd1(model) else len(network.middle_block or ())
    return BlockCounts(down=len(network.input_blocks), mid=middle, up=len(network.output_blocks))


def _place(path: str) -> tuple[str, int] | None:
    kind, _, rest = path.partition(".")
    part = {"input_blocks": "down", "middle_block": "mid", "output_blocks": "up"}.get(kind)
    return (part, int(rest.partition(".")[0])) if part else None


def text_layers(clip: Any) -> list[Layer]:
    """Attention and MLP layers of the loaded text encoders (`comfy.sd.CLIP`)."""
    model = clip.cond_stage_model
    names = _names(comfy.lora.model_lora_keys_clip(model, {}))
    several = any(key.startswith("lora_te2_") for keys in names.values() for key in keys)
    found: dict[str, tuple[str, nn.Module]] = {}
    for path, module in model.named_modules():
        keys = [key for key in names.get(f"{path}.weight", ()) if key.startswith("lora_te")]
        if not keys or not is_linear(module) or path.endswith("text_projection"):
            continue
        numbered = [key for key in keys if key.startswith(("lora_te1_", "lora_te2_", "lora_te3_"))]
        plain = [key for key in keys if key.startswith("lora_te_")]
        # Beside CLIP-L alone, T5 goes by two numbers; kohya's is the higher one.
        found[path] = (((numbered if several else plain) or keys)[-1], module)
    encoders = sorted({_encoder(key) for key, _ in found.values()})
    return [
        Layer(key=key, module=one, part="text", conv=False, t5="t5" in path, encoder=encoders.index(_encoder(key)))
        for path, (key, one) in found.items()
    ]


def _encoder(key: str) -> str:
    """Which text encoder a saved name is of: `te`, `te1`, `te2`, ..."""
    return key.split("_", 2)[1]


def _is_unet(model: Any) -> bool:
    """Whether its layers go by a UNet's rules; Cosmos has channels too, but no residual blocks."""
    return "num_res_blocks" in model.model_config.unet_config


def _is_sd1(model: Any) -> bool:
    """SD1.x and SD2.x files use diffusers' names; SDXL's and everybody else's the native ones."""
    return _is_unet(model) and model.model_config.unet_config.get("adm_in_channels") is None


def _names(key_map: dict[str, Any]) -> dict[str, list[str]]:
    """Weight name to the file keys that load into it, in the host's order."""
    found: dict[str, list[str]] = {}
    for key, weight in key_map.items():
        if isinstance(weight, str):
            found.setdefault(weight, []).append(key)
    return found
