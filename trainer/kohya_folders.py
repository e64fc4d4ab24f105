"""Folders that a kohya file names, as a dataset, and a dataset as such folders."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..dataset.errors import EmptyFolder
from ..dataset.folder import MASK_SUFFIXES
from ..dataset.images import IMAGE_EXTENSIONS
from ..dataset.load import LoadOptions, folder_fingerprint, load_dataset
from ..dataset.tags import looks_like_prose, parse_tags
from ..dataset.values import Dataset, Problem, Record
from .kohya_dataset import Subset

ENDINGS = (".txt", ".caption")


def load_subsets(
    subsets: Sequence[Subset], progress: Callable[[int, int], None] | None = None
) -> tuple[Dataset, tuple[Problem, ...]]:
    """All subsets as one dataset, and the files with a problem. `progress(done, total)` counts subsets.

    As sd-scripts does, only pictures directly in a folder are taken; a folder without any is a problem, not an error.
    """
    records: list[Record] = []
    problems: list[Problem] = []
    for done, subset in enumerate(subsets, 1):
        endings = (subset.caption_extension,) if subset.caption_extension else ENDINGS
        options = LoadOptions(caption_extensions=endings)
        try:
            found, wrong = load_dataset(subset.folder, options)
        except EmptyFolder as error:
            problems.append(Problem(path=subset.folder, what=str(error), mend="Put pictures there or leave it out"))
            continue
        masks = _masks(subset.mask_folder)
        mine = [record for record in found if record.image.parent == subset.folder]
        records += [_as_subset(record, subset, masks) for record in mine]
        problems += [one for one in wrong if one.path == subset.folder or one.path.parent == subset.folder]
        if progress:
            progress(done, len(subsets))
    return Dataset(records=tuple(records)), tuple(problems)


def subsets_mark(subsets: Iterable[Subset]) -> str:
    """Changes when a picture or caption in one of the folders does."""
    return "\n".join(f"{subset} {folder_fingerprint(subset.folder)}" for subset in subsets)


def subsets_of(dataset: Dataset) -> tuple[tuple[Subset, ...], tuple[str, ...]]:
    """The dataset's folders, and what of the dataset they cannot tell, in words."""
    groups: dict[tuple[Path, bool], list[Record]] = {}
    for record in dataset:
        groups.setdefault((record.image.parent, record.is_reg), []).append(record)
    notes = [note for check, words in _LOST for note in _counted(dataset, check, words)]
    subsets = []
    for (folder, is_reg), records in groups.items():
        repeats = Counter(record.repeats for record in records)
        usual = repeats.most_common(1)[0][0]
        if len(repeats) > 1:
            given = ", ".join(str(one) for one in sorted(repeats))
            notes.append(f"{folder}: pictures have {given} repeats; sd-scripts has one number a folder, {usual}")
        used, there = {record.image for record in records}, set(_masks(folder if folder.is_dir() else None).values())
        if left := {one for one in there - used if not one.stem.endswith(MASK_SUFFIXES)}:
            notes.append(f"{folder}: {len(left)} more pictures lie there, on which sd-scripts would train as well")
        subsets.append(
            Subset(
                folder=folder,
                repeats=usual,
                is_reg=is_reg,
                caption_extension=_ending(records),
                mask_folder=_mask_folder(records),
            )
        )
    return tuple(subsets), tuple(notes)


def _rewritten(record: Record) -> bool:
    files = (record.image.with_suffix(ending) for ending in ENDINGS)
    text = next((file.read_text(encoding="utf-8-sig", errors="replace") for file in files if file.is_file()), "")
    return " ".join(text.split()) != record.prose if record.prose else parse_tags(text) != record.tags


_LOST: tuple[tuple[Callable[[Record], bool], str], ...] = (
    (lambda record: record.crop is not None, "are crops; sd-scripts trains on the whole picture"),
    (_rewritten, "have another caption in the graph than in their file, which sd-scripts reads"),
    (lambda record: record.weight != 1, "have a weight of their own, which sd-scripts has not"),
    (
        lambda record: record.mask is not None and record.mask.parent == record.image.parent,
        "have a mask beside them; sd-scripts looks for masks of the same name in a folder of their own",
    ),
)


def _counted(dataset: Dataset, check: Callable[[Record], bool], words: str) -> list[str]:
    count = sum(check(record) for record in dataset)
    return [f"{count} of {len(dataset)} pictures {words}"] if count else []


def _as_subset(record: Record, subset: Subset, masks: dict[str, Path]) -> Record:
    caption = record.caption or subset.class_tokens
    added = " ".join(part for part in (subset.caption_prefix, caption, subset.caption_suffix) if part)
    tags, prose = record.tags, record.prose
    if added != record.caption:
        is_prose = bool(prose) or (not record.tags and looks_like_prose(added))
        tags, prose = ((), added) if is_prose else (parse_tags(added), "")
    return dataclasses.replace(
        record,
        repeats=subset.repeats,
        is_reg=subset.is_reg,
        tags=tags,
        prose=prose,
        mask=masks.get(record.image.stem, record.mask),
    )


def _masks(folder: Path | None) -> dict[str, Path]:
    """Pictures of a folder by their name without the ending."""
    files = sorted(folder.iterdir()) if folder else []
    return {file.stem: file for file in files if file.suffix.lower() in IMAGE_EXTENSIONS}


def _mask_folder(records: Sequence[Record]) -> Path | None:
    """The folder that holds a mask of the same name for every picture, apart from the pictures."""
    folders = {
        record.mask.parent if record.mask and record.mask.stem == record.image.stem else None for record in records
    }
    folder = folders.pop() if len(folders) == 1 else None
    return folder if folder != records[0].image.parent else None


def _ending(records: Sequence[Record]) -> str:
    """The ending of the caption files that lie there; .txt where there are none."""
    found = (end for record in records for end in ENDINGS if record.image.with_suffix(end).is_file())
    return next(found, ENDINGS[0])
