"""Which size each picture is trained at, as kohya's aspect-ratio buckets do it."""

from __future__ import annotations

import functools
import math

from ..dataset.shapes import bucket_shapes, floored
from ..dataset.values import Size
from .groups import Buckets


@functools.lru_cache(maxsize=64)
def bucket_sizes(settings: Buckets) -> tuple[Size, ...]:
    """All (width, height) in pixels: multiples of `bucket_step` within the limits, as large as the area allows."""
    step = settings.bucket_step
    square = floored(settings.resolution, step)
    sizes = {(square, square)}
    if settings.enable_bucket:
        sizes |= set(bucket_shapes(settings.resolution, step, settings.min_bucket, settings.max_bucket))
    return tuple(sorted(size for size in sizes if min(size) > 0))


def bucket_of(size: Size, sizes: tuple[Size, ...]) -> Size:
    """The bucket whose aspect ratio is nearest to that of `size`; the larger one where two are equally near."""
    ratio = math.log(size[0] / size[1])
    return min(sizes, key=lambda s: (abs(math.log(s[0] / s[1]) - ratio), -s[0] * s[1], s))


def own_bucket(size: Size, settings: Buckets) -> Size:
    """kohya's `bucket_no_upscale`: the picture's own size in whole steps, shrunk first where its area is too large.

    It is shrunk to a width or to a height of whole steps, whichever leaves the bucket nearer to its proportions
    (sd-scripts' `BucketManager.select_bucket`). A side is never less than one step: such a picture is enlarged so far.
    """
    (width, height), step, area = size, settings.bucket_step, settings.resolution**2
    if width * height > area:
        ratio = width / height
        whole_width = _whole(math.sqrt(area * ratio), step)
        whole_height = _whole(math.sqrt(area / ratio), step)
        by_width = whole_width / _whole(whole_width / ratio, step)
        by_height = _whole(whole_height * ratio, step) / whole_height
        if abs(by_width - ratio) < abs(by_height - ratio):
            width, height = whole_width, int(whole_width / ratio + 0.5)
        else:
            width, height = int(whole_height * ratio + 0.5), whole_height
    return _whole(width, step), _whole(height, step)


def _whole(side: float, step: int) -> int:
    """A side in pixels, rounded and then cut to whole steps, of which there is at least one."""
    return max(step, floored(int(side + 0.5), step))


def assign(size: Size, settings: Buckets, sizes: tuple[Size, ...]) -> Size:
    """The bucket of a picture of `size` under these settings."""
    if settings.bucket_no_upscale and settings.enable_bucket:
        return own_bucket(size, settings)
    return bucket_of(size, sizes)


def cover(size: Size, bucket: Size) -> tuple[Size, tuple[int, int]]:
    """The size to scale a picture to so that it covers `bucket`, and the (left, top) of the centred crop, in pixels."""
    scale = max(bucket[0] / size[0], bucket[1] / size[1])
    scaled = (max(bucket[0], round(size[0] * scale)), max(bucket[1], round(size[1] * scale)))
    return scaled, ((scaled[0] - bucket[0]) // 2, (scaled[1] - bucket[1]) // 2)
