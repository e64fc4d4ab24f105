"""A character from one picture, after the single-image article: crops, regularisation pictures, few blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parts import CHARACTER, SD15, TAGGER, TRIGGER, add_recipe, add_result, add_training, note
from .sheet import WIDE, Json, Sheet

NAME = "one_image_character"
NOTE = note(
    "A character from one picture",
    "One good picture becomes a set of views; pictures of the class keep the model from forgetting everything else; "
    "block weights keep the style of that one picture out.",
    ("sd15", "tagger", "judges"),
    (
        "**Load Image**: one large picture of her on a plain background, or cut out. Full body is best.",
        "**Prune Tags**: your trigger word. What she is keeps its tag (`1girl`).",
        "**Crop Views** makes the dataset. Look at the preview; leave out views that show nothing.",
        "**Regularization Set** paints 60 pictures of the class with the model itself. Numbers of bad ones go into "
        "*reject*.",
        "**Recipe: Block Weights** holds the article's weights for SD 1.5. Empty them for another family.",
        "Run. **Epoch Sweep** says which epoch to keep, and **Save LoRA** saves it.",
    ),
)
PROMPTS = (
    f"as drawn = {TRIGGER}, 1girl, solo, standing, full body, white background",
    f"elsewhere = {TRIGGER}, 1girl, solo, smile, upper body, forest, day",
    f"other clothes = {TRIGGER}, 1girl, solo, blue dress, standing, cowboy shot, beach",
    f"other style = {TRIGGER}, 1girl, solo, sketch, monochrome, portrait",
)


def build(object_info: Mapping[str, Any]) -> Json:
    """The workflow in the page's form."""
    sheet = Sheet(object_info, NAME)
    sheet.group("Model and picture", "model")
    sheet.note(NOTE)
    base = sheet.add("CheckpointLoaderSimple", ckpt_name=SD15)
    image = sheet.add("LoadImage", "Your picture", image=f"{CHARACTER}.png")

    sheet.group("One picture becomes many views", "data")
    one = sheet.add(
        "KilnImagesToDataset", images=image["IMAGE"], masks=image["MASK"], group=CHARACTER, invert_masks=True
    )
    crops = sheet.add(
        "KilnCropViews", dataset=one["dataset"], full_body=True, chest=True, waist=True, bangs=True,
        bucket_resolution=512, minimum_size=192, repeats=5, view_repeats="chest: 2, waist: 2",
    )  # fmt: skip
    sheet.column()
    tagged = sheet.add("KilnAutoTag", dataset=crops["dataset"], model=TAGGER)
    sheet.add("PreviewImage", "The views", images=crops["preview"])
    sheet.column()
    pruned = sheet.add("KilnPruneTags", dataset=tagged["dataset"], trigger=TRIGGER, class_tag="1girl")
    sheet.add("PreviewAny", "What was pruned", source=pruned["report"])

    sheet.group("Regularisation pictures", "paint")
    regular = sheet.add(
        "KilnRegularizationSet", dataset=pruned["dataset"], resolution=512, tagger=TAGGER, require="1girl",
        **base.loaded(),
    )  # fmt: skip
    sheet.column()
    sheet.add("PreviewImage", "By number: reject what is bad", wide=WIDE, images=regular["sheets"])
    both = sheet.add(
        "KilnMergeDatasets", wide=WIDE, dataset_1=pruned["dataset"], dataset_2=regular["dataset"], trigger=TRIGGER
    )
    sheet.add("PreviewAny", "The whole dataset", wide=WIDE, source=both["report"])

    sheet.group("Recipe and training", "train")
    blocks = sheet.add(
        "KilnRecipeBlocks", down_lr_weight="1,0,0,0,0,0,0,1,1,1,1,1", mid_lr_weight="0",
        up_lr_weight="0,1,1,1,1,1,0,0,0,0,1,1",
    )  # fmt: skip
    recipe = add_recipe(sheet, object_info, "single-image", blocks=blocks["blocks"])
    sheet.column()
    train = add_training(sheet, base, both["dataset"], recipe, CHARACTER)
    add_result(
        sheet, base, train["run"], pruned["dataset"], prompts=PROMPTS, side=512, name=CHARACTER, strengths="0.8, 1.0"
    )
    return sheet.workflow()
