"""Pictures that look alike: the largest stays, with its own caption and mask; the others are named and kept apart.

Each picture is reduced to a perceptual hash of 256 bits and to 16 x 16 colours. Hashes compare what is drawn, and
survive scaling, compression and brightness; colours tell a recoloured outfit from its original.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .errors import BadImage
from .images import open_small
from .keys import record_keys, source_name
from .report import counted, listed_lines
from .settings import check_settings, setting
from .values import Dataset, Progress, Record

Floats = np.ndarray[Any, np.dtype[np.float32]]
Bits = np.ndarray[Any, np.dtype[np.bool_]]

SIDE = 16
BITS = SIDE * SIDE
_WORK = 64
"""Pixels of the square that a hash is made from."""
_MARGIN = 2.0
"""dHash: neighbours that differ by less (of 255) count as equal, or compression would draw bits on flat paper."""
_CONTRAST, _FLAT = 64.0, 16.0
"""Colours are compared at this standard deviation; paper with less than the second is taken as it is."""
_PLACES = round(BITS / 10)
_BLOCK = 256
_LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".tga")


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateOptions:
    """When two pictures are one, and what becomes of the second."""

    method: str = setting(
        "phash",
        "How pictures are compared: phash by their coarse shapes (a cosine transform), dhash by what is brighter than "
        "its neighbour.",
        choices=("phash", "dhash"),
    )
    distance: int = setting(
        20,
        "Bits of 256 in which two may differ. The same picture in another size or quality differs in up to 20, another "
        "picture in 50 and more.",
        low=0, high=BITS // 2, step=1,
    )  # fmt: skip
    colors: float = setting(
        16.0,
        "How much their colours may differ where they differ most, brightness and contrast aside. Lower it where "
        "outfits differ by a shade; 255 looks at shapes only.",
        low=0.0, high=255.0, step=0.5,
    )  # fmt: skip
    mirrored: bool = setting(False, "Take a mirrored copy for a duplicate too.")
    across_groups: bool = setting(True, "Compare pictures of different groups with each other as well.")
    fill_captions: bool = setting(
        True, "Where the picture that stays has no caption, give it that of the duplicate that goes."
    )
    spare: tuple[str, ...] = setting(
        (), "Pictures that stay whatever they look like, by the names that the report gives them, one a line.",
        split="lines",
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A picture that stays and one that goes because of it, as places in the dataset; the distance is in bits."""

    kept: int
    removed: int
    distance: int
    color: float
    mirrored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicated:
    """The dataset without duplicates, the duplicates by themselves, both of each pair in turn, and the report.

    `names` say for each record of `pairs` what it is called and whether it stays.
    """

    dataset: Dataset
    removed: Dataset
    pairs: Dataset
    names: tuple[str, ...]
    report: str


@dataclass(frozen=True, slots=True)
class _Sketch:
    bits: Bits
    mirrored: Bits
    colors: Floats


def remove_duplicates(dataset: Dataset, options: DuplicateOptions, progress: Progress) -> Deduplicated:
    """Every picture once. Pictures that cannot be read stay and are named.

    Views and variants of one picture are never each other's duplicates, nor are regularisation and other pictures.
    """
    keys = record_keys(dataset)
    sketches, problems = _sketches(dataset, options.method, progress)
    spared = {place for place, key in enumerate(keys) if key in options.spare}
    pairs = find_pairs(dataset.records, sketches, options, spared)
    gone = {pair.removed for pair in pairs}
    filled = _filled(dataset, pairs) if options.fill_captions else {}
    kept = [filled.get(place, record) for place, record in enumerate(dataset) if place not in gone]
    return Deduplicated(
        dataset=dataset.replace_records(kept),
        removed=dataset.replace_records(record for place, record in enumerate(dataset) if place in gone),
        pairs=dataset.replace_records(dataset.records[place] for pair in pairs for place in (pair.kept, pair.removed)),
        names=tuple(name for pair in pairs for name in (f"stays: {keys[pair.kept]}", f"goes: {keys[pair.removed]}")),
        report=_report(dataset, keys, pairs, filled, [*problems, *_unknown(options, keys)]),
    )


