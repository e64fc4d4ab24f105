"""Putting LoRAs on the host's models, and where the host keeps them."""

from __future__ import annotations

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


def lora_names() -> list[str]:
    """The LoRA files as the host's loaders list them."""
    found: list[str] = folder_paths.get_filename_list("loras")
    return found


def lora_file(name: str) -> Path:
    """The file of a name that the host lists, or of a whole path. Raises ValueError when there is none."""
    file = Path(name) if Path(name).is_absolute() else Path(folder_paths.get_full_path("loras", name) or "")
    if not file.is_file():
        raise ValueError(f"{name!r} is no file in models/loras; give its name there, or a whole path")
    return file


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
    # LyCORIS's factors have many names; a layer's own has no dot.
    return sorted({key.partition(".")[0] for key in lora} - set(known))
