"""More styles of one character: two checkpoints paint, regularisation pictures join, everything is one dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parts import CANNY, CHARACTER, PANEL, SD15, TAGGER, TRIGGER, note
from .sheet import WIDE, Json, Sheet, Wire

NAME = "style_augment"
SECOND = "dreamshaper_8.safetensors"
NOTE = note(
    "More styles of one character",
    "Every picture is painted again in other styles, by two checkpoints, and everything is joined to one dataset with "
    "regularisation pictures. Nothing is trained here; the dataset is saved as a folder.",
    ("sd15", "canny", "tagger"),
    (
        f"**Load Dataset**: your pictures in `input/{CHARACTER}/first`. **Crop Views** cuts views before they are "
        "painted: each is painted at its own bucket size.",
        f"**Load Checkpoint** twice: the model that you train on, and one with a strong style of its own (`{SECOND}` "
        "stands for yours).",
        "**ControlNet Style Augment**: style prompts, one a line. Look at the sheets, then set *max_drift* and "
        "*min_structure* so that what you dislike falls out. Nothing is painted twice.",
        "**Regularization Set**: pictures of the class, from the model that you train on.",
        "**Merge Datasets** keeps the originals once. **Prune Tags** with *own* `auto`: where a variant shows another "
        "hair colour its tag stays.",
        "**Save Dataset** writes a folder with captions, for this and for other trainers.",
    ),
)
STYLES = ("sketch\npastel colors", "{monochrome|flat color}\nwatercolor (medium)")


def build(object_info: Mapping[str, Any]) -> Json:
    """The workflow in the page's form."""
    sheet = Sheet(object_info, NAME)
    sheet.group("Models and pictures", "model")
    sheet.note(NOTE)
    sheet.column()
    first = sheet.add("CheckpointLoaderSimple", "First checkpoint", ckpt_name=SD15)
    second = sheet.add("CheckpointLoaderSimple", "Second checkpoint", ckpt_name=SECOND)
    net = sheet.add("ControlNetLoader", control_net_name=CANNY)
    loaded = sheet.add("KilnLoadDataset", folder=f"{CHARACTER}/first")
    tagged = sheet.add("KilnAutoTag", dataset=loaded["dataset"], model=TAGGER)
    sheet.column()
    crops = sheet.add("KilnCropViews", dataset=tagged["dataset"], face=False, cowboy_shot=False, bucket_resolution=768)

    def styled(title: str, models: dict[str, Wire], styles: str, seed: int) -> Wire:
        sheet.group(title, "paint")
        made = sheet.add(
            "KilnControlNetStyleAugment", wide=PANEL, dataset=crops["dataset"], control_net=net["CONTROL_NET"],
            styles=styles, variants=4, seed=seed, resolution=768, keep_best=2, strength=0.8, **models,
        )  # fmt: skip
        sheet.column()
        sheet.add("PreviewImage", "Kept and rejected", wide=WIDE, images=made["sheets"])
        sheet.add("PreviewAny", "Why", wide=WIDE, source=made["report"])
        return made["dataset"]

    one = styled("Styles of the first checkpoint", first.loaded(), STYLES[0], 0)
    two = styled("Styles of the second checkpoint", second.loaded(), STYLES[1], 100)

    sheet.group("Regularisation pictures", "paint")
    regular = sheet.add("KilnRegularizationSet", dataset=crops["dataset"], resolution=768, **first.loaded())
    sheet.column()
    sheet.add("PreviewImage", "By number: reject what is bad", wide=WIDE, images=regular["sheets"])

    sheet.group("One dataset", "data")
    merged = sheet.add(
        "KilnMergeDatasets", dataset_1=one, dataset_2=two, dataset_3=regular["dataset"], same_picture="keep the first"
    )
    pruned = sheet.add("KilnPruneTags", dataset=merged["dataset"], trigger=TRIGGER, class_tag="1girl", own="auto")
    sheet.column()
    look = sheet.add("KilnDatasetReport", dataset=pruned["dataset"], resolution=768)
    saved = sheet.add("KilnSaveDataset", dataset=look["dataset"], name=f"{CHARACTER}_styles")
    sheet.column()
    sheet.add("PreviewImage", "Every picture", wide=WIDE, images=look["sheets"])
    sheet.add("PreviewAny", "In words", wide=WIDE, source=look["report"])
    sheet.add("PreviewAny", "What was written", wide=WIDE, source=saved["report"])
    return sheet.workflow()
