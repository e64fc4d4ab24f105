"""An art style as a LoHa: clean pictures, every tag kept, no trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parts import SD15, TAGGER, add_recipe, add_result, add_training, note
from .sheet import WIDE, Json, Sheet

NAME = "style_loha"
STYLE = "my_style"
NOTE = note(
    "An art style",
    "A style is what all the pictures share and no caption says: so captions keep every tag, and there is no trigger. "
    "A LoHa learns it with a small file and little of the subjects.",
    ("sd15", "tagger"),
    (
        f"**Load Dataset**: 50 pictures or more of one artist or medium in `input/{STYLE}`, of as many subjects as "
        "there are.",
        "**Remove Duplicates** shows its pairs; names of those that should stay go into *spare*.",
        "**Small Images** hands out what training would enlarge; put your upscaler in place of *Upscale Image By*.",
        "**Prune Tags** with *purpose* `style` takes nothing away but tags that another one implies.",
        "**Recipe**: a LoHa of rank 8 with convolutions (4), constant rate. It needs the package `lycoris-lora`.",
        "**Recipe: Saving**: the prompts are painted after each epoch and shown while it trains.",
        "**Epoch Sweep** paints subjects that the dataset does not show: there the style must be seen. Further "
        "checkpoints go into *base_models*.",
    ),
)
PROMPTS = (
    "person = 1girl, solo, smile, upper body, garden",
    "place = no humans, scenery, mountain, lake, cloud",
    "thing = no humans, still life, teapot, table, window",
    "other words = 1boy, armor, standing, full body, castle, night",
)


def build(object_info: Mapping[str, Any]) -> Json:
    """The workflow in the page's form."""
    sheet = Sheet(object_info, NAME)
    sheet.group("Model to train", "model")
    sheet.note(NOTE)
    base = sheet.add("CheckpointLoaderSimple", ckpt_name=SD15)

    sheet.group("Clean pictures", "data")
    loaded = sheet.add("KilnLoadDataset", folder=STYLE)
    once = sheet.add("KilnRemoveDuplicates", dataset=loaded["dataset"])
    sheet.column()
    sheet.add("PreviewImage", "Duplicates: left stays", images=once["pairs"])
    small = sheet.add("KilnSmallImages", dataset=once["dataset"], resolution=512)
    larger = sheet.add("ImageScaleBy", image=small["images"], upscale_method="lanczos", scale_by=small["factors"])
    large = sheet.add("KilnReplaceImages", dataset=once["dataset"], small=small["small"], images=larger["IMAGE"])

    sheet.group("Tags", "data")
    tagged = sheet.add("KilnAutoTag", dataset=large["dataset"], model=TAGGER)
    sheet.add("PreviewAny", "Tags by frequency", source=tagged["report"])
    sheet.column()
    pruned = sheet.add("KilnPruneTags", dataset=tagged["dataset"], purpose="style")
    sheet.column()
    look = sheet.add("KilnDatasetReport", wide=WIDE, dataset=pruned["dataset"], resolution=512)
    sheet.add("PreviewImage", "Every picture", wide=WIDE, images=look["sheets"])

    sheet.group("Recipe and training", "train")
    saving = sheet.add("KilnRecipeSaving", sample_prompts="\n".join(prompt.split(" = ")[1] for prompt in PROMPTS[:2]))
    recipe = add_recipe(sheet, object_info, "loha-lycoris", caption_dropout=0.05, saving=saving["saving"])
    sheet.column()
    train = add_training(sheet, base, look["dataset"], recipe, STYLE)
    add_result(
        sheet, base, train["run"], pruned["dataset"], prompts=PROMPTS, side=512, name=STYLE, strengths="0.6, 0.8, 1.0"
    )
    return sheet.workflow()
