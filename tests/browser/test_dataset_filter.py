"""How the dataset page takes a filter apart, so that a click on a tag changes one part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.mark.parametrize(
    ("filter", "terms"),
    [
        ("", []),
        ("hat", ["hat"]),
        ("hat AND NOT smile", ["hat", "NOT smile"]),
        ("(hat OR bow) AND smile", ["(hat OR bow)", "smile"]),
        ("hat OR bow AND smile", ["(hat OR bow AND smile)"]),
        ('"AND" AND "a (b) OR c"', ['"AND"', '"a (b) OR c"']),
        ('NOT (hat AND (bow OR "x)")) AND smile', ['NOT (hat AND (bow OR "x)"))', "smile"]),
    ],
)
def test_a_filter_is_taken_apart_where_all_of_it_must_hold(page: Page, filter: str, terms: list[str]) -> None:
    found = page.evaluate(
        "async filter => (await import('/extensions/lora-kiln/dataset_tags.js')).termsOf(filter)", filter
    )
    assert found == terms
