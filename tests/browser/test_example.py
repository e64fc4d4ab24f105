"""The example workflow in the stock page: it loads whole, and what is queued is what `demo/workflow.py` makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.workflow import to_api

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.hosting import Host

# As the page's list of templates opens it.
LOAD = """async () => {
  const workflow = await (await fetch('/api/workflow_templates/lora-kiln/character_lora.json')).json()
  await app.loadGraphData(workflow)
  return workflow
}"""
NODES = """() => app.graph.nodes.map(node => ({
  id: node.id, type: node.type, title: node.title, errors: !!node.has_errors,
  known: node.type in LiteGraph.registered_node_types,
  values: Object.fromEntries((node.widgets ?? []).filter(w => w.serialize !== false).map(w => [w.name, w.value])),
  wires: Object.fromEntries((node.inputs ?? []).filter(s => s.link != null).map(s => {
    const link = app.graph.links.get(s.link)
    return [s.name, [link.origin_id, link.origin_slot]]
  })),
  box: [...node.pos, ...node.size], least: [...node.computeSize()],
}))"""
SHOW = """([x, y]) => {
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [x, y]
  app.canvas.setDirty(true, true)
}"""
WINDOW = {"width": 4200, "height": 1600}
"""Pixels of a window that shows the whole graph at its own size, clear of the page's own bars."""
CORNER = (160, 480)
"""Where the graph's origin lies in it."""
ROOM = 20
"""Pixels around the groups in the picture."""


@pytest.fixture(scope="module")
def workflow(page: Page) -> dict[str, Any]:
    """The example as saved; the page has it open."""
    found: dict[str, Any] = page.evaluate(LOAD)
    page.wait_for_timeout(500)  # a dialog about missing nodes comes a moment later
    return found


@pytest.fixture(scope="module")
def nodes(page: Page, workflow: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Nodes as the page has them, by id."""
    return {node["id"]: node for node in page.evaluate(NODES)}


def test_the_example_is_the_file(workflow: dict[str, Any], root: Path) -> None:
    file = root / "example_workflows" / "character_lora.json"
    assert workflow == json.loads(file.read_text(encoding="utf-8"))


def test_every_node_is_there_and_sound(page: Page, workflow: dict[str, Any], nodes: dict[int, dict[str, Any]]) -> None:
    assert {i: node["type"] for i, node in nodes.items()} == {node["id"]: node["type"] for node in workflow["nodes"]}
    assert [node["type"] for node in nodes.values() if node["errors"] or not node["known"]] == []
    assert page.locator("[role=dialog]:visible, .p-dialog:visible, .comfy-modal:visible").all_inner_texts() == []


def test_every_wire_is_connected(workflow: dict[str, Any], nodes: dict[int, dict[str, Any]]) -> None:
    saved = {
        (target, slot, origin, output)
        for _, origin, output, target, number, _ in workflow["links"]
        for slot in [next(n for n in workflow["nodes"] if n["id"] == target)["inputs"][number]["name"]]
    }
    there = {(i, slot, *source) for i, node in nodes.items() for slot, source in node["wires"].items()}
    assert there == saved


def test_values_stand_where_they_belong(workflow: dict[str, Any], nodes: dict[int, dict[str, Any]]) -> None:
    for saved in workflow["nodes"]:
        shown = nodes[saved["id"]]
        assert list(shown["values"].values()) == (saved.get("widgets_values") or []), shown["type"]
    recipe = next(node["values"] for node in nodes.values() if node["type"] == "KilnRecipe")
    assert (recipe["resolution"], recipe["lr_scheduler"], recipe["unet_lr"]) == (128, "cosine", 2e-3)
    prune = next(node["values"] for node in nodes.values() if node["type"] == "KilnPruneTags")
    assert (prune["trigger"], prune["outfit"], prune["patterns"]) == (
        "mirelva",
        "by purpose",
        "striped .*\nmismatched sleeves",
    )


def test_the_pages_own_prompt_is_ours(page: Page, host: Host, workflow: dict[str, Any]) -> None:
    info = host.object_info()
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    assert to_api(workflow, info) == _known(prompt, info)


def test_muted_and_bypassed_nodes_are_treated_as_the_page_does(
    page: Page, host: Host, workflow: dict[str, Any]
) -> None:
    """The tagger, the pruning and the crops are bypassed, the loss picture is muted: wires lead past them."""
    script = """async () => {
      const mode = {KilnAutoTag: 4, KilnPruneTags: 4, KilnCropViews: 4}
      for (const node of app.graph.nodes) node.mode = node.title === 'Loss' ? 2 : mode[node.type] ?? 0
      const changed = [JSON.parse(JSON.stringify(app.graph.serialize())), (await app.graphToPrompt()).output]
      for (const node of app.graph.nodes) node.mode = 0
      return changed
    }"""
    info = host.object_info()
    changed, prompt = page.evaluate(script)
    assert to_api(changed, info) == _known(prompt, info)
    train = next(node for node in prompt.values() if node["class_type"] == "KilnTrainLoRA")
    assert prompt[train["inputs"]["dataset"][0]]["class_type"] == "KilnLoadDataset"


def test_nothing_overlaps_and_nothing_is_cut(workflow: dict[str, Any], nodes: dict[int, dict[str, Any]]) -> None:
    title = 30
    boxes = {i: (x, y - title, x + w, y + h) for i, (x, y, w, h) in ((i, node["box"]) for i, node in nodes.items())}
    for i, node in nodes.items():
        assert node["box"][2] >= node["least"][0], node["title"]
        assert node["box"][3] >= node["least"][1], node["title"]
        touching = [nodes[j]["title"] for j, other in boxes.items() if j != i and _overlap(boxes[i], other)]
        assert not touching, f"{node['title']} lies on {touching}"
        around = [group["title"] for group in workflow["groups"] if _holds(group["bounding"], boxes[i])]
        assert len(around) == 1, f"{node['title']} is in the groups {around}"


def test_a_picture_of_it(page: Page, workflow: dict[str, Any], screenshots: Path) -> None:
    boxes = [group["bounding"] for group in workflow["groups"]]
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    clip = {
        "x": left + CORNER[0] - ROOM,
        "y": top + CORNER[1] - ROOM,
        "width": max(box[0] + box[2] for box in boxes) - left + 2 * ROOM,
        "height": max(box[1] + box[3] for box in boxes) - top + 2 * ROOM,
    }
    page.set_viewport_size(WINDOW)
    page.evaluate(SHOW, list(CORNER))
    page.wait_for_timeout(500)
    file = screenshots / "character_lora.png"
    page.screenshot(path=file, clip=clip)
    assert file.stat().st_size > 50_000


def _known(prompt: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """The page's prompt without inputs that the server's nodes do not have: it also sends what a preview shows."""
    for node in prompt.values():
        has = {name for group in info[node["class_type"]]["input"].values() for name in group}
        node["inputs"] = {name: value for name, value in node["inputs"].items() if name in has}
    return prompt


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _holds(bounding: list[float], box: tuple[float, ...]) -> bool:
    left, top, width, height = bounding
    return left <= box[0] and top <= box[1] and box[2] <= left + width and box[3] <= top + height
