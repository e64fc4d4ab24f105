"""Keep and reject with a click: the choice stands in the node, and the next run follows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.hosting import Host

GRAPH = """async folder => {
  app.graph.clear()
  const add = (type, x, widgets = {}) => {
    const node = LiteGraph.createNode(type)
    node.pos = [x, 60]
    app.graph.add(node)
    for (const [name, value] of Object.entries(widgets)) node.widgets.find(w => w.name === name).value = value
    return node
  }
  const load = add("KilnLoadDataset", 0, {path: folder})
  const chosen = add("KilnSelectImages", 420, {filter: "hat"})
  const show = add("PreviewAny", 1000)
  load.connect(0, chosen, 0)
  chosen.connect(3, show, 0)
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [120, 140]
  app.canvas.setDirty(true, true)
}"""
BY_HAND = (
    """() => app.graph.nodes.find(n => n.type === 'KilnSelectImages').widgets.find(w => w.name === 'by_hand').value"""
)
NAMES = "() => app.graph.nodes.find(n => n.type === 'PreviewAny').widgets.map(w => String(w.value)).join('\\n')"


def test_a_click_keeps_or_rejects(page: Page, host: Host, screenshots: Path) -> None:
    folder = host.base / "input" / "pick"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (64, 96 if number % 2 else 64), (30 * number, 120, 200)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("hat" if number < 3 else "bow", encoding="utf-8")
    page.keyboard.press("Escape")
    page.evaluate(GRAPH, str(folder))
    page.evaluate("() => app.queuePrompt(0)")
    cells = page.locator(".kiln-pick .kiln-cell-box")
    page.locator(".kiln-pick").get_by_text("3 of 6 kept").wait_for(timeout=60_000)
    cells.nth(5).wait_for()
    assert cells.count() == 6
    assert [cell.get_attribute("aria-selected") for cell in cells.all()] == ["true"] * 3 + ["false"] * 3
    cells.nth(0).click()
    page.locator(".kiln-pick").get_by_text("2 of 6 kept, 1 by hand").wait_for()
    cells.nth(5).click()
    page.locator(".kiln-pick").get_by_text("3 of 6 kept, 2 by hand").wait_for()
    name = folder.name
    assert page.evaluate(BY_HAND) == f"- {name}/0.png\n+ {name}/5.png"
    page.wait_for_timeout(400)
    page.screenshot(path=screenshots / "pick.png")
    # What is saved with the workflow is the list alone.
    saved = page.evaluate("() => app.graph.serialize().nodes.find(n => n.type === 'KilnSelectImages').widgets_values")
    assert saved == ["hat", f"- {name}/0.png\n+ {name}/5.png", False]
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    chosen = next(node for node in prompt.values() if node["class_type"] == "KilnSelectImages")
    assert set(chosen["inputs"]) == {"dataset", "filter", "by_hand", "only_kept"}
    page.evaluate("() => app.queuePrompt(0)")
    page.wait_for_function(f"() => ({NAMES})().includes('/5.png')")
    assert f"{name}/0.png" not in page.evaluate(NAMES)
    # A second click takes the line back; a key does what a click does.
    cells.nth(0).click()
    page.locator(".kiln-pick").get_by_text("4 of 6 kept, 1 by hand").wait_for()
    page.locator(".kiln-pick .kiln-grid-view").focus()
    page.keyboard.press("End")
    page.keyboard.press("Space")
    page.locator(".kiln-pick").get_by_text("3 of 6 kept", exact=True).wait_for()
    assert page.evaluate(BY_HAND) == ""
