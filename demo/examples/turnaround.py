"""The Animagine article as a graph: turnaround, views, other outfits, style augmentation, cherry-picking, training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parts import (
    CANNY,
    CHARACTER,
    LINEART,
    PANEL,
    SD15,
    SDXL,
    TAGGER,
    TRIGGER,
    add_recipe,
    add_result,
    add_training,
    note,
)
from .sheet import WIDE, Json, Placed, Sheet

NAME = "turnaround_character"
NOTE = note(
    "An original character from a turnaround",
    "The method of *SDXL OC Training with Animagine*, whole: three views of a sheet become a dataset of some forty "
    "pictures that a LoRA of rank 4 learns without taking over the sheet's flat style.",
    ("sdxl", "sd15", "canny", "lineart", "tagger", "judges"),
    (
        f"**Load Dataset** *Turnaround*: put the sheet (front, side, back; 2000 pixels high or so) into "
        f"`input/{CHARACTER}/turnaround`.",
        f"**Load Dataset** *Other outfits*: pictures of her in other clothes in `input/{CHARACTER}/outfits`, in "
        "folders such as `3_swimsuit`, and `1_behind` for views from behind. Two or three are enough; without any, "
        "bypass the three nodes.",
        "**Split Figures** gives front views more repeats than side and back: too many backs, and she turns away.",
        "**Crop Views**: upper body, portrait, cowboy shot. The headless chest and waist views sharpen details of the "
        "clothes; few of them, or she loses her head in pictures.",
        "**Prune Tags**: your trigger in one word, so that no part of it means something already.",
        "**ControlNet Style Augment** paints the front cowboy shots anew with an SD 1.5 model: ControlNets from 5 % to "
        "45 % of the steps, *denoise* 0.5 to 0.7 (lower it when colours change), held colours. The bypassed LoRAs are "
        "for a flat-colour and a detail LoRA, from -0.2 to 0.8.",
        "**Select Images** *Cherry-pick*: keep what has her colours. The choice stays in the workflow.",
        "**Recipe**: the article's. All pictures count alike (3 repeats), views from behind once.",
        "**Epoch Sweep** compares the epochs: style bleeds from early on, details come late.",
    ),
)
FRONT = "cowboy shot AND NOT (from behind OR from side)"
STYLES = "anime screencap\nsemi-realistic, painterly\n{flat color|cel shading}, thick outlines\nwatercolor (medium)"
PROMPTS = (
    f"as drawn = {TRIGGER}, 1girl, solo, standing, cowboy shot, white background, masterpiece, best quality",
    f"elsewhere = {TRIGGER}, 1girl, solo, smile, upper body, city street, night, masterpiece, best quality",
    f"swimsuit = {TRIGGER}, 1girl, solo, blue bikini, collarbone, bare shoulders, beach, masterpiece, best quality",
    f"from behind = {TRIGGER}, 1girl, solo, from behind, full body, field, masterpiece, best quality",
    f"other style = {TRIGGER}, 1girl, solo, watercolor (medium), sitting, forest, masterpiece, best quality",
)


def build(object_info: Mapping[str, Any]) -> Json:
    """The workflow in the page's form."""
    sheet = Sheet(object_info, NAME)
    sheet.group("Model to train", "model")
    sheet.note(NOTE, wide=460)
    base = sheet.add("CheckpointLoaderSimple", wide=460, ckpt_name=SDXL)

    sheet.group("Turnaround: front, side, back, and closer views", "data")
    figures = sheet.add(
        "KilnSplitFigures", dataset=_load(sheet, "Turnaround", "turnaround")["dataset"], repeats=3, other_repeats=1
    )
    sheet.add("PreviewImage", "The figures", images=figures["preview"])
    sheet.column()
    views = sheet.add(
        "KilnCropViews", dataset=figures["dataset"], face=False, chest=True, waist=True, bucket_resolution=1024,
        minimum_size=384, view_repeats="chest: 1, waist: 1",
    )  # fmt: skip
    sheet.column()
    tagged = sheet.add("KilnAutoTag", dataset=views["dataset"], model=TAGGER)
    sheet.add("PreviewImage", "The views", images=views["preview"])
    sheet.column()
    pruned = _prune(sheet, tagged)
    sheet.add("PreviewAny", "What was pruned", source=pruned["report"])

    sheet.group("Other outfits", "data")
    other = sheet.add("KilnAutoTag", dataset=_load(sheet, "Other outfits", "outfits")["dataset"], model=TAGGER)
    sheet.column()
    outfits = _prune(sheet, other)

    picked = _augmentation(sheet, pruned)

    sheet.group("The dataset", "data")
    whole = sheet.add(
        "KilnMergeDatasets", dataset_1=pruned["dataset"], dataset_2=outfits["dataset"], dataset_3=picked["selected"]
    )
    look = sheet.add("KilnDatasetReport", dataset=whole["dataset"])
    sheet.column()
    sheet.add("PreviewImage", "Every picture", wide=WIDE, images=look["sheets"])
    sheet.add("PreviewAny", "In words", wide=WIDE, source=look["report"])

    sheet.group("Recipe and training", "train")
    recipe = add_recipe(sheet, object_info, "animagine-oc")
    sheet.column()
    train = add_training(sheet, base, look["dataset"], recipe, f"{CHARACTER}_xl")
    add_result(
        sheet, base, train["run"], pruned["dataset"], prompts=PROMPTS, side=1024, name=f"{CHARACTER}_xl",
        negative="lowres, bad anatomy, bad hands, worst quality, low quality", strengths="0.8, 1.0",
    )  # fmt: skip
    return sheet.workflow()


