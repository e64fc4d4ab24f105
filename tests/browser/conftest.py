"""The real page in a headless Chromium, on the tests' own server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.hosting import Host

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
READY = "() => window.app?.graph && window.LiteGraph?.registered_node_types?.KilnTrainLoRA"
# A first visit opens the list of templates over everything; the rest only covers the canvas.
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False, "Comfy.Graph.CanvasInfo": False}


@pytest.fixture(scope="session")
def page(chromium: str, host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """ComfyUI's page, loaded, with the pack's nodes registered."""
    playwright = pytest.importorskip("playwright.sync_api")
    profile = tmp_path_factory.mktemp("chromium")
    with playwright.sync_playwright() as play:
        context = play.chromium.launch_persistent_context(
            profile, executable_path=chromium, args=list(FLAGS), viewport={"width": 1900, "height": 1080}
        )
        page = context.pages[0]
        page.request.post(f"{host.url}/settings", data=SETTINGS)
        page.goto(host.url)
        page.wait_for_function(READY, timeout=60_000)
        yield page
        context.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures of the page go: KILN_SCREENSHOTS when it is set."""
    folder = Path(os.environ.get("KILN_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
