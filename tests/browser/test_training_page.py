"""Training, live: what Train LoRA shows while it trains, after a reload, in a second browser, and when stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from demo.browser import IDLE, QUEUE, SHOW_PANEL, Complaints, Look, open_page, picture_of
from demo.graphs import default_node
from demo.pictures import write_dataset
from demo.world.characters import characters

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from demo.hosting import Host

CHECKPOINT = "kiln-world-sd15.safetensors"
LOAD = "async prompt => { await app.loadApiJson(prompt, 'training'); app.graph.arrange?.() }"
VIEW = ".kiln-training"
REACHED = r"""least => {
  const words = document.querySelector('.kiln-training .kiln-facts')?.innerText ?? ''
  return Number(/step (\d+) \//.exec(words)?.[1]) >= least
}"""


@pytest.fixture
def graph(any_host: Host, look: Look) -> Callable[..., dict[str, Any]]:
    """A training in API form on the server of the page, small enough for seconds; a run of its own for each look."""
    node = partial(default_node, any_host.object_info())

    def make(name: str, sample_every: str = "0 epochs", **settings: Any) -> dict[str, Any]:
        name = f"{name}-{look.name}"
        write_dataset(characters()["mirelva"], any_host.base / "input" / name, count=4)
        loaded = {"model": ["1", 0], "clip": ["1", 1], "vae": ["1", 2]}
        sides = {"resolution": 64, "bucket_step": 64, "min_bucket": 64, "max_bucket": 64}
        recipe = {"batch_size": 1, "dim": 4, "alpha": 4.0, "unet_lr": 1e-3, "seed": 1, **sides, **settings}
        saving = {"sample_steps": 2, "sample_prompts": "mirelva, 1girl\n1girl, forest", "sample_every": sample_every}
        return {
            "1": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
            "2": node("KilnLoadDataset", folder=name),
            "3": node(
                "KilnRecipeSaving", **saving, save_every="20 epochs", validate_every="5 epochs", validation_share=0.25
            ),
            "4": node("KilnRecipe", **recipe, saving=["3", 0]),
            "5": node("KilnTrainLoRA", dataset=["2", 0], recipe=["4", 0], name=name, **loaded),
            "6": node("PreviewAny", source=["5", 6]),
        }

    return make


def show(page: Page) -> None:
    page.evaluate(SHOW_PANEL, ["KilnTrainLoRA", VIEW])


def words(page: Page) -> str:
    return page.locator(f"{VIEW} .kiln-facts").inner_text()


def step(page: Page) -> int:
    found = re.search(r"step (\d+) /", words(page)) if page.locator(f"{VIEW} .kiln-facts").is_visible() else None
    return int(found[1]) if found else 0


def wait_for_step(page: Page, least: int) -> None:
    page.wait_for_function(REACHED, arg=least, timeout=90_000)


def state(page: Page) -> str:
    return page.locator(f"{VIEW} .kiln-state").inner_text()


def wait_for_state(page: Page, text: str) -> None:
    page.locator(f"{VIEW} .kiln-state", has_text=re.compile(f"^{text}")).wait_for(timeout=90_000)


def test_a_fresh_node_says_what_will_be_seen(any_page: Page, any_host: Host, graph: Any) -> None:
    any_page.evaluate(LOAD, graph("fresh"))
    show(any_page)
    assert "Queue the graph" in any_page.locator(f"{VIEW} .kiln-empty").inner_text()


def test_the_panel_is_in_no_workflow_and_no_prompt(any_page: Page, graph: Any, look: Look) -> None:
    prompt = graph("plain")
    any_page.evaluate(LOAD, prompt)
    saved, sent = any_page.evaluate(
        "async () => { const both = await app.graphToPrompt(); return [both.workflow, both.output] }"
    )
    [node] = [one for one in saved["nodes"] if one["type"] == "KilnTrainLoRA"]
    assert node["widgets_values"] == [f"plain-{look.name}", False, "new run"]
    assert set(sent["5"]["inputs"]) == set(prompt["5"]["inputs"])


def test_the_loss_moves_and_a_reload_and_another_browser_lose_nothing(
    browser: Browser,
    complaints: Complaints,
    any_page: Page,
    any_host: Host,
    graph: Any,
    screenshots: Path,
    look: Look,
) -> None:
    prompt = graph("live", "10 epochs", epochs=1000)
    any_page.evaluate(LOAD, prompt)
    show(any_page)
    any_page.evaluate(QUEUE)
    wait_for_step(any_page, 8)
    assert "training" in state(any_page)
    assert "left" in words(any_page)
    path = any_page.locator(f"{VIEW} .kiln-smooth")
    before = path.get_attribute("d")
    wait_for_step(any_page, step(any_page) + 5)
    assert path.get_attribute("d") != before

    other = open_page(browser, complaints, any_host.url, look)
    # Not made again: its pictures are drawn anew, and these are trained on.
    other.evaluate(LOAD, prompt)
    show(other)
    seen = step(any_page)
    wait_for_step(other, seen)
    assert "training" in state(other)

    any_page.reload()
    any_page.wait_for_function("() => window.app?.graph?.nodes?.length")
    show(any_page)
    wait_for_step(any_page, seen)
    show(any_page)
    any_page.locator(f"{VIEW} .kiln-strip img").first.wait_for(timeout=60_000)
    any_page.screenshot(path=screenshots / f"training-{look.name}.png")
    picture_of(any_page, VIEW, screenshots / f"training_panel-{look.name}.png")

    other.locator(f"{VIEW} button", has_text="Stop and keep").click()
    wait_for_state(any_page, "stopped and kept")
    wait_for_state(other, "stopped and kept")
    other.context.close()
    folder = any_host.base / "output" / "kiln" / f"live-{look.name}"
    about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert about["stopped_at"] == step(any_page)
    any_page.wait_for_function(IDLE)
    assert last_status(any_host) == "success"


def last_status(host: Host) -> str:
    history = requests.get(f"{host.url}/history", timeout=30).json()
    return str(list(history.values())[-1]["status"]["status_str"])


def test_stopped_and_kept_goes_on(any_page: Page, any_host: Host, graph: Any) -> None:
    any_page.evaluate(LOAD, graph("kept", epochs=20))
    show(any_page)
    any_page.evaluate(QUEUE)
    wait_for_step(any_page, 2)
    any_page.locator(f"{VIEW} button", has_text="Stop and keep").click()
    wait_for_state(any_page, "stopped and kept")
    any_page.wait_for_function(IDLE)
    stopped = step(any_page)
    assert stopped < 60
    any_page.evaluate(QUEUE)
    any_page.wait_for_function(IDLE)
    assert step(any_page) == stopped, "queued again it counts as done"

    any_page.locator(f"{VIEW} button", has_text="Go on").click()
    wait_for_state(any_page, "finished")
    assert step(any_page) == 60
    assert any_page.locator(f"{VIEW} button", has_text="Go on").is_hidden()
    notes = any_page.locator(f"{VIEW} .kiln-words").inner_text()
    assert f"Going on after step {stopped} of 60." in notes


def test_a_sample_comes_when_it_is_asked_for(any_page: Page, graph: Any) -> None:
    any_page.evaluate(LOAD, graph("sampled", epochs=1000))
    show(any_page)
    any_page.evaluate(QUEUE)
    wait_for_step(any_page, 1)
    pictures = any_page.locator(f"{VIEW} .kiln-strip").first.locator("img")
    before = pictures.count()
    any_page.locator(f"{VIEW} button", has_text="Sample now").click()
    any_page.wait_for_function(
        "before => document.querySelector('.kiln-training .kiln-strip')?.querySelectorAll('img').length > before",
        arg=before,
    )
    pictures.first.click()
    large = any_page.locator(".kiln-zoom img")
    large.wait_for()
    any_page.wait_for_function("() => document.querySelector('.kiln-zoom img').naturalWidth === 64")
    any_page.keyboard.press("Escape")
    large.wait_for(state="detached")

    any_page.evaluate("() => app.api.interrupt()")
    wait_for_state(any_page, "not finished")
    any_page.wait_for_function(IDLE)


def test_a_name_that_comes_by_wire_keeps_its_run_over_a_reload(
    any_page: Page, any_host: Host, graph: Any, look: Look
) -> None:
    name = f"by-wire-{look.name}"
    prompt = graph("wired", epochs=1)
    prompt["7"] = default_node(any_host.object_info(), "PrimitiveString", value=name)
    prompt["5"]["inputs"]["name"] = ["7", 0]
    any_page.evaluate(LOAD, prompt)
    show(any_page)
    any_page.evaluate(QUEUE)
    wait_for_state(any_page, "finished")
    assert (any_host.base / "output" / "kiln" / name / "run.json").is_file()
    any_page.wait_for_function(IDLE)
    any_page.wait_for_timeout(1500)  # the page keeps an open workflow a moment after it was changed
    any_page.reload()
    any_page.wait_for_function("() => window.app?.graph?.nodes?.length")
    show(any_page)
    wait_for_state(any_page, "finished")
