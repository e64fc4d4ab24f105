"""What the page shows of a dataset, as plain values: its pictures, and what edits and filters make of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from .edits import Applied, apply_edits, parse_edits
from .errors import BadEdit, BadFilter
from .filters import CountTokens, compile_filter
from .keys import record_keys, source_name
from .select import SelectOptions, read_selection, select
from .tags import tag_key
from .values import Dataset, Record, Size

Json = dict[str, Any]


def listed(dataset: Dataset, bucket_of: Callable[[Record], Size]) -> Json:
    """Every picture in order: names, sizes in pixels, crop (left, top, right, bottom), bucket, caption.

    `mark` is another one when the file has changed, and empty when it is gone.
    """
    rows = zip(record_keys(dataset), dataset, strict=True)
    return {"trigger": dataset.trigger, "pictures": [_picture(key, record, bucket_of) for key, record in rows]}


def look(dataset: Dataset, edits: str, trial: str, filter: str, count_tokens: CountTokens) -> Json:
    """What a list of edits makes of the captions, which pictures pass a filter then, and what further edits on trial
    would change.

    `shown` are places of pictures from 0, `tags` the tags of these by frequency, `captions` the captions that the edits
    changed by the place of their picture, `trial` the same for the edits on trial. What cannot be read is answered as
    `error` under its part, for it is still being written.
    """
    found: Json = {"filter": {}, "trial": {}}
    edited, found["edits"] = _edited(dataset, edits, count_tokens)
    shown: Sequence[int] = range(len(edited))
    try:
        passes = compile_filter(filter, count_tokens)
        shown = [place for place, record in enumerate(edited) if passes(record)]
    except BadFilter as error:
        found["filter"] = {"error": str(error), "place": error.place}
    if trial.strip():
        tried, found["trial"] = _edited(edited, trial, count_tokens)
        found["trial"]["captions"] = _changed(edited, tried)
    return {
        **found,
        "shown": list(shown),
        "captions": _changed(dataset, edited),
        "tags": _tag_counts([edited.records[place] for place in shown]),
    }


def chosen_by(dataset: Dataset, options: SelectOptions, count_tokens: CountTokens) -> Json:
    """Which pictures a selection takes, by their places, and which the filter alone would; what is chosen by hand, and
    which of these names are not there."""
    hand = read_selection(options.by_hand)
    known = set(record_keys(dataset))
    passes = compile_filter(options.filter, count_tokens)
    found = set(select(dataset, options, count_tokens).names)
    return {
        "chosen": [place for place, key in enumerate(record_keys(dataset)) if key in found],
        "filtered": [] if options.only_kept else [place for place, each in enumerate(dataset) if passes(each)],
        "hand": {**dict.fromkeys(hand.keep, True), **dict.fromkeys(hand.reject, False)},
        "missing": [name for name in (*hand.keep, *hand.reject) if name not in known],
    }


def file_mark(record: Record) -> str:
    """Another text when the record's file has changed; empty when it is gone, or is a link and not shown."""
    try:
        about = os.lstat(record.image)
    except OSError:
        return ""
    return "" if record.image.is_symlink() else f"{about.st_mtime_ns:x}{about.st_size:x}"


def _picture(key: str, record: Record, bucket_of: Callable[[Record], Size]) -> Json:
    return {
        "key": key,
        "name": source_name(record),
        "group": record.group,
        "size": record.size,
        "crop": record.crop.as_tuple() if record.crop else None,
        "bucket": bucket_of(record),
        "repeats": record.repeats,
        "reg": record.is_reg,
        "masked": record.mask is not None,
        "steps": record.origin,
        "mark": file_mark(record),
        **_caption(record),
    }


def _caption(record: Record) -> Json:
    return {"tags": record.tags, "prose": record.prose}


def _edited(dataset: Dataset, text: str, count_tokens: CountTokens) -> tuple[Dataset, Json]:
    """The dataset after edits, and what each did; as it was where the text is no list of edits."""
    try:
        edited, done = apply_edits(dataset, parse_edits(text), count_tokens)
    except BadEdit as error:
        return dataset, {"error": str(error)}
    return edited, {"done": [_applied(each) for each in done]}


def _applied(done: Applied) -> Json:
    return {"words": done.edit.words(), "meant": done.meant, "changed": done.changed, "missing": done.missing}


def _changed(before: Dataset, after: Dataset) -> Json:
    """The captions that differ, by the place of their picture."""
    rows = enumerate(zip(before, after, strict=True))
    return {str(place): _caption(new) for place, (old, new) in rows if (old.tags, old.prose) != (new.tags, new.prose)}


def _tag_counts(records: Sequence[Record]) -> list[tuple[str, int]]:
    """Tags in their first spelling with the number of pictures that have them, the most frequent first."""
    counts: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    for record in records:
        for tag in record.tags:
            key = tag_key(tag)
            spelled.setdefault(key, tag)
            counts[key] += 1
    return sorted(((spelled[key], count) for key, count in counts.items()), key=lambda row: (-row[1], row[0]))
