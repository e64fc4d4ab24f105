"""ComfyUI's page in a headless Chromium: who serves it, which renderer draws its nodes, and what it complains of.

playwright is imported by whoever makes the browser; nothing here needs it before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, WebError

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WINDOW = {"width": 1900, "height": 1080}
# Our nodes are known, and the page's first workflow is there: it would replace a graph that is made before.
READY = """() => window.app?.graph && window.LiteGraph?.registered_node_types?.KilnTrainLoRA
  && app.extensionManager?.workflow?.activeWorkflow?.changeTracker"""
READY_MS = 90_000
# A first visit opens the list of templates over everything; the rest only covers the canvas.
SETTINGS = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False, "Comfy.Graph.CanvasInfo": False}
NODES2 = "Comfy.VueNodes.Enabled"
# So does the banner that invites to Nodes 2.0; whether it was closed is kept in the browser.
FIRST_VISIT = "localStorage.setItem('vueNodesBannerDismissed', 'true')"

# Runs the graph of the page, which may refuse it. The server is IDLE when that has ended.
QUEUE = """async () => {
  await app.queuePrompt(0, 1)
  const wrong = app.lastNodeErrors ?? {}
  if (Object.keys(wrong).length) throw new Error(`not queued: ${JSON.stringify(wrong)}`)
}"""
IDLE = """async () => {
  const queue = await (await fetch('/queue')).json()
  return queue.queue_running.length + queue.queue_pending.length === 0
}"""

# Brings a panel inside a node into view: by the node's place, then by where the renderer has really put the panel.
SHOW_PANEL = """async ([name, panel]) => {
  const node = app.graph.nodes.find(one => one.comfyClass === name)
  const view = app.canvas.ds
  const drawn = () => new Promise(done => setTimeout(done, 250))
  view.scale = 0.8
  view.offset = [150 - node.pos[0], 150 - node.pos[1]]
  app.canvas.setDirty(true, true)
  await drawn()
  const box = document.querySelector(panel)?.getBoundingClientRect()
  if (box) view.offset = [view.offset[0] + (300 - box.left) / view.scale, view.offset[1] + (150 - box.top) / view.scale]
  app.canvas.setDirty(true, true)
  await drawn()
}"""

PALETTE = "palette => app.extensionManager.setting.set('Comfy.ColorPalette', palette)"
READABLE = 4.5
# The contrast of every visible word below an element with what lies under it, the least first, with its class and the
# word: WCAG 2.2's ratio, which asks for READABLE.
CONTRAST = """root => {
  const sheet = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
  const pen = sheet.getContext("2d", {willReadFrequently: true})
  const luminance = colors => {
    for (const color of colors) {
      pen.fillStyle = color
      pen.fillRect(0, 0, 1, 1)
    }
    const part = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
    const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map(v => part(v / 255))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const found = []
  for (const element of document.querySelectorAll(`${root}, ${root} *`)) {
    const own = [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.data.trim())
    const words = own.join("") || (["INPUT", "TEXTAREA"].includes(element.tagName) && element.value) || ""
    const seen = element.checkVisibility({visibilityProperty: true})
    if (!words || !seen || element.disabled || ["OPTION", "STYLE"].includes(element.tagName)) continue
    const under = ["#fff"]
    for (let at = element; at; at = at.parentElement) under.splice(1, 0, getComputedStyle(at).backgroundColor)
    const ground = luminance(under)
    const ink = luminance([...under, getComputedStyle(element).color])
    const ratio = (Math.max(ground, ink) + 0.05) / (Math.min(ground, ink) + 0.05)
    found.push([Math.round(100 * ratio) / 100, element.getAttribute("class"), String(words).slice(0, 40)])
  }
  return found.sort((a, b) => a[0] - b[0])
}"""

# The only node of a type in the open graph, and whether the one that loads a dataset has run.
NODE = "app.graph.nodes.find(node => node.type === '{}')"
LOAD = NODE.format("KilnLoadDataset")
RAN = f"() => {LOAD}?.properties.kiln_datasets?.[0]?.pictures"

# What names us: our files, our routes and messages, our nodes and extensions.
OURS = re.compile(r"kiln", re.IGNORECASE)
# No faults: the page asks for a help page in its own language first, asks ComfyUI's registry about every pack, and
# hears the server before it has loaded the modules that listen.
NO_FAULT = re.compile(r"/extensions/[^/]+/docs/[^ ]+\.md|/comfy-nodes/\w+/node|Unknown message type kiln\.")


class Look(NamedTuple):
    """One way to see the page: a frontend ("own" or "newest"), and Nodes 2.0 or the classic canvas."""

    frontend: str
    nodes2: bool

    @property
    def name(self) -> str:
        """As it stands in the names of tests and pictures."""
        return f"{self.frontend}-{'nodes2' if self.nodes2 else 'classic'}"

    @property
    def settings(self) -> Mapping[str, bool]:
        """What the server must say of the page's settings before the page loads."""
        return {**SETTINGS, NODES2: self.nodes2}


LOOKS = tuple(Look(frontend, nodes2) for frontend in ("own", "newest") for nodes2 in (False, True))


class Complaints:
    """Console errors and uncaught exceptions of every page that it watches."""

    def __init__(self) -> None:
        self.contexts: list[BrowserContext] = []
        self._said: list[str] = []

    def watch(self, context: BrowserContext) -> None:
        """Listen to every page of `context`, also to those opened later."""
        self.contexts.append(context)
        context.on("console", self.hear)
        context.on("weberror", self.catch)
        # playwright marks the listeners that it calls, which a built-in method does not allow.
        context.on("close", lambda closed: self.contexts.remove(closed))

    @property
    def pages(self) -> list[Page]:
        """Every watched page that is open."""
        return [page for context in self.contexts for page in context.pages if not page.is_closed()]

    def ours(self) -> list[str]:
        """What was said since the last `clear` and names us, with the address that it came from."""
        for page in self.pages:
            page.evaluate("0")  # whatever was said before this answer has been heard with it
        return [said for said in self._said if OURS.search(said) and not NO_FAULT.search(said)]

    def clear(self) -> None:
        """Forget everything, as a test does that provokes a refusal."""
        self.ours()
        self._said.clear()

    def hear(self, message: ConsoleMessage) -> None:
        """Keep an error that a page wrote to its console."""
        if message.type == "error":
            self._said.append(f"{message.text} ({message.location.get('url', '')})")

    def catch(self, problem: WebError) -> None:
        """Keep an exception that nobody caught."""
        error = problem.error
        self._said.append(f"uncaught: {getattr(error, 'stack', '') or error}")


def open_page(browser: Browser, complaints: Complaints, url: str, look: Look) -> Page:
    """The page at `url` in a context of its own, loaded, with the pack's nodes registered."""
    context = browser.new_context(viewport=WINDOW)  # type: ignore[arg-type]
    complaints.watch(context)
    context.on("dialog", _answer)
    context.add_init_script(FIRST_VISIT)
    page = context.new_page()
    set_look(page, url, look)
    load(page, url)
    return page


def picture_of(page: Page, panel: str, file: Path) -> None:
    """A picture of a panel inside a node, with some of the node above it."""
    box = page.locator(panel).first.bounding_box()
    if box is None:
        raise RuntimeError(f"nothing in the page is called {panel}")
    left, top = max(0.0, box["x"] - 24), max(0.0, box["y"] - 110)
    clip = {"x": left, "y": top, "width": box["width"] + 48, "height": box["y"] - top + box["height"] + 24}
    page.screenshot(path=file, clip=clip)  # type: ignore[arg-type]


def _answer(dialog: Dialog) -> None:
    """A page with unsaved changes asks whether it may be left: it may."""
    dialog.accept() if dialog.type == "beforeunload" else dialog.dismiss()


def set_look(page: Page, url: str, look: Look) -> None:
    """Tell the server which renderer the page shall take when it loads next."""
    reply = page.request.post(f"{url}/settings", data=dict(look.settings))
    if not reply.ok:
        raise RuntimeError(f"{url}/settings refused {dict(look.settings)}: {reply.status} {reply.text()}")


def load(page: Page, url: str) -> None:
    """Go to the page at `url`, anew where it is open already, and wait until our nodes are there."""
    page.goto(url)
    page.wait_for_function(READY, timeout=READY_MS)


def leave(page: Page, url: str) -> None:
    """Leave the page at `url` for a plain answer of its server, and forget what it kept in the browser."""
    page.goto(f"{url}/features")
    page.evaluate("() => { localStorage.clear(); sessionStorage.clear() }")
