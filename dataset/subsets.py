"""Folders with settings of their own, as kohya's dataset files list them, as one dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .content import content_mark
from .errors import EmptyFolder
from .images import IMAGE_EXTENSIONS
from .load import LoadOptions, folder_fingerprint, load_dataset
from .places import Place, name_problems
from .tags import looks_like_prose, parse_tags
from .values import Dataset, Problem, Progress, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """Pictures that lie directly in a folder, and how they count.

    An empty `caption_extension` looks for the usual ones; `class_tokens` is the caption of pictures without one.
    `metadata_file` is a JSON that describes the pictures, `mask_folder` has masks under the pictures' names, `own` are
    settings of these pictures alone (`Record.own`); None leaves them what they were saved with.
    """

    folder: Path
    repeats: int = 1
    is_reg: bool = False
    caption_extension: str = ""
    class_tokens: str = ""
    caption_prefix: str = ""
    caption_suffix: str = ""
    mask_folder: Path | None = None
    metadata_file: Path | None = None
    own: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"Subset {self.folder}: repeats is {self.repeats}; it must be 1 or more")

    @property
    def paths(self) -> tuple[Path, ...]:
        """Everything on the disk that it names."""
        return tuple(path for path in (self.folder, self.mask_folder, self.metadata_file) if path)


def load_subsets(
    subsets: Sequence[Subset],
    options: LoadOptions | None = None,
    progress: Progress | None = None,
    *,
    further: Sequence[Path] = (),
) -> tuple[Dataset, tuple[Problem, ...]]:
    """All subsets as one dataset, and the files with a problem. `progress(done, total)` counts subsets in hundredths.

    As sd-scripts does, only pictures directly in a folder are taken; a folder without any is a problem, not an error.
    Repeats and regularisation of the `options`, where they are set, count for all; `further` are files that describe
    pictures of any subset.
    """
    options = options or LoadOptions()
    records: list[Record] = []
    problems: list[Problem] = []
    places: dict[tuple[Path, str], Place] = {}
    for number, subset in enumerate(subsets):
        endings = (subset.caption_extension,) if subset.caption_extension else options.caption_extensions
        # What a folder's name says of repeats does not count here, not even to leave its pictures out.
        own = dataclasses.replace(options, caption_extensions=endings, repeats=1)
        files = [*further, *([subset.metadata_file] if subset.metadata_file else [])]
        try:
            within = _within(progress, number, len(subsets)) if progress else None
            found, wrong = load_dataset(subset.folder, own, within, inner=False, further=files)
        except EmptyFolder as error:
            problems.append(Problem(path=subset.folder, what=str(error), mend="Put pictures there or leave it out"))
            continue
        masks = pictures_by_stem(subset.mask_folder)
        mine = [_as_subset(record, subset, options, masks) for record in found]
        for record in mine:
            key, parts = (subset.folder, record.group), subset.folder.parts
            places.setdefault(key, Place(group=record.group, is_reg=record.is_reg, namer=parts))
        records += mine
        problems += wrong
    problems += name_problems(Path(), places.values(), counted=False)
    return Dataset(records=tuple(records)), tuple(problems)


def subsets_mark(subsets: Iterable[Subset], options: LoadOptions | None = None) -> str:
    """Changes when a picture, caption or mask in one of the folders does."""
    lines = []
    for subset in subsets:
        lines.append(f"{subset} {folder_fingerprint(subset.folder, options, inner=False)}")
        if subset.mask_folder:
            lines.append(folder_fingerprint(subset.mask_folder, options, inner=False))
        if subset.metadata_file and subset.metadata_file.is_file():
            lines.append(content_mark(subset.metadata_file))
    return "\n".join(lines)


def pictures_by_stem(folder: Path | None) -> dict[str, Path]:
    """Pictures of a folder by their name without the ending."""
    files = sorted(folder.iterdir()) if folder else []
    return {file.stem: file for file in files if file.suffix.lower() in IMAGE_EXTENSIONS}


def _within(progress: Progress, number: int, subsets: int) -> Progress:
    """The progress of one subset as part of the whole."""
    return lambda done, total: progress(100 * number + 100 * done // total, 100 * subsets)


def _as_subset(record: Record, subset: Subset, options: LoadOptions, masks: dict[str, Path]) -> Record:
    caption = record.caption or subset.class_tokens
    added = " ".join(part for part in (subset.caption_prefix, caption, subset.caption_suffix) if part)
    tags, prose = record.tags, record.prose
    if added != record.caption:
        is_prose = bool(prose) or (not record.tags and looks_like_prose(added))
        tags, prose = ((), added) if is_prose else (parse_tags(added), "")
    return dataclasses.replace(
        record,
        repeats=options.repeats or subset.repeats,
        is_reg=subset.is_reg or options.regularization,
        tags=tags,
        prose=prose,
        mask=masks.get(record.image.stem, record.mask),
        own=record.own if subset.own is None else subset.own,
    )
