"""Repeats that make groups count as they should, and an epoch or a run as long as it should be."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .errors import DatasetError
from .keys import fits
from .settings import check_settings, setting
from .values import Dataset, Record

EQUAL, TABLE, KEEP = "equalise groups", "by number of pictures", "keep proportions"
NEAREST, DOWN = "nearest", "down"

SEEN_AN_EPOCH = ((20, 200), (100, 300), (400, 400), (1000, 1000))
"""(pictures, pictures seen in an epoch): the table that the articles go by, 20 x 10, 100 x 3, 400 x 1, 1000 x 1."""
SEEN_IN_ALL = ((200, 3400), (300, 3600), (400, 4000))
"""(pictures seen in an epoch, pictures seen in the run): their other table, 17, 12 and 10 epochs."""

_Row = tuple[str, int]
"""A group and the repeats that its pictures have now; they get the same new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceOptions:
    """What repeats are to bring about."""

    method: str = setting(
        EQUAL,
        "equalise groups: each group is seen as often as the largest. by number of pictures: the articles' table (20 "
        "pictures 10 times, 100 3 times, 400 once). keep proportions: only the length changes.",
        choices=(EQUAL, TABLE, KEEP),
    )
    groups: tuple[str, ...] = setting(
        (), "Names of the groups that change, one a line, * for any text. Empty: all. The others stay.", split="lines"
    )
    target: int = setting(
        0,
        "With equalise groups: how often pictures of each group are seen in an epoch. 0: as often as of the largest.",
        low=0, high=1_000_000, step=1,
    )  # fmt: skip
    rounding: str = setting(
        NEAREST, "How broken repeats become whole ones; never less than 1.", choices=(NEAREST, DOWN)
    )
    steps: int = setting(
        0,
        "About so many steps in all, with the epochs and batch size below: repeats grow or shrink together. 0: no such "
        "wish.",
        low=0, high=10_000_000, step=100,
    )  # fmt: skip
    epochs: int = setting(10, "Epochs of the recipe.", low=1, high=10_000, step=1)
    batch_size: int = setting(1, "Batch size of the recipe.", low=1, high=1024, step=1)

    def __post_init__(self) -> None:
        check_settings(self)


def balance_repeats(dataset: Dataset, options: BalanceOptions | None = None) -> tuple[Dataset, str]:
    """The dataset with new repeats, and the arithmetic in words.

    Within a group the ratios of repeats stay (`9_kierose` counts more than `5_kierose`). Regularisation pictures keep
    theirs: an epoch of the trainer sees as many of them as training ones. Raises DatasetError when there is nothing to
    balance.
    """
    options = options or BalanceOptions()
    counts = Counter((record.group, record.repeats) for record in dataset if _changes(record, options))
    if not counts:
        names = ", ".join(sorted({record.group or "(no name)" for record in dataset if not record.is_reg}))
        raise DatasetError(
            f"No picture to balance: groups is {', '.join(options.groups) or 'empty'}; "
            f"the dataset has {names or 'none'}"
        )
    wanted = _wanted(counts, options)
    fixed = sum(record.repeats for record in dataset if not record.is_reg and not _changes(record, options))
    whole = {row: _whole(repeats, options.rounding) for row, repeats in wanted.items()}
    if options.steps:
        goal = options.steps * options.batch_size / options.epochs / (2 if any(r.is_reg for r in dataset) else 1)
        whole = _scaled(wanted, counts, max(0.0, goal - fixed), options.rounding)
    records = [
        dataclasses.replace(record, repeats=whole[record.group, record.repeats])
        if _changes(record, options)
        else record
        for record in dataset
    ]
    return dataset.replace_records(records), _report(dataset, counts, whole, options)


def interpolated(table: Sequence[tuple[int, int]], x: float) -> float:
    """The table's value at x, straight in the logarithm between its rows, as its first or last row beyond them."""
    if x <= table[0][0]:
        return table[0][1]
    for (x0, y0), (x1, y1) in pairwise(table):
        if x <= x1:
            return y0 + (y1 - y0) * math.log(x / x0) / math.log(x1 / x0)
    return table[-1][1]


