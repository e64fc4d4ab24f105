"""Parts of a figure, how far their colours moved, and taking that back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lora_kiln.dataset.difference import ciede2000, to_lab
from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.regions import (
    DRAWN,
    FIGURE,
    WHOLE,
    Regions,
    color_drift,
    find_regions,
    fitted,
    match_colors,
)
from lora_kiln.dataset.values import Box, Record

HAIR, SKIN, SHIRT, SKIRT = (150, 70, 40), (250, 214, 190), (40, 60, 160), (120, 20, 60)


def doll(*, long_hair: bool = False, shirt: tuple[int, int, int] = SHIRT) -> Image.Image:
    """A figure of 5 heads on white; the chin is at row 92, the waist near row 200."""
    image = Image.new("RGB", (300, 400), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((112, 16, 188, 92), fill=HAIR)
    pen.ellipse((124, 44, 176, 92), fill=SKIN)
    pen.rectangle((140, 88, 160, 104), fill=SKIN)
    pen.rounded_rectangle((96, 100, 204, 210), 20, fill=shirt)
    pen.rectangle((108, 205, 192, 384), fill=SKIRT)
    if long_hair:
        pen.rectangle((112, 60, 122, 230), fill=HAIR)
        pen.rectangle((178, 60, 188, 230), fill=HAIR)
    return image


def saved(image: Image.Image, folder: Path, **more: object) -> Record:
    image.save(folder / "doll.png")
    return Record(image=folder / "doll.png", size=image.size, **more)  # type: ignore[arg-type]


def share(regions: Regions, name: str, image: Image.Image, color: tuple[int, int, int]) -> float:
    """How much of a part of a picture has a colour."""
    mask = regions.mask(name)
    small = np.asarray(image.resize((mask.shape[1], mask.shape[0]), Image.Resampling.NEAREST))
    return float((small[mask] == color).all(axis=-1).mean())


@pytest.mark.parametrize("long_hair", [False, True])
def test_parts_of_a_figure(tmp_path: Path, long_hair: bool) -> None:
    image = doll(long_hair=long_hair)
    regions = find_regions(saved(image, tmp_path), image.size)
    assert regions.why == ""
    wanted = {"hair": HAIR, "face": SKIN, "upper": SHIRT, "lower": SKIRT, "background": (255, 255, 255)}
    for name, color in wanted.items():
        assert share(regions, name, image, color) > 0.8, name
    parts = [regions.masks[name] for name in ("hair", "face", "upper", "lower", "background")]
    assert (np.sum(parts, axis=0) == 1).all()
    if long_hair:
        # What falls over the shoulders is hair too.
        assert np.flatnonzero(regions.masks["hair"].any(axis=1))[-1] > 0.5 * len(regions.masks["hair"])
    assert regions.named(["hair", "lower"]) == ("hair", "lower")


def test_seen_from_behind_a_head_is_all_hair(tmp_path: Path) -> None:
    regions = find_regions(saved(doll(), tmp_path, tags=("1girl", "from behind")), (300, 400))
    assert "face" not in regions.masks
    assert regions.masks["hair"].any()


def test_without_a_figure_the_whole_picture_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    record = saved(Image.fromarray(rng.integers(0, 255, (80, 60, 3), dtype=np.uint8)), tmp_path)
    regions = find_regions(record, (60, 80))
    assert "not plain" in regions.why
    assert regions.named(["hair"]) == (WHOLE,)
    assert regions.figure is None
    assert regions.mask(WHOLE).all()


def test_a_mask_names_the_figure_and_a_drawn_one_a_part_of_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    record = saved(Image.fromarray(rng.integers(0, 255, (80, 60, 3), dtype=np.uint8)), tmp_path)
    given = Image.new("L", (60, 80))
    given.paste(255, (20, 40, 40, 78))
    drawn = Image.new("L", (60, 80))
    drawn.paste(255, (0, 0, 30, 10))
    regions = find_regions(record, (60, 80), given=given, drawn=drawn)
    assert regions.masks["background"][:30].all()
    np.testing.assert_array_equal(regions.masks[DRAWN], np.asarray(drawn) > 0)
    assert FIGURE in regions.masks
    with pytest.raises(DatasetError, match="30 x 30"):
        find_regions(record, (60, 80), given=Image.new("L", (30, 30)))


def test_parts_are_cut_as_the_picture_is(tmp_path: Path) -> None:
    """A tall picture in a square bucket: what is cut off of one is cut off of the other."""
    image = doll()
    record = saved(image, tmp_path)
    picture = fitted(image, (128, 128))
    assert picture.size == (128, 128)
    regions = find_regions(record, (128, 128))
    assert share(regions, "upper", picture, SHIRT) > 0.75
    assert share(regions, "lower", picture, SKIRT) > 0.75
    crop = Record(image=record.image, size=record.size, crop=Box(left=50, top=100, right=250, bottom=300))
    assert fitted(Image.new("RGB", crop.view_size), (64, 128)).size == (64, 128)


def test_fitted_cuts_both_sides_alike() -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    found = np.asarray(fitted(image, (50, 50)))
    assert (found[:, 3:-3] == (0, 0, 255)).all()


def test_drift_is_the_difference_of_the_flat_colours_by_part(tmp_path: Path) -> None:
    source = doll()
    other = (90, 60, 160)
    variant = doll(shirt=other)
    regions = find_regions(saved(source, tmp_path), source.size)
    drift = color_drift(source, variant, regions, ["hair", "face", "upper", "lower"])
    wanted = float(ciede2000(to_lab(np.array(SHIRT)), to_lab(np.array(other))))
    assert drift["upper"] == pytest.approx(wanted, rel=0.15)
    assert wanted > 8
    assert max(drift["hair"], drift["face"]) < 0.5
    assert drift["lower"] < 0.1 * wanted
    assert set(color_drift(source, source, regions, ["hair", "upper"]).values()) == {0.0}


def test_lines_and_shading_move_no_colours(tmp_path: Path) -> None:
    source, inked = doll(), doll()
    pen = ImageDraw.Draw(inked)
    for y in range(110, 205, 12):
        pen.line((100, y, 200, y), fill=(20, 30, 90), width=1)
    regions = find_regions(saved(source, tmp_path), source.size)
    assert color_drift(source, inked, regions, ["upper"])["upper"] < 4


def test_matching_takes_the_drift_back_where_it_is_held_and_nowhere_else(tmp_path: Path) -> None:
    source = doll()
    rng = np.random.default_rng(1)
    noise = rng.integers(-12, 13, (400, 300, 1))
    moved = np.clip(np.asarray(doll(shirt=(90, 60, 160)), dtype=int) * 0.85 + 20 + noise, 0, 255)
    variant = Image.fromarray(moved.astype(np.uint8))
    regions = find_regions(saved(source, tmp_path), source.size)
    names = ["hair", "upper", "lower"]
    before = color_drift(source, variant, regions, names)
    full = color_drift(source, match_colors(variant, source, regions, {"upper": 1.0}), regions, names)
    half = color_drift(source, match_colors(variant, source, regions, {"upper": 0.5}), regions, names)
    assert full["upper"] < 0.15 * before["upper"]
    assert 0.3 * before["upper"] < half["upper"] < 0.7 * before["upper"]
    assert abs(full["hair"] - before["hair"]) < 0.3
    assert match_colors(variant, source, regions, {}) == variant
    # The painter's texture stays: pixels still differ from their neighbours as before.
    held = np.asarray(match_colors(variant, source, regions, {"upper": 1.0}), dtype=int)
    patch = np.s_[120:190, 120:180]
    assert np.diff(held[patch], axis=1).std() == pytest.approx(np.diff(moved[patch], axis=1).std(), rel=0.1)
