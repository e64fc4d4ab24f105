"""Our nodes in the stock page: help pages, and what a fresh node holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.hosting import Host

# The page asks for the node's language first, then for this.
HELP = "async id => { const r = await fetch(`/extensions/lora-kiln/docs/${id}.md`); return [r.status, await r.text()] }"
FRESH = """id => {
  const node = LiteGraph.createNode(id)
  // Panels stand in no workflow.
  return Object.fromEntries((node.widgets ?? []).filter(w => w.serialize !== false).map(w => [w.name, w.value]))
}"""


def ours(host: Host) -> dict[str, Any]:
    return {name: about for name, about in host.object_info().items() if name.startswith("Kiln")}


def test_every_node_has_a_help_page_where_the_page_looks(page: Page, host: Host) -> None:
    for name, about in ours(host).items():
        assert about["python_module"] == "custom_nodes.lora-kiln"
        status, text = page.evaluate(HELP, name)
        assert (status, text.splitlines()[0]) == (200, f"# {about['display_name']}"), name


def test_a_fresh_node_holds_the_defaults_and_nothing_else(page: Page, host: Host) -> None:
    """No dice beside a seed either: a seed that changes after every run would train everything again."""
    for name, about in ours(host).items():
        shown = page.evaluate(FRESH, name)
        inputs = about["input"]["required"] | about["input"].get("optional", {})
        expected = {field: options["default"] for field, (_, options) in inputs.items() if "default" in options}
        # A list without a default shows its first name, or nothing where it has none yet.
        lists = {field for field, (kind, _) in inputs.items() if kind == "COMBO" or isinstance(kind, list)}
        there = {field: value for field, value in shown.items() if field in expected or field not in lists}
        assert there == expected, name


CHOOSE = """async name => {
  const node = LiteGraph.createNode("KilnRecipe")
  app.graph.add(node)
  await new Promise(done => setTimeout(done, 200))
  const chooser = node.widgets.find(w => w.name === "preset")
  chooser.setValue(name, { e: new PointerEvent("pointerup"), node, canvas: app.canvas })
  app.graph.remove(node)
  return Object.fromEntries(node.widgets.map(w => [w.name, w.value]))
}"""


def test_a_preset_fills_in_the_settings_beside_it(page: Page, host: Host) -> None:
    presets = ours(host)["KilnRecipe"]["input"]["required"]["preset"][1]["presets"]
    fresh = page.evaluate(FRESH, "KilnRecipe")
    for name, settings in presets.items():
        shown = page.evaluate(CHOOSE, name)
        assert shown == {**fresh, "preset": name, **settings}
        assert shown != {**fresh, "preset": name}