def _augmentation(sheet: Sheet, pruned: Placed) -> Placed:
    """The front cowboy shots in other styles, and those of them that are kept."""
    sheet.group("Other styles", "paint")
    painter = sheet.add("CheckpointLoaderSimple", "Model that paints", ckpt_name=SD15)
    flat = sheet.add(
        "LoraLoader", "Flat colours (if you have such a LoRA)", bypassed=True, model=painter["MODEL"],
        clip=painter["CLIP"], lora_name="flat_color.safetensors", strength_model=0.5, strength_clip=0.5,
    )  # fmt: skip
    detail = sheet.add(
        "LoraLoader", "Less detail (if you have such a LoRA)", bypassed=True, model=flat["MODEL"], clip=flat["CLIP"],
        lora_name="add_detail.safetensors", strength_model=-0.2, strength_clip=-0.2,
    )  # fmt: skip
    canny = sheet.add("ControlNetLoader", "Canny", control_net_name=CANNY)
    lines = sheet.add("ControlNetLoader", "Line art", control_net_name=LINEART)
    front = sheet.add("KilnSelectImages", "Front cowboy shots", wide=WIDE, dataset=pruned["dataset"], filter=FRONT)
    sheet.column()
    styled = sheet.add(
        "KilnControlNetStyleAugment", wide=PANEL, dataset=front["selected"], model=detail["MODEL"],
        clip=detail["CLIP"], vae=painter["VAE"], control_net=canny["CONTROL_NET"], control_net_2=lines["CONTROL_NET"],
        styles=STYLES, variants=4, resolution=768, repeats=3, keep_originals=False, denoise=0.7, denoise_low=0.5,
        steps=28, cfg=7.0, hold_hair=0.7, hold_face=0.5, hold_upper=0.5, hold_lower=0.5, keep_best=2, max_drift=20.0,
        tags="with differing colours", tagger=TAGGER,
        negative="lowres, bad anatomy, bad hands, worst quality, low quality",
    )  # fmt: skip
    sheet.column()
    sheet.add("PreviewImage", "Every variant beside its source", wide=WIDE, images=styled["sheets"])
    picked = sheet.add("KilnSelectImages", "Cherry-pick", wide=WIDE, dataset=styled["dataset"])
    sheet.add("PreviewAny", "Why", wide=WIDE, source=styled["report"])
    return picked


def _load(sheet: Sheet, title: str, folder: str) -> Placed:
    return sheet.add("KilnLoadDataset", title, folder=f"{CHARACTER}/{folder}")


def _prune(sheet: Sheet, tagged: Placed) -> Placed:
    return sheet.add("KilnPruneTags", dataset=tagged["dataset"], trigger=TRIGGER, class_tag="1girl", own="auto")
