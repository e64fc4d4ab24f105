"""What each kind of edit makes of one record (`edits.py` has the list of kinds and their keys)."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .tags import compile_globs, distinct_tags, join_tags, matches_any, parse_tags, tag_key
from .values import Record

Data = Mapping[str, Any]
"""An edit as it was written, checked by `edits.parse_edits`."""
Change = Callable[[Record], Record]


def change_of(data: Data, records: Sequence[Record]) -> Change:
    """What an edit makes of one record; `records` are all that it is about."""
    kinds = {"add": _add, "remove": _remove, "replace": _replace, "regex": _regex, "set": _set}
    if data["do"] in kinds:
        return kinds[data["do"]](data)
    return _reorder(data, Counter(tag_key(tag) for record in records for tag in record.tags))


def template_of(pattern: re.Pattern[str], template: Any) -> str:
    """The replacement of a regex; raises re.error or IndexError when it names a group that the pattern has not."""
    text = template if isinstance(template, str) else ", ".join(template)
    pattern.sub(text, "")
    return text


def tags_of(data: Data, key: str) -> tuple[str, ...]:
    """Tags that an edit names: text is parted at commas, and so are a list's elements, for a caption has no others."""
    value = data.get(key, ())
    return parse_tags(value if isinstance(value, str) else "\n".join(value))


def _with_tags(record: Record, tags: Sequence[str], lost: Sequence[str] = ()) -> Record:
    """The record with other tags. A trait that stands in the caption again is not left for the trigger to absorb."""
    new = distinct_tags(tags)
    there = {tag_key(tag) for tag in new}
    pruned = tuple(tag for tag in distinct_tags((*record.pruned, *lost)) if tag_key(tag) not in there)
    return record if new == record.tags and not lost else dataclasses.replace(record, tags=new, pruned=pruned)


def _add(data: Data) -> Change:
    tags, at = tags_of(data, "tags"), data.get("at", "end")
    own = {tag_key(tag) for tag in tags}

    def change(record: Record) -> Record:
        if record.prose:
            parts = (record.prose, *tags) if at == "end" else (*tags, record.prose)
            return dataclasses.replace(record, prose=join_tags(parts))
        if at == "end":
            return _with_tags(record, (*record.tags, *tags))
        # What is moved to another place must not stay at its old one.
        rest = [tag for tag in record.tags if tag_key(tag) not in own]
        place = 0 if at == "start" else at
        return _with_tags(record, (*rest[:place], *tags, *rest[place:]))

    return change


def _remove(data: Data) -> Change:
    globs = compile_globs(tags_of(data, "tags"))

    def change(record: Record) -> Record:
        gone = [tag for tag in record.tags if matches_any(tag, globs)]
        kept = [tag for tag in record.tags if not matches_any(tag, globs)]
        return _with_tags(record, kept, gone if data.get("absorb") else ()) if gone else record

    return change


def _replace(data: Data) -> Change:
    globs, new = compile_globs(tags_of(data, "tags")), tags_of(data, "with")

    def change(record: Record) -> Record:
        return _with_tags(
            record, [other for tag in record.tags for other in (new if matches_any(tag, globs) else (tag,))]
        )

    return change


def _regex(data: Data) -> Change:
    pattern = re.compile(data["pattern"], re.IGNORECASE)
    template = template_of(pattern, data["with"])

    def changed(tag: str) -> tuple[str, ...]:
        match = pattern.fullmatch(tag)
        return parse_tags(match.expand(template)) if match else (tag,)

    def change(record: Record) -> Record:
        if record.prose:
            return dataclasses.replace(record, prose=pattern.sub(template, record.prose).strip())
        return _with_tags(record, [other for tag in record.tags for other in changed(tag)])

    return change


def _reorder(data: Data, counts: Counter[str]) -> Change:
    globs = [compile_globs([tag]) for tag in tags_of(data, "tags")]

    def place(tag: str) -> tuple[int, int, str]:
        first = next((i for i, glob in enumerate(globs) if matches_any(tag, glob)), len(globs))
        if data.get("by") == "frequency":
            return first, -counts[tag_key(tag)], ""
        return first, 0, tag_key(tag) if data.get("by") == "alphabet" else ""

    def change(record: Record) -> Record:
        tags = tuple(sorted(record.tags, key=place))
        return record if tags == record.tags else dataclasses.replace(record, tags=tags)

    return change


def _set(data: Data) -> Change:
    """A list is taken letter for letter: that is how an edit is taken back."""

    def literal(key: str) -> tuple[str, ...]:
        return tuple(data[key]) if isinstance(data.get(key), list) else tags_of(data, key)

    tags, prose = literal("tags"), data.get("prose", "")

    def change(record: Record) -> Record:
        pruned = literal("pruned") if "pruned" in data else record.pruned
        return dataclasses.replace(record, tags=tags, prose=prose, pruned=pruned)

    return change
