"""What several examples share: names of models, the recipe of a preset, and the group that judges and saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .sheet import WIDE, Placed, Sheet, Wire

SDXL = "animagine-xl-3.1.safetensors"
SD15 = "anything-v5.safetensors"
CANNY = "control_v11p_sd15_canny.safetensors"
LINEART = "control_v11p_sd15s2_lineart_anime.safetensors"
TAGGER = "SmilingWolf/wd-eva02-large-tagger-v3"
CCIP = "deepghs/ccip_onnx/ccip-caformer-24-randaug-pruned"
CHARACTER, TRIGGER = "my_character", "kierose"
PANEL = 480
"""Width of nodes inside which the page draws a panel."""

MODELS = {
    "sdxl": f"**Load Checkpoint**: an SDXL anime checkpoint in `models/checkpoints`. `{SDXL}` stands for yours; "
    "Illustrious, NoobAI and Pony models do too.",
    "sd15": f"**Load Checkpoint**: an SD 1.5 anime checkpoint in `models/checkpoints`. `{SD15}` stands for yours.",
    "canny": f"**Load ControlNet**: a *canny* ControlNet for SD 1.5 in `models/controlnet` (`{CANNY}`).",
    "lineart": f"A *line art* ControlNet for SD 1.5 beside it (`{LINEART}`); without one, unwire it.",
    "tagger": f"**Auto Tag**: `{TAGGER}` is downloaded when it is first used. Any tagger folder in "
    "`models/kiln/taggers` does too.",
    "judges": "**Epoch Sweep**: the same tagger, and a CCIP model that is downloaded when first used; set either to "
    "`none` to do without its scores.",
}  # fmt: skip
"""What a person has to get, and where to put it."""


def note(title: str, story: str, models: Sequence[str], steps: Sequence[str]) -> str:
    """A note: what the workflow is for, the models it needs, and what to set."""
    needs = "\n".join(f"- {MODELS[name]}" for name in models)
    doing = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    return f"# {title}\n\n{story}\n\n## Models\n\n{needs}\n\n## What to do\n\n{doing}"


def add_recipe(sheet: Sheet, object_info: Mapping[str, Any], preset: str, **own: Any) -> Placed:
    """A Recipe with a preset's values as the page fills them in.

    AdamW stands in for the presets' 8-bit one, and the model's own precision for fp16: both run on every machine, and
    a LoRA's optimizer state is small.
    """
    presets = object_info["KilnRecipe"]["input"]["required"]["preset"][1]["presets"]
    anywhere = {"optimizer_type": "AdamW", "precision": "model's own"}
    return sheet.add("KilnRecipe", preset=preset, **{**presets[preset], **anywhere, **own})


def add_training(sheet: Sheet, base: Placed, dataset: Wire, recipe: Placed, name: str) -> Placed:
    """Train LoRA, with its loss below it."""
    train = sheet.add("KilnTrainLoRA", wide=PANEL, name=name, dataset=dataset, recipe=recipe["recipe"], **base.loaded())
    sheet.add("PreviewImage", "Loss", wide=PANEL, images=train["loss plot"])
    return train


def add_result(
    sheet: Sheet, base: Placed, run: Wire, dataset: Wire, *, prompts: Sequence[str], side: int, name: str, **sweep: Any
) -> Placed:
    """The group in which the epochs are compared and the best one is saved."""
    sheet.group("Choose the epoch and save it", "result")
    judged = sheet.add(
        "KilnEpochSweep", wide=PANEL, run=run, dataset=dataset, prompts="\n".join(prompts), width=side, height=side,
        tagger=TAGGER, ccip=CCIP, **base.loaded(), **sweep,
    )  # fmt: skip
    sheet.column()
    sheet.add("SaveImage", "The grid", wide=PANEL, images=judged["grid"], filename_prefix=f"kiln/{name}_grid")
    sheet.add("PreviewImage", "Flexibility against trait recall", wide=PANEL, images=judged["plot"])
    sheet.column()
    sheet.add("PreviewAny", "Why this epoch", wide=WIDE, source=judged["reason"])
    sheet.add("PreviewAny", "Sweep report", wide=WIDE, source=judged["report"])
    sheet.add(
        "KilnSaveLoRA", run=run, file_name=name, epoch=judged["best_epoch"], strength=judged["best_strength"],
        cover=judged["grid"],
    )  # fmt: skip
    return judged
