"""The page in Chinese: nodes, panels and help pages speak it, as soon as ComfyUI's own setting says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.browser import LOOKS, Complaints, Look, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from demo.hosting import Host

LANGUAGE = "Comfy.Locale"
WAIT_MS = 15_000
# The node, what is written on it, and its words below the title.
TRAIN = """async () => {
  await app.loadGraphData({version: 0.4, nodes: [], links: [], groups: [], last_node_id: 0, last_link_id: 0})
  const node = LiteGraph.createNode('KilnTrainLoRA')
  app.graph.add(node)
  // The page fits what it has loaded into its window a moment later.
  await new Promise(done => setTimeout(done, 500))
  app.canvas.ds.scale = 0.6
  app.canvas.ds.offset = [700 - node.pos[0], 300 - node.pos[1]]
  app.canvas.setDirty(true, true)
  await new Promise(done => setTimeout(done, 200))
  app.canvas.selectNode(node)
  const shown = slots => slots.map(one => one.label ?? one.localized_name ?? one.name)
  return {
    title: node.title, inputs: shown(node.inputs), outputs: shown(node.outputs), widgets: shown(node.widgets),
    saved: app.graph.serialize().nodes[0].outputs.map(one => one.name),
  }
}"""


@pytest.fixture
def chinese_page(browser: Browser, complaints: Complaints, any_host: Host, look: Look) -> Iterator[Page]:
    """The page of somebody who has chosen Chinese; the other tests' language comes back."""
    import requests

    requests.post(f"{any_host.url}/settings", json={LANGUAGE: "zh"}, timeout=30).raise_for_status()
    page = open_page(browser, complaints, any_host.url, look)
    yield page
    page.context.close()
    requests.post(f"{any_host.url}/settings", json={LANGUAGE: "en"}, timeout=30).raise_for_status()


@pytest.fixture(scope="module")
def words(root: Path) -> dict[str, Any]:
    """The Chinese words of *Train LoRA*."""
    defs: dict[str, Any] = json.loads((root / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    return defs["KilnTrainLoRA"]


@pytest.mark.parametrize("look", [LOOKS[0], LOOKS[-1]], indirect=True, ids=lambda look: look.name)
def test_node_panel_and_help_page_are_in_chinese(
    chinese_page: Page, words: dict[str, Any], root: Path, screenshots: Path, look: Look
) -> None:
    page = chinese_page
    node = page.evaluate(TRAIN)
    assert node["title"] == words["display_name"]
    assert words["inputs"]["dataset"]["name"] in node["inputs"]
    assert words["inputs"]["when_changed"]["name"] in node["widgets"]
    assert node["outputs"] == [words["outputs"][str(number)]["name"] for number in range(len(node["outputs"]))]
    # A workflow that is saved here opens anywhere.
    assert "run" in node["saved"]
    panels = json.loads((root / "locales" / "zh" / "main.json").read_text(encoding="utf-8"))["kiln"]
    nothing = panels["Nothing was trained under this name yet. Queue the graph, and the loss is drawn here."]
    page.locator("[data-kiln-panel]").get_by_text(nothing).first.wait_for(timeout=WAIT_MS)
    page.locator("[data-testid=info-button]:visible").first.click(timeout=WAIT_MS)
    page.get_by_role("heading", name=words["display_name"]).first.wait_for(timeout=WAIT_MS)
    page.get_by_text("常见错误").first.wait_for(timeout=WAIT_MS)
    page.screenshot(path=screenshots / f"chinese-{look.name}.png")
