"""How a dataset fills its buckets, and which pictures must grow for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..dataset.charts import BucketUse
from ..dataset.values import Dataset, Record, Size
from .buckets import bucket_of, bucket_sizes, cover
from .groups import Buckets
from .own import bucket_for, buckets_for

_ROUNDING = 1e-6


def bucket_use(dataset: Dataset, settings: Buckets) -> tuple[BucketUse, ...]:
    """The buckets that pictures fall into, narrow ones first. Sizes are in pixels of the views that are trained on."""
    found: dict[Size, list[tuple[int, float, float]]] = {}
    known: dict[tuple[Size, tuple[str, ...]], tuple[Size, float, float]] = {}
    for record in dataset:
        view, key = record.view_size, (record.view_size, record.own)
        if key not in known:
            bucket = bucket_for(settings, record)
            known[key] = (bucket, _growth(view, bucket), _cut_off(view, bucket))
        bucket, growth, cut = known[key]
        found.setdefault(bucket, []).append((record.repeats, growth, cut))
    return tuple(
        BucketUse(
            size=size,
            pictures=len(rows),
            seen=sum(repeats for repeats, _, _ in rows),
            enlarged=sum(growth > 1 + _ROUNDING for _, growth, _ in rows),
            most_enlarged=max(growth for _, growth, _ in rows),
            cut_off=sum(cut for _, _, cut in rows) / len(rows),
        )
        for size, rows in sorted(found.items(), key=lambda item: (item[0][0] / item[0][1], item[0]))
    )


def growth_to(settings: Buckets) -> Callable[[Size, Record], float]:
    """A function from a size in pixels, of a record's, to the factor by which it must grow to fill its bucket (1 or
    more).
    """

    def growth(size: Size, record: Record) -> float:
        sizes = bucket_sizes(dataclasses.replace(buckets_for(settings, record), bucket_no_upscale=False))
        return max(1.0, _growth(size, bucket_of(size, sizes)))

    return growth


def _growth(size: Size, bucket: Size) -> float:
    return max(bucket[0] / size[0], bucket[1] / size[1])


def _cut_off(size: Size, bucket: Size) -> float:
    scaled, _ = cover(size, bucket)
    return 1 - bucket[0] * bucket[1] / (scaled[0] * scaled[1])
