"""Examples on a sheet: where nodes lie, what wires and values become, and the miniature world in the loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from demo.examples.sheet import BELOW, TITLE, Sheet
from demo.examples.thumbnails import SHAPE, compose
from demo.examples.world import in_world, write_inputs
from demo.workflow import to_api

INFO: dict[str, Any] = {
    "Load": {
        "display_name": "Load",
        "input_order": {"required": ["ckpt_name"]},
        "input": {"required": {"ckpt_name": [["a.safetensors"], {}]}},
        "output": ["MODEL", "CLIP", "VAE"],
        "output_name": ["MODEL", "CLIP", "VAE"],
    },
    "Use": {
        "display_name": "Use",
        "input_order": {"required": ["model", "seed", "text"], "optional": ["more"]},
        "input": {
            "required": {"model": ["MODEL", {}], "seed": ["INT", {}], "text": ["STRING", {"multiline": True}]},
            "optional": {"more": ["STRING", {"forceInput": True}]},
        },
        "output": ["STRING"],
        "output_name": ["report"],
    },
}


def example() -> dict[str, Any]:
    sheet = Sheet(INFO, "test")
    sheet.group("One", "model")
    sheet.note("# Title\n\n" + "word " * 60)
    load = sheet.add("Load", ckpt_name="b.safetensors")
    skipped = sheet.add("Use", "skipped", bypassed=True, model=load["MODEL"])
    sheet.group("Two", "data")
    first = sheet.add("Use", model=load.loaded()["model"], text="x", seed=5)
    sheet.column()
    sheet.add("Use", "last", model=load["MODEL"], more=first["report"])
    assert skipped["report"].kind == "STRING"
    return sheet.workflow()


def test_nodes_lie_in_their_groups_from_left_to_right() -> None:
    workflow = example()
    boxes = [(*node["pos"], *node["size"]) for node in workflow["nodes"]]
    for i, (x, y, wide, high) in enumerate(boxes):
        for left, top, width, height in boxes[:i]:
            apart = x >= left + width or left >= x + wide or y - TITLE >= top + height or top - TITLE >= y + high
            assert apart
    one, two = (group["bounding"] for group in workflow["groups"])
    assert one[0] + one[2] <= two[0]
    for group, nodes in ((one, boxes[:3]), (two, boxes[3:])):
        for x, y, wide, high in nodes:
            assert group[0] < x
            assert group[1] < y - TITLE
            assert x + wide < group[0] + group[2]
            assert y + high < group[1] + group[3]
    assert boxes[1][1] == boxes[0][3] + BELOW


def test_wires_and_values_stand_where_the_page_reads_them() -> None:
    workflow = example()
    assert to_api(workflow, INFO) == {
        "2": {"inputs": {"ckpt_name": "b.safetensors"}, "class_type": "Load", "_meta": {"title": "Load"}},
        "4": {
            "inputs": {"model": ["2", 0], "seed": 5, "text": "x"},
            "class_type": "Use",
            "_meta": {"title": "Use"},
        },
        "5": {
            "inputs": {"model": ["2", 0], "seed": "", "text": "", "more": ["4", 0]},
            "class_type": "Use",
            "_meta": {"title": "last"},
        },
    }
    assert example() == workflow
    assert workflow["nodes"][1]["outputs"][0]["links"] == [1, 2, 3]


def test_a_wrong_name_is_named() -> None:
    sheet = Sheet(INFO, "test")
    sheet.group("One", "model")
    with pytest.raises(KeyError, match="Load has no inputs checkpoint"):
        sheet.add("Load", checkpoint="x")
    load = sheet.add("Load")
    with pytest.raises(KeyError, match="no output 'IMAGE'"):
        load["IMAGE"]


def test_the_worlds_models_stand_in_for_those_that_are_named() -> None:
    prompt = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x.safetensors"}},
        "2": {
            "class_type": "KilnEpochSweep",
            "inputs": {"tagger": "none", "ccip": "a/b", "model": ["1", 0], "steps": 30},
        },
    }
    swapped = in_world(prompt, small=False)
    assert swapped["1"]["inputs"]["ckpt_name"] == "kiln-world-sd15.safetensors"
    assert swapped["2"]["inputs"] == {"tagger": "none", "ccip": "none", "model": ["1", 0], "steps": 30}
    assert in_world(prompt)["2"]["inputs"]["steps"] == 2
    assert prompt["1"]["inputs"]["ckpt_name"] == "x.safetensors"


def test_what_the_examples_read_is_drawn(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    names = {str(file.relative_to(tmp_path).parent) for file in tmp_path.rglob("*.png")}
    places = ("turnaround", "outfits/3_swimsuit", "outfits/1_behind", "first", "wardrobe/5_dress", "wardrobe/5_casual")
    assert {f"my_character/{place}" for place in places} | {"my_style", "mirelva", "."} <= names


def test_a_thumbnail_shows_pictures_and_the_graph() -> None:
    pictures = [Image.new("RGB", (300, 100), "red"), Image.new("RGB", (100, 100), "lime"), Image.new("L", (9000, 100))]
    card = compose(pictures, Image.new("RGB", (4000, 1000), "blue"))
    assert card.size == SHAPE
    row = [card.getpixel((x, 100)) for x in (50, 660, 800, 950)]
    assert row == [(255, 0, 0), (0, 255, 0), (0, 255, 0), card.getpixel((0, 0))]
    assert card.getpixel((480, 330)) == (0, 0, 255)


def test_every_example_has_a_thumbnail(root: Path) -> None:
    for file in (root / "example_workflows").glob("*.json"):
        with Image.open(file.with_suffix(".jpg")) as picture:
            assert picture.size == SHAPE
        assert file.with_suffix(".jpg").stat().st_size < 120_000
