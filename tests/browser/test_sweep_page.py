"""The sweep viewer: the grid in Epoch Sweep, zoom, two cells compared, and an epoch that Save LoRA takes."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.browser import IDLE, NODE, QUEUE, SHOW_PANEL, picture_of
from demo.graphs import default_node
from demo.pictures import write_dataset
from demo.world.characters import characters

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.browser import Look
    from demo.hosting import Host

CHECKPOINT = "kiln-world-sd15.safetensors"
NAME = "swept"
LOAD = "async prompt => { await app.loadApiJson(prompt, 'sweep'); app.graph.arrange?.() }"
PANEL = ["KilnEpochSweep", ".kiln-sweep"]
SAVES = """() => app.graph.nodes.filter(node => node.comfyClass === 'KilnSaveLoRA').map(node => ({
  id: node.id,
  ...Object.fromEntries(node.widgets.filter(w => ['epoch', 'strength'].includes(w.name)).map(w => [w.name, w.value])),
  wired: ['epoch', 'strength', 'run'].filter(name => node.isInputConnected(node.findInputSlot(name))),
}))"""
UNDO = "async () => { await app.extensionManager.command.execute('Comfy.Undo') }"
CELL = ".kiln-cells button.kiln-cell"


@pytest.fixture
def prompt(any_host: Host) -> dict[str, Any]:
    """Two epochs, swept at two strengths, and two nodes that save: one by the sweep's wires, one without any."""
    node = partial(default_node, any_host.object_info())
    write_dataset(characters()["mirelva"], any_host.base / "input" / NAME, count=4)
    loaded = {"model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2]}
    sides = {"resolution": 64, "bucket_step": 64, "min_bucket": 64, "max_bucket": 64}
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "2": node("KilnLoadDataset", folder=NAME),
        "3": node("KilnRecipe", epochs=2, batch_size=2, dim=4, alpha=4.0, unet_lr=1e-3, **sides),
        "4": node("KilnTrainLoRA", dataset=["2", 0], recipe=["3", 0], name=NAME, **loaded),
        "5": node(
            "KilnEpochSweep", run=["4", 2], prompts="here = mirelva, 1girl\nforest = 1girl, forest",
            strengths="0.5, 1.0", steps=2, width=64, height=64, tagger="none", ccip="none", **loaded,
        ),
        "6": node("KilnSaveLoRA", run=["4", 2], file_name="kiln/swept", epoch=["5", 3], strength=["5", 4]),
        "7": node("PreviewAny", source=["5", 2]),
    }  # fmt: skip


@pytest.fixture
def swept(any_page: Page, prompt: dict[str, Any]) -> Page:
    """The page after the sweep."""
    any_page.evaluate(LOAD, prompt)
    any_page.evaluate(SHOW_PANEL, PANEL)
    any_page.evaluate(QUEUE)
    any_page.locator(CELL).first.wait_for(timeout=120_000)
    any_page.wait_for_function(IDLE, timeout=60_000)
    return any_page


def test_the_grid_is_there_and_after_a_reload_again(swept: Page, screenshots: Path, look: Look) -> None:
    assert swept.locator(CELL).count() == 2 * 5
    heads = swept.locator(".kiln-cells thead th > div").all_inner_texts()
    assert heads == ["no LoRA", "epoch 1 x0.5", "epoch 1 x1", "epoch 2 x0.5", "epoch 2 x1"]
    swept.wait_for_function(
        "() => [...document.querySelectorAll('.kiln-cells img')].every(image => image.naturalWidth === 64)"
    )
    swept.screenshot(path=screenshots / f"sweep-{look.name}.png")
    # The page keeps its graph for a reload a moment after it changed.
    swept.wait_for_timeout(1500)
    swept.reload()
    swept.wait_for_function("() => window.app?.graph?.nodes?.length")
    swept.evaluate(SHOW_PANEL, PANEL)
    swept.locator(CELL).first.wait_for(timeout=30_000)
    assert swept.locator(CELL).count() == 2 * 5


