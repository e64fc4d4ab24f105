"""Aspect-ratio buckets: which sizes there are, which one a picture gets, and how it is cut."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_kiln.dataset.values import Box, Record
from lora_kiln.trainer.buckets import assign, bucket_of, bucket_sizes, cover, own_bucket
from lora_kiln.trainer.groups import Buckets
from lora_kiln.trainer.latents import centred, load_pixels

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


NO_UPSCALE = Buckets(resolution=512, bucket_step=64, bucket_no_upscale=True)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((300, 200), (256, 192)),  # its own size in whole steps
        ((512, 512), (512, 512)),
        ((511, 64), (448, 64)),
        ((40, 300), (64, 256)),  # never less than a step
        ((1024, 1024), (512, 512)),  # shrunk to the area
        # Shrunk to 724 x 362 and then to a whole width or height, whichever bucket is nearer; sd-scripts' own results.
        ((2000, 1000), (640, 320)),
        ((984, 553), (640, 384)),
        ((3000, 900), (832, 256)),
        ((1000, 4000), (256, 1024)),  # exactly, without a step lost to rounding
    ],
)
def test_without_enlarging_a_picture_keeps_its_own_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert assign(size, NO_UPSCALE, bucket_sizes(NO_UPSCALE)) == expected


@pytest.mark.parametrize("size", [(w, h) for w in range(64, 1500, 97) for h in range(64, 1500, 89)])
def test_without_enlarging_no_side_grows_and_no_area_is_more_than_the_resolutions(size: tuple[int, int]) -> None:
    bucket = own_bucket(size, NO_UPSCALE)
    assert bucket[0] <= size[0]
    assert bucket[1] <= size[1]
    assert bucket[0] * bucket[1] <= 512**2
    assert bucket[0] % 64 == bucket[1] % 64 == 0


def test_without_buckets_there_is_one_square_also_for_small_pictures() -> None:
    for no_upscale in (False, True):
        settings = Buckets(resolution=500, bucket_step=64, enable_bucket=False, bucket_no_upscale=no_upscale)
        assert bucket_sizes(settings) == ((448, 448),)
        assert assign((2000, 100), settings, bucket_sizes(settings)) == (448, 448)


def test_with_buckets_a_picture_takes_the_nearest_one() -> None:
    settings = Buckets(resolution=512, bucket_step=128, min_bucket=256, max_bucket=1024)
    assert assign((1000, 610), settings, bucket_sizes(settings)) == (640, 384)


def test_pixels_are_the_middle_of_the_records_view(tmp_path: Path) -> None:
    """A crop of a picture that is red on the left and blue on the right: the crop is blue, its left edge green."""
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (150, 0, 300, 100))
    image.paste("lime", (150, 0, 152, 100))
    image.save(tmp_path / "a.png")
    record = Record(image=tmp_path / "a.png", size=(300, 100), crop=Box(left=150, top=0, right=300, bottom=100))
    pixels = load_pixels(record, centred(record, (64, 64)))
    assert pixels.shape == (64, 64, 3)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    # 150 x 100 covers 64 x 64 as 96 x 64: sixteen columns go on either side, the green edge with them.
    np.testing.assert_allclose(pixels.numpy().mean(axis=(0, 1)), (0, 0, 1), atol=0.01)
