"""The sizes of aspect-ratio buckets, as kohya's scripts count them."""

from __future__ import annotations

from .values import Size


def bucket_shapes(resolution: int, step: int, low: int, high: int) -> tuple[Size, ...]:
    """All (width, height) in pixels with sides from `low` to `high`: multiples of `step` of the largest area allowed.

    That is `resolution` squared. Both orientations of each, in ascending order.
    """
    sizes = set[Size]()
    for width in range(-(-low // step) * step, high + 1, step):
        height = min(floored(resolution**2 // width, step), floored(high, step))
        if height >= max(low, 1):
            sizes |= {(width, height), (height, width)}
    return tuple(sorted(sizes))


def floored(value: int, step: int) -> int:
    """The largest multiple of `step` that is not above `value`."""
    return value // step * step
