"""Putting LoRAs on the host's models, and where the host keeps them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.sd
import folder_paths
from torch import Tensor


def run_root() -> Path:
    """Where runs lie: below the host's output folder."""
    return Path(folder_paths.get_output_directory()) / "kiln"


def lora_folder() -> Path:
    """The folder that the host's LoRA loaders list."""
    return Path(folder_paths.get_folder_paths("loras")[0])


def with_lora(model: Any, clip: Any, lora: dict[str, Tensor], strength: float) -> tuple[Any, Any]:
    """Clones of MODEL and CLIP with the LoRA at `strength`; the originals stay as they are."""
    if strength == 0:
        return model, clip
    patched, patched_clip = comfy.sd.load_lora_for_models(model, clip, dict(lora), strength, strength)
    return patched, patched_clip


def unmatched_keys(model: Any, clip: Any, lora: dict[str, Tensor]) -> list[str]:
    """Names in the file that the host would load nowhere."""
    known = comfy.lora.model_lora_keys_unet(model.model, {})
    known = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, known)
    names = {key.rsplit(".lora_", 1)[0].removesuffix(".alpha") for key in lora}
    return sorted(name for name in names if name not in known)


def model_mark(model: Any, clip: Any) -> str:
    """A short text that tells loaded models apart: a sample of each weight, every patch, and the noise schedule."""
    digest = hashlib.sha256()
    sampling = model.get_model_object("model_sampling")
    kinds = [kind.__name__ for kind in type(sampling).__mro__]
    digest.update(repr((kinds, _sampled(sampling.sigmas))).encode())
    for patcher in (model, clip.patcher):
        # Not `state_dict`: while a LoRA is loaded the sum stands there, and the weights in the patcher's backup.
        for name, parts in patcher.get_key_patches().items():
            # SD1.x files have none, and the host leaves it as it found the memory.
            if not name.endswith("text_projection.weight"):
                digest.update(repr((name, _sampled(parts))).encode())
    return digest.hexdigest()


def _sampled(value: Any) -> Any:
    """The value with shapes and first numbers in place of tensors, the same in every session."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.flatten()[:8].float().tolist()
    if isinstance(value, list | tuple):
        return [_sampled(one) for one in value]
    # The host wraps a LoRA's tensors into an adapter object.
    if hasattr(value, "weights"):
        return type(value).__name__, _sampled(value.weights)
    return value if isinstance(value, str | int | float | None) else type(value).__name__
