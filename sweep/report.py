"""A sweep in words: what was compared, what looks wrong, and the scores as a table."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ..dataset.report import counted, listed_lines
from ..trainer.values import Run
from .choose import Choice
from .marks import Marks
from .values import Column, Grid, base_label

HEADS = ("column", "trait recall", "flexibility", "sum", "bleed", "likeness", "memorised", "spoiled", "")


def report(run: Run, grid: Grid, choice: Choice, notes: Sequence[str] = ()) -> str:
    """What was compared and chosen, with warnings: cells that the LoRA did not change or that equal another column's,
    and names that loaded nowhere, by base model. `notes` are further lines, such as what could not be measured.
    """
    on = f", on {counted(len(grid.bases), 'base model')}" if len(grid.bases) > 1 else ""
    lines = [f"Run {run.name}: {len(grid.columns) - 1} columns with the LoRA, {len(grid.rows)} prompts{on}."]
    lines.append(choice.reason)
    lines += [f"Warning: {line}" for base in grid.bases for line in _equal(grid, base)]
    for base in grid.bases:
        found = sorted(
            {name for column in grid.columns for cell in grid.column(base, column) for name in cell.unmatched}
        )
        if found:
            lines.append(
                f"Warning: {len(found)} names in the file match no layer of this model{_on(grid, base)}, first "
                f"{found[0]}."
            )
    return "\n".join([*lines, *notes])


def table(marks: Mapping[Column, Marks], choice: Choice) -> str:
    """The scores of every column as a Markdown table; what was not measured is a dash."""
    rows = [[column.label, *cells(one), _remark(column, choice)] for column, one in marks.items()]
    widths = [max(len(row[i]) for row in [list(HEADS), *rows]) for i in range(len(HEADS))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in [list(HEADS), ["-" * width for width in widths], *rows]
    ]
    return "\n".join(lines)


def cells(one: Marks) -> list[str]:
    """A column's numbers, in the order of `HEADS`."""
    values = (one.traits, one.flexibility, one.sum, one.bleed, one.likeness, one.memorised, one.corrupt)
    return ["-" if value is None else f"{value:.2f}" for value in values]


def worst_traits(shares: Mapping[str, float], choice: Choice) -> list[str]:
    """The traits of the chosen column, the least learned first, as lines of a report."""
    if not shares:
        return []
    listed = [f"{trait}: {share:.0%}" for trait, share in shares.items()]
    return [listed_lines(f"Traits at {choice.column.label}, the least learned first", listed)]


def _remark(column: Column, choice: Choice) -> str:
    return "best" if column == choice.column else "front" if column in choice.front else ""


def _equal(grid: Grid, base: str) -> list[str]:
    """Columns whose pictures are another's."""
    plain = next((column for column in grid.columns if not column.epoch), None)
    digests = {column: [cell.digest for cell in grid.column(base, column)] for column in grid.columns}
    said = []
    for column in grid.columns if plain is not None else ():
        same = sum(a == b for a, b in zip(digests[column], digests[plain], strict=True)) if plain else 0
        if column.epoch and same:
            said.append(f"{column.label} equals no LoRA for {same} of {len(grid.rows)} prompts{_on(grid, base)}.")
    pairs = itertools.combinations([column for column in grid.columns if column.epoch], 2)
    for one, other in pairs:
        if digests[one] == digests[other] and (plain is None or digests[one] != digests[plain]):
            said.append(f"{one.label} and {other.label} paint the same pictures{_on(grid, base)}.")
    return said


def _on(grid: Grid, base: str) -> str:
    return f" on {base_label(base)}" if len(grid.bases) > 1 else ""
