"""kohya_ss GUI files, as the sd-scripts settings that the GUI would pass on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from .kohya_keys import BLOCK_RANKS, BLOCK_WEIGHTS, LYCORIS
from .kohya_sheet import Sheet, as_flag, is_blank, is_off

RENAMED = {
    "max_resolution": "resolution",
    "optimizer": "optimizer_type",
    "lora_network_weights": "network_weights",
    "sample_prompts": "sample_text",
    "stop_text_encoder_training_pct": "stop_text_encoder_training",
    "sdxl_cache_text_encoder_outputs": "cache_text_encoder_outputs",
    "sdxl_no_half_vae": "no_half_vae",
    "train_t5xxl": "net:train_t5xxl",
    "train_blocks": "net:train_blocks",
    "loraplus_lr_ratio": "net:loraplus_lr_ratio",
    "loraplus_unet_lr_ratio": "net:loraplus_unet_lr_ratio",
    "loraplus_text_encoder_lr_ratio": "net:loraplus_text_encoder_lr_ratio",
}
FAMILIES = {
    "flux1": "flux1_checkbox",
    "sd3": "sd3_checkbox",
    "hunyuan": "hunyuan_image_checkbox",
    "hunyuan_image": "hunyuan_image_checkbox",
    "anima": "anima_checkbox",
    "lumina": "lumina_checkbox",
}
"""The prefix of a family's keys, and the key that says whether it is trained."""
FAMILY_KEYS = {
    "discrete_flow_shift": "flux1", "timestep_sampling": "flux1", "model_prediction_type": "flux1", "ae": "flux1",
    "guidance_scale": "flux1", "t5xxl_max_token_length": "flux1", "apply_t5_attn_mask": "flux1", "clip_l": "flux1",
    "split_mode": "flux1", "train_blocks": "flux1", "split_qkv": "flux1", "train_t5xxl": "flux1", "t5xxl": "flux1",
    "t5xxl_lr": "flux1", "train_lora_ggpo": "flux1", "ggpo_beta": "flux1", "ggpo_sigma": "flux1",
    "enable_all_linear": "flux1", "img_attn_dim": "flux1", "img_mlp_dim": "flux1", "img_mod_dim": "flux1",
    "txt_attn_dim": "flux1", "txt_mlp_dim": "flux1", "txt_mod_dim": "flux1", "single_dim": "flux1",
    "single_mod_dim": "flux1", "in_dims": "flux1", "train_double_block_indices": "flux1",
    "train_single_block_indices": "flux1", "cpu_offload_checkpointing": "flux1", "fp8_base_unet": "flux1",
    "weighting_scheme": "sd3", "logit_mean": "sd3", "logit_std": "sd3", "mode_scale": "sd3", "clip_g": "sd3",
    "clip_g_dropout_rate": "sd3", "pos_emb_random_crop_rate": "sd3", "save_clip": "sd3", "save_t5xxl": "sd3",
    "t5xxl_device": "sd3", "t5xxl_dtype": "sd3",
}  # fmt: skip
"""Keys without a prefix that the GUI passes on for one family only."""

_DROPOUTS = ("rank_dropout", "module_dropout")
_KOHYA = (*BLOCK_WEIGHTS, *BLOCK_RANKS, "block_lr_zero_threshold", *_DROPOUTS)
_CONV = ("conv_dim", "conv_alpha")
_LYCORIS = ("LyCORIS_preset", *_CONV, *_DROPOUTS, "use_tucker", "use_cp", "rank_dropout_scale", "train_norm")
_ADDED = ("bypass_mode", "dora_wd", "use_scalar")
TYPES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "Standard": ("networks.lora", "", _KOHYA),
    "Kohya LoCon": ("networks.lora", "", (*_KOHYA, *_CONV)),
    "Kohya DyLoRA": ("networks.dylora", "", (*_KOHYA, *_CONV, "unit")),
    "Kohya LoHa": ("networks.loha", "", (*_CONV, *_DROPOUTS, "use_tucker")),
    "Kohya LoKr": ("networks.lokr", "", (*_CONV, *_DROPOUTS, "use_tucker", "factor")),
    "LoRA-FA": ("networks.lora_fa", "", _KOHYA),
    "LoCon": (LYCORIS, "locon", (*_LYCORIS, *_ADDED)),
    "LyCORIS/LoCon": (LYCORIS, "locon", (*_LYCORIS, *_ADDED)),
    "LyCORIS/LoHa": (LYCORIS, "loha", (*_LYCORIS, *_ADDED)),
    "LyCORIS/LoKr": (LYCORIS, "lokr", (*_LYCORIS, *_ADDED, "factor", "decompose_both")),
    "LyCORIS/DyLoRA": (LYCORIS, "dylora", (*_LYCORIS, "unit")),
    "LyCORIS/GLoRA": (LYCORIS, "glora", _LYCORIS),
    "LyCORIS/BOFT": (LYCORIS, "boft", _LYCORIS),
    "LyCORIS/Diag-OFT": (LYCORIS, "diag-oft", (*_LYCORIS, "constrain", "rescaled")),
    "LyCORIS/iA3": (LYCORIS, "ia3", (*_LYCORIS, "train_on_input")),
    "LyCORIS/Native Fine-Tuning": (LYCORIS, "full", _LYCORIS),
    "Flux1": ("networks.lora_flux", "", _DROPOUTS),
    "Flux1 OFT": ("networks.oft_flux", "", ()),
    "Anima": ("networks.lora_anima", "", _DROPOUTS),
    "Lumina": ("networks.lora_lumina", "", _DROPOUTS),
    "HunyuanImage-2.1": ("networks.lora_hunyuan_image", "", _DROPOUTS),
}
"""The GUI's LoRA_type: sd-scripts' module, LyCORIS's algorithm, and the GUI's keys that become its arguments."""
_ARGUMENTS = {key for _, _, keys in TYPES.values() for key in keys}
_ARGUMENT_NAMES = {"LyCORIS_preset": "preset", "constrain": "constraint", "use_cp": "use_tucker"}
_NOISES = {
    "Original": ("multires_noise_iterations", "multires_noise_discount"),
    "Multires": ("noise_offset", "adaptive_noise_scale", "noise_offset_random_strength"),
}
"""What each noise_offset_type leaves out."""


