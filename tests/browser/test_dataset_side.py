"""The dataset page in the side bar: it follows what is selected, and keeps what is chosen on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from demo.browser import LOAD, NODE, RAN

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

    from demo.hosting import Host


TOGGLE = "() => app.extensionManager.sidebarTab.toggleSidebarTab('kiln.dataset')"


def open_side(page: Page) -> Locator:
    """The page in the side bar, on the node that loads a dataset; where it says how many pictures are shown."""
    page.evaluate(f"() => app.canvas.selectNode({LOAD})")
    page.evaluate(TOGGLE)
    count = page.locator(".kiln-side header [role=status]")
    count.get_by_text("12 of 12").wait_for()
    return count


def test_the_side_bar_shows_the_node_that_is_selected(page: Page, make: Callable[..., Path], screenshots: Path) -> None:
    make(page)
    open_side(page)
    page.locator(".kiln-side .kiln-middle img[src]").first.wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=screenshots / "dataset_side.png")
    page.evaluate(TOGGLE)
    page.locator(".kiln-side").wait_for(state="detached")


def test_the_side_bars_own_choice_stays_until_another_node_is_selected(page: Page, make: Callable[..., Path]) -> None:
    make(page, select=True)
    count = open_side(page)
    chooser = page.get_by_label("Whose pictures")
    [kept] = [words for words in chooser.locator("option").all_inner_texts() if words.endswith(": selected")]
    chooser.select_option(label=kept)
    count.get_by_text("4 of 4").wait_for()
    page.wait_for_timeout(1200)  # it looks twice a second which node is selected
    assert count.inner_text() == "4 of 4"
    page.evaluate(f"() => {{ app.canvas.deselectAll(); app.canvas.selectNode({NODE.format('PreviewAny')}) }}")
    page.wait_for_timeout(700)
    page.evaluate(f"() => {{ app.canvas.deselectAll(); app.canvas.selectNode({LOAD}) }}")
    count.get_by_text("12 of 12").wait_for()
    page.evaluate(TOGGLE)


def test_what_is_typed_while_another_dataset_comes_is_about_that_one(page: Page, make: Callable[..., Path]) -> None:
    make(page, select=True)
    count = open_side(page)

    def slowly(route: Route) -> None:
        page.wait_for_timeout(500)
        route.continue_()

    page.route("**/look", slowly)
    chooser = page.get_by_label("Whose pictures")
    [kept] = [words for words in chooser.locator("option").all_inner_texts() if words.endswith(": selected")]
    chooser.select_option(label=kept)
    page.get_by_label("Filter", exact=True).fill("hat OR NOT hat")
    count.get_by_text("4 of 4").wait_for()
    page.wait_for_timeout(1200)
    assert count.inner_text() == "4 of 4"
    page.unroute("**/look")
    page.evaluate(TOGGLE)


def test_what_a_run_tells_is_for_its_own_workflow(any_page: Page, any_host: Host, make: Callable[..., Path]) -> None:
    page = any_page
    page.evaluate(
        """() => {
          window.told = []
          app.api.addEventListener('executed', event => window.told.push(event.detail))
        }"""
    )
    make(page, any_host)
    again = "() => window.told.forEach(detail => app.api.dispatchEvent(new CustomEvent('executed', { detail })))"
    forget = f"() => {{ delete {LOAD}.properties.kiln_datasets }}"
    page.evaluate(forget)
    page.evaluate(again)
    assert page.evaluate(RAN) == 12
    first = page.evaluate("() => app.graph.id")
    # The same nodes under the same numbers, in another workflow beside it.
    page.evaluate("""async () => {
      const copy = app.graph.serialize()
      copy.id = crypto.randomUUID()
      await app.loadGraphData(copy)
    }""")
    page.evaluate(forget)
    page.evaluate(again)
    assert page.evaluate(RAN) is None
    # Back in its own, it is told again.
    page.evaluate(
        """async id => {
      const copy = app.graph.serialize()
      copy.id = id
      await app.loadGraphData(copy)
    }""",
        first,
    )
    assert page.evaluate(RAN) == 12