@pytest.mark.skipif("KILN_PICTURES" not in os.environ, reason="minutes of training: python dev.py pictures sweep")
def test_a_picture_of_it(page: Page, host: Host, screenshots: Path) -> None:
    """The example's own sweep of a character that the model has never seen, with its scores."""
    from demo.run import character_graph

    her = characters()["mirelva"]
    write_dataset(her, host.base / "input" / her.name, repeats=4)
    page.evaluate(LOAD, character_graph(host.object_info(), her, epochs=6))
    page.evaluate(SHOW_PANEL, PANEL)
    page.evaluate(QUEUE)
    page.locator(CELL).first.wait_for(timeout=900_000)
    page.wait_for_function(IDLE, timeout=60_000)
    # As a user would who wants to see it all: large, and where nothing lies on it.
    sweep = NODE.format("KilnEpochSweep")
    page.evaluate(f"() => {{ {sweep}.pos = [9000, 0]; {sweep}.setSize([1060, {sweep}.size[1] + 640]) }}")
    page.evaluate(SHOW_PANEL, PANEL)
    page.wait_for_function("() => [...document.querySelectorAll('.kiln-cells img')].every(image => image.naturalWidth)")
    page.wait_for_timeout(500)
    picture_of(page, ".kiln-sweep", screenshots / "sweep_panel.png")


def test_cells_are_zoomed_walked_and_compared(swept: Page, screenshots: Path, look: Look) -> None:
    cells = swept.locator(CELL)
    cells.nth(1).click()
    title = swept.locator(".kiln-zoom figcaption")
    assert title.all_inner_texts() == ["epoch 1 x0.5 · here"]
    swept.keyboard.press("ArrowRight")
    swept.keyboard.press("ArrowDown")
    assert title.all_inner_texts() == ["epoch 1 x1 · forest"]
    swept.keyboard.press("Escape")

    swept.locator(".kiln-sweep button", has_text="Compare two").click()
    cells.nth(0).click()
    cells.nth(4).click()
    assert title.all_inner_texts() == ["no LoRA · here", "epoch 2 x1 · here"]
    left, right = swept.locator(".kiln-zoom img").all()
    swept.locator(".kiln-zoom-view").first.hover(position={"x": 100, "y": 100})
    swept.mouse.wheel(0, -600)
    moved = left.evaluate("image => image.style.transform")
    assert "scale(1)" not in moved
    assert right.evaluate("image => image.style.transform") == moved
    swept.mouse.down()
    swept.mouse.move(300, 400)
    swept.mouse.up()
    assert left.evaluate("image => image.style.transform") == right.evaluate("image => image.style.transform") != moved
    swept.screenshot(path=screenshots / f"sweep-compare-{look.name}.png")
    swept.keyboard.press("ArrowDown")
    assert title.all_inner_texts() == ["no LoRA · forest", "epoch 2 x1 · forest"]
    swept.keyboard.press("Escape")
    swept.locator(".kiln-zoom").wait_for(state="detached")


def test_use_this_epoch_writes_into_save_lora_and_can_be_undone(swept: Page) -> None:
    [before] = swept.evaluate(SAVES)
    assert before["wired"] == ["epoch", "strength", "run"]
    swept.locator(".kiln-cells thead button", has_text="Use this epoch").nth(0).click()
    swept.wait_for_function(f"() => ({SAVES})()[0].epoch === 1")
    [after] = swept.evaluate(SAVES)
    assert (after["epoch"], after["strength"], after["wired"]) == (1, 0.5, ["run"])
    swept.evaluate(UNDO)
    swept.wait_for_function(f"() => ({SAVES})()[0].wired.length === 3")
    assert swept.evaluate(SAVES) == [before]


def test_where_nothing_saves_the_run_it_is_asked(swept: Page) -> None:
    swept.evaluate("""() => {
      const node = app.graph.nodes.find(one => one.comfyClass === 'KilnSaveLoRA')
      node.disconnectInput(node.findInputSlot('run'))
    }""")
    swept.locator(".kiln-cells thead button", has_text="Use this epoch").nth(3).click()
    question = swept.locator(".kiln-question")
    assert len(question.locator("button").all()) == 3
    question.locator("button", has_text="Add a Save LoRA").click()
    swept.wait_for_function(f"() => ({SAVES})().length === 2")
    new = max(swept.evaluate(SAVES), key=lambda node: int(node["id"]))
    assert (new["epoch"], new["strength"], new["wired"]) == (2, 1, ["run"])
