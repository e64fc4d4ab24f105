"""Splitting and cropping on a running server: a turnaround, a scene with detectors, masks from core's own node."""

from __future__ import annotations

import importlib.util
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from demo.hosting import Host, HostError
from demo.world.sheets import turnaround

Node = Callable[..., dict[str, Any]]
RED, BLUE, HEAD = (220, 60, 60), (40, 60, 220), (250, 0, 250)


@pytest.fixture(scope="module")
def yolo(root: Path) -> Any:
    """The maker of small detectors that the unit tests use."""
    path = root / "tests" / "unit" / "dataset" / "yolo_onnx.py"
    spec = importlib.util.spec_from_file_location("yolo_onnx", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def texts(host: Host, workflow: dict[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """The text of every PreviewAny of the workflow, and all outputs."""
    outputs = host.run(workflow, timeout=120)["outputs"]
    return {name: output["text"][0] for name, output in outputs.items() if "text" in output}, outputs


def scene(size: tuple[int, int]) -> Image.Image:
    """Grey spots: no plain background."""
    rng = random.Random(3)
    image = Image.new("RGB", size, (90, 90, 90))
    pen = ImageDraw.Draw(image)
    for _ in range(150):
        x, y, r, shade = rng.randrange(size[0]), rng.randrange(size[1]), rng.randrange(5, 30), rng.randrange(40, 230)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(shade, shade, shade))
    return image


def test_a_turnaround_is_split_and_cropped(host: Host, node: Node) -> None:
    folder = host.base / "input" / "turnaround"
    folder.mkdir()
    sheets = (turnaround(random.Random(number), side=256) for number in range(2, 40, 2))
    sheet = next(each for each in sheets if each.views == ("front", "from side", "from behind"))
    sheet.image.save(folder / "sheet.png")
    (folder / "sheet.txt").write_text("kierose, 1girl, multiple views, smile", encoding="utf-8")
    found, outputs = texts(
        host,
        {
            "load": node("KilnLoadDataset", folder=folder.name),
            "split": node("KilnSplitFigures", dataset=["load", 0], repeats=9, other_repeats=5),
            "crop": node("KilnCropViews", dataset=["split", 0], minimum_size=32, bangs=True, custom=""),
            "split report": node("PreviewAny", source=["split", 1]),
            "crop report": node("PreviewAny", source=["crop", 1]),
            "split boxes": node("PreviewImage", images=["split", 2]),
            "crop boxes": node("PreviewImage", images=["crop", 2]),
        },
    )
    assert "sheet.png: 1 front, 2 from side, 3 from behind" in found["split report"]
    assert "of 3 pictures (originals kept)" in found["crop report"]
    assert "portrait 3" in found["crop report"]
    for name in ("split boxes", "crop boxes"):
        [image] = outputs[name]["images"]
        with Image.open(io.BytesIO(host.view(image))) as page:
            assert page.width >= 256


def test_detectors_masks_and_a_background_model(host: Host, node: Node, yolo: Any) -> None:
    models = host.base / "models" / "kiln"
    yolo.write_detector(models / "detectors" / "test_person", (RED, BLUE), names=("person",))
    yolo.write_cutter(models / "backgrounds" / "test_cutter.onnx")
    folder = host.base / "input" / "scene"
    folder.mkdir()
    both = scene((480, 320))
    both.paste(RED, (60, 40, 160, 300))
    both.paste(BLUE, (300, 50, 400, 310))
    both.save(folder / "both.png")
    (folder / "both.txt").write_text("2girls, outdoors", encoding="utf-8")
    one = scene((320, 480))
    pen, mask = ImageDraw.Draw(one), Image.new("L", one.size)
    for draw, color in ((pen, RED), (ImageDraw.Draw(mask), 255)):
        draw.ellipse((100, 30, 220, 160), fill=color)
        draw.rectangle((130, 150, 190, 450), fill=color)
    alone = host.base / "input" / "alone"
    alone.mkdir()
    one.save(alone / "one.png")
    (alone / "one.txt").write_text("kierose, full body, outdoors", encoding="utf-8")
    mask.convert("RGB").save(host.base / "input" / "mask.png")
    none = {"halfbody": "none", "head": "none", "face": "none", "eyes": "none"}
    crop = {"dataset": ["alone", 0], "minimum_size": 32, "background": "white"}
    found, _ = texts(
        host,
        {
            "load": node("KilnLoadDataset", folder=folder.name),
            "alone": node("KilnLoadDataset", folder=alone.name),
            "person": node("KilnFigureModels", person="test_person", background="none", **none),
            "cutter": node("KilnFigureModels", person="none", background="test_cutter", **none),
            "mask": node("LoadImageMask", image="mask.png", channel="red"),
            "split": node("KilnSplitFigures", dataset=["load", 0], minimum_size=32, figure_models=["person", 0]),
            "unsplit": node("KilnSplitFigures", dataset=["load", 0], minimum_size=32),
            "by model": node("KilnCropViews", figure_models=["cutter", 0], **crop),
            "by mask": node("KilnCropViews", masks=["mask", 0], **crop),
            "by outline": node("KilnCropViews", **crop),
            **{
                f"{name} says": node("PreviewAny", source=[name, 1])
                for name in ("split", "unsplit", "by model", "by mask", "by outline")
            },
        },
    )
    assert "2 figures from 1 of 1 picture" in found["split says"]
    assert "a person detector (Figure Models) or a mask is needed" in found["unsplit says"]
    for name in ("by model", "by mask"):
        assert "4 crops of 1 picture" in found[f"{name} says"], found[f"{name} says"]
    assert "its background stays, is not plain" in found["by outline says"]


def test_what_is_wrong_is_said_in_words(host: Host, node: Node, pictures: Path) -> None:
    load = node("KilnLoadDataset", folder=pictures.name)
    for settings, words in (
        ({"custom": "a | b | 1 2"}, "custom, line 1"),
        ({"view_repeats": "hair: 3"}, "which there is not"),
        ({"background": "whitish"}, "is no colour"),
    ):
        crop = node("KilnCropViews", dataset=["load", 0], **settings)
        with pytest.raises(HostError, match=words):
            host.run({"load": load, "crop": crop, "show": node("PreviewAny", source=["crop", 1])}, timeout=60)
    split = node("KilnSplitFigures", dataset=["load", 0], sides="front, up")
    with pytest.raises(HostError, match="'up'"):
        host.run({"load": load, "split": split, "show": node("PreviewAny", source=["split", 1])}, timeout=60)
