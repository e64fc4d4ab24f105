"""What falls into which bucket, and what must grow for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_kiln.dataset.values import Box, Dataset, Record
from lora_kiln.trainer.bucket_use import bucket_use, growth_to
from lora_kiln.trainer.groups import Buckets

SETTINGS = Buckets(resolution=512, bucket_step=64, min_bucket=256, max_bucket=1024)


def record(width: int, height: int, repeats: int = 1, crop: Box | None = None) -> Record:
    return Record(image=Path("/a.png").absolute(), size=(width, height), repeats=repeats, crop=crop)


def test_pictures_are_counted_where_the_trainer_puts_them() -> None:
    part = Box(left=0, top=0, right=256, bottom=256)
    records = (record(1024, 1024, 3), record(400, 400, 2), record(2000, 1000), record(1024, 1024, crop=part))
    tall, square = sorted(bucket_use(Dataset(records=records), SETTINGS), key=lambda use: -use.size[0])
    assert tall.size == (704, 320)
    assert (tall.pictures, tall.seen, tall.enlarged) == (1, 1, 0)
    # 2000 x 1000 covers 704 x 320 at 704 x 352.
    assert tall.cut_off == pytest.approx(1 - 320 / 352)
    assert square.size == (512, 512)
    assert (square.pictures, square.seen, square.enlarged) == (3, 6, 2)
    assert square.most_enlarged == pytest.approx(2.0)
    assert square.cut_off == 0


def test_without_upscaling_nothing_grows() -> None:
    settings = Buckets(resolution=512, bucket_step=64, min_bucket=256, max_bucket=1024, bucket_no_upscale=True)
    [use] = bucket_use(Dataset(records=(record(400, 400),)), settings)
    assert use.size == (384, 384)
    assert use.enlarged == 0
    # What an upscaler should give is what the full size asks for.
    assert growth_to(settings)((400, 400), record(400, 400)) == pytest.approx(512 / 400)


@pytest.mark.parametrize(
    ("size", "factor"), [((512, 512), 1.0), ((4000, 4000), 1.0), ((256, 256), 2.0), ((352, 160), 2.0)]
)
def test_the_factor_fills_the_bucket(size: tuple[int, int], factor: float) -> None:
    assert growth_to(SETTINGS)(size, record(*size)) == pytest.approx(factor)


def test_an_empty_dataset_has_no_buckets() -> None:
    assert bucket_use(Dataset(), SETTINGS) == ()
