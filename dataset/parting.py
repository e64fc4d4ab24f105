"""Telling the figures of one picture apart by their pixels: connected parts, and bodies that touch.

Bodies are thick, what touches (hands, hair, hems) is thin: a column's thickness is the radius of the largest circle in
it. Each pixel of a part belongs to the body that is nearest by a way inside the part; lines and edges of colour, which
are where one body ends, are long to cross.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .masks import Floats, Labels, Mask, depth_of, label_parts

_SOLID = 0.92
"""A part that fills more of its box than this is a colour swatch or a frame, not a figure."""
_THIN = 0.07
"""A part that is narrower than this share of its height is a line or a staff."""
_LEAST_AREA = 0.12
"""A figure has at least this share of the largest one's pixels."""
_SATELLITE = 0.008
"""A detached part (a halo, a thrown hat) has at least this share of its figure's pixels."""
_NEAR = 0.06
"""A satellite is no farther from its figure than this share of her height."""
_HEAD = 0.5
"""Under the top of a head the part is at least this share as thick as at its thickest; under a hand it is not."""
_DIP = 0.09
"""The outline between two heads falls below both by at least this share of the height."""
_CORE = 0.6
"""A body whose head does not show in the outline is at least this share as thick as the thickest one."""
_VALLEY = 0.62
"""Then some column between it and the next body is at most this share as thick; `_FAR_VALLEY` between bodies that are
as far apart as heads side by side, `_BESIDE` of their height."""
_FAR_VALLEY = 0.88
_BESIDE = (0.3, 0.38)
_SNAP = 0.18
"""A head's middle is the thickest column within this share of the height from its summit: a bun is no head."""
_APART = 0.16
"""The middles of two bodies are at least this share of their height apart."""
_AXIS = 0.04
"""Pixels this near to a body's middle column, as a share of the height, are its own for sure."""
_HOLE = 0.008
"""A hole with fewer pixels than this share of the squared height is white cloth on white paper; a larger one is the
room between two bodies that touch twice."""
_ROWS = 160
"""Bodies that touch are told apart with their part at this many pixels of height."""
_EDGE = 0.12
"""Crossing a line of full contrast is as far as this share of the height."""
_STRANGE = 1.5
"""A pixel of a colour that a body does not have is farther from it by up to 0.3 times this share of the height."""
_PALETTE_BITS = 4
_PALETTE_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Parting:
    """The figures of a mask in reading order, each the mask of her own pixels, and how many parts belong to nobody."""

    figures: tuple[Mask, ...]
    left_out: int


def part_figures(mask: Mask, pixels: Floats, *, smallest: float = 0.4, count: int = 0) -> Parting:
    """Tell the figures of a mask apart; `pixels` are the colours (0 to 255) under it.

    A figure is at least `smallest` times as tall as the tallest one; smaller parts that are near to one are hers, the
    rest (text, swatches, small heads) is left out. With a `count` just so many are looked for.
    """
    labels, areas = label_parts(mask)
    boxes = [_bounds(labels == label) for label in range(1, len(areas) + 1)]
    bodies = _bodies(areas, boxes, smallest)
    pieces = [
        piece
        for body in bodies
        for piece in _pieces(_filled(labels == body + 1), pixels, count if len(bodies) == 1 else 0)
    ]
    if count > len(pieces):
        pieces = _more(pieces, pixels, count)
    if count and count < len(pieces):
        pieces = sorted(pieces, key=lambda piece: -int(piece.sum()))[:count]
    others = [place for place in range(len(areas)) if place not in bodies]
    pieces, used = _with_satellites(pieces, labels, areas, boxes, others)
    return Parting(figures=tuple(_in_reading_order(pieces)), left_out=len(others) - used)


def _bodies(areas: Labels, boxes: list[tuple[int, int, int, int]], smallest: float) -> list[int]:
    """Which parts are figures, or several that touch."""
    likely = []
    for place, (left, top, right, bottom) in enumerate(boxes):
        width, height = right - left, bottom - top
        if areas[place] < _SOLID * width * height and width >= _THIN * height:
            likely.append(place)
    if not likely:
        return []
    tallest = max(boxes[place][3] - boxes[place][1] for place in likely)
    tall = [place for place in likely if boxes[place][3] - boxes[place][1] >= smallest * tallest]
    largest = max(int(areas[place]) for place in tall)
    return [place for place in tall if areas[place] >= _LEAST_AREA * largest]


