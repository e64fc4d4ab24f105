"""Pictures out of a dataset, through any node that changes pictures, and back into their places."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .errors import DatasetError
from .images import open_alpha, open_mask, save_derived
from .keys import record_keys, source_name
from .report import counted, listed_lines
from .settings import check_settings, setting
from .values import Box, Dataset, Progress, Record, Size

_SHAPE = 0.02
"""A picture that comes back may be this much wider or narrower in shape: scalers round their sides."""
_STEP = 8
"""... or by as many pixels: models work in steps of eight."""

_Place = tuple[Path, Box | None]
"""A file and the part of it that is meant; None is all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceOptions:
    """How pictures that come back take their places."""

    label: str = setting(
        "upscaled", "What was done to them, in a word: it becomes a step of their origin and of their names."
    )
    longest: int = setting(
        0,
        "Scale pictures that come back larger than this down to so many pixels at the longer side; 0 keeps them as "
        "they come.",
        low=0, high=16384, step=64,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.label.strip() or "\n" in self.label or " of " in self.label:
            raise ValueError(
                f"ReplaceOptions.label is {self.label!r}; give a word or two without an of, such as upscaled"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """The pictures to be enlarged, the factor that each needs, and the report."""

    pictures: Dataset
    factors: tuple[float, ...]
    report: str


def small_pictures(dataset: Dataset, growth: Callable[[Size, Record], float], least: float = 1.0) -> Small:
    """The pictures that training would enlarge by more than `least`, each once.

    `growth` gives the factor for a size in pixels of a record's. Where a whole file is too small, it is taken whole,
    once for all of its crops; where only a crop is, that crop alone. Hand the result to `replace_pictures` with what
    became of it.
    """
    taken: dict[_Place, Record] = {}
    factors: dict[_Place, float] = {}
    for record in dataset:
        needed = growth(record.view_size, record)
        if needed <= least:
            continue
        whole = growth(record.size, record) > least
        handed = dataclasses.replace(record, crop=None) if whole else record
        place: _Place = (handed.image, handed.crop)
        taken.setdefault(place, handed)
        factors[place] = max(factors.get(place, 1.0), growth(record.size, record) if whole else needed)
    pictures = dataset.replace_records(taken.values())
    listed = [
        f"{key}: {record.view_size[0]} x {record.view_size[1]}, {factor:.2f} times"
        for key, record, factor in zip(record_keys(pictures), pictures, factors.values(), strict=True)
    ]
    head = f"{counted(len(taken), 'picture')} to enlarge, of {len(dataset)} in the dataset."
    report = f"{head}\n\n{listed_lines('Size, and how much each must grow', listed)}" if listed else head
    return Small(pictures=pictures, factors=tuple(factors.values()), report=report)


def replace_pictures(
    dataset: Dataset,
    handed: Dataset,
    pictures: Iterable[Image.Image],
    options: ReplaceOptions,
    cache: Path,
    progress: Progress,
) -> tuple[Dataset, str]:
    """The dataset with `pictures` in the places of the `handed` records, one for each, in their order.

    A record of `handed` stands for every record of the dataset with its file and crop; without a crop for all of that
    file, whose crop boxes then scale with it. Masks and transparency scale along; captions, repeats, groups and the
    order stay. The new files lie in `cache`. Raises DatasetError when numbers or shapes do not fit.
    """
    replacing = _Replacing(options, cache)
    count = 0
    for count, picture in enumerate(pictures, 1):
        if count <= len(handed):
            replacing.write(handed.records[count - 1], picture)
            progress(count, len(handed))
    if count != len(handed):
        raise DatasetError(
            f"{counted(count, 'picture')} came back for {counted(len(handed), 'record')}. Wire the records and the "
            "pictures from the same node, and let no node between them drop, add or join pictures"
        )
    records = [replacing.replaced(record) for record in dataset]
    return dataset.replace_records(records), _report(dataset, handed, records)


class _Replacing:
    """New files in the cache, by the places that they take."""

    def __init__(self, options: ReplaceOptions, cache: Path) -> None:
        self._options = options
        self._cache = cache
        self._new: dict[_Place, tuple[Path, Size]] = {}
        self._masks: dict[tuple[Path, _Place], Path] = {}

    def write(self, record: Record, picture: Image.Image) -> None:
        """Keep a picture that came back, with the transparency of the one that was handed out."""
        was, now = record.view_size, picture.size
        off = abs(now[0] * was[1] / (now[1] * was[0]) - 1)
        if off > max(_SHAPE, _STEP / min(now)):
            raise DatasetError(
                f"{record.name} is {was[0]} x {was[1]} pixels and came back as {now[0]} x {now[1]}, in another shape. "
                "Its crops and mask would no longer fit; scale without cropping or stretching"
            )
        longest = self._options.longest
        if longest and max(now) > longest:
            scale = longest / max(now)
            now = max(1, round(now[0] * scale)), max(1, round(now[1] * scale))
            picture = picture.resize(now, Image.Resampling.LANCZOS)
        alpha = open_alpha(record)
        if alpha is not None:
            picture = picture.convert("RGB")
            picture.putalpha(alpha.resize(now, Image.Resampling.BICUBIC))
        self._new[record.image, record.crop] = save_derived(picture, self._cache), now

    def replaced(self, record: Record) -> Record:
        """The record with its new picture, or as it is when none came back for it."""
        place: _Place = (record.image, record.crop)
        if place not in self._new:
            place = (record.image, None)
        if place not in self._new:
            return record
        image, size = self._new[place]
        return dataclasses.replace(
            record,
            image=image,
            size=size,
            crop=None if place[1] or record.crop is None else _scaled(record.crop, record.size, size),
            mask=self._mask(record, place, size),
            origin=(*record.origin, f"{self._options.label.strip()} of {source_name(record)}"),
        )

    def _mask(self, record: Record, place: _Place, size: Size) -> Path | None:
        """The mask of the part that was replaced, at the new size; records that share one share the new one."""
        if record.mask is None:
            return None
        if (record.mask, place) not in self._masks:
            mask = open_mask(dataclasses.replace(record, crop=place[1]))
            assert mask is not None
            scaled = mask.resize(size, Image.Resampling.BICUBIC)
            self._masks[record.mask, place] = save_derived(scaled, self._cache)
        return self._masks[record.mask, place]


def _scaled(box: Box, was: Size, now: Size) -> Box:
    """The same part of a picture that has become `now` pixels large, at least one pixel of it."""
    across, down = now[0] / was[0], now[1] / was[1]
    left, top = min(round(box.left * across), now[0] - 1), min(round(box.top * down), now[1] - 1)
    right, bottom = min(round(box.right * across), now[0]), min(round(box.bottom * down), now[1])
    return Box(left=left, top=top, right=max(right, left + 1), bottom=max(bottom, top + 1))


def _report(dataset: Dataset, handed: Dataset, records: list[Record]) -> str:
    changed = [(old, new) for old, new in zip(dataset, records, strict=True) if old is not new]
    lines = [
        f"{key}: {old.view_size[0]} x {old.view_size[1]} to {new.view_size[0]} x {new.view_size[1]}"
        for key, old, new in zip(record_keys(dataset), dataset, records, strict=True)
        if old is not new
    ]
    parts = [f"{counted(len(handed), 'picture')} came back and took the place of {counted(len(changed), 'record')}."]
    if lines:
        parts.append(listed_lines("Sizes", lines))
    files = {(record.image, record.crop) for record in dataset} | {(record.image, None) for record in dataset}
    strange = [record.name for record in handed if (record.image, record.crop) not in files]
    if strange:
        parts.append(listed_lines(f"In no record of the dataset ({len(strange)})", strange))
    return "\n\n".join(parts)
