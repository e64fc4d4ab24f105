"""Edits of captions: each kind, what they are applied to, how they are read, and that they can be taken back."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_kiln.dataset.edits import Edit, apply_edits, edit_report, edits_json, parse_edits, undo_edits
from lora_kiln.dataset.errors import BadEdit
from lora_kiln.dataset.tags import parse_tags
from lora_kiln.dataset.values import Dataset, Record


def record(name: str, caption: str = "", **changes: Any) -> Record:
    return Record(image=Path(f"/p/{name}").absolute(), size=(64, 64), tags=parse_tags(caption), **changes)


DATA = Dataset(
    records=(
        record("a.png", "kierose, 1girl, long hair, hat", group="dress"),
        record("b.png", "kierose, hat ribbon, blurry, white background", group="dress", pruned=("red eyes",)),
        record("c.png", prose="A girl in a hat. She smiles.", group="armour"),
        record("d.png", group="armour"),
    ),
    trigger="kierose",
)


def captions(edits: Any, data: Dataset = DATA) -> list[str]:
    edited, _ = apply_edits(data, parse_edits(json.dumps(edits)))
    return [each.caption for each in edited]


A, B, C, D = (
    "kierose, 1girl, long hair, hat",
    "kierose, hat ribbon, blurry, white background",
    DATA.records[2].prose,
    "",
)


@pytest.mark.parametrize(
    ("edit", "result"),
    [
        (
            {"do": "add", "tags": "smile, 1girl"},
            (f"{A}, smile", f"{B}, smile, 1girl", f"{C}, smile, 1girl", "smile, 1girl"),
        ),
        (
            {"do": "add", "tags": ["hat"], "at": "start", "where": "group:dress"},
            ("hat, kierose, 1girl, long hair", f"hat, {B}", C, D),
        ),
        ({"do": "add", "tags": "hat", "at": 1, "where": "1girl"}, ("kierose, hat, 1girl, long hair", B, C, D)),
        ({"do": "add", "tags": "smile", "at": 9, "where": "1girl"}, (f"{A}, smile", B, C, D)),
        # Whole tags only: `hat` is not `hat ribbon`.
        (
            {"do": "remove", "tags": "hat, *_background"},
            ("kierose, 1girl, long hair", "kierose, hat ribbon, blurry", C, D),
        ),
        (
            {"do": "replace", "tags": "hat*", "with": "cap, black hat"},
            ("kierose, 1girl, long hair, cap, black hat", "kierose, cap, black hat, blurry, white background", C, D),
        ),
        ({"do": "replace", "tags": "hat", "with": "1girl"}, ("kierose, 1girl, long hair", B, C, D)),
        (
            {"do": "regex", "pattern": r"(\w+) (hair|ribbon)", "with": r"\2 of \1"},
            ("kierose, 1girl, hair of long, hat", "kierose, ribbon of hat, blurry, white background", C, D),
        ),
        (
            {"do": "regex", "pattern": "hat", "with": ""},
            ("kierose, 1girl, long hair", B, "A girl in a . She smiles.", D),
        ),
        (
            {"do": "regex", "pattern": "hat", "with": "cap, hat", "where": "1girl"},
            (A.replace("hat", "cap, hat"), B, C, D),
        ),
        ({"do": "reorder", "tags": "hat, 1girl"}, ("hat, 1girl, kierose, long hair", B, C, D)),
        (
            {"do": "reorder", "tags": "*background, kierose", "by": "alphabet"},
            ("kierose, 1girl, hat, long hair", "white background, kierose, blurry, hat ribbon", C, D),
        ),
        ({"do": "reorder", "by": "frequency", "where": "group:dress AND hat"}, (A, B, C, D)),
        ({"do": "set", "tags": ["smile"], "records": ["armour/c.png", "armour/d.png"]}, (A, B, "smile", "smile")),
        ({"do": "set", "prose": "A girl.", "records": ["dress/a.png"]}, ("A girl.", B, C, D)),
        ({"do": "add", "tags": "x", "off": True}, (A, B, C, D)),
        ({"do": "add", "tags": "x", "records": []}, (A, B, C, D)),
        ({"do": "add", "tags": "x", "records": ["dress/b.png"], "where": "hat"}, (A, B, C, D)),
    ],
)
def test_each_edit(edit: dict[str, Any], result: tuple[str, ...]) -> None:
    assert captions([edit]) == list(result)


def test_edits_see_what_those_before_them_did() -> None:
    edits = [{"do": "add", "tags": "x", "where": "hat"}, {"do": "remove", "tags": "hat", "where": "x"}]
    assert captions(edits)[0] == "kierose, 1girl, long hair, x"


def test_frequency_counts_the_records_that_are_meant() -> None:
    data = Dataset(records=(record("a.png", "one, two, three"), record("b.png", "three, two"), record("c.png", "two")))
    assert captions([{"do": "reorder", "by": "frequency"}], data) == ["two, three, one", "two, three", "two"]


def test_what_the_trigger_absorbs_follows() -> None:
    edits = [
        {"do": "remove", "tags": "long hair", "absorb": True},
        {"do": "remove", "tags": "blurry"},
        {"do": "add", "tags": "red eyes", "where": "group:dress"},
    ]
    edited, _ = apply_edits(DATA, parse_edits(json.dumps(edits)))
    assert [each.pruned for each in edited] == [("long hair",), (), (), ()]


def test_other_tags_keep_their_spelling() -> None:
    data = Dataset(records=(Record(image=Path("/a.png").absolute(), size=(8, 8), tags=("long_hair", "hat")),))
    assert captions([{"do": "remove", "tags": "hat"}, {"do": "add", "tags": "long hair, x"}], data) == ["long_hair, x"]


def test_the_report_previews_and_names_what_is_not_there() -> None:
    edits = parse_edits(
        '[{"do": "remove", "tags": "hat", "where": "group:dress", "records": ["dress/a.png", "gone.png"]}]'
    )
    edited, done = apply_edits(DATA, edits)
    report = edit_report(DATA, edited, done, preview=True)
    assert "Preview of 1 edit: nothing is changed yet" in report
    assert "1. remove hat where group:dress in 2 records by name: 1 picture meant, 1 changed" in report
    assert "no picture has these names (1):\n  gone.png" in report
    assert "    - kierose, 1girl, long hair, hat\n    + kierose, 1girl, long hair\n" in f"{report}\n"
    assert "No caption changed" in edit_report(DATA, DATA, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "The edits are not JSON"),
        ('{"do": "add"}', "The edits are dict, not a list"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"do": "add", "tags": "a"}, 3]', "Edit 2: it is int, not an object"),
        ('[{"do": "ad", "tags": "a"}]', "Edit 1: do is 'ad'. Choose one of: add, remove, replace, regex, reorder, set"),
        ('[{"tags": "a"}]', "do is None"),
        ('[{"do": ["add"]}]', r"do is \['add'\]"),
        ('[{"do": "add", "tag": "a"}]', "add knows no 'tag'. It has: at, do, note, off, records, tags, where"),
        ('[{"do": "add"}]', "add has no 'tags'"),
        ('[{"do": "add", "tags": 3}]', "tags is 3"),
        ('[{"do": "add", "tags": "a", "at": -1}]', "at is -1"),
        ('[{"do": "add", "tags": "a", "at": true}]', "at is True"),
        ('[{"do": "add", "tags": "a", "where": "(hat"}]', "Edit 1: The filter '[(]hat'"),
        ('[{"do": "add", "tags": "a", "where": "hats:3"}]', "there is no field hats"),
        ('[{"do": "add", "tags": "a", "records": "b.png"}]', "records is 'b.png'. Write a list of names"),
        ('[{"do": "regex", "pattern": "(a", "with": ""}]', "unterminated subpattern"),
        ('[{"do": "regex", "pattern": "a", "with": "\\\\1"}]', "invalid group reference"),
        ('[{"do": "reorder"}]', "reorder has no 'tags'"),
        ('[{"do": "reorder", "by": "mood"}]', "by is 'mood'. Choose one of: alphabet, frequency"),
        ('[{"do": "set", "tags": ["a, b"]}]', "'a, b' is not one tag"),
        ('[{"do": "set"}]', "set has no 'tags'"),
    ],
)
def test_a_wrong_edit_says_which_and_what(text: str, message: str) -> None:
    with pytest.raises(BadEdit, match=message):
        parse_edits(text)


def test_no_edit_at_all() -> None:
    assert parse_edits("") == parse_edits(" \n") == parse_edits("[]") == ()
    assert apply_edits(DATA, ())[0] == DATA
    assert edits_json(()) == "[]"


# --- properties ------------------------------------------------------------------------------------------------------

TAG = st.text(st.characters(blacklist_characters=",\n\r", blacklist_categories=("Cs",)), min_size=1, max_size=8).filter(
    str.strip
)
FEW = st.sampled_from(["hat", "long_hair", "long hair", "1girl", "^_^", r"a \(b\)", "Hat", "kierose"])
TAGS = st.lists(FEW | TAG, max_size=5)
PATTERNS = st.sampled_from([("hat", ""), (r"(\w+) hair", r"\1"), (".*", "x, y"), ("(?i)HAT", "cap"), ("", "z")])


@st.composite
def records(draw: st.DrawFn, number: int) -> Record:
    prose = draw(st.booleans()) and draw(st.booleans())
    return Record(
        image=Path(f"/p/{number}.png").absolute(),
        size=(8, 8),
        group=draw(st.sampled_from(["", "dress", "armour"])),
        tags=tuple(draw(TAGS)),
        prose=draw(TAG) if prose else "",
        pruned=tuple(draw(TAGS)),
    )


@st.composite
def edits(draw: st.DrawFn) -> dict[str, Any]:
    do = draw(st.sampled_from(["add", "remove", "replace", "regex", "reorder", "set"]))
    edit: dict[str, Any] = {"do": do}
    if do != "regex":
        edit["tags"] = draw(TAGS)
    if do == "add":
        edit["at"] = draw(st.sampled_from(["start", "end", 0, 1, 5]))
    if do == "remove":
        edit["absorb"] = draw(st.booleans())
    if do == "replace":
        edit["with"] = draw(TAGS)
    if do == "regex":
        edit["pattern"], edit["with"] = draw(PATTERNS)
    if do == "reorder":
        edit["by"] = draw(st.sampled_from(["alphabet", "frequency"]))
    if do == "set":
        edit["pruned"] = draw(TAGS)
    if draw(st.booleans()):
        edit["where"] = draw(st.sampled_from(["hat", "group:dress", "NOT *hair", "tags:>2 OR is:prose"]))
    if draw(st.booleans()):
        edit["records"] = draw(st.lists(st.sampled_from(["0.png", "dress/0.png", "armour/1.png", "gone"]), max_size=3))
    return edit


@given(st.data())
def test_apply_then_undo_is_identity(data: st.DataObject) -> None:
    before = Dataset(records=tuple(data.draw(records(number)) for number in range(2)))
    listed = data.draw(st.lists(edits(), max_size=4))
    after, done = apply_edits(before, parse_edits(json.dumps(listed)))
    assert len(done) == len(listed)
    back = undo_edits(before, after)
    # As it leaves one node and enters the next: as text.
    assert apply_edits(after, parse_edits(edits_json(back)))[0] == before
    # And the other way: undoing the undo gives the edited captions again.
    assert apply_edits(before, undo_edits(after, before))[0] == after


@given(st.lists(edits(), max_size=4))
def test_edits_survive_their_text(listed: list[dict[str, Any]]) -> None:
    read = parse_edits(json.dumps(listed))
    assert read == tuple(Edit(data=edit) for edit in listed)
    assert parse_edits(edits_json(read)) == read


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["do", "tags", "with", "at", "where", "records", "pattern", "by"]), inner)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_read_or_refused_in_words(data: Any) -> None:
    with contextlib.suppress(BadEdit):
        apply_edits(DATA, parse_edits(json.dumps(data)))
