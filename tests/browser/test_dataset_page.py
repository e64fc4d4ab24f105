"""The dataset page in the real page: what it shows, and that edits land in Edit Tags and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo.browser import CONTRAST, IDLE, LOAD, NODE, PALETTE, QUEUE, RAN, READABLE, load
from demo.pictures import write_dataset
from demo.world.characters import characters

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from demo.hosting import Host

EDIT = NODE.format("KilnEditTags")
OPEN = f"""async () => {{
  app.canvas.deselectAll()
  app.canvas.selectNode({LOAD})
  await app.extensionManager.command.execute("Kiln.OpenDataset")
}}"""
EDITS = f"() => JSON.parse({EDIT}?.widgets.find(w => w.name === 'edits').value ?? '[]')"
CARDS = ".kiln-dialog .kiln-middle .kiln-cell-box"


@pytest.fixture(autouse=True)
def _closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """No dialog is left open for the next test."""
    yield
    for name in ("page", "any_page"):
        if name in request.fixturenames:
            shown: Page = request.getfixturevalue(name)
            shown.evaluate("() => document.querySelectorAll('dialog[open]').forEach(each => each.close())")


def open_dialog(page: Page, count: int = 12) -> None:
    page.evaluate(OPEN)
    page.locator(".kiln-dialog header").get_by_text(f"{count} of {count}").wait_for()
    page.locator(f"{CARDS} img[src]").first.wait_for()


def prompted(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate("async () => (await app.graphToPrompt()).output")
    return found


def test_the_page_shows_pictures_tags_and_captions(
    any_page: Page, any_host: Host, make: Callable[..., Path], screenshots: Path, look: Any
) -> None:
    make(any_page, any_host)
    open_dialog(any_page)
    any_page.wait_for_function(f"() => [...document.querySelectorAll('{CARDS} img')].every(i => i.naturalWidth)")
    assert any_page.locator(CARDS).count() == 12
    assert any_page.locator(".kiln-dialog .kiln-tag").first.inner_text().split("\n")[:2] == ["1girl", "12"]
    any_page.locator(CARDS).nth(3).click()
    assert any_page.locator(".kiln-dialog textarea").input_value() == "1girl, hat, long hair"
    any_page.wait_for_timeout(300)
    any_page.screenshot(path=screenshots / f"dataset_page-{look.name}.png")


def test_a_picture_of_it(page: Page, make: Callable[..., Path], host: Host, screenshots: Path) -> None:
    """Her pictures, some of them filtered, an edit on trial."""
    her = characters()["mirelva"]
    folder = write_dataset(her, host.base / "input" / her.name, count=24)
    for number, file in enumerate(sorted(folder.glob("*.png"))):
        file.with_suffix(".txt").write_text(", ".join(her.picture(number).tags()), encoding="utf-8")
    make(page, folder=folder)
    open_dialog(page, 24)
    dialog = page.locator(".kiln-dialog")
    dialog.locator(".kiln-filter").fill("NOT from behind")
    dialog.get_by_label("tags to add, with commas").fill("original")
    dialog.get_by_text("of 24", exact=False).first.wait_for()
    dialog.locator(CARDS.partition(" ")[2], has_text="+original").first.wait_for()
    page.wait_for_function(f"() => [...document.querySelectorAll('{CARDS} img')].every(i => i.naturalWidth)")
    page.wait_for_timeout(300)
    page.screenshot(path=screenshots / "dataset_page_of_her.png")


def test_a_click_on_a_tag_filters_and_the_form_edits_what_is_shown(
    any_page: Page, any_host: Host, make: Callable[..., Path]
) -> None:
    page, folder = any_page, make(any_page, any_host)
    open_dialog(page)
    dialog = page.locator(".kiln-dialog")
    dialog.locator(".kiln-tag", has_text="smile").first.click()
    dialog.get_by_text("4 of 12").wait_for()
    dialog.locator(".kiln-tag", has_text="hat").first.click(modifiers=["Control"])
    assert dialog.locator(".kiln-filter").input_value() == "smile AND NOT hat"
    dialog.get_by_text("2 of 12").wait_for()
    dialog.get_by_label("tags to add, with commas").fill("grin")
    dialog.get_by_text("would change 2 of all 2 shown").wait_for()
    dialog.locator(CARDS.partition(" ")[2], has_text="+grin").first.wait_for()
    assert page.evaluate(EDITS) == []
    dialog.get_by_role("button", name="Apply").click()
    page.wait_for_function(f"() => {EDIT}")
    assert page.evaluate(EDITS) == [{"do": "add", "tags": "grin", "where": "smile AND NOT hat"}]
    prompt = prompted(page)
    edit, balance = (
        next(i for i, node in prompt.items() if node["class_type"] == name)
        for name in ("KilnEditTags", "KilnBalanceRepeats")
    )
    # The new node stands in the wire.
    assert prompt[balance]["inputs"]["dataset"] == [edit, 0]
    assert (folder / "0004.txt").read_text(encoding="utf-8") == "1girl, smile"


def test_edits_that_others_have_written_stay(page: Page, make: Callable[..., Path]) -> None:
    make(page)
    open_dialog(page)
    dialog = page.locator(".kiln-dialog")
    for tag in ("grin", "snow"):
        dialog.get_by_label("tags to add, with commas").fill(tag)
        dialog.get_by_role("button", name="Apply").click()
        page.wait_for_function(f"tag => ({EDITS})().at(-1)?.tags === tag", arg=tag)
        # By hand in the node, or on another page.
        page.evaluate(f"""() => {{
          const widget = {EDIT}.widgets.find(w => w.name === 'edits')
          widget.value = JSON.stringify([...JSON.parse(widget.value), {{do: 'remove', tags: 'hat'}}])
        }}""")
    assert [edit["tags"] for edit in page.evaluate(EDITS)] == ["grin", "hat", "snow", "hat"]


def test_a_caption_being_written_waits_with_its_picture(page: Page, make: Callable[..., Path]) -> None:
    make(page)
    open_dialog(page)
    dialog = page.locator(".kiln-dialog")
    cards = dialog.locator(".kiln-middle .kiln-cell-box")
    cards.nth(2).click()
    dialog.locator("textarea").fill("1girl, half a sen")
    cards.nth(3).click()
    assert dialog.locator("textarea").input_value() == "1girl, hat, long hair"
    cards.nth(2).click()
    assert dialog.locator("textarea").input_value() == "1girl, half a sen"
    page.keyboard.press("Escape")
    assert page.evaluate(EDITS) == []


def test_keys_move_select_edit_undo_and_redo(page: Page, make: Callable[..., Path]) -> None:
    make(page)
    open_dialog(page)
    dialog = page.locator(".kiln-dialog")
    grid = dialog.locator(".kiln-middle .kiln-grid-view")
    grid.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    dialog.get_by_text("1 selected").wait_for()
    assert grid.get_attribute("aria-activedescendant") == dialog.locator(".kiln-middle .kiln-active").get_attribute(
        "id"
    )
    dialog.locator(".kiln-tag", has_text="hat").hover()
    dialog.locator(".kiln-tag", has_text="hat").get_by_role("button").click()
    page.wait_for_function(f"() => {EDIT}")
    name = page.evaluate(EDITS)[0]["records"][0]
    assert page.evaluate(EDITS) == [{"do": "remove", "tags": "hat", "records": [name]}]
    assert name.endswith("/0001.png")
    grid.focus()
    page.keyboard.press("Control+z")
    page.wait_for_function(f"() => ({EDITS})().length === 0")
    page.wait_for_timeout(300)
    # The graph's own undo has not run: the node is still there.
    assert page.evaluate(f"() => !!{EDIT}")
    page.keyboard.press("Control+Shift+z")
    page.wait_for_function(f"() => ({EDITS})().length === 1")
    page.keyboard.press("Escape")
    dialog.get_by_text("all 12 shown").wait_for()
    page.keyboard.press("Delete")
    assert page.evaluate(f"() => !!{LOAD}")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")


def test_a_caption_by_hand_is_one_edit_and_what_runs(page: Page, make: Callable[..., Path], host: Host) -> None:
    make(page)
    open_dialog(page)
    dialog = page.locator(".kiln-dialog")
    dialog.locator(".kiln-middle .kiln-cell-box").nth(2).click()
    for text in ("1girl, red scarf", "1girl, red scarf, snow"):
        dialog.locator("textarea").fill(text)
        page.keyboard.press("Control+Enter")
        page.wait_for_function(f"() => ({EDITS})()[0]?.tags.length === {len(text.split(','))}")
    edits = page.evaluate(EDITS)
    assert [edit["tags"] for edit in edits] == [["1girl", "red scarf", "snow"]]
    page.evaluate(QUEUE)
    page.wait_for_function(f"() => {EDIT}.properties.kiln_datasets?.length")
    name = page.evaluate(f"() => {EDIT}.properties.kiln_datasets[0].id")
    run = page.request.get(f"{host.url}/kiln/dataset/{name}").json()["pictures"][2]
    assert run["tags"] == ["1girl", "red scarf", "snow"]


def test_captions_written_before_the_first_is_answered_are_kept(page: Page, make: Callable[..., Path]) -> None:
    make(page)
    open_dialog(page)
    dialog = page.locator(".kiln-dialog")
    text = dialog.locator("textarea")
    dialog.locator(".kiln-middle .kiln-cell-box").nth(1).click()
    text.fill("1girl, draft")
    dialog.locator(".kiln-middle .kiln-cell-box").nth(2).click()
    page.wait_for_function("() => document.querySelector('.kiln-dialog textarea').value !== '1girl, draft'")
    page.route("**/look", lambda route: None)  # no answer, as from a server that is busy
    for words in ("1girl, red scarf", "1girl, red scarf, snow"):
        text.fill(words)
        page.keyboard.press("Control+Enter")
    page.unroute("**/look")
    assert [edit["tags"] for edit in page.evaluate(EDITS)] == [["1girl", "red scarf", "snow"]]
    dialog.locator(".kiln-middle .kiln-cell-box").nth(1).click()
    page.wait_for_function("() => document.querySelector('.kiln-dialog textarea').value === '1girl, draft'")


def test_a_filter_that_cannot_be_read_is_told_where_it_is_written(page: Page, make: Callable[..., Path]) -> None:
    make(page)
    open_dialog(page)
    page.locator(".kiln-filter").fill("(hat")
    page.locator(".kiln-dialog [role=alert]", has_text="this ( is never closed").wait_for()
    page.locator(".kiln-filter").fill("hat")
    page.get_by_text("6 of 12").wait_for()


def test_write_back_asks_first_and_keeps_a_copy(page: Page, make: Callable[..., Path], host: Host) -> None:
    folder = make(page)
    open_dialog(page)
    dialog = page.locator(".kiln-dialog")
    dialog.get_by_label("tags to add, with commas").fill("grin")
    dialog.get_by_role("button", name="Apply").click()
    page.wait_for_function(f"() => ({EDITS})().length === 1")
    question = page.locator(".kiln-plan")
    for answer in ("Cancel", "Write 12 files"):
        dialog.get_by_role("button", name="Write these captions into the caption files").click()
        question.get_by_text("12 caption files will be written").wait_for()
        assert (folder / "0000.txt").read_text(encoding="utf-8") == "1girl"
        question.get_by_role("button", name=answer).click()
        question.wait_for(state="detached")
    page.wait_for_timeout(1000)
    assert (folder / "0000.txt").read_text(encoding="utf-8") == "1girl, grin"
    copies = list((host.base / "output" / "kiln" / "caption_backups").rglob(f"{folder.name}/0000.txt"))
    assert [copy.read_text(encoding="utf-8") for copy in copies] == ["1girl"]


def test_the_pictures_are_there_again_after_a_reload(page: Page, make: Callable[..., Path], host: Host) -> None:
    make(page)
    page.wait_for_timeout(1500)  # the page keeps an open workflow a moment after it was changed
    load(page, host.url)
    page.wait_for_function(RAN, timeout=30_000)
    open_dialog(page)
    page.evaluate("() => document.querySelector('.kiln-dialog').close()")


def test_a_dataset_without_pictures_says_so(page: Page, make: Callable[..., Path]) -> None:
    make(page, select=True)
    page.evaluate(
        f"() => {{ {NODE.format('KilnSelectImages')}.widgets.find(w => w.name === 'filter').value = 'no such tag' }}"
    )
    page.evaluate(QUEUE)
    page.wait_for_function(IDLE, timeout=60_000)
    page.evaluate(f"() => {{ app.canvas.deselectAll(); app.canvas.selectNode({NODE.format('KilnSelectImages')}) }}")
    page.evaluate("() => app.extensionManager.command.execute('Kiln.OpenDataset')")
    page.locator(".kiln-dialog header").get_by_text("0 of 0").wait_for()
    assert page.locator(CARDS).count() == 0


@pytest.mark.parametrize("palette", ["dark", "light"])
def test_words_can_be_read_on_every_ground(
    page: Page, make: Callable[..., Path], screenshots: Path, palette: str
) -> None:
    page.evaluate(PALETTE, palette)
    make(page)
    open_dialog(page)
    dialog = page.locator(".kiln-dialog")
    dialog.locator(CARDS.partition(" ")[2]).nth(3).click()
    dialog.get_by_label("tags to add, with commas").fill("grin")
    dialog.locator(CARDS.partition(" ")[2], has_text="+grin").first.wait_for()
    page.wait_for_timeout(300)
    page.screenshot(path=screenshots / f"dataset_page-{palette}.png")
    found = page.evaluate(CONTRAST, ".kiln-dialog")
    page.evaluate(PALETTE, "dark")
    assert len(found) > 30
    assert [one for one in found if one[0] < READABLE] == []


MEASURE = """async () => {
  const begun = performance.now()
  await app.extensionManager.command.execute("Kiln.OpenDataset")
  const image = async () => {
    for (;;) {
      const found = [...document.querySelectorAll(".kiln-dialog .kiln-middle img")].find(i => i.naturalWidth)
      if (found) return performance.now() - begun
      await new Promise(requestAnimationFrame)
    }
  }
  const first = await image()
  const view = document.querySelector(".kiln-dialog .kiln-middle .kiln-grid-view")
  const frames = []
  let most = 0
  let before = performance.now()
  for (let i = 0; i < 120; i++) {
    view.scrollTop += 160
    await new Promise(requestAnimationFrame)
    const now = performance.now()
    frames.push(now - before)
    before = now
    most = Math.max(most, document.querySelectorAll(".kiln-dialog *").length)
  }
  frames.sort((a, b) => a - b)
  return {first, median: frames[60], p95: frames[114], worst: frames[119], nodes: most, scrolled: view.scrollTop}
}"""


def test_two_thousand_pictures_are_a_screenful(
    page: Page, make: Callable[..., Path], screenshots: Path, record_property: Callable[[str, object], None]
) -> None:
    make(page, count=2000)
    page.evaluate(f"() => app.canvas.selectNode({LOAD})")
    found = page.evaluate(MEASURE)
    record_property("dataset_page", json.dumps(found))
    (screenshots / "dataset_page_2000.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    page.locator(f"{CARDS} img[src]").first.wait_for()
    page.screenshot(path=screenshots / "dataset_page_2000.png")
    assert found["nodes"] < 900
    assert found["scrolled"] > 5000


def test_a_caption_that_is_not_set_yet_outlives_the_dialog(page: Page, make: Callable[..., Path]) -> None:
    make(page)
    open_dialog(page)
    text = page.locator(".kiln-dialog textarea")
    page.locator(CARDS).nth(3).click()
    text.fill("1girl, half written")
    page.keyboard.press("Escape")
    page.locator(".kiln-dialog").wait_for(state="detached")
    open_dialog(page)
    page.locator(CARDS).nth(3).click()
    assert text.input_value() == "1girl, half written"
    text.fill("1girl, hat, long hair")
    assert page.locator(".kiln-dialog").get_by_role("button", name="Set caption").is_disabled()
