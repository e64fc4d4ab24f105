"""Words where people look for them: the help panel of a node, and the tooltip of an input, in every look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.browser import Look
    from demo.hosting import Host

# One node alone, in the middle of an empty graph.
ALONE = """async id => {
  await app.loadGraphData({version: 0.4, nodes: [], links: [], groups: [], last_node_id: 0, last_link_id: 0})
  const node = LiteGraph.createNode(id)
  app.graph.add(node)
  // The page fits what it has loaded into its window a moment later.
  await new Promise(done => setTimeout(done, 500))
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [700 - node.pos[0], 200 - node.pos[1]]
  app.canvas.setDirty(true, true)
  await new Promise(done => setTimeout(done, 200))
  return String(node.id)
}"""
SELECT = "id => { app.canvas.deselectAll(); app.canvas.selectNode(app.graph.getNodeById(id)) }"
# Where a widget of the classic canvas lies in the window, in pixels.
PLACE = """([id, name]) => {
  const node = app.graph.getNodeById(id)
  const widget = node.widgets.find(one => one.name === name)
  const box = app.canvas.canvas.getBoundingClientRect()
  const { offset: [x, y], scale } = app.canvas.ds
  return [box.left + (node.pos[0] + x + 60) * scale, box.top + (node.pos[1] + y + widget.y + 10) * scale]
}"""
TIP = """words => [...document.querySelectorAll('.node-tooltip, .p-tooltip, [role=tooltip]')].some(
  tip => tip.innerText.replace(/\\s+/g, ' ').includes(words)
)"""
SAMPLE = ("KilnTrainLoRA", "KilnPruneTags", "KilnEpochSweep")
WAIT_MS = 15_000


def input_of(host: Host, node: str, name: str) -> dict[str, Any]:
    """What the server says of an input."""
    asked = host.object_info()[node]["input"]
    options: dict[str, Any] = {**asked["required"], **asked.get("optional", {})}[name][1]
    return options


@pytest.mark.parametrize("name", SAMPLE)
def test_the_help_panel_shows_the_nodes_page(any_page: Page, any_host: Host, name: str) -> None:
    about = any_host.object_info()[name]
    any_page.evaluate(SELECT, any_page.evaluate(ALONE, name))
    any_page.locator("[data-testid=info-button]:visible").first.click(timeout=WAIT_MS)
    any_page.get_by_role("heading", name=about["display_name"], exact=True).first.wait_for(timeout=WAIT_MS)
    any_page.get_by_text("Common mistakes").first.wait_for(timeout=WAIT_MS)


@pytest.mark.parametrize(("node", "name"), [("KilnRecipe", "epochs"), ("KilnTrainLoRA", "when_changed")])
def test_an_input_says_what_it_does(any_page: Page, any_host: Host, look: Look, node: str, name: str) -> None:
    words = " ".join(input_of(any_host, node, name)["tooltip"].split())[:40]
    number = any_page.evaluate(ALONE, node)
    any_page.mouse.move(5, 500)
    if look.nodes2:
        any_page.locator(f"[data-node-id='{number}']").get_by_text(name, exact=True).first.hover(timeout=WAIT_MS)
    else:
        x, y = any_page.evaluate(PLACE, [number, name])
        any_page.mouse.move(x - 10, y)
        any_page.mouse.move(x, y, steps=3)
    any_page.wait_for_function(TIP, arg=words, timeout=WAIT_MS)
