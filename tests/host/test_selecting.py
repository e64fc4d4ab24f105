"""Selecting, duplicates, reports and the way out to an upscaler and back, on a running server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from demo.hosting import Host, HostError, Message

Node = Callable[..., dict[str, Any]]


def text(result: dict[str, Any], name: str) -> str:
    """What a Preview Any node has shown."""
    return str(result["outputs"][name]["text"][0])


def ran(heard: list[Message]) -> set[str]:
    """The nodes that were executed."""
    return {str(message.data.get("node")) for message in heard if message.kind == "executing"}


@pytest.fixture
def load(node: Node, pictures: Path) -> dict[str, Any]:
    """The loader of four pictures of 128 pixels, one of them a second time and smaller."""
    with Image.open(pictures / "1.png") as image:
        image.resize((64, 64)).save(pictures / "copy of 1.png")
    (pictures / "copy of 1.txt").write_text("a copy, 花", encoding="utf-8")
    return node("KilnLoadDataset", folder=pictures.name)


def test_a_filter_and_a_hand_select_and_the_rest_is_kept(host: Host, node: Node, load: Any, pictures: Path) -> None:
    chosen = json.dumps({"keep": [f"{pictures.name}/copy of 1.png"], "reject": [f"{pictures.name}/0.png"]})
    graph = {
        "load": load,
        "select": node("KilnSelectImages", dataset=["load", 0], filter="1girl AND tokens:<1000", by_hand=chosen),
        "again": node("KilnSelectImages", dataset=["select", 1], filter=""),
        "report": node("PreviewAny", source=["select", 2]),
        "names": node("PreviewAny", source=["select", 3]),
        "rest": node("PreviewAny", source=["again", 3]),
    }
    result = host.run(graph, timeout=120)
    names = [f"+ {pictures.name}/{name}.png" for name in ("1", "2", "3", "copy of 1")]
    assert sorted(text(result, "names").splitlines()) == sorted(names)
    assert text(result, "rest").splitlines() == [f"+ {pictures.name}/0.png"]
    assert text(result, "report").startswith("4 of 5 pictures selected, 1 in the rest.")


@pytest.mark.parametrize("signs", [True, False])
def test_the_names_fit_by_hand(host: Host, node: Node, load: Any, signs: bool) -> None:
    """What one node names is what the next one keeps; names without signs, as sheets show them, too."""
    graph = {
        "load": load,
        "first": node("KilnSelectImages", dataset=["load", 0], filter="1girl"),
        "names": node("PreviewAny", source=["first", 3]),
    }
    names = text(host.run(graph, timeout=120), "names")
    by_hand = names if signs else names.replace("+ ", "")
    graph["second"] = node("KilnSelectImages", dataset=["load", 0], by_hand=by_hand, only_kept=True)
    graph["again"] = node("PreviewAny", source=["second", 3])
    assert names
    assert text(host.run(graph, timeout=120), "again") == names


def test_a_filter_that_cannot_be_read_is_refused_before_anything_runs(host: Host, node: Node, load: Any) -> None:
    graph = {
        "load": load,
        "select": node("KilnSelectImages", dataset=["load", 0], filter="1girl AND (hat"),
        "report": node("PreviewAny", source=["select", 2]),
    }
    with pytest.raises(HostError) as caught:
        host.queue(graph)
    assert caught.value.node_type == "KilnSelectImages"
    assert "this ( is never closed" in str(caught.value)


def test_tokens_are_counted_as_clip_counts_them(inside: Path) -> None:
    from lora_kiln.host.tokens import count_tokens

    assert count_tokens("") == 0
    assert count_tokens("1girl, solo") == 4
    assert count_tokens("hat, " * 100) == 200
    assert count_tokens("(hat:1.5)") > count_tokens("hat")


def test_duplicates_go_and_the_report_shows_everything(host: Host, node: Node, load: Any, pictures: Path) -> None:
    graph = {
        "load": load,
        "once": node("KilnRemoveDuplicates", dataset=["load", 0]),
        "show": node("KilnDatasetReport", dataset=["once", 0], resolution=128, min_bucket=64, max_bucket=256),
        "recipe": node("KilnRecipe", resolution=256, min_bucket=64, max_bucket=512, batch_size=3),
        "larger": node("KilnDatasetReport", dataset=["once", 0], recipe=["recipe", 0]),
        "by recipe": node("PreviewAny", source=["larger", 3]),
        "pairs": node("PreviewImage", images=["once", 2]),
        "said": node("PreviewAny", source=["once", 3]),
        "sheets": node("PreviewImage", images=["show", 0]),
        "tags": node("PreviewImage", images=["show", 1]),
        "buckets": node("PreviewImage", images=["show", 2]),
        "report": node("PreviewAny", source=["show", 3]),
        "removed": node("KilnSelectImages", dataset=["once", 1]),
        "names": node("PreviewAny", source=["removed", 3]),
    }
    result = host.run(graph, timeout=120)
    assert text(result, "names") == f"+ {pictures.name}/copy of 1.png"
    assert "1.png (128 x 128) stays" in text(result, "said")
    assert "Buckets: 4 pictures in 1 bucket, 0 enlarged" in text(result, "report")
    assert "Buckets: 4 pictures in 1 bucket, 4 enlarged" in text(result, "by recipe")
    assert "fewer than 3 pictures" in text(result, "by recipe")
    for name in ("pairs", "sheets", "tags", "buckets"):
        (image,) = result["outputs"][name]["images"]
        with Image.open(io.BytesIO(host.view(image))) as opened:
            assert min(opened.size) > 100, name


def upscaled(node: Node, load: dict[str, Any], resolution: int) -> dict[str, Any]:
    sizes = {"resolution": resolution, "min_bucket": 64, "max_bucket": 1024}
    return {
        "load": load,
        "small": node("KilnSmallImages", dataset=["load", 0], **sizes),
        "upscale": node("ImageScaleBy", image=["small", 0], upscale_method="lanczos", scale_by=3.0),
        "back": node("KilnReplaceImages", dataset=["load", 0], small=["small", 2], images=["upscale", 0]),
        "names": node("KilnSelectImages", dataset=["back", 0]),
        "show": node("PreviewAny", source=["names", 3]),
        "report": node("PreviewAny", source=["back", 1]),
    }


def test_small_pictures_go_through_an_upscaler_and_come_back(host: Host, node: Node, load: Any, pictures: Path) -> None:
    heard: list[Message] = []
    result = host.run(upscaled(node, load, 128), heard.append, timeout=120)
    assert "1 picture came back and took the place of 1 record." in text(result, "report")
    assert f"{pictures.name}/copy of 1.png: 64 x 64 to 192 x 192" in text(result, "report")
    names = text(result, "show").splitlines()
    assert f"+ {pictures.name}/copy of 1.png | upscaled" in names
    assert len(names) == 5
    result = host.run(upscaled(node, load, 256), timeout=120)
    assert "5 pictures came back and took the place of 5 records." in text(result, "report")
    assert "128 x 128 to 384 x 384" in text(result, "report")


def test_without_a_small_picture_the_upscaler_does_not_run(host: Host, node: Node, load: Any) -> None:
    heard: list[Message] = []
    graph = upscaled(node, load, 64)
    result = host.run(graph, heard.append, timeout=120)
    assert "0 pictures came back" in text(result, "report")
    assert len(text(result, "show").splitlines()) == 5
    assert "back" in ran(heard)
    assert "upscale" not in ran(heard)
    # A preview of the upscaler's output makes it run; the dataset still comes out whole.
    graph["look"] = node("PreviewImage", images=["upscale", 0])
    result = host.run(graph, timeout=120)
    assert len(result["outputs"]["look"]["images"]) == 1
