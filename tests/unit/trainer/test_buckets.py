"""Aspect-ratio buckets: which sizes there are, which one a picture gets, and how it is cut."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_kiln.dataset.values import Box, Record
from lora_kiln.trainer.buckets import bucket_of, bucket_sizes, cover
from lora_kiln.trainer.loop import load_pixels
from lora_kiln.trainer.recipe import Buckets

SETTINGS = [
    Buckets(resolution=1024, bucket_step=64, min_bucket=256, max_bucket=2048),
    Buckets(resolution=512, bucket_step=64, min_bucket=256, max_bucket=1024),
    Buckets(resolution=768, bucket_step=32, min_bucket=320, max_bucket=1000),
    Buckets(resolution=128, bucket_step=64, min_bucket=64, max_bucket=256),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_bucket_keeps_the_limits_and_cannot_grow(settings: Buckets) -> None:
    sizes, step, area = bucket_sizes(settings), settings.bucket_step, settings.resolution**2
    assert len(set(sizes)) == len(sizes)
    for width, height in sizes:
        assert width % step == 0
        assert height % step == 0
        assert settings.min_bucket <= min(width, height) <= max(width, height) <= settings.max_bucket
        assert width * height <= area
        assert (height, width) in sizes
        grown = [(width + step, height), (width, height + step)]
        assert any(max(side) > settings.max_bucket or side[0] * side[1] > area for side in grown)


def test_the_buckets_of_512_by_hand() -> None:
    settings = Buckets(resolution=512, bucket_step=128, min_bucket=256, max_bucket=1024)
    # For each width the largest height; 768 and 896 wide both come down to 256.
    wide = {(640, 384), (768, 256), (896, 256), (1024, 256)}
    assert set(bucket_sizes(settings)) == {(512, 512), *wide, *((h, w) for w, h in wide)}


def test_a_resolution_that_is_no_multiple_of_the_step_is_rounded_down() -> None:
    assert (448, 448) in bucket_sizes(Buckets(resolution=500, bucket_step=64, min_bucket=256, max_bucket=1024))


def test_the_nearest_aspect_ratio_wins() -> None:
    sizes = ((512, 512), (640, 384), (384, 640), (1024, 256))
    assert bucket_of((100, 100), sizes) == (512, 512)
    assert bucket_of((1600, 1000), sizes) == (640, 384)
    assert bucket_of((1000, 1700), sizes) == (384, 640)
    assert bucket_of((5000, 1000), sizes) == (1024, 256)


def test_of_two_buckets_equally_near_the_larger_is_taken() -> None:
    assert bucket_of((100, 100), ((256, 256), (512, 512), (384, 384))) == (512, 512)


@pytest.mark.parametrize("size", [(1000, 500), (500, 1000), (333, 777), (64, 64), (3000, 10)])
@pytest.mark.parametrize("bucket", [(512, 512), (640, 384), (256, 1024)])
def test_a_scaled_picture_covers_its_bucket_and_is_cut_in_the_middle(
    size: tuple[int, int], bucket: tuple[int, int]
) -> None:
    (width, height), (left, top) = cover(size, bucket)
    assert width >= bucket[0]
    assert height >= bucket[1]
    assert width == bucket[0] or height == bucket[1]
    assert math.isclose(width / height, size[0] / size[1], rel_tol=0.01)
    for cut, scaled, side in ((left, width, bucket[0]), (top, height, bucket[1])):
        assert cut >= 0
        assert abs((scaled - side) - 2 * cut) <= 1


def test_pixels_are_the_middle_of_the_records_view(tmp_path: Path) -> None:
    """A crop of a picture that is red on the left and blue on the right: the crop is blue, its left edge green."""
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (150, 0, 300, 100))
    image.paste("lime", (150, 0, 152, 100))
    image.save(tmp_path / "a.png")
    record = Record(image=tmp_path / "a.png", size=(300, 100), crop=Box(left=150, top=0, right=300, bottom=100))
    pixels = load_pixels(record, (64, 64))
    assert pixels.shape == (64, 64, 3)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    # 150 x 100 covers 64 x 64 as 96 x 64: sixteen columns go on either side, the green edge with them.
    np.testing.assert_allclose(pixels.numpy().mean(axis=(0, 1)), (0, 0, 1), atol=0.01)
