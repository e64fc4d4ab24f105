"""Every example on the classic canvas: nodes large enough, none on another, each in its group; and a picture of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.examples.build import FOLDER

if TYPE_CHECKING:
    from playwright.sync_api import Page

EXAMPLES = sorted(file.stem for file in FOLDER.glob("*.json"))
OPEN = """async workflow => {
  await app.loadGraphData(workflow)
  await new Promise(done => setTimeout(done, 600))
  return app.graph.nodes.map(node => ({
    id: node.id, name: `${node.id} ${node.title}`, box: [...node.pos, ...node.size], least: [...node.computeSize()],
  }))
}"""
SHOW = """([x, y, scale]) => {
  app.canvas.ds.scale = scale
  app.canvas.ds.offset = [x, y]
  app.canvas.setDirty(true, true)
}"""
WINDOW = {"width": 4300, "height": 1500}
CORNER = (100, 120)
"""Pixels of the window where a graph's upper left corner is shown, clear of the page's own bars."""
TITLE = 30


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_overlaps_and_nothing_is_cut(page: Page, name: str, screenshots: Path) -> None:
    workflow: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    page.set_viewport_size(WINDOW)
    nodes = page.evaluate(OPEN, workflow)
    assert len(nodes) == len(workflow["nodes"])
    boxes = {node["name"]: _with_title(node["box"]) for node in nodes}
    for node in nodes:
        own = boxes[node["name"]]
        assert node["box"][2] >= node["least"][0], node["name"]
        assert node["box"][3] >= node["least"][1], node["name"]
        touching = [other for other, box in boxes.items() if other != node["name"] and _overlap(own, box)]
        assert not touching, f"{node['name']} lies on {touching}"
        around = [group["title"] for group in workflow["groups"] if _holds(group["bounding"], own)]
        assert len(around) == 1, f"{node['name']} is in the groups {around}"
    _picture(page, workflow, screenshots / f"{name}.png")


def _picture(page: Page, workflow: dict[str, Any], file: Path) -> None:
    """The whole graph, as large as the window allows."""
    groups = [group["bounding"] for group in workflow["groups"]]
    left, top = min(box[0] for box in groups), min(box[1] for box in groups)
    wide = max(box[0] + box[2] for box in groups) - left
    high = max(box[1] + box[3] for box in groups) - top
    room = (WINDOW["width"] - 2 * CORNER[0], WINDOW["height"] - 2 * CORNER[1])
    scale = min(1.0, room[0] / wide, room[1] / high)
    page.evaluate(SHOW, [CORNER[0] / scale - left, CORNER[1] / scale - top, scale])
    page.wait_for_timeout(500)
    clip = {"x": CORNER[0], "y": CORNER[1], "width": int(wide * scale), "height": int(high * scale)}
    page.screenshot(path=file, clip=clip)
    assert file.stat().st_size > 20_000


def _with_title(box: list[float]) -> tuple[float, float, float, float]:
    left, top, width, height = box
    return left, top - TITLE, left + width, top + height


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _holds(bounding: list[float], box: tuple[float, ...]) -> bool:
    left, top, width, height = bounding
    return left <= box[0] and top <= box[1] and box[2] <= left + width and box[3] <= top + height
