"""One outfit, one list of tags: aligned, minus what a picture does not show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_kiln.dataset.align import AlignOptions, align_tags, is_seen, propose_outfit
from lora_kiln.dataset.tags import join_tags, parse_tags
from lora_kiln.dataset.values import Dataset, Record

OUTFIT = (
    "black choker, black gloves, white shirt, yellow necktie, black skirt, black thighhighs, white footwear, top hat"
)


def record(caption: str, name: str = "a.png", **changes: Any) -> Record:
    return Record(image=Path(f"/p/{name}").absolute(), size=(64, 64), tags=parse_tags(caption), **changes)


def aligned(caption: str, *lines: str, **options: Any) -> str:
    data = Dataset(records=(record(caption, group="race uniform"),), trigger="kierose")
    result, _ = align_tags(data, AlignOptions(outfits=lines or (f"race*: {OUTFIT}",), **options))
    return join_tags(result.records[0].tags)


def test_the_outfits_words_take_the_place_of_the_taggers() -> None:
    assert aligned("kierose, 1girl, gloves, shirt, smile, jacket") == f"kierose, 1girl, {OUTFIT}, smile"
    assert aligned("kierose, 1girl, smile") == f"kierose, 1girl, smile, {OUTFIT}"
    assert aligned("1girl, gloves, hair ribbon", existing="only add") == f"1girl, gloves, hair ribbon, {OUTFIT}"
    assert aligned("1girl, gloves, open coat", keep=("open *",)) == f"1girl, {OUTFIT}, open coat"
    assert aligned("1girl, gloves", "other: hat") == "1girl, gloves"
    # The first line that fits is taken.
    assert aligned("1girl, gloves", "RACE*: scarf", "*: hat") == "1girl, scarf"


@pytest.mark.parametrize(
    ("camera", "hidden"),
    [
        ("full body", set()),
        ("cowboy shot", {"white footwear"}),
        ("upper body", {"white footwear", "black thighhighs", "black skirt"}),
        ("portrait", {"white footwear", "black thighhighs", "black skirt", "black gloves"}),
        ("close-up", set(parse_tags(OUTFIT)) - {"black choker", "top hat"}),
        # The neck is still in the picture.
        ("head out of frame", {"top hat"}),
        ("lower body", {"top hat", "white shirt", "yellow necktie"}),
        ("feet out of frame", {"white footwear"}),
        ("from behind", {"yellow necktie"}),
        ("barefoot", {"white footwear"}),
        ("no headwear", set()),
        ("no shirt", {"white shirt"}),
        ("unworn hat", {"top hat"}),
        ("skirt removed", {"black skirt"}),
    ],
)
def test_what_a_picture_does_not_show_is_left_out(camera: str, hidden: set[str]) -> None:
    found = set(parse_tags(aligned(camera)))
    assert set(parse_tags(OUTFIT)) - found == hidden


def test_what_the_caption_names_is_seen() -> None:
    assert "white footwear" in aligned("upper body, white footwear")
    assert is_seen("black boots", record("upper body, black boots"))
    assert not is_seen("black boots", record("upper body"))


CLOSE = "close-up, head out of frame"


@pytest.mark.parametrize(
    ("caption", "step", "left"),
    [
        # Nobody has said of what the close-up is, so what its caption names is what it shows.
        (f"shirt, necktie, {CLOSE}", "", f"white shirt, yellow necktie, {CLOSE}"),
        ("1girl, skirt, belt, close-up", "crop:buckle of a.png", "1girl, black skirt, close-up"),
        # What a chest shows is known, as far as hands may be in front of it.
        (f"shirt, {CLOSE}", "crop:chest of a.png", f"black choker, black gloves, white shirt, yellow necktie, {CLOSE}"),
        (f"1girl, {CLOSE}", "crop:waist of a.png", f"1girl, {CLOSE}, black gloves, white shirt, black skirt"),
        ("1girl, close-up", "crop:face of a.png", "1girl, close-up, black choker, top hat"),
        ("1girl, close-up", "crop:bangs of a.png", "1girl, close-up, top hat"),
        ("1girl, gloves, close-up", "", "1girl, gloves, close-up, black choker, top hat"),
    ],
)
def test_close_ups_of_clothes_keep_them(caption: str, step: str, left: str) -> None:
    one = record(caption, origin=(step,) if step else ())
    result, _ = align_tags(Dataset(records=(one,)), AlignOptions(outfits=(f"*: {OUTFIT}",)))
    assert result.records[0].caption == left


def test_what_the_camera_seems_to_hide_and_the_caption_has_seen_is_not_removed() -> None:
    assert "boots" in parse_tags(aligned("1girl, boots, portrait", "*: white boots, hat"))
    assert "jacket" not in parse_tags(aligned("1girl, jacket, portrait", "*: white boots, hat"))
    # By hand it is said that it is not there.
    data = Dataset(records=(record("1girl, brown belt"),))
    result, _ = align_tags(data, AlignOptions(outfits=("*: black belt, scarf",), not_seen=("a.png: black belt",)))
    assert result.records[0].caption == "1girl, scarf"


def test_names_with_brackets_and_files_of_the_cache() -> None:
    one = record(
        "1girl", f"{'0123456789abcdef' * 4}.png", group="[pixiv] x", origin=("style:sketch seed 1 of [a].png",)
    )
    options = AlignOptions(outfits=("[pixiv] *: belt, scarf",), not_seen=("[a].png: belt",))
    result, report = align_tags(Dataset(records=(one,)), options)
    assert result.records[0].caption == "1girl, scarf"
    assert "Warning" not in report


def test_single_pictures_by_hand() -> None:
    data = Dataset(records=(record("1girl", "03 back.png"), record("1girl", "04.png")))
    options = AlignOptions(outfits=("*: belt, scarf",), not_seen=("03*.png: belt", "gone.png: scarf"))
    result, report = align_tags(data, options)
    assert [each.caption for each in result] == ["1girl, scarf", "1girl, belt, scarf"]
    assert "no file is called 'gone.png'" in report


def test_prose_and_regularisation_stay_and_traits_come_back() -> None:
    data = Dataset(
        records=(record("", prose="A girl."), record("1girl", is_reg=True), record("1girl", pruned=("belt", "horns")))
    )
    result, report = align_tags(data, AlignOptions(outfits=("*: belt",)))
    assert result.records[:2] == data.records[:2]
    assert result.records[2].tags == ("1girl", "belt")
    assert result.records[2].pruned == ("horns",)
    assert "1 caption of prose stayed" in report


def test_a_list_is_proposed_where_there_is_none() -> None:
    records = (
        record("1girl, gloves, white shirt, shoes, smile", group="a"),
        record("1girl, black gloves, white shirt, upper body", group="a"),
        record("1girl, black gloves, shirt, upper body, scarf", group="a"),
        record("1girl, upper body", group="a"),
    )
    # `gloves` is said by `black gloves`; shoes show in one picture of one, too few to be sure of.
    assert propose_outfit(records) == ("white shirt", "black gloves")
    result, report = align_tags(Dataset(records=records), AlignOptions())
    assert result.records == records
    assert "a: white shirt, black gloves" in report
    auto, _ = align_tags(Dataset(records=records), AlignOptions(outfits=("a: auto",)))
    assert auto.records[3].caption == "1girl, upper body, white shirt, black gloves"
    assert "scarf" not in auto.records[2].tags


@pytest.mark.parametrize("line", ["hat, scarf", ": hat", "a:"])
def test_a_line_without_a_name_or_tags_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"AlignOptions\.outfits has the line .* write name: tag, tag"):
        AlignOptions(outfits=(line,))
