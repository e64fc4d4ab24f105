"""Keep and reject with a click: the choice stands in the node, and the next run follows it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from demo.browser import IDLE, QUEUE, SHOW_PANEL, Look, picture_of
from demo.graphs import CONTROLNET, default_node
from demo.pictures import write_dataset
from demo.world.characters import characters

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from demo.hosting import Host

SELECT, AUGMENT = "KilnSelectImages", "KilnControlNetStyleAugment"
CHECKPOINT = "kiln-world-sd15.safetensors"
PICK = ".kiln-pick"
LOAD = "async prompt => { await app.loadApiJson(prompt, 'pick'); app.graph.arrange?.() }"
VALUE = "([type, name]) => app.graph.nodes.find(n => n.type === type).widgets.find(w => w.name === name).value"
NAMES = "() => app.graph.nodes.find(n => n.type === 'PreviewAny').widgets.map(w => String(w.value)).join('\\n')"

KEEP = """async () => {
  const { keepGraph } = await import('/extensions/lora-kiln/common.js')
  const tracker = app.extensionManager.workflow.activeWorkflow.changeTracker
  keepGraph()
  const before = tracker.undoQueue.length
  const seen = []
  for (const undo of [false, true]) {
    app.graph.nodes[0].properties.kiln_test = undo
    keepGraph({ undo })
    seen.push(tracker.undoQueue.length - before, tracker.activeState.nodes[0].properties.kiln_test)
  }
  delete app.graph.nodes[0].properties.kiln_test
  return seen
}"""


def run(page: Page, node: str, prompt: dict[str, Any]) -> None:
    """Run a graph in the page, and look at what can be picked."""
    page.keyboard.press("Escape")
    page.evaluate(LOAD, prompt)
    page.evaluate(QUEUE)
    page.wait_for_function(IDLE, timeout=120_000)
    page.locator(PICK).wait_for(state="attached")
    page.evaluate(SHOW_PANEL, [node, PICK])


def cell(page: Page, at: int) -> Locator:
    """The picture at a place, in sight: those out of sight are not in the page."""
    page.locator(f"{PICK} .kiln-grid-view").focus()
    page.keyboard.press("Home")
    for _ in range(at):
        page.keyboard.press("ArrowRight")
    return page.locator(f"{PICK} [data-at='{at}']")


def says(page: Page, words: str) -> None:
    page.locator(PICK).get_by_text(words, exact=True).wait_for()


def prompted(page: Page, node: str) -> dict[str, Any]:
    prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    found: dict[str, Any] = next(one for one in prompt.values() if one["class_type"] == node)["inputs"]
    return found


def test_a_click_keeps_or_rejects(any_page: Page, any_host: Host, screenshots: Path, look: Look) -> None:
    page, name = any_page, f"pick-{look.name}"
    folder = any_host.base / "input" / name
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (64, 96 if number % 2 else 64), (30 * number, 120, 200)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("hat" if number < 3 else "bow", encoding="utf-8")
    node = partial(default_node, any_host.object_info())
    graph = {
        "1": node("KilnLoadDataset", folder=name),
        "2": node(SELECT, dataset=["1", 0], filter="hat"),
        "3": node("PreviewAny", source=["2", 3]),
    }
    run(page, SELECT, graph)
    says(page, "3 of 6 kept")
    assert [cell(page, at).get_attribute("aria-selected") for at in range(6)] == ["true"] * 3 + ["false"] * 3
    cell(page, 0).click()
    says(page, "2 of 6 kept, 1 by hand")
    cell(page, 5).click()
    says(page, "3 of 6 kept, 2 by hand")
    assert page.evaluate(VALUE, [SELECT, "by_hand"]) == f"- {name}/0.png\n+ {name}/5.png"
    page.wait_for_timeout(400)
    page.screenshot(path=screenshots / f"{name}.png")
    # What is saved with the workflow is the list alone.
    saved = page.evaluate(f"() => app.graph.serialize().nodes.find(n => n.type === '{SELECT}').widgets_values")
    assert saved == ["hat", f"- {name}/0.png\n+ {name}/5.png", False]
    assert set(prompted(page, SELECT)) == {"dataset", "filter", "by_hand", "only_kept"}
    page.evaluate(QUEUE)
    page.wait_for_function(f"() => ({NAMES})().includes('/5.png')")
    assert f"{name}/0.png" not in page.evaluate(NAMES)
    # Two clicks at once are both kept, and so is the second of a double one.
    for at in (1, 0):
        cell(page, at).wait_for()
    page.evaluate("() => ['1', '1', '0'].forEach(at => document.querySelector(`.kiln-pick [data-at='${at}']`).click())")
    says(page, "4 of 6 kept, 1 by hand")
    cell(page, 0).click()
    says(page, "3 of 6 kept, 2 by hand")
    # A second click takes the line back; a key does what a click does.
    cell(page, 0).click()
    says(page, "4 of 6 kept, 1 by hand")
    cell(page, 5)
    page.keyboard.press("Space")
    says(page, "3 of 6 kept")
    assert page.evaluate(VALUE, [SELECT, "by_hand"]) == ""


def test_what_a_run_tells_is_kept_and_is_no_step_to_undo(any_page: Page, any_host: Host) -> None:
    any_page.evaluate(LOAD, {"1": default_node(any_host.object_info(), "KilnLoadDataset")})
    assert any_page.evaluate(KEEP) == [0, False, 1, True]


def test_variants_are_kept_or_rejected_beside_their_scores(
    any_page: Page, any_host: Host, screenshots: Path, look: Look
) -> None:
    page, name = any_page, f"variants-{look.name}"
    write_dataset(characters()["mirelva"], any_host.base / "input" / name, count=2)
    node = partial(default_node, any_host.object_info())
    graph = {
        "1": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "2": node("ControlNetLoader", control_net_name=CONTROLNET),
        "3": node("KilnLoadDataset", folder=name),
        "4": node(
            AUGMENT, dataset=["3", 0], model=["1", 0], clip=["1", 1], vae=["1", 2], control_net=["2", 0],
            styles="watercolor", variants=2, steps=4, resolution=128, keep_best=1,
        ),
        "5": node("KilnDatasetReport", dataset=["4", 0]),
        "6": node("PreviewAny", source=["4", 1]),
    }  # fmt: skip
    run(page, AUGMENT, graph)
    says(page, "2 of 4 kept")
    kept = [cell(page, at).get_attribute("aria-selected") == "true" for at in range(6)]
    # Each source stands before its two variants, of which the better one is kept.
    assert not kept[0]
    assert not kept[3]
    assert sum(kept[1:3]) == sum(kept[4:]) == 1
    better, other = (1, 2) if kept[1] else (2, 1)
    cell(page, 0).click()
    says(page, "2 of 4 kept")
    cell(page, other).click()
    says(page, "3 of 4 kept, 1 by hand")
    cell(page, better).click()
    says(page, "2 of 4 kept, 2 by hand")
    page.wait_for_function(f"() => [...document.querySelectorAll('{PICK} img')].every(one => one.naturalWidth)")
    page.screenshot(path=screenshots / f"{name}.png")
    picture_of(page, PICK, screenshots / f"variants_panel-{look.name}.png")
    lines = page.evaluate(VALUE, [AUGMENT, "by_hand"]).splitlines()
    assert [line[0] for line in lines] == ["+", "-"]
    assert prompted(page, AUGMENT)["by_hand"] == "\n".join(lines)
    page.evaluate(QUEUE)
    page.wait_for_function(IDLE, timeout=60_000)
    says(page, "2 of 4 kept, 2 by hand")
