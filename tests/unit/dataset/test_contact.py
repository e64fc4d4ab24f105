"""Contact sheets, charts and the letters on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from lora_kiln.dataset.charts import BucketUse, bucket_chart, bucket_table, tag_chart
from lora_kiln.dataset.contact import INK, PAPER, SheetOptions, contact_pages
from lora_kiln.dataset.keys import record_keys
from lora_kiln.dataset.lettering import Lettering, printable
from lora_kiln.dataset.overview import overview
from lora_kiln.dataset.values import Box, Dataset, Record

LETTERS = Lettering(11)


def quiet(done: int, total: int) -> None:
    """A progress that nobody looks at."""


def pictures(folder: Path, count: int, **changes: object) -> Dataset:
    records = []
    for number in range(count):
        file = folder / f"{number}.png"
        Image.new("RGB", (40, 20), (number, 0, 200)).save(file)
        records.append(Record(image=file, size=(40, 20), tags=("1girl", f"tag {number}"), **changes))  # type: ignore[arg-type]
    return Dataset(records=tuple(records))


def pages(dataset: Dataset, **options: int) -> list[Image.Image]:
    return contact_pages(dataset.records, record_keys(dataset), SheetOptions(**options), LETTERS, quiet)[0]


def test_every_picture_is_on_a_page_of_one_size_in_order(tmp_path: Path) -> None:
    found = pages(pictures(tmp_path, 7), columns=2, rows=2, cell=64)
    assert len(found) == 2
    assert found[0].size == found[1].size
    reds = []
    for page in found:
        array = np.asarray(page).reshape(-1, 3)
        reds += sorted({int(red) for red, green, blue in np.unique(array, axis=0) if (green, blue) == (0, 200)})
    assert reds == list(range(7))
    # Four cells of 64 x 32 pixels each: a small picture is not blown up.
    assert np.all(np.asarray(found[0])[:, :, 1:] == (0, 200), axis=-1).sum() == 4 * 40 * 20


@pytest.mark.parametrize(
    ("options", "count", "shown"),
    [
        ({}, 7, range(0, 7)),
        ({"columns": 2, "rows": 1, "pages": 2}, 7, range(0, 4)),
        ({"columns": 2, "rows": 1, "pages": 2, "first": 6}, 7, range(5, 7)),
        ({"first": 100}, 7, range(6, 7)),
        ({}, 0, range(0, 0)),
    ],
)
def test_which_pictures_are_shown(options: dict[str, int], count: int, shown: range) -> None:
    assert SheetOptions(**options).shown(count) == shown


def test_a_crop_is_shown_as_it_is_trained(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    image = Image.new("RGB", (400, 200), "red")
    image.paste((0, 0, 200), (0, 0, 100, 200))
    image.save(file)
    record = Record(image=file, size=(400, 200), crop=Box(left=0, top=0, right=100, bottom=200))
    [page] = pages(Dataset(records=(record,)), cell=64)
    colors = {color for _, color in page.getcolors(100_000) or []}
    assert (0, 0, 200) in colors
    assert (255, 0, 0) not in colors


def test_a_picture_that_is_gone_has_its_cell_and_its_line(tmp_path: Path) -> None:
    dataset = pictures(tmp_path, 2)
    (tmp_path / "1.png").unlink()
    found, problems = contact_pages(dataset.records, record_keys(dataset), SheetOptions(cell=64), LETTERS, quiet)
    assert len(found) == 1
    assert len(problems) == 1
    assert "1.png: the file is not there" in problems[0]


STRANGE = (
    "花子, 長い髪, ☆, Жанна, naïve façade, \u202egnirts\u202c, \U0001f469\u200d\U0001f467, \0\x1b[2J, e\u0301, "
    "עברית, \ud800, \U0001d576, \uffff, ไทย"
)


def test_captions_in_any_script_are_drawn_and_what_no_font_has_is_told(tmp_path: Path) -> None:
    dataset = pictures(tmp_path, 1)
    record = Record(image=dataset.records[0].image, size=(40, 20), prose=STRANGE, group="花" * 200)
    found = overview(Dataset(records=(record,)), (), SheetOptions(), batch=1, most_tags=5, progress=quiet)
    blank = overview(dataset, (), SheetOptions(), batch=1, most_tags=5, progress=quiet)
    assert found.sheets[0].tobytes() != blank.sheets[0].tobytes()
    fresh = Lettering(11)
    fresh.wrap(STRANGE, 10_000, 9)
    assert ("No font here has" in found.report) is bool(fresh.missing)
    assert found.report.encode("utf-8", "surrogatepass")


def test_lines_are_broken_at_spaces_and_inside_words_that_are_too_long() -> None:
    lines = LETTERS.wrap("long hair, " * 30, 90, 100)
    assert " ".join(lines) == ("long hair, " * 30).strip()
    assert all(LETTERS.width(line) <= 90 for line in lines)
    word = LETTERS.wrap("a" * 100, 50, 100)
    assert "".join(word) == "a" * 100
    assert all(LETTERS.width(line) <= 50 for line in word)
    short = LETTERS.wrap("long hair, " * 30, 90, 2)
    assert len(short) == 2
    assert short[1].endswith("...")
    assert LETTERS.width(short[1]) <= 90
    assert LETTERS.wrap("", 90, 2) == []
    assert LETTERS.wrap("words", 90, 0) == []


def test_letters_are_ink_where_they_are_drawn() -> None:
    image = Image.new("RGB", (100, 30), PAPER)
    LETTERS.draw(ImageDraw.Draw(image), (10, 5), "hat", INK)
    dark = np.argwhere(np.asarray(image.convert("L")) < 128)
    top, left, bottom, right = *dark.min(0), *dark.max(0)
    assert 5 <= top < bottom <= 5 + LETTERS.height
    assert 9 <= left < right <= 11 + LETTERS.width("hat")


@given(st.text(alphabet=st.characters(), max_size=40), st.integers(20, 200), st.integers(0, 4))
@settings(max_examples=60)
def test_any_text_can_be_measured_wrapped_and_drawn(text: str, width: int, most: int) -> None:
    lines = LETTERS.wrap(text, width, most)
    assert len(lines) <= most
    pen = ImageDraw.Draw(Image.new("RGB", (width, 40)))
    for line in lines:
        assert line == printable(line)
        LETTERS.draw(pen, (0, 0), line, INK)


def test_bars_are_as_long_as_the_share_of_the_pictures(tmp_path: Path) -> None:
    dataset = pictures(tmp_path, 4)
    chart = np.asarray(tag_chart(dataset, LETTERS, most=3))
    blue = np.all(chart == np.array([0x2F, 0x7F, 0xD6]), axis=-1)
    long = [int(row.sum()) for row in blue if row.any()]
    assert max(long) == pytest.approx(4 * min(long), abs=6)
    assert tag_chart(Dataset(), LETTERS, most=3).width == chart.shape[1]


USES = (
    BucketUse(size=(512, 768), pictures=4, seen=9, enlarged=1, most_enlarged=1.5, cut_off=0.02),
    BucketUse(size=(768, 512), pictures=1, seen=1, enlarged=0, most_enlarged=0.5, cut_off=0.0),
)


def test_buckets_are_drawn_to_scale_and_told_in_words() -> None:
    chart = np.asarray(bucket_chart(USES, LETTERS, batch=2))
    blue = np.argwhere(np.all(chart == np.array([0x2F, 0x7F, 0xD6]), axis=-1))
    # The fullest bucket is full: 100 x 150 pixels for 512 x 768 without its frame.
    left = blue[blue[:, 1] < 16 + 150]
    assert np.ptp(left, axis=0) + 1 == pytest.approx((150, 100), abs=3)
    words = bucket_table(USES, 2)
    assert "5 pictures in 2 buckets, 1 enlarged" in words
    assert "512 x 768: 4 pictures, 9 an epoch; 2.0 % cut off; 1 enlarged, up to 1.50 times" in words
    assert "2 buckets of 2 end in a batch of fewer than 2 pictures" in words
    assert bucket_table((), 2) == ""
    assert bucket_chart((), LETTERS, batch=1).height > 0


def test_the_overview_says_what_the_sheets_leave_out(tmp_path: Path) -> None:
    dataset = pictures(tmp_path, 5)
    options = SheetOptions(columns=2, rows=1, pages=2, cell=64)
    found = overview(dataset, USES, options, batch=1, most_tags=5, progress=quiet)
    assert len(found.sheets) == 2
    assert "show pictures 1 to 4 of 5; 1 other left out" in found.report
    assert "5 pictures in 1 group" in found.report
    assert "Buckets: 5 pictures in 2 buckets" in found.report
    assert "1girl 5" in found.report
