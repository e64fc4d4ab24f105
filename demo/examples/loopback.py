"""Loopback: the LoRA paints, the best of its pictures train the next one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parts import CHARACTER, PANEL, SDXL, TAGGER, TRIGGER, add_recipe, add_result, add_training, note
from .sheet import WIDE, Json, Sheet

NAME = "loopback"
NOTE = note(
    "Loopback: from the first LoRA to the second",
    "A LoRA from few pictures knows her from few sides. It paints her in other places, poses and styles; what is right "
    "joins the dataset, and a second LoRA learns from both, on the untouched model.",
    ("sdxl", "tagger", "judges"),
    (
        f"**Load LoRA**: the first LoRA (`{CHARACTER}_xl.safetensors` in `models/loras`), as *turnaround_character* "
        "saves it.",
        f"**Load Dataset**: the pictures that it learned from, in `input/{CHARACTER}/first`.",
        "**Regularization Set** serves as the painter here: prompts with wildcards, and a tagger that rejects pictures "
        "of two people. Numbers of bad ones go into *reject*: others are painted in their place.",
        "**Images to Dataset** makes pictures to learn from of them, in a group of their own.",
        "**Prune Tags**: the trigger of the first LoRA again.",
        "**Select Images** *Cherry-pick*: be strict. What is wrong here is wrong for good; hands count.",
        "**Merge Datasets**: keep the painted pictures fewer than the drawn ones, or give those more *repeats*.",
        "**Epoch Sweep** compares with the base model. Do it once or twice; each round loses a little.",
    ),
)
PAINTED = (
    f"{TRIGGER}, 1girl, solo, {{standing|sitting|walking|arms up}}, {{smile|open mouth|closed mouth}}, "
    "{forest|beach|city street|classroom}, masterpiece, best quality\n"
    f"{TRIGGER}, 1girl, solo, {{from side|from behind|looking back}}, {{upper body|cowboy shot|full body}}, "
    "{sketch|watercolor (medium)|anime screencap}, masterpiece, best quality"
)
PROMPTS = (
    f"as drawn = {TRIGGER}, 1girl, solo, standing, cowboy shot, white background",
    f"elsewhere = {TRIGGER}, 1girl, solo, smile, upper body, city street, night",
    f"new pose = {TRIGGER}, 1girl, solo, running, from side, full body, field",
    f"other style = {TRIGGER}, 1girl, solo, sketch, monochrome, portrait",
)


def build(object_info: Mapping[str, Any]) -> Json:
    """The workflow in the page's form."""
    sheet = Sheet(object_info, NAME)
    sheet.group("Model and first LoRA", "model")
    sheet.note(NOTE)
    base = sheet.add("CheckpointLoaderSimple", ckpt_name=SDXL)
    first = sheet.add(
        "LoraLoader", "The first LoRA", model=base["MODEL"], clip=base["CLIP"], lora_name=f"{CHARACTER}_xl.safetensors",
        strength_model=0.8, strength_clip=0.8,
    )  # fmt: skip

    sheet.group("It paints", "paint")
    painted = sheet.add(
        "KilnRegularizationSet", model=first["MODEL"], clip=first["CLIP"], vae=base["VAE"], prompts=PAINTED, count=40,
        class_tag="", tagger=TAGGER, require="1girl", forbid="multiple *, *text*", resolution=1024,
        negative="lowres, bad anatomy, bad hands, worst quality, low quality",
    )  # fmt: skip
    sheet.column()
    sheet.add("PreviewImage", "By number: reject what is bad", wide=WIDE, images=painted["sheets"])
    given = sheet.add("KilnDatasetToImages", wide=WIDE, dataset=painted["dataset"])
    new = sheet.add(
        "KilnImagesToDataset", wide=WIDE, images=given["images"], captions=given["captions"], group="loopback",
        read_as="tags",
    )  # fmt: skip
    sheet.column()
    pruned = sheet.add("KilnPruneTags", dataset=new["dataset"], trigger=TRIGGER, class_tag="1girl", own="auto")
    sheet.column()
    picked = sheet.add("KilnSelectImages", "Cherry-pick", wide=PANEL, dataset=pruned["dataset"])
    sheet.add("PreviewAny", "What was pruned", wide=PANEL, source=pruned["report"])

    sheet.group("Both together", "data")
    loaded = sheet.add("KilnLoadDataset", "What it learned from", folder=f"{CHARACTER}/first")
    tagged = sheet.add("KilnAutoTag", dataset=loaded["dataset"], model=TAGGER)
    sheet.column()
    old = sheet.add("KilnPruneTags", dataset=tagged["dataset"], trigger=TRIGGER, class_tag="1girl", own="auto")
    sheet.column()
    both = sheet.add("KilnMergeDatasets", dataset_1=old["dataset"], dataset_2=picked["selected"])
    look = sheet.add("KilnDatasetReport", dataset=both["dataset"])
    sheet.column()
    sheet.add("PreviewImage", "Every picture", wide=WIDE, images=look["sheets"])

    sheet.group("Recipe and training", "train")
    recipe = add_recipe(sheet, object_info, "animagine-oc", dim=8, alpha=4.0, shuffle_caption=True)
    sheet.column()
    train = add_training(sheet, base, look["dataset"], recipe, f"{CHARACTER}_loopback")
    add_result(
        sheet, base, train["run"], old["dataset"], prompts=PROMPTS, side=1024, name=f"{CHARACTER}_loopback",
        negative="lowres, bad anatomy, bad hands, worst quality, low quality",
    )  # fmt: skip
    return sheet.workflow()
