"""What the page makes of the server's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

ASK = """async () => {
  const { ask } = await import('/extensions/lora-kiln/common.js')
  return await ask('/asked').then(found => JSON.stringify(found), error => error.message)
}"""


@pytest.mark.parametrize(
    ("body", "told"),
    [('{"tags": []}', '{"tags":[]}'), ('{"tags": [', "The server gave no answer that can be read: 200 OK")],
)
def test_an_answer_that_breaks_off_is_an_error(page: Page, body: str, told: str) -> None:
    page.route("**/kiln/asked", lambda route: route.fulfill(body=body, content_type="application/json"))
    assert page.evaluate(ASK) == told