def gui_sheet(values: Mapping[str, Any], file: str) -> Sheet:
    """The sheet of a GUI file's keys. Raises `KilnError` for `additional_parameters` that cannot be taken apart."""
    sheet = Sheet(file, "gui")
    kind = str(values.get("LoRA_type") or "Standard")
    wanted = TYPES.get(kind, TYPES["Standard"])[2]
    unused = _NOISES.get(str(values.get("noise_offset_type") or "Original"), ())
    for key, value in values.items():
        family = _family(key)
        if key == "t5xxl_lr" and as_flag(values.get(FAMILIES["sd3"])):
            family = "sd3"
        # Every key gets its place, so that lines keep the file's order.
        sheet.put(RENAMED.get(key, key), key, value)
        if key == "LoRA_type":
            _type(sheet, kind)
        elif key in _ARGUMENTS and key not in wanted:
            sheet.drop(key, f"no part of the type {kind}")
        elif key in _ARGUMENTS:
            _argument(sheet, key, value, kind)
        elif key in unused:
            sheet.drop(key, f"noise_offset_type is {values.get('noise_offset_type') or 'Original'}")
        elif family and as_flag(values.get(FAMILIES[family])):
            bare = key.removeprefix(f"{family}_")
            sheet.put(RENAMED.get(bare, bare), key, value)
            if key == "split_mode" and as_flag(value):
                sheet.put("net:train_blocks", key, "single")
        elif family:
            sheet.drop(RENAMED.get(key, key), "it is for another kind of model")
    sheet.say("noise_offset_type", "applied", "it chooses which of the noise settings count")
    _parameters(sheet)
    return sheet


def _type(sheet: Sheet, kind: str) -> None:
    module, algorithm, _ = TYPES.get(kind, TYPES["Standard"])
    sheet.put("network_module", "LoRA_type", kind if kind not in TYPES else module)
    if algorithm:
        sheet.put("net:algo", "LoRA_type", algorithm)


def _argument(sheet: Sheet, key: str, value: Any, kind: str) -> None:
    name = _ARGUMENT_NAMES.get(key, key)
    if (key, kind) == ("unit", "LyCORIS/DyLoRA"):
        name = "block_size"
    if name == "use_tucker" and sheet.has("net:use_tucker") and is_off(value):
        sheet.drop(key, "use_tucker is on")
    elif not is_blank(value):
        sheet.put(f"net:{name}", key, value)


def _family(key: str) -> str:
    """The model family whose key it is; empty for a key of all."""
    if key in FAMILY_KEYS:
        return FAMILY_KEYS[key]
    found = [prefix for prefix in FAMILIES if key.startswith(f"{prefix}_") and key != FAMILIES[prefix]]
    return max(found, key=len, default="")


def _parameters(sheet: Sheet) -> None:
    """`additional_parameters` is the end of a command line: `--max_grad_norm=0 --network_train_unet_only`."""
    name = "additional_parameters"
    text = sheet.text(name)
    if not text:
        return
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise sheet.fail(name, f"it cannot be taken apart ({error}); close its quotes") from error
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            option, equals, value = word[2:].partition("=")
            current = found.setdefault(option, [])
            current += [value] if equals else []
        elif found:
            current.append(word)
        else:
            raise sheet.fail(name, f"{word!r} belongs to no option; write --name value")
    for option, given in found.items():
        value_of: Any = given if len(given) > 1 or option.endswith("_args") else (given[0] if given else True)
        sheet.put(option, f"{name}.{option}", value_of)
    sheet.say(name, "applied", "its options are listed by themselves")
