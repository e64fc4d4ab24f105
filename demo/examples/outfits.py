"""A character with several outfits: a trigger for two of them, one list of tags for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parts import CHARACTER, SDXL, TAGGER, TRIGGER, add_recipe, add_result, add_training, note
from .sheet import WIDE, Json, Sheet

NAME = "several_outfits"
NOTE = note(
    "One character, several outfits",
    "Each outfit is a folder. Two of them get a word of their own that brings the whole outfit; the third is put on "
    "and taken off by its tags. Repeats let every outfit count alike.",
    ("sdxl", "tagger", "judges"),
    (
        f"**Load Dataset**: folders `5_dress`, `5_uniform` and `5_casual` in `input/{CHARACTER}/wardrobe`; the number "
        "is repeats, the name the group. Yours may have other names.",
        "**Prune Tags**: *group_triggers* gives outfits their words, one a line. *outfit* is set so that these absorb "
        "what is worn there. Hair and eyes go into the character's own trigger.",
        "**Align Tags**: `casual: auto` takes what the tagger saw most; better, write the list yourself.",
        "**Edit Tags**: open it to go through the captions by eye; its list is kept in the workflow.",
        "**Balance Repeats** shows the arithmetic. Set the epochs of your recipe there, or wire the recipe in.",
        "**Recipe**: *keep_tokens* is 3: trigger, outfit's word, class.",
        "**Epoch Sweep**: one prompt for each outfit and one for clothes that she never wore.",
    ),
)
PROMPTS = (
    f"dress = {TRIGGER}, kr-dress, 1girl, solo, standing, cowboy shot, garden",
    f"uniform = {TRIGGER}, kr-uniform, 1girl, solo, standing, full body, school",
    f"casual = {TRIGGER}, 1girl, solo, hoodie, shorts, sitting, indoors",
    f"never worn = {TRIGGER}, 1girl, solo, red kimono, standing, full body, night",
)


def build(object_info: Mapping[str, Any]) -> Json:
    """The workflow in the page's form."""
    sheet = Sheet(object_info, NAME)
    sheet.group("Model to train", "model")
    sheet.note(NOTE)
    base = sheet.add("CheckpointLoaderSimple", ckpt_name=SDXL)

    sheet.group("Pictures and tags", "data")
    loaded = sheet.add("KilnLoadDataset", folder=f"{CHARACTER}/wardrobe")
    tagged = sheet.add("KilnAutoTag", dataset=loaded["dataset"], model=TAGGER)
    sheet.column()
    pruned = sheet.add(
        "KilnPruneTags", dataset=tagged["dataset"], trigger=TRIGGER, class_tag="1girl",
        outfit="where a group has a trigger", group_triggers="dress*: kr-dress\nuniform*: kr-uniform",
    )  # fmt: skip
    sheet.add("PreviewAny", "What was pruned", source=pruned["report"])
    sheet.column()
    aligned = sheet.add("KilnAlignTags", dataset=pruned["dataset"], outfits="casual*: auto")
    sheet.add("PreviewAny", "What was aligned", source=aligned["report"])
    sheet.column()
    edited = sheet.add("KilnEditTags", dataset=aligned["dataset"])
    crops = sheet.add("KilnCropViews", dataset=edited["dataset"], bucket_resolution=1024, minimum_size=384)

    sheet.group("Every outfit counts alike", "data")
    # The recipe's, which comes later on the sheet.
    balanced = sheet.add("KilnBalanceRepeats", dataset=crops["dataset"], batch_size=2)
    look = sheet.add("KilnDatasetReport", dataset=balanced["dataset"])
    sheet.column()
    sheet.add("PreviewAny", "The arithmetic", wide=WIDE, source=balanced["report"])
    sheet.add("PreviewImage", "Every picture", wide=WIDE, images=look["sheets"])

    sheet.group("Recipe and training", "train")
    recipe = add_recipe(
        sheet,
        object_info,
        "character",
        resolution=1024,
        keep_tokens=3,
        unet_lr=1e-4,
        text_lr=5e-5,
        caption_dropout=0.05,
    )
    sheet.column()
    train = add_training(sheet, base, look["dataset"], recipe, f"{CHARACTER}_outfits")
    add_result(
        sheet, base, train["run"], edited["dataset"], prompts=PROMPTS, side=1024, name=f"{CHARACTER}_outfits",
        negative="lowres, bad anatomy, bad hands, worst quality, low quality",
    )  # fmt: skip
    return sheet.workflow()
