"""Sheets and groups into single figures, and views against the truth that the drawing code knows."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.world.figure import random_figure
from demo.world.sheets import PAPERS, Sheet, cut_out, group, overlap, turnaround
from lora_kiln.dataset.images import open_image
from lora_kiln.dataset.sheets import split_sheets
from lora_kiln.dataset.sides import Appearance, guess_sides, parse_sides
from lora_kiln.dataset.split import SplitOptions, single_tags, split_figures, split_record
from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.dataset.view_options import ViewOptions
from lora_kiln.dataset.views import crop_name, crop_record

SMALL = SplitOptions(minimum_size=16, padding=0.0)


def saved(sheet: Sheet, folder: Path, tags: tuple[str, ...] = ("kierose", "1girl", "multiple views")) -> Record:
    path = folder / "sheet.png"
    sheet.image.save(path)
    return Record(image=path, size=sheet.image.size, tags=tags, repeats=9)


def drawn(number: int, *, side: int = 112) -> Sheet:
    rng = random.Random(number)
    return (group if number % 2 else turnaround)(rng, side=side)


def test_sheets_and_groups_are_split_exactly(tmp_path: Path) -> None:
    """All 200 of the proof are in `tests/articles/test_turnarounds.py`; these are its first ones."""
    right = 0
    for number in range(30):
        sheet = drawn(number)
        done = split_record(saved(sheet, tmp_path, ("kierose",)), SMALL, folder=tmp_path / "cache")
        boxes = [record.crop.as_tuple() for record in done.figures if record.crop]
        exact = len(boxes) == len(sheet.boxes)
        right += exact and min(overlap(a, b) for a, b in zip(boxes, sheet.boxes, strict=True)) >= 0.8
    assert right >= 29


def test_view_boxes_agree_with_the_drawing(tmp_path: Path) -> None:
    options = ViewOptions(
        full_body=True, lower_body=True, bangs=True, chest=True, waist=True, padding=0.0, max_aspect=4.0,
        minimum_size=16, keep_originals=False,
    )  # fmt: skip
    shares = defaultdict(list)
    for number in range(60):
        figure = random_figure(random.Random(number), strange=0.3)
        cut = cut_out(figure, side=128)
        papers = PAPERS[3:] if figure.style == "pastel colors" else PAPERS[:3]
        image = Image.new("RGB", cut.image.size, papers[number % 3])
        image.paste(cut.image, (0, 0), cut.image)
        image.save(tmp_path / "a.png")
        record = Record(image=tmp_path / "a.png", size=image.size, tags=("1girl", "full body"))
        truth = cut.truth()
        for crop in crop_record(record, options).crops:
            assert crop.crop is not None
            shares[crop_name(crop)].append(overlap(crop.crop.as_tuple(), truth[crop_name(crop)]))
    assert set(shares) == {name.replace("_", " ") for name in options.views}
    assert all(len(found) >= 52 for found in shares.values())
    assert np.mean([share for found in shares.values() for share in found]) >= 0.8
    assert min(np.mean(found) for found in shares.values()) > 0.6


def test_a_turnaround_becomes_tagged_pictures_with_repeats(tmp_path: Path) -> None:
    sheet = next(s for s in map(drawn, range(0, 60, 2)) if s.views == ("front", "from side", "from behind"))
    tags = ("kierose", "1girl", "multiple views", "red eyes", "smile", "white shirt", "looking at viewer")
    record = saved(sheet, tmp_path, tags)
    options = SplitOptions(minimum_size=16, sides=("front, side, back",), repeats=9, other_repeats=5)
    result, report, done = split_figures(Dataset(records=(record,)), options, folder=tmp_path / "cache")
    assert [one.repeats for one in result] == [9, 5, 5]
    assert result.records[0].tags == ("kierose", "1girl", "solo", *tags[3:])
    assert result.records[1].tags == ("kierose", "1girl", "solo", *tags[3:], "from side")
    assert result.records[2].tags == ("kierose", "1girl", "solo", "white shirt", "from behind")
    assert [one.origin[-1] for one in result] == [
        "split:1 front of sheet.png", "split:2 from side of sheet.png", "split:3 from behind of sheet.png"
    ]  # fmt: skip
    assert "3 figures from 1 of 1 picture" in report
    assert all(open_image(one).size == one.view_size for one in result)
    [page] = split_sheets(done)
    assert (np.asarray(page) == (0xD9, 0x48, 0x48)).all(axis=-1).sum() > 100


def test_sides_by_hand_skip_and_other(tmp_path: Path) -> None:
    sheet = next(s for s in map(drawn, range(0, 60, 2)) if len(s.views) == 3)
    record = saved(sheet, tmp_path)
    lines = ("sheet*.png: back, skip, other", "none")
    done = split_record(record, SplitOptions(minimum_size=16, sides=lines), folder=tmp_path / "cache")
    assert [one.origin[-1].split(" of ")[0] for one in done.figures] == ["split:1 from behind", "split:3"]
    assert "figure 2 is skipped" in done.why
    plain = split_record(record, SplitOptions(minimum_size=16, sides=("none",)), folder=tmp_path / "cache")
    assert all("from side" not in one.tags and "from behind" not in one.tags for one in plain.figures)
    with pytest.raises(ValueError, match="'upwards'"):
        SplitOptions(sides=("front, upwards",))


def test_neighbours_in_a_crop_are_painted_over_and_only_then_a_file_is_written(tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 220), "white")
    for x, color in ((20, "navy"), (150, "maroon")):
        image.paste(color, (x + 30, 10, x + 80, 60))
        image.paste(color, (x + 40, 60, x + 70, 210))
    # Her staff leans over the other one's place, in front of nobody.
    image.paste("navy", (90, 150, 176, 156))
    image.save(tmp_path / "a.png")
    record = Record(image=tmp_path / "a.png", size=image.size)
    kept = split_record(record, SplitOptions(minimum_size=16, clear_neighbors=False))
    assert [one.image for one in kept.figures] == [record.image] * 2
    cleared = split_record(record, SplitOptions(minimum_size=16), folder=tmp_path / "cache").figures
    assert cleared[1].image != record.image
    assert cleared[1].size == record.size
    pixels = np.asarray(open_image(cleared[1])).astype(int)
    assert ((pixels[..., 2] > 100) & (pixels[..., 0] < 60)).sum() == 0
    assert (np.abs(pixels - (128, 0, 0)).max(axis=-1) < 10).sum() > 4000


def test_what_is_not_several_figures_passes_and_says_why(tmp_path: Path) -> None:
    Image.effect_noise((200, 200), 90).convert("RGB").save(tmp_path / "noise.png")
    one = Image.new("RGB", (200, 200), "white")
    one.paste("navy", (80, 20, 130, 70))
    one.paste("navy", (90, 70, 120, 190))
    one.save(tmp_path / "one.png")
    Image.new("RGB", (200, 200), "white").save(tmp_path / "empty.png")
    records = [Record(image=tmp_path / f"{name}.png", size=(200, 200)) for name in ("noise", "one", "empty")]
    reg = Record(image=tmp_path / "one.png", size=(200, 200), is_reg=True)
    data = Dataset(records=(*records, reg))
    result, report, done = split_figures(data, SMALL)
    assert result == data
    assert "its background is not plain; a person detector" in done[0].why
    assert [each.why for each in done[1:]] == [
        "it shows one figure", "no figure stands out from its background", "it is a regularisation picture"
    ]  # fmt: skip
    assert "Passed unchanged (4)" in report


def test_the_count_is_kept_to(tmp_path: Path) -> None:
    sheet = next(s for s in map(drawn, range(1, 60, 2)) if len(s.boxes) == 3)
    record = saved(sheet, tmp_path)
    done = split_record(record, SplitOptions(minimum_size=16, count=2), folder=tmp_path / "cache")
    assert len(done.figures) == 2


@pytest.mark.parametrize(
    ("tags", "side", "left"),
    [
        ("2girls, red hair, smile", "other", "1girl, solo, red hair, smile"),
        ("kierose, multiple girls, standing", "front", "kierose, 1girl, solo, standing"),
        ("1girl, 1boy, standing", "other", "standing"),
        ("kierose, 1girl, solo, from side, blue eyes", "back", "kierose, 1girl, solo, from behind"),
        ("group", "other", "group"),
        ("", "back", "from behind"),
        ("", "front", ""),
        ("kie_rose, 2girls", "back", "kie_rose, 1girl, solo, from behind"),
    ],
)
def test_tags_of_one_of_several(tags: str, side: str, left: str) -> None:
    split = tuple(tag for tag in tags.split(", ") if tag)
    assert ", ".join(single_tags(split, side)) == left


def test_names_with_brackets_and_prose(tmp_path: Path) -> None:
    sheet = next(s for s in map(drawn, range(0, 60, 2)) if len(s.views) == 3)
    record = replace(saved(sheet, tmp_path), group="[pixiv] x", tags=(), prose="A girl in boots, from all sides.")
    options = SplitOptions(minimum_size=16, sides=("[pixiv] x/*: back, front, side",))
    result, report, _ = split_figures(Dataset(records=(record,)), options, folder=tmp_path / "cache")
    assert [one.origin[-1].split(" of ")[0] for one in result] == [
        "split:1 from behind", "split:2 front", "split:3 from side"
    ]  # fmt: skip
    assert {(one.caption, one.tags) for one in result} == {(record.prose, ())}
    assert "1 caption of prose stayed as written for every figure" in report


def test_people_of_a_group_get_no_sides() -> None:
    colors = np.eye(64)
    two = [Appearance(height=h, colors=colors[i], hair=0.0, turned=0.0) for i, h in enumerate((100, 100))]
    assert guess_sides(two, sheet=False) == ["other", "other"]
    same = [Appearance(height=100, colors=colors[0], hair=h, turned=t) for h, t in ((0.1, 0.0), (0.5, 0.9), (1.0, 0.0))]
    assert guess_sides(same, sheet=False) == ["front", "side", "back"]
    assert guess_sides(same[::-1], sheet=False) == ["back", "side", "front"]
    assert guess_sides(same * 3, sheet=True) == ["other"] * 9
    blind = [Appearance(height=100, colors=None, hair=0.0, turned=0.0)] * 3
    assert guess_sides(blind, sheet=True) == ["front", "side", "back"]
    assert parse_sides(("none", "a*.png: front, behind")) == (("a*.png", ("front", "back")), ("*", ("none",)))