def _filled(part: Mask) -> Mask:
    """A part without its small holes."""
    left, top, right, bottom = _bounds(part)
    body = np.pad(part[top:bottom, left:right], 1)
    labels, areas = label_parts(~body)
    holes = np.flatnonzero(areas < _HOLE * (bottom - top) ** 2) + 1
    whole = part.copy()
    # The frame of the padding is what is around the part.
    whole[top:bottom, left:right] |= np.isin(labels, holes[holes != labels[0, 0]])[1:-1, 1:-1]
    return whole


def _pieces(part: Mask, pixels: Floats, count: int, valley: float = _VALLEY) -> list[Mask]:
    """A connected part cut into the bodies that it consists of, from left to right; no more than a `count`."""
    left, top, right, bottom = _bounds(part)
    body = part[top:bottom, left:right]
    step = max(1, round(len(body) / _ROWS))
    small = body[step // 2 :: step, step // 2 :: step]
    cores = _cores(small, valley)
    if count and len(cores) > count:
        largest = sorted(range(len(cores)), key=lambda at: -int(cores[at].sum()))[:count]
        cores = [cores[at] for at in sorted(largest)]
    if len(cores) < 2:
        return [part]
    nearest = _nearest(small, pixels[top:bottom, left:right][step // 2 :: step, step // 2 :: step], cores)
    full = np.repeat(np.repeat(nearest, step, axis=0), step, axis=1)
    full = np.pad(
        full, [(0, max(0, side - have)) for side, have in zip(body.shape, full.shape, strict=True)], mode="edge"
    )
    pieces = []
    for number in range(len(cores)):
        piece = np.zeros_like(part)
        piece[top:bottom, left:right] = body & (full[: body.shape[0], : body.shape[1]] == number)
        pieces.append(piece)
    return pieces


def _more(pieces: list[Mask], pixels: Floats, count: int) -> list[Mask]:
    """The pieces cut further, at ever thicker places, until there are as many as there should be."""
    for valley in (0.7, 0.8, 0.9, 0.97):
        for piece in sorted(pieces, key=lambda each: -int(each.any(axis=0).sum())):
            cut = _pieces(piece, pixels, 0, valley)
            if 1 < len(cut) <= count - len(pieces) + 1:
                at = next(place for place, each in enumerate(pieces) if each is piece)
                pieces = [*pieces[:at], *cut, *pieces[at + 1 :]]
            if len(pieces) == count:
                return pieces
    return pieces


def _cores(body: Mask, valley: float) -> list[Mask]:
    """The middle columns of each body in a part, from left to right.

    A body shows by its head in the outline from above, or, hidden by a neighbour's arm or hair, by its thickness.
    """
    height = len(body)
    depth = depth_of(body)
    thick = _smoothed(depth.max(axis=0), max(1, round(0.015 * height)))
    axes: list[int] = []
    for summit in _head_tops(body):
        x = _snapped(thick, summit, round(_SNAP * height))
        if _thick_below(body, depth, x) >= _HEAD * thick.max() and all(abs(x - y) >= _APART * height for y in axes):
            axes.append(x)
    for x in _thick_columns(thick, valley, height):
        if all(abs(x - other) >= _APART * height and _is_thin(thick, x, other, valley, height) for other in axes):
            axes.append(x)
    columns = np.arange(body.shape[1])
    return [body & (np.abs(columns - x) <= _AXIS * height)[None, :] for x in sorted(axes)]


def _head_tops(body: Mask) -> list[int]:
    """Columns where the outline from above has a summit: it falls by `_DIP` on both sides before it rises higher."""
    height = len(body)
    tops = _smoothed(np.where(body.any(axis=0), np.argmax(body, axis=0), height).astype(np.float64), 1)
    least = _DIP * height
    found: list[int] = []
    best, lowest = 0, float("inf")
    rising = True
    for x, top in enumerate(tops):
        # `best` is the summit since the last valley, `lowest` the floor of the valley since the last summit.
        if rising:
            if top < tops[best]:
                best = x
            if top - tops[best] >= least:
                found.append(_middle(tops, best, least / 3))
                rising, lowest = False, float(top)
        else:
            lowest = max(lowest, float(top))
            if lowest - top >= least:
                rising, best = True, x
    if rising:
        found.append(_middle(tops, best, least / 3))
    return found


def _middle(tops: Floats, summit: int, slack: float) -> int:
    """The middle of the columns around a summit that are hardly lower: a head is round, a bun beside it higher."""
    low = high = summit
    while low > 0 and tops[low - 1] <= tops[summit] + slack:
        low -= 1
    while high < len(tops) - 1 and tops[high + 1] <= tops[summit] + slack:
        high += 1
    return (low + high) // 2


def _thick_below(body: Mask, depth: Floats, x: int) -> float:
    """The largest circle near a column within a head's reach of the outline from above."""
    height = len(body)
    reach = round(0.1 * height)
    columns = slice(max(0, x - reach), x + reach + 1)
    top = int(np.argmax(body[:, columns].any(axis=1)))
    return float(depth[top : top + round(0.45 * height), columns].max())


def _thick_columns(thick: Floats, valley: float, height: int) -> list[int]:
    """Columns where the part is thickest, with thin ones between, the thickest first."""
    inner = np.pad(thick, 1, constant_values=-1.0)
    tops = np.flatnonzero((thick >= _CORE * thick.max()) & (thick > inner[:-2]) & (thick >= inner[2:]))
    peaks: list[int] = []
    for x in sorted((int(x) for x in tops), key=lambda at: (-float(thick[at]), at)):
        if all(abs(x - y) >= _APART * height and _is_thin(thick, x, y, valley, height) for y in peaks):
            peaks.append(x)
    return peaks


def _is_thin(thick: Floats, one: int, other: int, valley: float, height: int) -> bool:
    """Whether a part is thin somewhere between two columns; those that are far apart may touch with more of them."""
    low, high = min(one, other), max(one, other)
    far = float(np.clip(((high - low) / height - _BESIDE[0]) / (_BESIDE[1] - _BESIDE[0]), 0.0, 1.0))
    limit = valley + far * max(0.0, _FAR_VALLEY - valley)
    return float(thick[low : high + 1].min()) <= limit * float(min(thick[low], thick[high]))


def _snapped(thick: Floats, x: int, reach: int) -> int:
    """The thickest column near another one, the nearest of equals."""
    low, high = max(0, x - reach), min(len(thick), x + reach + 1)
    return low + int(np.lexsort((np.abs(np.arange(low, high) - x), -thick[low:high].round(3)))[0])


def _nearest(body: Mask, pixels: Floats, cores: list[Mask]) -> Labels:
    """For each pixel the number of the core that is nearest by a way inside the part."""
    contrast = np.zeros(body.shape)
    for axis in (0, 1):
        step = np.abs(np.diff(pixels, axis=axis)).max(axis=-1) / 255.0
        low, high = [slice(None)] * 2, [slice(None)] * 2
        low[axis], high[axis] = slice(0, -1), slice(1, None)
        contrast[tuple(low)] = np.maximum(contrast[tuple(low)], step)
        contrast[tuple(high)] = np.maximum(contrast[tuple(high)], step)
    # A line is two or three pixels wide, and each of them counts.
    price = np.where(body, 1.0 + _EDGE * len(body) / 3 * contrast, np.inf)
    away = np.stack([np.where(core, 0.0, np.inf) for core in cores])
    while True:
        padded = np.pad(away, ((0, 0), (1, 1), (1, 1)), constant_values=np.inf)
        straight = np.minimum(
            np.minimum(padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]), np.minimum(padded[:, 1:-1, :-2], padded[:, 1:-1, 2:])
        )
        slanted = np.minimum(
            np.minimum(padded[:, :-2, :-2], padded[:, 2:, 2:]), np.minimum(padded[:, :-2, 2:], padded[:, 2:, :-2])
        )
        nearer = np.minimum(away, np.minimum(straight + price, slanted + 2**0.5 * price))
        if np.array_equal(nearer, away):
            break
        away = nearer
    by_way: Labels = np.argmin(away, axis=0)
    strange = np.stack([_strangeness(pixels, body & (away[at] < 0.5 * _others(away, at))) for at in range(len(cores))])
    found: Labels = np.argmin(away + _STRANGE * len(body) * strange, axis=0)
    return _joined(found, by_way, body, cores)


def _others(away: Floats, at: int) -> Floats:
    nearest: Floats = np.delete(away, at, axis=0).min(axis=0)
    return nearest


def _strangeness(pixels: Floats, own: Mask) -> Floats:
    """How far each pixel's colour is from every colour that a body surely has, 0 to 0.3 (1 is black from white)."""
    if not own.any():
        return np.zeros(own.shape)
    colors, counts = np.unique((pixels[own] / 2**_PALETTE_BITS).astype(np.int64), axis=0, return_counts=True)
    palette = (colors[counts >= _PALETTE_SHARE * counts.sum()] + 0.5) * 2**_PALETTE_BITS
    if not len(palette):
        return np.zeros(own.shape)
    apart = np.stack([np.abs(pixels - color).max(axis=-1) for color in palette]).min(axis=0) / 255.0
    # Half a step is the rounding of the palette itself.
    strange: Floats = np.clip(apart - 2**_PALETTE_BITS / 510.0, 0.0, 0.3)
    return strange


def _joined(found: Labels, by_way: Labels, body: Mask, cores: list[Mask]) -> Labels:
    """What hangs together with no core of its own body goes to the body that is nearest by the way."""
    joined = by_way.copy()
    for number, core in enumerate(cores):
        labels, _ = label_parts(body & (found == number))
        own = np.unique(labels[core & (labels > 0)])
        joined[np.isin(labels, own[own > 0])] = number
    return joined


def _with_satellites(
    pieces: list[Mask], labels: Labels, areas: Labels, boxes: list[tuple[int, int, int, int]], others: list[int]
) -> tuple[list[Mask], int]:
    """The pieces with the small parts that belong to them, and how many that were."""
    bounds = [_bounds(piece) for piece in pieces]
    found = list(pieces)
    used = 0
    for place in others:
        away = [_distance(boxes[place], box) for box in bounds]
        if not away:
            break
        nearest = int(np.argmin(away))
        left, top, right, bottom = bounds[nearest]
        part = boxes[place]
        solid = areas[place] >= _SOLID * (part[2] - part[0]) * (part[3] - part[1])
        large = areas[place] >= _SATELLITE * pieces[nearest].sum()
        # Titles stand above or below a figure and reach past her; a halo does not.
        beside = part[1] < bottom and not (part[3] <= top and part[2] - part[0] > 0.7 * (right - left))
        if large and beside and not solid and away[nearest] <= _NEAR * (bottom - top):
            found[nearest] = found[nearest] | (labels == place + 1)
            used += 1
    return found, used


def _in_reading_order(pieces: list[Mask]) -> list[Mask]:
    """Rows of figures from top to bottom, each from left to right. Who overlaps half of a row's height is in it."""
    bounds = [_bounds(piece) for piece in pieces]
    rows: list[list[int]] = []
    for place in sorted(range(len(pieces)), key=lambda at: (bounds[at][1] + bounds[at][3], bounds[at][0])):
        top, bottom = bounds[place][1], bounds[place][3]
        for row in rows:
            high, low = min(bounds[at][1] for at in row), max(bounds[at][3] for at in row)
            if min(bottom, low) - max(top, high) >= 0.5 * min(bottom - top, low - high):
                row.append(place)
                break
        else:
            rows.append([place])
    rows.sort(key=lambda row: min(bounds[at][1] for at in row))
    return [pieces[at] for row in rows for at in sorted(row, key=lambda at: (bounds[at][0] + bounds[at][2], at))]


def _bounds(mask: Mask) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _distance(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Pixels between two boxes, 0 where they touch or overlap."""
    x = max(0, one[0] - other[2], other[0] - one[2])
    y = max(0, one[1] - other[3], other[1] - one[3])
    return float(np.hypot(x, y))


def _smoothed(values: Floats, reach: int) -> Floats:
    width = 2 * reach + 1
    padded = np.pad(values, reach, mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")
