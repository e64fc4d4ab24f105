"""Pictures of the graph as a dataset, and a dataset as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageOps

from .errors import DatasetError
from .images import open_image, open_mask, save_derived
from .keys import record_keys
from .settings import check_settings, setting
from .sidecars import Reader
from .values import Dataset, Progress, Record

T = TypeVar("T")

ORIGIN = "taken from the graph"
_NO_MASK = (64, 64)
"""The host's picture loader gives an empty mask of this size for a picture without transparency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureOptions:
    """How pictures of the graph become records."""

    read_as: str = setting(
        "auto",
        "How captions are read: as tags between commas, as prose (kept word by word), or told apart for each.",
        choices=("auto", "tags", "prose"),
    )
    invert_masks: bool = setting(
        False, "White counts fully in training. Turn it around for masks of Load Image, whose white is transparent."
    )

    def __post_init__(self) -> None:
        check_settings(self)


def pictures_to_dataset(
    pictures: Sequence[Image.Image],
    masks: Sequence[Image.Image | None],
    captions: Sequence[str],
    repeats: Sequence[int],
    groups: Sequence[str],
    cache: Path,
    regular: Sequence[bool] = (),
    options: PictureOptions | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """One record for each picture (RGB or RGBA), in order. Files are written to `cache` under the hash of their pixels.

    Of masks (mode L), captions, repeats, groups and `regular` (pictures of the class, not of what is trained) there is
    one for all, one for each, or none at all. A mask that counts everything is none. Raises DatasetError for another
    number, and for masks of another size than their pictures.
    """
    options = options or PictureOptions()
    if not pictures:
        raise DatasetError("No picture came; wire an IMAGE in")
    count = len(pictures)
    reader = Reader(how=options.read_as)
    rows = zip(
        pictures,
        _for_each(masks, None, count, "masks"),
        _for_each(captions, "", count, "captions"),
        _for_each(repeats, 1, count, "repeats"),
        _for_each(groups, "", count, "groups"),
        _for_each(regular, False, count, "values of regularization"),
        strict=True,
    )
    records = []
    for number, (picture, mask, caption, times, group, is_reg) in enumerate(rows, 1):
        words = reader.text(caption)
        records.append(
            Record(
                image=save_derived(picture, cache),
                size=picture.size,
                mask=_saved_mask(mask, picture, number, options, cache),
                tags=words.tags,
                prose=words.prose,
                repeats=times,
                group=group.strip(),
                is_reg=is_reg,
                origin=(ORIGIN,),
            )
        )
        if progress:
            progress(number, count)
    return Dataset(records=tuple(records))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A record as a picture: RGB, a mask of its size (white counts fully), and the words and numbers beside it."""

    picture: Image.Image
    mask: Image.Image
    caption: str
    repeats: int
    group: str
    is_reg: bool
    key: str


def part_of(dataset: Dataset, first: int, count: int) -> Dataset:
    """`count` records from number `first` (from 1) on, all of them for a count of 0. DatasetError when none is left."""
    records = dataset.records[first - 1 : first - 1 + count if count else None]
    if not records:
        raise DatasetError(f"first is {first}, and the dataset has {len(dataset)} pictures; give a smaller number")
    return dataset.replace_records(records)


def memory_needed(dataset: Dataset) -> int:
    """Bytes that the pictures and masks take as the host's tensors: four numbers of four bytes a pixel."""
    return sum(record.view_size[0] * record.view_size[1] * 16 for record in dataset)


def dataset_to_pictures(dataset: Dataset, progress: Progress | None = None) -> Iterator[Shown]:
    """The records' pictures one by one, cropped. Raises BadImage."""
    for done, (record, key) in enumerate(zip(dataset, record_keys(dataset), strict=True), 1):
        picture = open_image(record)
        mask = open_mask(record) or Image.new("L", picture.size, 255)
        yield Shown(
            picture=picture,
            mask=mask,
            caption=record.caption,
            repeats=record.repeats,
            group=record.group,
            is_reg=record.is_reg,
            key=key,
        )
        if progress:
            progress(done, len(dataset))


def _for_each(values: Sequence[T], none: T, count: int, what: str) -> Sequence[T]:
    """One value for each of `count` pictures."""
    if len(values) == count:
        return values
    if len(values) > 1:
        raise DatasetError(f"{len(values)} {what} came for {count} pictures; give one for all, or one for each")
    return [values[0] if values else none] * count


def _saved_mask(
    mask: Image.Image | None, picture: Image.Image, number: int, options: PictureOptions, cache: Path
) -> Path | None:
    """The file of a mask; None without one, for one that is white all over, and for the host's empty one."""
    if mask is None or (mask.size == _NO_MASK != picture.size and mask.getextrema() == (0, 0)):
        return None
    if mask.size != picture.size:
        raise DatasetError(
            f"Mask {number} is {mask.size[0]} x {mask.size[1]} pixels, its picture {picture.size[0]} x "
            f"{picture.size[1]}; scale the mask to the picture"
        )
    mask = ImageOps.invert(mask) if options.invert_masks else mask
    return None if mask.getextrema() == (255, 255) else save_derived(mask, cache)
