"""Several datasets as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import DatasetError
from .keys import record_keys
from .report import counted, listed_lines
from .settings import check_settings, setting
from .tags import distinct_tags, split_literal
from .values import Dataset, Record, identity

KEEP, FIRST, ADD = "keep all", "keep the first", "add repeats"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOptions:
    """How datasets are joined."""

    same_picture: str = setting(
        KEEP,
        "When a later dataset has the same part of the same picture: keep all, keep the first, or keep the first with "
        "the repeats of both.",
        choices=(KEEP, FIRST, ADD),
    )
    fill_captions: bool = setting(
        True, "Where the picture that stays has no caption, give it that of the same picture that goes."
    )
    group_prefix: bool = setting(
        False, "Put the input's number before the names of its groups, so that groups of one name stay apart."
    )
    trigger: str = setting("", "The trigger of the whole. Empty: that of the first dataset that has one.")

    def __post_init__(self) -> None:
        check_settings(self)


def merge_datasets(datasets: Sequence[Dataset], options: MergeOptions | None = None) -> tuple[Dataset, str]:
    """All records, one dataset after the other, and a report. Raises DatasetError without any record."""
    options = options or MergeOptions()
    records: list[Record] = []
    places: dict[tuple[object, ...], int] = {}
    again: list[str] = []
    filled: list[str] = []
    for number, dataset in enumerate(datasets, 1):
        earlier = len(records)
        for record, key in zip(dataset, record_keys(dataset), strict=True):
            place = (
                (identity(record.image), record.crop, record.is_reg)
                if options.same_picture != KEEP
                else (len(records),)
            )
            at = places.setdefault(place, len(records))
            # Within one dataset the same picture may stand on purpose, with other captions.
            if at < earlier:
                again.append(f"{key} of dataset {number}")
                if options.same_picture == ADD:
                    both = records[at].repeats + record.repeats
                    records[at] = dataclasses.replace(records[at], repeats=both)
                if options.fill_captions and record.caption and not records[at].caption:
                    records[at] = dataclasses.replace(records[at], tags=record.tags, prose=record.prose)
                    filled.append(f"that of {key} of dataset {number}")
            else:
                records.append(_grouped(record, number) if options.group_prefix else record)
    if not records:
        raise DatasetError("All datasets are empty; wire in one with pictures")
    triggers = dict.fromkeys(dataset.trigger for dataset in datasets if dataset.trigger)
    trigger = options.trigger.strip() or next(iter(triggers), "")
    known = distinct_tags(word for dataset in datasets for word in dataset.triggers)
    words = tuple(word for word in known if word not in split_literal(trigger))
    merged = Dataset(records=tuple(records), trigger=trigger, words=words)
    return merged, _report(datasets, merged, list(triggers), again, filled, options)


def _grouped(record: Record, number: int) -> Record:
    return dataclasses.replace(record, group=f"{number} {record.group}".strip())


def _report(
    datasets: Sequence[Dataset],
    merged: Dataset,
    triggers: list[str],
    again: list[str],
    filled: list[str],
    options: MergeOptions,
) -> str:
    parts = " + ".join(str(len(dataset)) for dataset in datasets)
    lines = [f"{parts} = {sum(map(len, datasets))} pictures, {len(merged)} after merging"]
    lines.append(f"{counted(merged.images_per_epoch, 'picture')} in an epoch, {counted(len(merged.groups()), 'group')}")
    if again:
        title = f"Already there ({options.same_picture}, {len(again)})"
        lines.append(listed_lines(title, again))
    if filled:
        lines.append(listed_lines("Had no caption and took another's", filled))
    if len(triggers) > 1 or (options.trigger.strip() and triggers not in ([], [merged.trigger])):
        lines.append(
            f"Triggers: {', '.join(map(repr, triggers))}; the whole has {merged.trigger!r}, captions are as they were"
        )
    names = [set(dataset.groups()) for dataset in datasets]
    shared = sorted({name for i, mine in enumerate(names) for other in names[:i] for name in mine & other if name})
    if shared and not options.group_prefix:
        lines.append(f"Groups of several datasets that are one now: {', '.join(shared)}")
    return "\n".join(lines)
