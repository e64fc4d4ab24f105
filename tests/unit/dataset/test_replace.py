"""Pictures out to another program and back: identity, order, crops, masks, transparency."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.images import open_alpha, open_image, open_mask
from lora_kiln.dataset.keys import record_keys
from lora_kiln.dataset.replace import ReplaceOptions, _scaled, replace_pictures, small_pictures
from lora_kiln.dataset.values import Box, Dataset, Record, Size


def quiet(done: int, total: int) -> None:
    """A progress that nobody looks at."""


def growth(size: Size, record: Record) -> float:
    """A square of 100 pixels must be filled."""
    return max(1.0, 100 / min(size))


def box(*edges: int) -> Box:
    return Box(left=edges[0], top=edges[1], right=edges[2], bottom=edges[3])


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(3)

    def write(name: str, width: int, height: int, mode: str = "RGB") -> Path:
        shape = (height, width, len(mode)) if len(mode) > 1 else (height, width)
        Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8), mode).save(tmp_path / name)
        return tmp_path / name

    large, small, clear = write("large.png", 200, 300), write("small.png", 50, 80), write("clear.png", 60, 60, "RGBA")
    mask = write("mask.png", 50, 80, "L")
    records = (
        Record(image=large, size=(200, 300), tags=("large",), repeats=2, group="a"),
        Record(image=small, size=(50, 80), tags=("small",), mask=mask, repeats=3, group="b", pruned=("hat",)),
        Record(
            image=small, size=(50, 80), crop=box(10, 20, 40, 60), mask=mask, tags=("part",), origin=("crop:x of y",)
        ),
        Record(image=large, size=(200, 300), crop=box(20, 40, 70, 90), tags=("face",), weight=0.5),
        Record(image=clear, size=(60, 60), prose="Words.", is_reg=True),
    )
    return Dataset(records=records, trigger="kie")


def enlarged(pictures: Dataset, by: int = 3) -> list[Image.Image]:
    return [image.resize((image.width * by, image.height * by)) for image in map(open_image, pictures)]


def back(dataset: Dataset, handed: Dataset, images: list[Image.Image], cache: Path, **options: object) -> Dataset:
    return replace_pictures(dataset, handed, images, ReplaceOptions(**options), cache, quiet)[0]  # type: ignore[arg-type]


def test_small_files_go_out_whole_once_and_small_crops_of_large_ones_alone(dataset: Dataset) -> None:
    found = small_pictures(dataset, growth)
    assert [(record.image.name, record.crop) for record in found.pictures] == [
        ("small.png", None), ("large.png", box(20, 40, 70, 90)), ("clear.png", None),
    ]  # fmt: skip
    assert found.factors == pytest.approx((2.0, 2.0, 100 / 60))
    assert "3 pictures to enlarge, of 5" in found.report
    assert "b/small.png: 50 x 80, 2.00 times" in found.report
    assert len(small_pictures(dataset, growth, least=1.9).pictures) == 2
    assert len(small_pictures(dataset, growth, least=4.0).pictures) == 0


def test_they_come_back_in_their_places_with_everything_else_as_it_was(dataset: Dataset, tmp_path: Path) -> None:
    handed = small_pictures(dataset, growth).pictures
    found, report = replace_pictures(dataset, handed, enlarged(handed), ReplaceOptions(), tmp_path / "cache", quiet)
    assert found.trigger == "kie"
    assert found.records[0] is dataset.records[0]
    assert [record.size for record in found] == [(200, 300), (150, 240), (150, 240), (150, 150), (180, 180)]
    assert [record.crop for record in found] == [None, None, box(30, 60, 120, 180), None, None]
    for old, new in zip(dataset, found, strict=True):
        for field in ("tags", "prose", "repeats", "group", "is_reg", "weight", "pruned"):
            assert getattr(new, field) == getattr(old, field), field
    assert found.records[1].origin == ("upscaled of small.png",)
    assert record_keys(found)[1] == "b/small.png | upscaled"
    assert "3 pictures came back and took the place of 4 records" in report
    assert found.records[1].image == found.records[2].image
    assert found.records[1].image.parent == (tmp_path / "cache").resolve()


def test_pixels_masks_and_transparency_are_those_of_their_own_pictures(dataset: Dataset, tmp_path: Path) -> None:
    handed = small_pictures(dataset, growth).pictures
    found = back(dataset, handed, enlarged(handed), tmp_path / "cache")
    for old, new in list(zip(dataset, found, strict=True))[1:4]:
        expected = np.asarray(open_image(old).resize(new.view_size), dtype=float)
        inside = np.abs(np.asarray(open_image(new), dtype=float) - expected)[6:-6, 6:-6]
        assert inside.mean() < 1
    mask, crop_mask = open_mask(found.records[1]), open_mask(found.records[2])
    assert mask is not None
    assert crop_mask is not None
    old_mask = open_mask(dataset.records[1])
    assert old_mask is not None
    assert np.abs(np.asarray(mask.resize((50, 80)), dtype=float) - np.asarray(old_mask, dtype=float)).mean() < 25
    assert crop_mask.size == (90, 120)
    assert found.records[1].mask == found.records[2].mask
    alpha = open_alpha(found.records[4])
    assert alpha is not None
    assert alpha.size == (180, 180)
    assert alpha.getextrema() != (255, 255)


def test_a_crop_that_went_alone_takes_its_part_of_the_mask_along(dataset: Dataset, tmp_path: Path) -> None:
    mask = Image.new("L", (200, 300), 0)
    mask.paste(255, (20, 40, 70, 65))
    mask.save(tmp_path / "m.png")
    records = list(dataset)
    records[3] = dataclasses.replace(records[3], mask=tmp_path / "m.png")
    masked = dataset.replace_records(records)
    handed = small_pictures(masked, growth).pictures
    found = back(masked, handed, enlarged(handed), tmp_path / "cache")
    part = open_mask(found.records[3])
    assert part is not None
    assert part.size == (150, 150)
    rows = np.asarray(part).mean(axis=1)
    assert rows[:70].min() > 250
    assert rows[80:].max() < 5


def test_the_same_pictures_give_the_same_files_and_records(dataset: Dataset, tmp_path: Path) -> None:
    handed = small_pictures(dataset, growth).pictures
    first = back(dataset, handed, enlarged(handed), tmp_path / "cache")
    files = sorted((tmp_path / "cache").iterdir())
    assert back(dataset, handed, enlarged(handed), tmp_path / "cache") == first
    assert sorted((tmp_path / "cache").iterdir()) == files
    assert len(files) == 4


def test_captions_that_changed_meanwhile_are_those_of_the_dataset(dataset: Dataset, tmp_path: Path) -> None:
    handed = small_pictures(dataset, growth).pictures
    tagged = dataset.replace_records(dataclasses.replace(record, tags=("new",), prose="") for record in dataset)
    found = back(tagged, handed, enlarged(handed), tmp_path / "cache")
    assert {record.tags for record in found} == {("new",)}


def test_large_results_are_scaled_down_and_the_label_is_a_step(dataset: Dataset, tmp_path: Path) -> None:
    handed = small_pictures(dataset, growth).pictures
    found = back(dataset, handed, enlarged(handed), tmp_path / "cache", longest=160, label="4x ultra")
    assert found.records[1].size == (100, 160)
    assert found.records[3].size == (150, 150)
    assert found.records[1].origin[-1] == "4x ultra of small.png"


def test_wrong_numbers_and_shapes_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    handed = small_pictures(dataset, growth).pictures
    images = enlarged(handed)
    for wrong in (images[:2], [*images, images[0]], []):
        with pytest.raises(DatasetError, match=f"{len(wrong)} picture"):
            back(dataset, handed, wrong, tmp_path / "cache")
    with pytest.raises(DatasetError, match="in another shape"):
        back(dataset, handed, [images[0].resize((150, 150)), *images[1:]], tmp_path / "cache")
    with pytest.raises(ValueError, match=r"ReplaceOptions\.label"):
        ReplaceOptions(label=" ")


def test_nothing_to_replace_changes_nothing(dataset: Dataset, tmp_path: Path) -> None:
    assert back(dataset, Dataset(), [], tmp_path / "cache") == dataset
    assert not (tmp_path / "cache").exists()


def test_pictures_of_another_dataset_are_told(dataset: Dataset, tmp_path: Path) -> None:
    handed = small_pictures(dataset, growth).pictures
    other = dataset.replace_records(dataset.records[:1])
    _, report = replace_pictures(other, handed, enlarged(handed), ReplaceOptions(), tmp_path / "c", quiet)
    assert "In no record of the dataset (3)" in report


SIDES = st.integers(1, 400)


@given(SIDES, SIDES, st.floats(0.05, 8), st.data())
def test_a_scaled_box_lies_in_the_picture_and_covers_the_same_share(
    width: int, height: int, by: float, data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    crop = box(left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    now = max(1, round(width * by)), max(1, round(height * by))
    scaled = _scaled(crop, (width, height), now)
    assert scaled.right <= now[0]
    assert scaled.bottom <= now[1]
    for edge, new, side, long in (
        (crop.left, scaled.left, width, now[0]), (crop.right, scaled.right, width, now[0]),
        (crop.top, scaled.top, height, now[1]), (crop.bottom, scaled.bottom, height, now[1]),
    ):  # fmt: skip
        assert abs(new - edge * long / side) <= 1.5
