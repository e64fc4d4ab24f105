"""The real page in a headless Chromium, on the tests' own servers.

`page` is ComfyUI's own frontend with the classic canvas. A test that takes `any_page` runs in every look: own and
newest frontend, classic canvas and Nodes 2.0. After each test the pages' consoles must hold no error of ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw

from demo.base import own_frontend
from demo.browser import FLAGS, IDLE, LOOKS, QUEUE, RAN, WINDOW, Complaints, Look, leave, load, open_page, set_look

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from demo.hosting import Host

# Datasets that a page is tried on: which tags their pictures have, and the graph that loads them.
TAGS = ("hat", "long hair", "smile", "blurry")
GRAPH = """async ({folder, select}) => {
  app.graph.clear()
  const add = (type, x, widgets = {}) => {
    const node = LiteGraph.createNode(type)
    node.pos = [x, 100]
    app.graph.add(node)
    for (const [name, value] of Object.entries(widgets)) node.widgets.find(w => w.name === name).value = value
    return node
  }
  const load = add("KilnLoadDataset", 0, {path: folder})
  const show = add("PreviewAny", 1200)
  if (select) {
    const chosen = add("KilnSelectImages", 420, {filter: "smile"})
    load.connect(0, chosen, 0)
    chosen.connect(3, show, 0)
  } else {
    const balance = add("KilnBalanceRepeats", 800)
    load.connect(0, balance, 0)
    balance.connect(1, show, 0)
  }
  app.canvas.ds.scale = 1
  app.canvas.ds.offset = [120, 140]
  app.canvas.setDirty(true, true)
}"""
OWN_CLASSIC = LOOKS[0]
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep whether a test failed, for the picture that is then taken."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """One Chromium for all pages."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="session")
def complaints() -> Complaints:
    """What the pages complain of. A test that provokes an error of ours ends with `complaints.clear()`."""
    return Complaints()


@pytest.fixture(scope="session")
def newest_host(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The same ComfyUI with the newest frontend; skips where it has not been fetched."""
    from demo.hosting import Host

    frontend = own_frontend()
    if not (frontend / "index.html").is_file():
        pytest.skip(f"no newest frontend in {frontend}: python dev.py test browser fetches it")
    with Host(tmp_path_factory.mktemp("newest"), extra=["--front-end-root", str(frontend)]) as running:
        yield running


@pytest.fixture(scope="session")
def page(browser: Browser, complaints: Complaints, host: Host) -> Iterator[Page]:
    """ComfyUI's own frontend, classic canvas, with the pack's nodes registered."""
    page = open_page(browser, complaints, host.url, OWN_CLASSIC)
    yield page
    page.context.close()


@pytest.fixture(scope="session", params=LOOKS, ids=lambda look: look.name)
def look(request: pytest.FixtureRequest) -> Look:
    """Which frontend and renderer `any_page` is seen with."""
    chosen: Look = request.param
    return chosen


@pytest.fixture(scope="session")
def any_host(request: pytest.FixtureRequest, look: Look) -> Host:
    """The server of `any_page`."""
    server: Host = request.getfixturevalue("host" if look.frontend == "own" else "newest_host")
    return server


@pytest.fixture(scope="session")
def opened(browser: Browser, complaints: Complaints) -> Iterator[dict[str, Page]]:
    """Pages by their server's address: a first visit takes much longer than to come again."""
    pages: dict[str, Page] = {}
    yield pages
    for page in pages.values():
        page.context.close()


@pytest.fixture(scope="session")
def any_page(
    browser: Browser, complaints: Complaints, opened: dict[str, Page], any_host: Host, look: Look
) -> Iterator[Page]:
    """The page in one look after the other, each time as on a first visit. All tests of one look run together."""
    url = any_host.url
    if url in opened:
        set_look(opened[url], url, look)
        load(opened[url], url)
    else:
        opened[url] = open_page(browser, complaints, url, look)
    yield opened[url]
    leave(opened[url], url)


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """Where pictures of the page go: KILN_SCREENSHOTS when it is set."""
    folder = Path(os.environ.get("KILN_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def _guard(request: pytest.FixtureRequest, complaints: Complaints, screenshots: Path) -> Iterator[None]:
    """Fail a test that leaves an error of ours in a page's console; keep a picture of every page of a failed test."""
    yield
    said = complaints.ours()
    complaints.clear()
    if said or request.node.stash.get(FAILED, False):
        name = re.sub(r"\W+", "-", request.node.name).strip("-")
        for number, shown in enumerate(complaints.pages):
            shown.screenshot(path=screenshots / f"failed-{name}-{number}.png")
    assert not said, "The page complained of something of ours:\n" + "\n".join(said)


@pytest.fixture(autouse=True)
def _quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing that a failed test has queued works on beside the next ones."""
    yield
    if request.node.stash.get(FAILED, False):
        for name in {"host", "any_host"} & set(request.fixturenames):
            request.getfixturevalue(name).stop_work()


@pytest.fixture(autouse=True)
def _renderer(request: pytest.FixtureRequest, _guard: None) -> None:
    """Set the page's window, and on the server, which both renderers share, the look for when the page loads again."""
    for page, host in (("page", "host"), ("any_page", "any_host")):
        if page in request.fixturenames:
            look = request.getfixturevalue("look") if page == "any_page" else OWN_CLASSIC
            shown: Page = request.getfixturevalue(page)
            set_look(shown, request.getfixturevalue(host).url, look)
            if shown.viewport_size != WINDOW:
                shown.set_viewport_size(WINDOW)


def write(folder: Path, count: int) -> Path:
    """Pictures in landscape and portrait, each with tags by its number."""
    folder.mkdir(parents=True)
    for number in range(count):
        path = folder / f"{number:04}.png"
        if number < 12:
            image = Image.new("RGB", (96, 64) if number % 3 else (64, 96), (40 + 15 * number, 90, 200 - 12 * number))
            ImageDraw.Draw(image).text((8, 8), str(number), fill="white")
            image.save(path)
        else:
            os.link(folder / f"{number % 12:04}.png", path)
        tags = ["1girl", *(tag for bit, tag in enumerate(TAGS) if number >> bit & 1)]
        (folder / f"{number:04}.txt").write_text(", ".join(tags), encoding="utf-8")
    return folder


@pytest.fixture
def make(host: Host, request: pytest.FixtureRequest) -> Callable[..., Path]:
    """A graph in a page over so many pictures, or those in a folder, which has run; returns their folder."""

    def work(
        page: Page, server: Host = host, count: int = 12, select: bool = False, folder: Path | None = None
    ) -> Path:
        name = f"{request.node.name}-{count}".replace("[", "-").replace("]", "")
        folder = folder or write(server.base / "input" / name, count)
        page.keyboard.press("Escape")
        page.evaluate(GRAPH, {"folder": str(folder), "select": select})
        page.evaluate(QUEUE)
        page.wait_for_function(IDLE, timeout=120_000)
        page.wait_for_function(RAN, timeout=120_000)
        return folder

    return work
