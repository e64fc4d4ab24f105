"""Which epoch, at which strength, and does it work on other models: a finished run, judged and saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parts import CCIP, CHARACTER, PANEL, SD15, TAGGER, TRIGGER, note
from .sheet import WIDE, Json, Sheet

NAME = "epoch_choice"
OTHER = "dreamshaper_8.safetensors"
NOTE = note(
    "Which epoch, and does it work on other models",
    "Nothing is trained here. A run that is already there is painted epoch by epoch and scored; the best one is saved. "
    "Then the same run on other checkpoints of the family: a LoRA for others must not know one model only.",
    ("sd15", "judges"),
    (
        f"**Load Run**: a run below `output/kiln`, such as `{CHARACTER}` of *one_image_character*. "
        "It may be unfinished.",
        f"**Load Dataset**: the pictures that it learned from (`input/{CHARACTER}/first`): likeness and bleed are "
        "measured against them.",
        "**Epoch Sweep** *Which epoch*: prompts that leave her looks to the trigger measure recall; what they name "
        "measures flexibility. Take three seeds or more before you trust a close result.",
        f"**Epoch Sweep** *Other models*: names of checkpoints in *base_models*, one a line (`{OTHER}` stands for "
        "yours), and block weights in *block_presets*.",
        "**Save LoRA** takes epoch and strength from the first sweep. **Why this epoch** says what spoke for it; type "
        "another epoch if your eye disagrees.",
        "The *page* of each sweep opens in any browser, for a friend without ComfyUI.",
    ),
)
PROMPTS = (
    f"as drawn = {TRIGGER}, 1girl, solo, standing, full body, white background",
    f"elsewhere = {TRIGGER}, 1girl, solo, smile, cowboy shot, forest, day",
    f"other clothes = {TRIGGER}, 1girl, solo, blue dress, standing, full body, beach",
    f"other style = {TRIGGER}, 1girl, solo, sketch, upper body",
)


def build(object_info: Mapping[str, Any]) -> Json:
    """The workflow in the page's form."""
    sheet = Sheet(object_info, NAME)
    sheet.group("Model, run and pictures", "model")
    sheet.note(NOTE)
    sheet.column()
    base = sheet.add("CheckpointLoaderSimple", "The model that it was trained on", ckpt_name=SD15)
    run = sheet.add("KilnLoadRun", run=CHARACTER)
    loaded = sheet.add("KilnLoadDataset", "What it learned from", folder=f"{CHARACTER}/first")
    tagged = sheet.add("KilnAutoTag", dataset=loaded["dataset"], model=TAGGER)

    common = {
        **base.loaded(), "run": run["run"], "dataset": tagged["dataset"], "prompts": "\n".join(PROMPTS), "width": 512,
        "height": 512, "tagger": TAGGER, "ccip": CCIP,
    }  # fmt: skip
    sheet.group("Which epoch, at which strength", "result")
    judged = sheet.add(
        "KilnEpochSweep", "Which epoch", wide=PANEL, epochs="all", strengths="0.6, 0.8, 1.0", seeds="7, 42", **common
    )
    sheet.column()
    sheet.add("SaveImage", "Epochs and strengths", wide=PANEL, images=judged["grid"], filename_prefix="kiln/epochs")
    sheet.add("PreviewImage", "Flexibility against trait recall", wide=PANEL, images=judged["plot"])
    sheet.column()
    sheet.add("PreviewAny", "Why this epoch", wide=WIDE, source=judged["reason"])
    sheet.add("PreviewAny", "Scores", wide=WIDE, source=judged["table"])
    sheet.add("PreviewAny", "Page for the browser", wide=WIDE, source=judged["page"])

    sheet.group("Does it work on other models", "paint")
    moved = sheet.add(
        "KilnEpochSweep", "Other models", wide=PANEL, epochs="last 2", strengths="0.8, 1.0", base_models=OTHER,
        block_presets="OUTD", **common,
    )  # fmt: skip
    sheet.column()
    sheet.add("SaveImage", "Model by model", wide=PANEL, images=moved["grid"], filename_prefix="kiln/models")
    sheet.add("PreviewAny", "What was compared", wide=PANEL, source=moved["report"])

    sheet.group("Save it", "train")
    sheet.add(
        "KilnSaveLoRA", run=run["run"], file_name=f"{CHARACTER}_best", epoch=judged["best_epoch"],
        strength=judged["best_strength"], cover=judged["grid"],
    )  # fmt: skip
    return sheet.workflow()
