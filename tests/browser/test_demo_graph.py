"""The demo graph as a person uses it: Run, cancel in the middle, Run again, reload in the middle, to the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.browser import IDLE, Look, load
from demo.pictures import write_dataset
from demo.world.characters import characters

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.hosting import Host

RUN = "[data-testid=queue-button] button:visible, button[data-testid=queue-button]:visible"
CANCEL = "button[aria-label='Cancel current run']:visible"
OPEN = """async name => {
  await app.loadGraphData(await (await fetch('/api/workflow_templates/lora-kiln/character_lora.json')).json())
  const small = {
    KilnLoadDataset: {folder: name},
    KilnRecipe: {resolution: 64, batch_size: 2, epochs: 3, dim: 4, alpha: 4},
    KilnTrainLoRA: {name},
    KilnSaveLoRA: {file_name: name},
    KilnEpochSweep: {prompts: 'mirelva, 1girl', epochs: 'last 1', steps: 2, width: 64, height: 64},
  }
  for (const node of app.graph.nodes) {
    for (const [key, value] of Object.entries(small[node.type] ?? {})) {
      const widget = node.widgets.find(one => one.name === key)
      if (!widget) throw new Error(`${node.type} has no ${key}`)
      widget.value = value
    }
  }
}"""
WATCH = """() => {
  window.kilnTest = {ended: ''}
  for (const kind of ['execution_success', 'execution_error', 'execution_interrupted']) {
    app.api.addEventListener(kind, () => { window.kilnTest.ended = kind })
  }
}"""
# What the page itself adds to a node that runs begins with $$.
VALUES = """() => Object.fromEntries(app.graph.nodes.filter(node => node.type.startsWith('Kiln')).map(node => {
  const own = node.widgets.filter(w => w.serialize !== false && !w.name.startsWith('$$'))
  return [node.type, Object.fromEntries(own.map(w => [w.name, w.value]))]
}))"""
PATIENCE_MS = 120_000


def steps(folder: Path) -> list[int]:
    """The steps that a run has logged."""
    file = folder / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line)["step"] for line in lines if line.startswith("{") and line.endswith("}")]


def wait_for_steps(page: Page, folder: Path, number: int) -> None:
    """Until the run has logged so many."""
    for _ in range(PATIENCE_MS // 100):
        if len(steps(folder)) >= number:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{folder} has logged {len(steps(folder))} steps, not {number}, after {PATIENCE_MS} ms")


def wait_until_idle(page: Page) -> None:
    """Until the server has nothing more to run."""
    for _ in range(PATIENCE_MS // 200):
        if page.evaluate(IDLE):
            return
        page.wait_for_timeout(200)
    raise AssertionError(f"the queue was not empty after {PATIENCE_MS} ms")


def test_cancelled_run_again_and_reloaded_it_ends(
    any_page: Page, any_host: Host, look: Look, screenshots: Path
) -> None:
    page, name = any_page, f"page-{look.name}"
    folder = any_host.base / "output" / "kiln" / name
    write_dataset(characters()["mirelva"], any_host.base / "input" / name, count=6)
    page.evaluate(OPEN, name)
    page.evaluate(WATCH)

    page.locator(RUN).first.click()
    wait_for_steps(page, folder, 6)
    page.locator(CANCEL).first.click()
    page.wait_for_function("() => window.kilnTest.ended", timeout=PATIENCE_MS)
    assert page.evaluate("() => window.kilnTest.ended") == "execution_interrupted"
    page.screenshot(path=screenshots / f"cancelled-{look.name}.png")
    about: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    before, started = steps(folder), about["started_at"]
    assert not about["finished"]

    page.locator(RUN).first.click()
    wait_for_steps(page, folder, len(before) + 3)
    values = page.evaluate(VALUES)
    load(page, any_host.url)
    # The page brings the graph back a moment after it has loaded.
    page.wait_for_function("() => app.graph.nodes.some(node => node.type === 'KilnTrainLoRA')", timeout=PATIENCE_MS)
    assert page.evaluate(VALUES) == values
    page.screenshot(path=screenshots / f"reloaded-{look.name}.png")
    wait_until_idle(page)

    about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert about["finished"]
    assert about["started_at"] == started
    whole = steps(folder)
    assert whole == list(range(1, len(whole) + 1)), "the second run went on where the first one stopped"
    assert whole[: len(before)] == before
    assert len(about["checkpoints"]) == 3
    assert (any_host.base / "models" / "loras" / f"{name}.safetensors").is_file()