def find_pairs(
    records: Sequence[Record],
    sketches: Sequence[_Sketch | None],
    options: DuplicateOptions,
    spared: set[int] | frozenset[int] = frozenset(),
) -> list[Pair]:
    """One pair for each record that goes, with the most alike of those that stay, in the order of the records.

    The best record of all stays first; each of the following goes when one that stays is near enough, so that no chain
    of small steps joins different pictures. Records at `spared` places stay in any case. Work grows with the square of
    the number, at 256 multiplications a pair.
    """
    order = sorted(
        (place for place, one in enumerate(sketches) if one is not None),
        key=lambda place: _rank(records[place], place),
    )
    if not order:
        return []
    shown = [sketches[place] for place in order]
    signs = np.stack([_signs(sketch.bits) for sketch in shown if sketch])
    turned = np.stack([_signs(sketch.mirrored) for sketch in shown if sketch]) if options.mirrored else None
    colors = np.stack([sketch.colors for sketch in shown if sketch])
    found: list[Pair] = []
    gone = np.zeros(len(order), dtype=bool)
    for start in range(0, len(order), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(order)))
        distances = _distances(signs[block], signs[: block.stop])
        mirrors = _distances(turned[block], signs[: block.stop]) if turned is not None else None
        nearest = distances if mirrors is None else np.minimum(distances, mirrors)
        for row, place in enumerate(order[block]):
            at = start + row
            if place in spared:
                continue
            near = np.flatnonzero((nearest[row, :at] <= options.distance) & ~gone[:at])
            pair = None
            for other in near[np.argsort(nearest[row, near], kind="stable")]:
                turn = mirrors is not None and mirrors[row, other] < distances[row, other]
                color = _color_distance(colors[at], colors[other], turn=turn)
                if color <= options.colors and _comparable(records[place], records[order[other]], options):
                    pair = Pair(
                        kept=order[other], removed=place, distance=round(float(nearest[row, other])), color=color,
                        mirrored=turn,
                    )  # fmt: skip
                    break
            if pair:
                gone[at] = True
                found.append(pair)
    return sorted(found, key=lambda pair: (pair.kept, pair.removed))


def sketch(image: Image.Image, method: str) -> _Sketch:
    """What is compared of an RGB picture; its shape does not matter."""
    square = image.resize((_WORK, _WORK), Image.Resampling.BILINEAR)
    colors = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float32)
    hashed = _phash if method == "phash" else _dhash
    # Brightness and contrast of the whole picture leave; what has another colour stands out.
    colors = (colors - colors.mean()) * (_CONTRAST / max(float(colors.std()), _FLAT))
    return _Sketch(hashed(square), hashed(ImageOps.mirror(square)), colors)


def _phash(square: Image.Image) -> Bits:
    """The lowest 16 x 16 frequencies of the grey picture (DCT-II), each above their median or not."""
    grey = np.asarray(square.convert("L"), dtype=np.float32)
    waves = _waves() @ grey @ _waves().T
    low = waves.ravel()
    # The first is the brightness, which two copies need not share.
    bits: Bits = low > np.median(low[1:])
    bits[0] = False
    return bits


def _dhash(square: Image.Image) -> Bits:
    """16 x 16 comparisons of a point with the next one to its right."""
    grey = np.asarray(square.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR), dtype=np.float32)
    bits: Bits = (grey[:, :-1] > grey[:, 1:] + _MARGIN).ravel()
    return bits


def _waves() -> Floats:
    x, u = np.arange(_WORK, dtype=np.float32), np.arange(SIDE, dtype=np.float32)[:, None]
    waves: Floats = np.cos(math.pi * (2 * x + 1) * u / (2 * _WORK)).astype(np.float32)
    return waves


def _signs(bits: Bits) -> Floats:
    signs: Floats = bits.astype(np.float32) * 2 - 1
    return signs


