"""Captions edited by a list: each edit says what to do and to which records, and the whole list can be taken back.

An edit is a JSON object. `do` is one of:

| do | further keys |
| --- | --- |
| `add` | `tags`; `at`: `"end"` (the default), `"start"`, or the number of tags that stay in front |
| `remove` | `tags` (`*` for any text); `absorb`: true has the trigger learn them, as pruning does |
| `replace` | `tags` (`*` for any text), `with`: tags that come in their place |
| `regex` | `pattern`, matched against whole tags (in prose anywhere), `with`: the new text, `\\1` for a group |
| `reorder` | `tags` that come first, in this order, or `by`: `"alphabet"` or `"frequency"` |
| `set` | `tags`, `prose`: the whole caption, by hand; `pruned`: what the trigger absorbs |

Every edit may have `where`, a filter (`filters.py`), `records`, names of records (`keys.py`), `off`: true, and `note`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .changes import before_after
from .edit_changes import Data, change_of, tags_of, template_of
from .errors import BadEdit, BadFilter
from .filters import CountTokens, compile_filter
from .keys import record_keys
from .report import counted, listed_lines
from .tags import join_tags
from .values import Dataset, Record

_COMMON = frozenset(("do", "where", "records", "off", "note"))
_KEYS: Mapping[str, frozenset[str]] = {
    "add": frozenset(("tags", "at")),
    "remove": frozenset(("tags", "absorb")),
    "replace": frozenset(("tags", "with")),
    "regex": frozenset(("pattern", "with")),
    "reorder": frozenset(("tags", "by")),
    "set": frozenset(("tags", "prose", "pruned")),
}
_ORDERS = ("alphabet", "frequency")


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One edit, checked. `data` is what was written, without what it leaves at its default."""

    data: Data

    @property
    def do(self) -> str:
        """The kind of edit."""
        return str(self.data["do"])

    def words(self) -> str:
        """The edit in a few words, for reports."""
        parts = [self.do]
        parts += [join_tags(tags_of(self.data, "tags"))] if self.data.get("tags") else []
        parts += [repr(self.data["pattern"])] if "pattern" in self.data else []
        parts += [f"by {self.data['by']}"] if "by" in self.data else []
        parts += [f"-> {_shown(self.data['with'])}"] if "with" in self.data else []
        parts += [f"where {self.data['where']}"] if self.data.get("where") else []
        parts += [f"in {counted(len(self.data['records']), 'record')} by name"] if "records" in self.data else []
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What one edit did: records that it meant, those that it changed, and names that no record has."""

    edit: Edit
    meant: int
    changed: int
    missing: tuple[str, ...] = ()


def parse_edits(text: str) -> tuple[Edit, ...]:
    """The edits that a JSON list writes; an empty text is no edit. Raises BadEdit, which says where and what."""
    if not text.strip():
        return ()
    try:
        data = json.loads(text)
    except ValueError as error:
        raise BadEdit(
            f'The edits are not JSON: {error}. Write a list such as [{{"do": "add", "tags": "hat"}}]'
        ) from error
    except RecursionError as error:
        raise BadEdit("The edits are nested too deeply. Write a list of objects") from error
    if not isinstance(data, list):
        raise BadEdit(f"The edits are {type(data).__name__}, not a list. Write [ before and ] after them")
    return tuple(_parse(number, each) for number, each in enumerate(data, 1))


def edits_json(edits: Sequence[Edit]) -> str:
    """Edits as JSON, one a line; `parse_edits` gives them back."""
    lines = ",\n".join(json.dumps(dict(edit.data), ensure_ascii=False) for edit in edits)
    return f"[\n{lines}\n]" if edits else "[]"


def apply_edits(
    dataset: Dataset, edits: Sequence[Edit], count_tokens: CountTokens | None = None
) -> tuple[Dataset, tuple[Applied, ...]]:
    """The dataset after all edits in order, each of which sees what the ones before it did, and what each did.

    `count_tokens` is `compile_filter`'s.
    """
    keys = record_keys(dataset)
    known = frozenset(keys)
    records = list(dataset.records)
    done = []
    for edit in edits:
        if edit.data.get("off"):
            continue
        meant = _meant(edit, keys, records, count_tokens)
        change = change_of(edit.data, [records[i] for i in meant])
        changed = 0
        for i in meant:
            new = change(records[i])
            changed += new != records[i]
            records[i] = new
        missing = tuple(name for name in edit.data.get("records", ()) if name not in known)
        done.append(Applied(edit=edit, meant=len(meant), changed=changed, missing=missing))
    return dataset.replace_records(records), tuple(done)


def undo_edits(before: Dataset, after: Dataset) -> tuple[Edit, ...]:
    """Edits that lead from the captions of `after` back to those of `before`, which has the same records in order."""
    return tuple(
        Edit(data={"do": "set", "records": [key], **_caption_data(old), "pruned": list(old.pruned)})
        for key, old, new in zip(record_keys(before), before, after, strict=True)
        if old != new
    )


def edit_report(before: Dataset, after: Dataset, done: Sequence[Applied], *, preview: bool = False) -> str:
    """What each edit did, and captions before and after."""
    number = counted(len(done), "edit")
    parts = [f"Preview of {number}: nothing is changed yet" if preview else f"{number} applied"]
    rows = [
        f"{place}. {applied.edit.words()}: {counted(applied.meant, 'picture')} meant, {applied.changed} changed"
        for place, applied in enumerate(done, 1)
    ]
    parts += [listed_lines("Edits", rows)] if rows else []
    missing = list(dict.fromkeys(name for applied in done for name in applied.missing))
    if missing:
        parts.append(listed_lines(f"Warning: no picture has these names ({len(missing)})", missing))
    parts.append(before_after(before.records, after.records))
    return "\n\n".join(parts)


# --- reading ---------------------------------------------------------------------------------------------------------


def _parse(number: int, data: Any) -> Edit:
    """One edit of the list, counted from 1."""

    def bad(what: str, mend: str) -> BadEdit:
        return BadEdit(f"Edit {number}: {what}. {mend}")

    if not isinstance(data, dict):
        raise bad(f"it is {type(data).__name__}, not an object", 'Write {"do": "add", "tags": "hat"}')
    kinds = ", ".join(_KEYS)
    if not isinstance(data.get("do"), str) or data["do"] not in _KEYS:
        raise bad(f"do is {data.get('do')!r}", f"Choose one of: {kinds}")
    unknown = sorted(set(data) - _COMMON - _KEYS[data["do"]])
    if unknown:
        known = ", ".join(sorted(_COMMON | _KEYS[data["do"]]))
        raise bad(f"{data['do']} knows no {unknown[0]!r}", f"It has: {known}")
    for key, check, mend in _CHECKS:
        if key in data and not check(data[key]):
            raise bad(f"{key} is {data[key]!r}", mend)
    for key in _missing(data):
        raise bad(f"{data['do']} has no {key!r}", f'Write {{"do": "{data["do"]}", "{key}": ...}}')
    whole = [
        tag
        for key in ("tags", "pruned")
        if data["do"] == "set" and isinstance(data.get(key), list)
        for tag in data[key]
    ]
    if wrong := [tag for tag in whole if not tag.strip() or "," in tag or "\n" in tag]:
        raise bad(f"{wrong[0]!r} is not one tag", "Give each tag by itself")
    try:
        compile_filter(data.get("where", ""))
        if "pattern" in data:
            template_of(re.compile(data["pattern"]), data["with"])
    except (BadFilter, re.error, IndexError, OverflowError, RecursionError) as error:
        raise bad(str(error), "Mend it, or set off to true") from error
    return Edit(data=data)


def _missing(data: Data) -> list[str]:
    needed = {"remove": ["tags"], "add": ["tags"], "replace": ["tags", "with"], "regex": ["pattern", "with"]}
    missing = [key for key in needed.get(data["do"], []) if key not in data]
    either = {"reorder": ("tags", "by"), "set": ("tags", "prose")}.get(data["do"], ())
    return missing + ([either[0]] if either and not any(key in data for key in either) else [])


def _is_tags(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(tag, str) for tag in value))


def _is_place(value: Any) -> bool:
    return value in ("start", "end") if isinstance(value, str) else type(value) is int and value >= 0


_CHECKS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("where", lambda value: isinstance(value, str), "Write a filter, such as long hair AND NOT hat"),
    ("records", lambda value: isinstance(value, list) and _is_tags(value), "Write a list of names"),
    ("off", lambda value: isinstance(value, bool), "Write true or false"),
    ("note", lambda value: isinstance(value, str), "Write a text"),
    ("tags", _is_tags, "Write tags with commas between, or a list of them"),
    ("with", _is_tags, "Write tags with commas between, or a list of them"),
    ("at", _is_place, 'Write "start", "end" or how many tags stay in front'),
    ("absorb", lambda value: isinstance(value, bool), "Write true or false"),
    ("pattern", lambda value: isinstance(value, str), "Write a regular expression"),
    ("by", lambda value: value in _ORDERS, f"Choose one of: {', '.join(_ORDERS)}"),
    ("prose", lambda value: isinstance(value, str), "Write a text"),
    ("pruned", _is_tags, "Write tags with commas between, or a list of them"),
)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else join_tags(value)


def _caption_data(record: Record) -> dict[str, Any]:
    return {"tags": list(record.tags), **({"prose": record.prose} if record.prose else {})}


def _meant(edit: Edit, keys: Sequence[str], records: Sequence[Record], count_tokens: CountTokens | None) -> list[int]:
    """The places of the records that an edit is about."""
    passes = compile_filter(edit.data.get("where", ""), count_tokens)
    named = set(edit.data["records"]) if "records" in edit.data else None
    return [
        i for i, (key, record) in enumerate(zip(keys, records, strict=True))
        if (named is None or key in named) and passes(record)
    ]  # fmt: skip
