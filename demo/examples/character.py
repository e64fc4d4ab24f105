"""A LoRA of one character, as `python dev.py demo` trains it: on the miniature model, as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..graphs import CHECKPOINT
from .parts import PANEL
from .sheet import Json, Sheet

NAME = "character_lora"
HER, TAGGER = "mirelva", "kiln-world-tagger"
NOTE = """# A LoRA of one character

Press **Run**. As it stands, the graph trains on the pack's miniature model and pictures of *mirelva*; \
`python dev.py demo` runs it with everything in place.

## For your own character

1. **Load Checkpoint**: your base model.
2. **Load Dataset**: the folder of your pictures, by its path or by its name in ComfyUI's `input` folder.
3. **Auto Tag** and, at the end, **Epoch Sweep**: a tagger, such as `SmilingWolf/wd-eva02-large-tagger-v3`.
4. **Prune Tags**: your trigger word, what she is (`1girl`), and in *patterns* the clothes that are hers. Other \
clothes keep their tags: a few pictures in them let her change by prompt. If you have none, set *outfit* to `prune`.
5. **Crop Views**: *minimum_size* 256 or more.
6. **Recipe**: *resolution* 512 for SD 1.5, 1024 for SDXL; *min_bucket* 256; *batch_size* as memory allows; a good \
start is *unet_lr* 0.0001, *text_lr* 0.00005.
7. **Train LoRA** and **Save LoRA**: a name.
8. **Epoch Sweep**: your prompts with the trigger, *width* and *height* of your model, *cfg* 5 to 7.

Read the two reports before you train for long."""
PROMPTS = (
    f"{HER}, 1girl, solo, smile, standing, full body, white background, flat color",
    f"{HER}, 1girl, solo, open mouth, arms up, cowboy shot, forest, pastel colors",
    f"{HER}, 1girl, solo, smile, from side, upper body, night sky, gradient",
)


def build(object_info: Mapping[str, Any]) -> Json:
    """The workflow in the page's form."""
    sheet = Sheet(object_info, NAME)
    sheet.group("Model", "model")
    base = sheet.add("CheckpointLoaderSimple", wide=380, ckpt_name=CHECKPOINT)
    sheet.note(NOTE)

    sheet.group("Dataset", "data")
    loaded = sheet.add("KilnLoadDataset", folder=HER)
    sheet.add("PreviewAny", "Dataset report", source=loaded["report"])
    sheet.column()
    tagged = sheet.add("KilnAutoTag", dataset=loaded["dataset"], model=TAGGER)
    sheet.column()
    pruned = sheet.add(
        "KilnPruneTags", dataset=tagged["dataset"], trigger=HER, class_tag="1girl",
        patterns="striped .*\nmismatched sleeves",
    )  # fmt: skip
    sheet.column()
    crops = sheet.add(
        "KilnCropViews", dataset=pruned["dataset"], cowboy_shot=False, face=False, minimum_size=32, repeats=4
    )
    sheet.column()
    sheet.add("PreviewImage", "Crop preview", images=crops["preview"])
    sheet.add("PreviewAny", "Prune report", source=pruned["report"])

    sheet.group("Recipe & training", "train")
    recipe = sheet.add(
        "KilnRecipe", epochs=8, batch_size=8, dim=32, alpha=32, conv_dim=8, conv_alpha=8, unet_lr=2e-3, text_lr=2e-3,
        resolution=128, min_bucket=64, debiased_estimation=True,
    )  # fmt: skip
    sheet.column()
    train = sheet.add(
        "KilnTrainLoRA", wide=PANEL, name=HER, dataset=crops["dataset"], recipe=recipe["recipe"], **base.loaded()
    )
    sheet.add("PreviewImage", "Loss", wide=PANEL, images=train["loss plot"])

    sheet.group("Result", "result")
    judged = sheet.add(
        "KilnEpochSweep", wide=PANEL, run=train["run"], prompts="\n".join(PROMPTS), steps=16, cfg=1.5, width=128,
        height=128, tagger=TAGGER, **base.loaded(),
    )  # fmt: skip
    sheet.column()
    sheet.add("SaveImage", "Save the grid", wide=PANEL, images=judged["grid"], filename_prefix=f"kiln/{HER}_grid")
    sheet.add("PreviewAny", "Sweep report", wide=PANEL, source=judged["report"])
    sheet.add("KilnSaveLoRA", wide=PANEL, run=train["run"], file_name=HER)
    return sheet.workflow()
