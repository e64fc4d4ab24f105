"""Small pictures: of the right size and part, kept, and made anew when the picture changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from lora_kiln.dataset.errors import BadImage
from lora_kiln.dataset.thumbnails import thumbnail
from lora_kiln.dataset.values import Box


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Left half red, right half blue."""
    image = Image.new("RGB", (800, 400), "red")
    image.paste("blue", (400, 0, 800, 400))
    image.save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_the_longer_side_is_as_asked_and_small_pictures_stay(picture: Path, tmp_path: Path) -> None:
    with Image.open(thumbnail(picture, None, 256, tmp_path / "cache")) as small:
        assert (small.format, small.size) == ("JPEG", (256, 128))
    Image.new("RGB", (40, 30)).save(tmp_path / "tiny.png")
    with Image.open(thumbnail(tmp_path / "tiny.png", None, 256, tmp_path / "cache")) as small:
        assert small.size == (40, 30)


def test_a_crop_shows_its_part(picture: Path, tmp_path: Path) -> None:
    crop = Box(left=500, top=0, right=700, bottom=400)
    with Image.open(thumbnail(picture, crop, 128, tmp_path / "cache")) as small:
        assert small.size == (64, 128)
        red, _, blue = small.getpixel((32, 64))
        assert blue > 240 > 20 > red


def test_it_is_made_once_and_anew_for_another_picture(picture: Path, tmp_path: Path) -> None:
    first = thumbnail(picture, None, 128, tmp_path / "cache")
    made = first.stat().st_mtime_ns
    assert thumbnail(picture, None, 128, tmp_path / "cache") == first
    assert first.stat().st_mtime_ns == made
    Image.new("RGB", (800, 400), "green").save(picture)
    os.utime(picture, ns=(1, 1))
    assert thumbnail(picture, None, 128, tmp_path / "cache") != first
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("side", [0, -1, 100, 257, 100_000])
def test_other_sides_are_refused(picture: Path, tmp_path: Path, side: int) -> None:
    with pytest.raises(ValueError, match="128, 256, 512, 1024"):
        thumbnail(picture, None, side, tmp_path / "cache")


def test_what_is_no_picture_is_said(picture: Path, tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("no picture")
    with pytest.raises(BadImage, match="not a picture"):
        thumbnail(tmp_path / "words.png", None, 128, tmp_path / "cache")
    with pytest.raises(BadImage, match="not there"):
        thumbnail(tmp_path / "gone.png", None, 128, tmp_path / "cache")
    with pytest.raises(ValueError, match="outside"):
        thumbnail(picture, Box(left=0, top=0, right=801, bottom=1), 128, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.jpg"))
