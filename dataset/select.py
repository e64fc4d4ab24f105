"""Choosing records: by a filter, and by hand."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import DatasetError
from .filters import CountTokens, Filter, compile_filter
from .keys import record_keys
from .report import counted, listed_lines
from .settings import check_settings, setting
from .values import Dataset

_MEND = 'Write {"keep": ["group/name.png"], "reject": []}, or a name a line, with - before those that go'


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was chosen by hand: names of records (`keys.record_keys`) that stay, and that go."""

    keep: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        both = sorted({*self.keep} & {*self.reject})
        if both:
            raise DatasetError(f"The selection both keeps and rejects {both[0]!r} ({len(both)} in all); take one away")

    def to_json(self) -> str:
        """The text that `read_selection` reads."""
        return json.dumps({"keep": self.keep, "reject": self.reject}, ensure_ascii=False, indent=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectOptions:
    """Which records are selected."""

    filter: str = setting(
        "",
        "What to select, such as: 1girl AND NOT (hat OR group:extra*) AND short:>=512. Empty selects all. The help "
        "page lists every field.",
        multiline=True,
    )
    by_hand: str = setting(
        "",
        "Pictures chosen by hand, stronger than the filter: a name a line, with - before it to reject it (+ or nothing "
        'keeps it), or JSON {"keep": [...], "reject": [...]}. The output names can be pasted here.',
        multiline=True,
    )
    only_kept: bool = setting(
        False, "Select only what is kept by hand; everything else goes to the rest, whatever the filter says."
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """Both parts of the dataset in their order, the names of the selected records, and the report."""

    selected: Dataset
    rest: Dataset
    names: tuple[str, ...]
    report: str


def read_selection(text: str) -> Selection:
    """A selection from its text: JSON, or lines `+ name` and `- name`; lines that begin with # are notes.

    A name without a sign is kept, as lists from elsewhere have them.
    Raises DatasetError with the line that cannot be read.
    """
    if text.lstrip().startswith("{"):
        return _from_json(text)
    chosen: dict[str, list[str]] = {"+": [], "-": []}
    for number, line in enumerate(text.splitlines(), 1):
        sign, name = line.strip()[:1], line.strip()[1:].strip()
        if sign in ("", "#"):
            continue
        if sign not in chosen:
            sign, name = "+", line.strip()
        if not name:
            raise DatasetError(f"The selection's line {number}, {sign!r}, has no name after its sign. {_MEND}")
        chosen[sign].append(name)
    return Selection(keep=tuple(chosen["+"]), reject=tuple(chosen["-"]))


def select(dataset: Dataset, options: SelectOptions, count_tokens: CountTokens | None = None) -> Selected:
    """The records that pass, and the rest. Raises DatasetError for a filter or selection that cannot be read."""
    passes = compile_filter(options.filter, count_tokens)
    hand = read_selection(options.by_hand)
    keys = record_keys(dataset)
    keep, reject = {*hand.keep}, {*hand.reject}
    chosen = [
        key not in reject and (key in keep or (not options.only_kept and passes(record)))
        for key, record in zip(keys, dataset, strict=True)
    ]
    return Selected(
        selected=dataset.replace_records(r for r, taken in zip(dataset, chosen, strict=True) if taken),
        rest=dataset.replace_records(r for r, taken in zip(dataset, chosen, strict=True) if not taken),
        names=tuple(key for key, taken in zip(keys, chosen, strict=True) if taken),
        report=_report(dataset, passes, hand, keys, sum(chosen)),
    )


def _from_json(text: str) -> Selection:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DatasetError(f"The selection is no JSON (line {error.lineno}: {error.msg}). {_MEND}") from error
    unknown = set(content) - {"keep", "reject"}
    if unknown:
        raise DatasetError(f"The selection has {', '.join(sorted(unknown))!r}, and may have keep and reject. {_MEND}")
    for name, values in content.items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise DatasetError(f"The selection's {name} is no list of names. {_MEND}")
    return Selection(keep=tuple(content.get("keep", ())), reject=tuple(content.get("reject", ())))


def _report(dataset: Dataset, passes: Filter, hand: Selection, keys: Sequence[str], selected: int) -> str:
    parts = [f"{selected} of {counted(len(dataset), 'picture')} selected, {len(dataset) - selected} in the rest."]
    if passes.terms:
        counts = [f"{text}: {sum(map(test, dataset))}" for text, test in passes.terms]
        parts.append(listed_lines("The filter's parts, and how many pictures each of them is true of", counts))
    known = set(keys)
    for name, names in (("Kept by hand", hand.keep), ("Rejected by hand", hand.reject)):
        if names:
            parts.append(f"{name}: {sum(key in known for key in names)}")
    lost = [key for key in (*hand.keep, *hand.reject) if key not in known]
    if lost:
        # Looking for a near name takes a while in a large dataset.
        lines = [f"{key}{_nearest(key, keys)}" for key in lost[:5]] + lost[5:]
        parts.append(listed_lines(f"Named by hand and not in the dataset ({len(lost)})", lines))
    return "\n\n".join(parts)


def _nearest(key: str, keys: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.8)
    return f" (the nearest name is {near[0]})" if near else ""