def _distances(left: Floats, right: Floats) -> Floats:
    """Differing bits of each row of one with each row of the other: signs that agree add 1, others take 1 away."""
    distances: Floats = (np.float32(BITS) - left @ right.T) * np.float32(0.5)
    return distances


def _color_distance(left: Floats, right: Floats, *, turn: bool) -> float:
    """The mean over the tenth of the 16 x 16 places in which two pictures differ most."""
    away = np.abs((left[:, ::-1] if turn else left) - right).mean(axis=-1).ravel()
    return float(np.partition(away, -_PLACES)[-_PLACES:].mean())


def _comparable(one: Record, other: Record, options: DuplicateOptions) -> bool:
    if one.is_reg != other.is_reg or (one.group != other.group and not options.across_groups):
        return False
    same_source = (one.group, source_name(one)) == (other.group, source_name(other))
    return not (same_source and one.origin != other.origin)


def _rank(record: Record, place: int) -> tuple[int, bool, bool, bool, int]:
    """Sorts the record to keep first: the largest, then with caption, mask, lossless, and as it stands."""
    width, height = record.view_size
    lossy = record.image.suffix.lower() not in _LOSSLESS
    return -width * height, not record.caption, record.mask is None, lossy, place


def _sketches(dataset: Dataset, method: str, progress: Progress) -> tuple[list[_Sketch | None], list[str]]:
    """The sketch of each record, None where it cannot be read, and what was wrong there."""
    found: list[_Sketch | None] = []
    problems: list[str] = []
    for done, result in enumerate(_in_threads(dataset.records, method), 1):
        found.append(None if isinstance(result, BadImage) else result)
        if isinstance(result, BadImage):
            problems.append(f"{result} It stays in the dataset and was compared with nothing")
        progress(done, len(dataset))
    return found, problems


def _in_threads(records: Sequence[Record], method: str) -> Iterator[_Sketch | BadImage]:
    """In order. Decoding lets other threads run; a few hundred pictures at a time, so that a cancel waits for few."""

    def read(record: Record) -> _Sketch | BadImage:
        try:
            return sketch(open_small(record, 2 * _WORK), method)
        except BadImage as error:
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(records), _BLOCK):
            yield from pool.map(read, records[start : start + _BLOCK])


def _filled(dataset: Dataset, pairs: Sequence[Pair]) -> dict[int, Record]:
    """Records without a caption that get the longest one of their duplicates, by their places."""
    filled: dict[int, Record] = {}
    for pair in pairs:
        kept, removed = dataset.records[pair.kept], dataset.records[pair.removed]
        if kept.caption or len(removed.caption) <= len(filled.get(pair.kept, kept).caption):
            continue
        filled[pair.kept] = dataclasses.replace(kept, tags=removed.tags, prose=removed.prose)
    return filled


def _unknown(options: DuplicateOptions, keys: Sequence[str]) -> list[str]:
    return [f"spare names {name!r}, and no picture is called so" for name in options.spare if name not in keys]


def _report(
    dataset: Dataset, keys: Sequence[str], pairs: Sequence[Pair], filled: dict[int, Record], problems: list[str]
) -> str:
    def size(place: int) -> str:
        return "{} x {}".format(*dataset.records[place].view_size)

    lines = [
        f"{keys[pair.kept]} ({size(pair.kept)}) stays, {keys[pair.removed]} ({size(pair.removed)}) goes: "
        f"{pair.distance} of {BITS} bits, colours {pair.color:.1f}{', mirrored' if pair.mirrored else ''}"
        for pair in pairs
    ]
    parts = [
        f"{counted(len(dataset), 'picture')}, {counted(len(pairs), 'duplicate')} removed, "
        f"{len(dataset) - len(pairs)} left."
    ]
    if lines:
        # Each is a decision about a picture of the user's: all are listed.
        parts.append("\n".join(["Pairs:", *(f"  {line}" for line in lines)]))
    if filled:
        parts.append(listed_lines("Had no caption and took their duplicate's", [keys[place] for place in filled]))
    if problems:
        parts.append(listed_lines(f"Problems ({len(problems)})", problems))
    return "\n\n".join(parts)