def _changes(record: Record, options: BalanceOptions) -> bool:
    named = not options.groups or any(fits(record.group, name) for name in options.groups)
    return named and not record.is_reg


def _wanted(counts: Counter[_Row], options: BalanceOptions) -> dict[_Row, float]:
    """Broken repeats by row."""
    if options.method == EQUAL:
        seen = Counter[str]()
        for (group, repeats), count in counts.items():
            seen[group] += count * repeats
        target = options.target or max(seen.values())
        return {(group, repeats): repeats * target / seen[group] for group, repeats in counts}
    if options.method == TABLE:
        pictures, seen_now = sum(counts.values()), sum(repeats * count for (_, repeats), count in counts.items())
        share = max(pictures, interpolated(SEEN_AN_EPOCH, pictures)) / seen_now
        return {row: row[1] * share for row in counts}
    return {row: float(row[1]) for row in counts}


def _whole(repeats: float, rounding: str) -> int:
    # A hair more, so that 3 that came out as 2.9999 is not rounded down.
    return max(1, math.floor(repeats + 1e-9) if rounding == DOWN else math.floor(repeats + 0.5))


def _scaled(wanted: dict[_Row, float], counts: Counter[_Row], goal: float, rounding: str) -> dict[_Row, int]:
    """Whole repeats in the wanted proportions with which an epoch is as near to `goal` pictures as can be."""

    def at(factor: float) -> dict[_Row, int]:
        return {row: _whole(repeats * factor, rounding) for row, repeats in wanted.items()}

    def off(repeats: dict[_Row, int]) -> float:
        return abs(_seen(repeats, counts) - goal)

    low, high = 0.0, 2.0 * (goal + 1) / min(wanted.values())
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _seen(at(middle), counts) < goal else (low, middle)
    below, above = at(low), at(high)
    # Rows of simple ratios become larger at the same factor; those that count most go first.
    best, between = below, dict(below)
    for row in sorted(above, key=lambda row: -wanted[row]):
        between[row] = above[row]
        best = min(best, dict(between), key=off)
    return best


def _seen(repeats: dict[_Row, int], counts: Counter[_Row]) -> int:
    return sum(repeats[row] * count for row, count in counts.items())


def _report(dataset: Dataset, counts: Counter[_Row], whole: dict[_Row, int], options: BalanceOptions) -> str:
    lines = [f"Repeats, {options.method}:"]
    rows = Counter((record.group, record.repeats) for record in dataset if not record.is_reg)
    terms = []
    for row, count in rows.items():
        group, before = row
        changed = counts.get(row, 0) > 0
        now = whole[row] if changed else before
        was = f", was {before}" if changed and now != before else ""
        stays = "" if changed else ", stays"
        lines.append(f"  {group or '(no name)'}: {count} x {now} = {count * now}{was}{stays}")
        terms.append(count * now)
    total = sum(terms)
    lines.append(
        f"Pictures in an epoch: {' + '.join(map(str, terms))} = {total}" if len(terms) > 1 else f"In an epoch: {total}"
    )
    if any(record.is_reg for record in dataset):
        total *= 2
        lines.append(f"With as many regularisation pictures, as the trainer takes them: {total}")
    steps = math.ceil(total / options.batch_size) * options.epochs
    said = f"Steps: {total} x {options.epochs} epochs / batch of {options.batch_size} = {steps}"
    wish = f", asked for {options.steps}" if options.steps else ""
    lines.append(f"{said}{wish} (buckets of their own round up)")
    if options.steps and steps > 1.1 * options.steps and set(whole.values()) == {1}:
        fewer = max(1, round(options.steps * options.batch_size / total))
        lines.append(f"All repeats are 1 already; about {fewer} epochs come nearer")
    lines.append(_epochs_hint(total))
    return "\n".join(lines)


def _epochs_hint(seen: int) -> str:
    """The epochs that the articles would choose for so many pictures in an epoch."""
    epochs = max(1, round(interpolated(SEEN_IN_ALL, seen) / seen))
    steps = round(seen * epochs / 2)
    return f"The articles' table: about {epochs} epochs for {seen} pictures an epoch, {steps} steps in batches of 2"
