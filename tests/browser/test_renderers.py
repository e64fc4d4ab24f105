"""Every example in every look: own and newest frontend, classic canvas and Nodes 2.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.browser import Complaints, Look
from demo.examples.parts import CHARACTER
from demo.examples.world import page_in_world, write_inputs
from demo.mount import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.hosting import Host

EXAMPLES = sorted(file.stem for file in (ROOT / "example_workflows").glob("*.json"))
# The lists first: the pictures and the LoRA that the examples name may have come after the page.
OPEN = """async workflow => {
  await app.refreshComboInNodes()
  await app.loadGraphData(workflow)
}"""
NODES = """() => app.graph.nodes.map(node => ({
  id: String(node.id), type: node.type, known: node.type in LiteGraph.registered_node_types,
  // The newest frontend marks a loader whose file is not here, as it should: examples name files that stand for yours.
  red: !!node.has_errors && !(node.widgets ?? []).some(
    ({value, options}) => Array.isArray(options?.values) && !options.values.includes(value)
  ),
  wires: Object.fromEntries((node.inputs ?? []).filter(slot => slot.link != null).map(slot => {
    const link = app.graph.links.get(slot.link)
    return [slot.name, [link.origin_id, link.origin_slot]]
  })),
}))"""
DRAWN = "() => [...document.querySelectorAll('[data-node-id]')].map(node => node.dataset.nodeId).sort()"
DIALOGS = "[role=dialog]:visible, [role=alertdialog]:visible, .comfy-modal:visible"
SETTLE_MS = 400
"""A dialog about what is missing comes a moment after the workflow."""


def test_the_look_is_what_it_says(any_page: Page, any_host: Host, look: Look) -> None:
    assert any_page.evaluate("() => !!LiteGraph.vueNodesMode") == look.nodes2
    version = any_page.evaluate("() => window.__COMFYUI_FRONTEND_VERSION__")
    served = any_page.request.get(f"{any_host.url}/").text()
    own = any_page.request.get(f"{any_host.url}/system_stats").json()["system"]["required_frontend_version"]
    assert version
    assert served
    assert (version == own) == (look.frontend == "own"), f"{version}, the server comes with {own}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_opens_whole(
    any_page: Page, any_host: Host, look: Look, example: str, screenshots: Path, root: Path
) -> None:
    """With the world's models in its loaders: the newest frontend marks a loader whose file is not there."""
    file = root / "example_workflows" / f"{example}.json"
    saved = page_in_world(json.loads(file.read_text(encoding="utf-8")), any_host.object_info())
    write_inputs(any_host.base / "input")
    (any_host.base / "models" / "loras" / f"{CHARACTER}.safetensors").touch()
    any_page.evaluate(OPEN, saved)
    any_page.wait_for_timeout(SETTLE_MS)

    nodes: list[dict[str, Any]] = any_page.evaluate(NODES)
    assert {node["id"]: node["type"] for node in nodes} == {str(node["id"]): node["type"] for node in saved["nodes"]}
    assert [node["type"] for node in nodes if node["red"] or not node["known"]] == []
    assert sum(len(node["wires"]) for node in nodes) == len(saved["links"])
    assert any_page.locator(DIALOGS).all_inner_texts() == []
    any_page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    any_page.wait_for_timeout(SETTLE_MS)
    any_page.screenshot(path=screenshots / f"{example}-{look.name}.png")
    if look.nodes2:
        # Nodes out of sight may be left out: in this view there are none.
        assert any_page.evaluate(DRAWN) == sorted(node["id"] for node in nodes)


def test_what_the_page_complains_of_is_heard(page: Page, complaints: Complaints) -> None:
    """The guard that every test here stands under: ours is kept, other people's is not."""
    page.evaluate("() => { console.error('kiln.made_up failed'); console.error('somebody else failed') }")
    page.evaluate("() => { setTimeout(() => { throw new Error('Kiln: nobody caught this') }) }")
    page.wait_for_timeout(100)
    said = complaints.ours()
    complaints.clear()
    assert [("made_up" in line, "nobody caught" in line) for line in said] == [(True, False), (False, True)]
    assert complaints.ours() == []
