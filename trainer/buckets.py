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

    A side is never less than one step: such a picture is enlarged that far.
    """
    scale = min(1.0, math.sqrt(settings.resolution**2 / (size[0] * size[1])))
    step = settings.bucket_step
    width, height = (max(step, floored(int(side * scale + 1e-6), step)) for side in size)
    return width, height


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
