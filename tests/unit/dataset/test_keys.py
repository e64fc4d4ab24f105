"""Names of records: readable, unique, and free of the machine's paths."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_kiln.dataset.keys import fits, is_called, record_keys, source_name
from lora_kiln.dataset.values import Box, Dataset, Record

ROOT = Path("/one/machine").absolute()
HASH = "0123456789abcdef" * 4


def record(name: str, folder: str = "9_kierose", group: str = "kierose", origin: tuple[str, ...] = ()) -> Record:
    return Record(image=ROOT / folder / name, size=(64, 64), group=group, origin=origin)


def keys(*records: Record) -> tuple[str, ...]:
    return record_keys(Dataset(records=records))


def test_a_key_is_the_group_the_name_and_the_steps() -> None:
    crop = ("crop:face of front.png", "style:sketch seed 7 of front.png")
    assert keys(
        record("front.png"),
        record("front.png", origin=crop[:1]),
        record(f"{HASH}.png", "cache", origin=crop),
        record("front.png", group=""),
    ) == ("kierose/front.png", "kierose/front.png | crop:face", "kierose/front.png | crop:face | style:sketch seed 7",
          "front.png")  # fmt: skip


def test_a_derived_picture_bears_its_sources_name_or_a_short_hash() -> None:
    assert source_name(record(f"{HASH}.png", origin=("crop:face of front.png",))) == "front.png"
    assert source_name(record(f"{HASH}.png", origin=("made", f"crop:face of {HASH}.png"))) == HASH[:12]
    for step in ("crop:face of a picture of her.png", "style:painting of a rose seed 7 of a picture of her.png"):
        assert source_name(record(f"{HASH}.png", origin=(step,))) == "a picture of her.png"
    assert keys(record(f"{HASH}.png", origin=("generated",))) == (f"kierose/{HASH[:12]} | generated",)


@pytest.mark.parametrize(
    ("text", "pattern", "fit"),
    [
        ("[pixiv] x", "[pixiv] x", True), ("[pixiv] x", "[PIXIV]*", True), ("p x", "[pixiv] x", False),
        ("a?.png", "a?.png", True), ("ab.png", "a?.png", False), ("front.png", "*.png", True),
        ("caf\u00e9", " cafe\u0301 ", True), ("front.png", "front", False), ("a!b]", "a!b]", True),
    ],
)  # fmt: skip
def test_names_that_somebody_wrote(text: str, pattern: str, fit: bool) -> None:
    assert fits(text, pattern) is fit


def test_a_record_goes_by_its_sources_name() -> None:
    derived = record(f"{HASH}.png", "cache", "[pixiv] rose", ("style:sketch seed 7 of 03 back.png",))
    for pattern in ("03*.png", "[pixiv] rose/03 back.png", f"{HASH}*"):
        assert is_called(derived, pattern), pattern
    assert not is_called(derived, "3*.png")


def test_equal_names_are_told_apart_by_folder_then_by_number() -> None:
    nine, five = record("1.png"), record("1.png", "5_kierose")
    assert keys(nine, five) == ("kierose/1.png (9_kierose)", "kierose/1.png (5_kierose)")
    derived = record(f"{HASH}.png", "cache", origin=("crop:face of 1.png",))
    assert keys(derived, record("1.png", origin=("crop:face of 1.png",)))[0] == "kierose/1.png | crop:face"
    # What is left of two must not be taken for the one that is gone.
    assert set(keys(nine)).isdisjoint(keys(nine, five))
    assert keys(nine, nine, nine) == ("kierose/1.png", "kierose/1.png #2", "kierose/1.png #3")
    assert keys(nine, nine, record("1.png #2")) == ("kierose/1.png", "kierose/1.png #3", "kierose/1.png #2")


def test_the_folders_place_and_the_crop_box_do_not_matter() -> None:
    here = Record(image=Path("/here/9_a/1.png").absolute(), size=(64, 64), group="a")
    there = Record(image=Path("/over/there/9_a/1.png").absolute(), size=(32, 32), group="a", repeats=4)
    assert keys(here) == keys(there)
    box = Record(image=here.image, size=(64, 64), group="a", crop=Box(left=0, top=0, right=9, bottom=9))
    assert keys(box) == keys(here)


def test_names_of_any_kind_become_one_printable_line() -> None:
    assert keys(record("a\nb\tc.png"), record("x\x07.png"), record("y\udc80.png")) == (
        "kierose/a b c.png", "kierose/x\\x07.png", "kierose/y\\udc80.png",
    )  # fmt: skip
    composed, apart = record("\u00e9.png"), record("e\u0301.png")
    assert keys(composed) == keys(apart) == ("kierose/\u00e9.png",)


NAMES = st.text(min_size=1, max_size=6).filter(lambda t: "/" not in t and "\0" not in t and t not in (".", ".."))


@given(st.lists(st.builds(record, NAMES, NAMES, st.text(max_size=4), st.lists(st.text(), max_size=2).map(tuple))))
def test_keys_are_unique_printable_and_always_the_same(records: list[Record]) -> None:
    found = keys(*records)
    assert len(set(found)) == len(found) == len(records)
    assert all(key.isprintable() and key.encode() for key in found)
    assert found == keys(*records)
