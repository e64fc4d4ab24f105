"""More pictures from the ones there are: every view painted again in other styles, colours and lines held."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from .errors import DatasetError
from .images import open_image
from .keys import source_name
from .settings import check_settings, setting
from .tags import distinct_tags, parse_tags
from .values import Dataset, Progress, Record, Size

Paint = Callable[[Image.Image, str, int], Image.Image]
"""paint(source, prompt, seed) -> the same scene in the prompt's style, at the source's size."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StyleOptions:
    """Which variants are made of each picture."""

    styles: tuple[str, ...] = setting(
        ("flat color", "sketch"),
        "Style prompts, one a line. The picture's own caption says what is shown, the line says how.",
        split="lines",
    )
    variants: int = setting(1, "Pictures a style, each with a seed of its own.", low=1, high=64, step=1)
    seed: int = setting(0, "The first variant's seed.", low=0, high=2**63 - 1, step=1)
    resolution: int = setting(
        1024,
        "Variants have about resolution x resolution pixels, in the shape of their source.",
        low=64,
        high=4096,
        step=64,
    )
    step: int = setting(64, "Sides of a variant are multiples of this.", low=8, high=512, step=8)
    repeats: int = setting(1, "How often an epoch sees each variant.", low=1, high=1000, step=1)
    keep_originals: bool = setting(True, "Keep the source pictures in the dataset too.")

    def __post_init__(self) -> None:
        check_settings(self)


def augment(
    dataset: Dataset, options: StyleOptions, paint: Paint, cache: Path, mark: str, progress: Progress
) -> tuple[Dataset, str]:
    """The dataset with its style variants, and a report. `mark` stands for everything else that decides a picture.

    A variant is a file in `cache`, named by what it was made from: a second run makes only what is missing.
    """
    if not options.styles:
        raise DatasetError("styles is empty; write at least one style prompt, one a line.")
    made: list[Record] = list(dataset.records) if options.keep_originals else []
    total, done, new = len(dataset) * len(options.styles) * options.variants, 0, 0
    cache.mkdir(parents=True, exist_ok=True)
    for record in dataset:
        for style in options.styles:
            for variant in range(options.variants):
                progress(done, total)
                seed = options.seed + variant
                file = cache / f"{_key(record, style, seed, options, mark)}.png"
                if not file.is_file():
                    _write(paint(_source(record, options), _prompt(record, style), seed), file)
                    new += 1
                made.append(_variant(record, style, seed, file, options))
                done += 1
    progress(total, total)
    report = f"{total} variants of {len(dataset)} pictures: {new} painted now, {total - new} found in {cache}."
    return dataset.replace_records(made), report


def _prompt(record: Record, style: str) -> str:
    return f"{style}, {record.caption}" if record.caption else style


def _source(record: Record, options: StyleOptions) -> Image.Image:
    image = open_image(record)
    return image.resize(_size(image.size, options), Image.Resampling.LANCZOS)


def _size(size: Size, options: StyleOptions) -> Size:
    """The nearest size of the same shape with about `resolution` squared pixels and sides in steps."""
    scale = options.resolution / (size[0] * size[1]) ** 0.5
    width, height = (max(options.step, round(side * scale / options.step) * options.step) for side in size)
    return width, height


def _key(record: Record, style: str, seed: int, options: StyleOptions, mark: str) -> str:
    stat = record.image.stat()
    what = (record.image.name, stat.st_size, stat.st_mtime_ns, record.crop, record.caption, style, seed)
    return hashlib.sha256(repr((what, options.resolution, options.step, mark)).encode()).hexdigest()


def _write(image: Image.Image, file: Path) -> None:
    partial = file.with_suffix(".partial")
    image.save(partial, format="PNG")
    partial.replace(file)


def _variant(record: Record, style: str, seed: int, file: Path, options: StyleOptions) -> Record:
    with Image.open(file) as image:
        size = image.size
    style_tags = parse_tags(style)
    # The trigger stays first; the style's own tags say what differs from the source.
    tags = distinct_tags((*record.tags[:1], *style_tags, *record.tags[1:]))
    return dataclasses.replace(
        record,
        image=file,
        size=size,
        crop=None,
        mask=None,
        tags=tags,
        prose=_prompt(record, style) if record.prose else "",
        repeats=options.repeats,
        origin=(*record.origin, f"style:{style} seed {seed} of {source_name(record)}"),
    )
