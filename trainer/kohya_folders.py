"""A dataset as folders that a kohya file can name, and what of it they cannot tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ..dataset.folder import MASK_SUFFIXES
from ..dataset.subsets import Subset, pictures_by_stem
from ..dataset.tags import parse_tags
from ..dataset.values import Dataset, Record

ENDINGS = (".txt", ".caption")
_OF_DATASETS = ("resolution", "enable_bucket", "bucket_step", "min_bucket", "max_bucket", "bucket_no_upscale")


def subsets_of(dataset: Dataset) -> tuple[tuple[Subset, ...], tuple[str, ...]]:
    """The dataset's folders, and what of the dataset they cannot tell, in words."""
    groups: dict[tuple[Path, bool, tuple[str, ...]], list[Record]] = {}
    for record in dataset:
        groups.setdefault((record.image.parent, record.is_reg, record.own), []).append(record)
    places = Counter((folder, is_reg, _sizes(own)) for folder, is_reg, own in groups)
    notes = [note for check, words in _LOST for note in _counted(dataset, check, words)]
    subsets = []
    for (folder, is_reg, own), records in groups.items():
        if own and places[folder, is_reg, _sizes(own)] > 1:
            notes.append(f"{folder}: pictures differ in settings of their own; sd-scripts takes a folder once")
        repeats = Counter(record.repeats for record in records)
        usual = repeats.most_common(1)[0][0]
        if len(repeats) > 1:
            given = ", ".join(str(one) for one in sorted(repeats))
            notes.append(f"{folder}: pictures have {given} repeats; sd-scripts has one number a folder, {usual}")
        used, there = (
            {record.image for record in records},
            set(pictures_by_stem(folder if folder.is_dir() else None).values()),
        )
        if left := {one for one in there - used if not one.stem.endswith(MASK_SUFFIXES)}:
            notes.append(f"{folder}: {len(left)} more pictures lie there, on which sd-scripts would train as well")
        subsets.append(
            Subset(
                folder=folder,
                repeats=usual,
                is_reg=is_reg,
                caption_extension=_ending(records),
                mask_folder=_mask_folder(records),
                own=own,
            )
        )
    tables = {(_sizes(one.own or ()), one.mask_folder is not None) for one in subsets if not one.is_reg}
    notes += [
        f"{one.folder}: no training pictures have the sizes, or masks, of these regularisation pictures; sd-scripts "
        "leaves them out"
        for one in subsets
        if one.is_reg and (_sizes(one.own or ()), one.mask_folder is not None) not in tables
    ]
    return tuple(subsets), tuple(notes)


def _sizes(own: Sequence[str]) -> tuple[str, ...]:
    """Those of a picture's own settings that sd-scripts has for a whole dataset, of which a file may list several."""
    return tuple(line for line in own if line.partition("=")[0] in _OF_DATASETS)


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
