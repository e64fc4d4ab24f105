"""Which epoch, at which strength, and why, in words."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .marks import Marks
from .values import Column

TIE = 0.01
"""Columns whose values differ by no more count as equal: pictures are few, and so much is chance."""
MORE_CORRUPT = 0.1
"""Share of spoiled pictures, beyond that without the LoRA, from which a column is out."""
_SMOOTHED_FROM = 4
"""Epochs at one strength from which neighbours steady each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The column to save. `front` are the columns that none beats in both trait recall and flexibility."""

    column: Column
    reason: str
    front: frozenset[Column]

    @property
    def epoch(self) -> int:
        """The epoch to save."""
        return self.column.epoch

    @property
    def strength(self) -> float:
        """The strength to use it at."""
        return self.column.strength


def choose(marks: Mapping[Column, Marks]) -> Choice:
    """The best column of a sweep, of those that put the whole LoRA on: block weights are told and never chosen.

    Corrupt columns are out. What counts is trait recall and flexibility; where no trait was measured, likeness less
    memorisation stands for it. Among equals it is less bleed and memorisation, then the earlier epoch, then the
    strength nearest to 1. Where nothing tells what was learned it is the last sound epoch. Raises ValueError without a
    column that has a LoRA.
    """
    plain = next((one.corrupt for column, one in marks.items() if not column.epoch), 0.0)
    whole = [column for column in marks if column.epoch and not column.blocks]
    # Nothing is saved at strength 0, which is painted to compare with.
    whole = [column for column in whole if column.strength > 0] or whole
    if not whole:
        raise ValueError("a sweep without an epoch has nothing to choose from; give at least one epoch")
    sound = [column for column in whole if marks[column].corrupt <= plain + MORE_CORRUPT]
    out = len(whole) - len(sound)
    candidates = sound or [c for c in whole if marks[c].corrupt == min(marks[o].corrupt for o in whole)]
    values = _values(candidates, marks)
    front = pareto_front({column: marks[column] for column in sound})
    if not values:
        column = max(candidates, key=lambda c: (c.epoch, -abs(c.strength - 1)))
        words = (
            "nothing tells what was learned (that takes a tagger and a prompt that leaves traits to the trigger, or "
            "the dataset with a CLIP_VISION or CCIP), so it is the last sound epoch."
        )
        return Choice(column=column, reason=f"{_named(column)}: {words}{_about_out(out)}", front=front)
    steadied = smoothed(values)
    best = max(steadied.values())
    equal = [column for column in steadied if steadied[column] >= best - TIE]
    column = min(equal, key=lambda c: (_harm(marks[c]), c.epoch, abs(c.strength - 1)))
    reason = " ".join(
        (
            f"{_named(column)}: {_why(marks[column])}.",
            *_compared(column, equal, values, steadied, marks),
            *_blocks(column, marks),
        )
    )
    if not sound:
        reason += " Every column has spoiled pictures; this one has the fewest, so look at it before you save it."
    return Choice(column=column, reason=reason + (_about_out(out) if sound else ""), front=front)


def pareto_front(marks: Mapping[Column, Marks]) -> frozenset[Column]:
    """The columns with a LoRA that no other beats in one of trait recall and flexibility and equals in the other."""
    points = {
        column: (one.traits, one.flexibility)
        for column, one in marks.items()
        if column.epoch and one.traits is not None and one.flexibility is not None
    }
    return frozenset(
        column
        for column, (t, f) in points.items()
        if not any(a >= t and b >= f and (a, b) != (t, f) for a, b in points.values())
    )


def smoothed(values: Mapping[Column, float]) -> dict[Column, float]:
    """Each value with its neighbouring epochs of the same strength, weighed 1-2-1 (2-1 where there is one neighbour).

    Learning moves slowly from epoch to epoch and chance does not, so an epoch that stands out alone is luck. The nearer
    of two neighbours counts for more, and what lies further off than twice the smallest step is none.
    """
    found = dict(values)
    for strength in {column.strength for column in values}:
        line = sorted((c for c in values if c.strength == strength), key=lambda c: c.epoch)
        if len(line) < _SMOOTHED_FROM:
            continue
        reach = 2 * min(after.epoch - before.epoch for before, after in itertools.pairwise(line))
        for i, column in enumerate(line):
            beside = (*line[max(0, i - 1) : i], *line[i + 1 : i + 2])
            gaps = {c: gap for c in beside if (gap := abs(c.epoch - column.epoch)) <= reach}
            if gaps:
                around = sum(values[c] / gap for c, gap in gaps.items()) / sum(1 / gap for gap in gaps.values())
                found[column] = (2 * values[column] + len(gaps) * around) / (2 + len(gaps))
    return found


def _values(columns: Sequence[Column], marks: Mapping[Column, Marks]) -> dict[Column, float]:
    """What each column is worth; empty when nothing tells what was learned."""
    sums = {column: value for column in columns if (value := marks[column].sum) is not None}
    if sums:
        return sums
    return {
        column: one.likeness - (one.memorised or 0.0) + (one.flexibility or 0.0)
        for column in columns
        if (one := marks[column]).likeness is not None
    }


def _harm(one: Marks) -> int:
    """Bleed and memorisation in steps of two hundredths: less is chance."""
    return round(((one.bleed or 0.0) + (one.memorised or 0.0)) / 0.02)


def _named(column: Column) -> str:
    return f"Epoch {column.epoch} at strength {column.strength:g}"


def _why(one: Marks) -> str:
    said = [
        f"{words} {value:.2f}"
        for words, value in (
            ("trait recall", one.traits),
            ("flexibility", one.flexibility),
            ("bleed", one.bleed),
            ("likeness", one.likeness),
            ("memorised", one.memorised),
        )
        if value is not None
    ]
    return ", ".join(said)


def _compared(
    column: Column,
    equal: Sequence[Column],
    values: Mapping[Column, float],
    steadied: Mapping[Column, float],
    marks: Mapping[Column, Marks],
) -> list[str]:
    one = marks[column]
    learned = "trait recall" if one.sum is not None else "likeness less memorisation"
    measured = learned if one.flexibility is None else f"{learned} and flexibility"
    steady = " averaged with neighbouring epochs" if steadied != values else ""
    place = "Highest" if steadied[column] == max(steadied.values()) else f"Within {TIE:g} of the highest"
    said = [f"{place} {measured}{steady} of {len(values)} columns ({steadied[column]:.2f})."]
    others = [c for c in equal if c != column]
    if others:
        said.append(f"As good within {TIE:g}: {', '.join(_named(c).lower() for c in others[:3])}; of equals the one "
                    "with less bleed and memorisation is taken, then the earlier.")  # fmt: skip
    if one.traits is not None and one.traits < 0.5:
        said.append("Less than half of the traits are there: train longer, or raise the strength.")
    if one.flexibility is not None and one.flexibility < 0.6:
        said.append("Prompts are hardly followed any more: train shorter, or with pictures in other clothes.")
    last = max(c.epoch for c in values)
    if column.epoch == last and last > min(c.epoch for c in values) and steadied[column] > max(
        (v for c, v in steadied.items() if c.epoch < last), default=0.0
    ) + 0.05:  # fmt: skip
        said.append("It is the last epoch and still rising, so a longer run may be better.")
    return said


def _blocks(column: Column, marks: Mapping[Column, Marks]) -> list[str]:
    """A word about block weights that did better than the whole LoRA."""
    own = marks[column].sum
    better = [
        (value, other)
        for other, one in marks.items()
        if other.blocks and own is not None and (value := one.sum) is not None and value > own + TIE
    ]
    if not better:
        return []
    value, other = max(better, key=lambda pair: pair[0])
    return [f"With block weights {other.label} has {value:.2f}; a file of the whole LoRA cannot hold that choice."]


def _about_out(out: int) -> str:
    if not out:
        return ""
    were = "1 column was" if out == 1 else f"{out} columns were"
    return f" {were} left out for pictures that are broken, flat or noise."
