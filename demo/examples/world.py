"""The examples in the miniature world: its model files under the loaders, its pictures in the input folder.

Sizes and counts shrink too, so that every example runs in seconds on two CPU cores, and what nothing that is painted in
two steps can pass is switched off: `LOADERS` and `SMALLER` are all that changes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..graphs import CHECKPOINT, CONTROLNET
from ..workflow import widget_names
from ..world.characters import characters
from ..world.draw import draw
from ..world.figure import random_figure, random_outfit
from ..world.sheets import cut_out
from .character import HER
from .parts import CHARACTER
from .style import STYLE

TAGGER = "kiln-world-tagger"
LOADERS: Mapping[str, str] = {
    "ckpt_name": CHECKPOINT, "control_net_name": CONTROLNET, "base_models": CHECKPOINT, "tagger": TAGGER,
    "model": TAGGER, "ccip": "none", "lora_name": f"{CHARACTER}.safetensors",
}  # fmt: skip
"""What each input that names a model is given."""
_SIDES = {"resolution": 64, "min_bucket": 64, "max_bucket": 128}
SMALLER: Mapping[str, Mapping[str, Any]] = {
    "KilnSplitFigures": {"minimum_size": 24},
    "KilnCropViews": {"minimum_size": 16, "bucket_resolution": 0},
    "KilnSmallImages": _SIDES,
    "KilnDatasetReport": _SIDES,
    "KilnControlNetStyleAugment": {"resolution": 64, "steps": 2, "variants": 2, "keep_best": 1, "max_drift": 0.0},
    "KilnRegularizationSet": {"resolution": 64, "steps": 2, "count": 2, "require": "", "forbid": "", "tries": 1.0},
    # The article's weights are for the twelve blocks of SD 1.5; the miniature has six.
    "KilnRecipeBlocks": {"down_lr_weight": "1,0,0,0,1,1", "mid_lr_weight": "0", "up_lr_weight": "0,1,1,0,0,1"},
    "KilnRecipe": {**_SIDES, "epochs": 2, "batch_size": 8, "dim": 4, "alpha": 4.0},
    "KilnRecipeSaving": {"sample_steps": 2},
    "KilnEpochSweep": {"width": 64, "height": 64, "steps": 2, "seeds": "", "block_presets": ""},
}  # fmt: skip

Prompt = dict[str, dict[str, Any]]


def in_world(prompt: Prompt, *, small: bool = True) -> Prompt:
    """An example's API form with the world's models, and with few steps at few pixels where `small` says so."""
    return {name: {**node, "inputs": _changed(node, small=small)} for name, node in prompt.items()}


def page_in_world(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> dict[str, Any]:
    """An example's page form with the world's models in its loaders; everything else stays."""
    nodes = [
        {**node, "widgets_values": _loaded(node["widgets_values"], object_info[node["type"]])}
        if node["type"] in object_info and node.get("widgets_values")
        else node
        for node in workflow["nodes"]
    ]
    return {**workflow, "nodes": nodes}


def write_inputs(folder: Path) -> None:
    """What the examples read, drawn into a ComfyUI's input folder: a sheet, outfits, a style, single pictures."""
    place = folder / CHARACTER
    for name in ("turnaround", "outfits/3_swimsuit", "outfits/1_behind", "first"):
        (place / name).mkdir(parents=True, exist_ok=True)
    _one().save(folder / f"{CHARACTER}.png")
    _turnaround().save(place / "turnaround" / "sheet.png")
    for number, name in enumerate(("3_swimsuit", "1_behind")):
        _draw(place / "outfits" / name, 1, lambda i, first=number: _her(2 + 3 * (i + first)))
    _draw(place / "first", 3, _her)
    (folder / HER).mkdir(parents=True, exist_ok=True)
    _draw(folder / HER, 3, _her)
    for number, name in enumerate(("5_dress", "5_uniform", "5_casual")):
        (place / "wardrobe" / name).mkdir(parents=True, exist_ok=True)
        outfit = random_outfit(random.Random(name))
        _draw(place / "wardrobe" / name, 1 + number, lambda i, worn=outfit: replace(_her(i), outfit=worn, extra=""))
    (folder / STYLE).mkdir(parents=True, exist_ok=True)
    _draw(folder / STYLE, 5, lambda i: replace(random_figure(random.Random(f"style {i}")), style="sketch"))
    # A copy to be found, and a picture that training would enlarge.
    Image.open(folder / STYLE / "0.png").resize((96, 96)).save(folder / STYLE / "copy.png")
    Image.open(folder / STYLE / "4.png").resize((48, 48)).save(folder / STYLE / "4.png")


def _changed(node: Mapping[str, Any], *, small: bool) -> dict[str, Any]:
    inputs = {name: _in_loader(name, value) for name, value in node["inputs"].items()}
    return {**inputs, **SMALLER.get(node["class_type"], {})} if small else inputs


def _loaded(values: Sequence[Any], about: Mapping[str, Any]) -> list[Any]:
    return [_in_loader(name, value) for name, value in zip(widget_names(about), values, strict=True)]


def _in_loader(name: str, value: Any) -> Any:
    """The world's model for an input that names one."""
    named = name in LOADERS and isinstance(value, str) and value not in ("", "none")
    return LOADERS[name] if named else value


def _draw(folder: Path, count: int, figure: Callable[[int], Any]) -> None:
    for number in range(count):
        draw(figure(number)).image.save(folder / f"{number}.png")


def _her(number: int) -> Any:
    """Picture `number` of the world's first stranger."""
    return characters()[HER].picture(number)


def _one() -> Image.Image:
    """Her, in full on white."""
    figure = replace(characters()[HER].figure, framing="full body", background="white background")
    return draw(figure, side=256).image


def _turnaround() -> Image.Image:
    """Front, side and back of her on white, side by side."""
    views = [
        cut_out(replace(characters()[HER].figure, view=view), side=256).image
        for view in ("front", "from side", "from behind")
    ]
    sheet = Image.new("RGB", (3 * 256, 256), "white")
    for number, view in enumerate(views):
        sheet.paste(view, (256 * number, 0), view)
    return sheet
