"""Selecting by filter and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_kiln.dataset.errors import BadFilter, DatasetError
from lora_kiln.dataset.select import Selected, Selection, SelectOptions, read_selection, select
from lora_kiln.dataset.values import Dataset, Record

DATASET = Dataset(
    records=tuple(
        Record(image=Path(f"/p/{name}.png").absolute(), size=(64, 64), tags=tags, group="rose")
        for name, tags in (("a", ("hat",)), ("b", ("hat", "bow")), ("c", ()), ("-d", ("bow",)))
    ),
    trigger="kie",
)


def chosen(**options: object) -> Selected:
    return select(DATASET, SelectOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, "a b c -d"),
        ({"filter": "hat"}, "a b"),
        ({"filter": "hat", "by_hand": "- rose/a.png\n+ rose/c.png"}, "b c"),
        ({"filter": "hat", "by_hand": '{"keep": ["rose/c.png"], "reject": ["rose/a.png"]}'}, "b c"),
        ({"by_hand": "# mine\n\n+rose/b.png\n  + rose/-d.png  "}, "a b c -d"),
        ({"by_hand": "+ rose/b.png\n+ rose/-d.png", "only_kept": True}, "b -d"),
        ({"filter": "hat", "only_kept": True}, ""),
        ({"by_hand": "-rose/-d.png"}, "a b c"),
        ({"by_hand": "rose/a.png\n rose/c.png \n- rose/b.png", "only_kept": True}, "a c"),
    ],
)
def test_what_is_selected_and_what_is_left(options: dict[str, object], names: str) -> None:
    found = chosen(**options)
    taken = [record.image.stem for record in found.selected]
    assert taken == names.split()
    assert found.names == tuple(f"rose/{name}.png" for name in taken)
    assert [record for record in DATASET if record not in found.selected.records] == list(found.rest.records)
    assert found.selected.trigger == found.rest.trigger == "kie"
    assert found.report.startswith(f"{len(taken)} of 4 pictures selected, {4 - len(taken)} in the rest.")


def test_the_report_counts_each_part_and_names_what_is_not_there() -> None:
    found = chosen(filter="hat AND NOT bwo", by_hand="+ rose/c.png\n- rose/e.png\n- rose/bb.png")
    assert "  hat: 2\n  bwo: 0" in found.report
    assert "Kept by hand: 1" in found.report
    assert "not in the dataset (2)" in found.report
    assert "rose/bb.png (the nearest name is rose/b.png)" in found.report


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("+ rose/a.png\n+", "line 2, '+'"),
        ("rose/a.png\n- rose/a.png", "both keeps and rejects 'rose/a.png'"),
        ("+ a\n- a", "both keeps and rejects 'a'"),
        ('{"keep": "a"}', "keep is no list of names"),
        ('{"keep": [1]}', "keep is no list of names"),
        ('{"keeps": []}', "keeps"),
        ('{"keep": [', "no JSON (line 1"),
    ],
)
def test_a_selection_that_cannot_be_read_says_where(text: str, words: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read_selection(text)
    assert words in str(caught.value)


def test_a_filter_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(BadFilter):
        chosen(filter="hat AND")


NAMES = st.lists(st.text(), unique=True, max_size=6)


@given(NAMES, NAMES)
def test_a_selection_survives_its_json(keep: list[str], reject: list[str]) -> None:
    selection = Selection(keep=tuple(keep), reject=tuple(name for name in reject if name not in keep))
    assert read_selection(selection.to_json()) == selection
    assert set(json.loads(selection.to_json())) == {"keep", "reject"}


@given(st.text(alphabet=st.one_of(st.sampled_from('+-#{}[]":, \n'), st.characters()), max_size=30))
def test_any_text_is_a_selection_or_an_error_that_says_so(text: str) -> None:
    try:
        read_selection(text)
    except DatasetError as error:
        assert "selection" in str(error)  # noqa: PT017 - either ending is fine
