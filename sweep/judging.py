"""Scores of a painted grid, from the models that the user has: a tagger, and one that tells how alike pictures are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from PIL import Image

from ..dataset.images import open_image
from ..dataset.keys import source_name
from ..dataset.kinds import kind_of
from ..dataset.score_cache import ScoreCache
from ..dataset.tagger import BATCH, TagScores
from ..dataset.tags import split_literal, tag_key
from ..dataset.values import Dataset, Record
from ..trainer.values import Run
from .corruption import flaws
from .likeness import Floats, Spread, is_copy, likeness, own_spread
from .marks import Asked, Found, Marks, Subject, asked_of, by_trait, tag_marks
from .values import Cell, Column, Grid

JUDGED = ("general", "character")
"""Kinds of a tagger's tags that are counted: quality and ratings are in no picture."""

Progress = Callable[[int, int], None]
HABIT_SHARE = 0.4
"""A style or background tag in at least this share of the captions is the dataset's own."""
TRAIT_SHARE = 0.2
"""A tag that pruning took from fewer pictures is a slip of the tagger or a rare view, and no trait to wait for."""


class Tags(Protocol):
    """A tagger."""

    def tag(self, images: list[Image.Image]) -> list[TagScores]:
        """Scores for each RGB picture, in order."""


class Embeds(Protocol):
    """A model that tells how alike pictures are."""

    def features(self, images: Sequence[Image.Image]) -> Floats:
        """A row for each RGB picture, [N, D]."""

    def similarity(self, a: Floats, b: Floats) -> Floats:
        """How alike each row is to each, [N, M]: 1 for the same picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """What scores. `known` are the tags that the tagger knows (`tag_key`); `alike` judges likeness, `near` copies."""

    tagger: Tags | None = None
    known: frozenset[str] = frozenset()
    scores: ScoreCache | None = None
    threshold: float = 0.35
    alike: Embeds | None = None
    near: Embeds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Scores by column, what each picture showed, and what could not be measured, in words."""

    marks: Mapping[Column, Marks]
    found: Mapping[Cell, Found] = field(default_factory=dict)
    flawed: Mapping[Cell, tuple[str, ...]] = field(default_factory=dict)
    nearest: Mapping[Cell, tuple[float, str]] = field(default_factory=dict)
    """Similarity to the nearest training picture, and its name."""
    asked: tuple[Asked, ...] = ()
    """What each row asks for."""
    notes: tuple[str, ...] = ()

    def traits_of(self, grid: Grid, column: Column) -> dict[str, float]:
        """A column's recall of each trait, the worst first; empty without a tagger."""
        if not self.found:
            return {}
        asked = [one for _ in grid.bases for one in self.asked]
        return by_trait(asked, [self.found[cell] for cell in grid.pooled(column)])


def judge(
    grid: Grid, subject: Subject, judges: Judges, dataset: Dataset | None, progress: Progress = lambda done, total: None
) -> Verdict:
    """Every score that the judges can give. Pictures are opened a few at a time; `progress` may raise to stop."""
    cells = list(dict.fromkeys(grid.in_order()))
    flawed: dict[Cell, tuple[str, ...]] = {}
    for number, cell in enumerate(cells):
        progress(number, len(cells))
        flawed[cell] = flaws(open_image(cell.file), cell.broken)
    marks = {column: Marks(corrupt=_spoiled(grid.pooled(column), flawed)) for column in grid.columns}
    notes = _unknown_traits(subject, judges)
    found: dict[Cell, Found] = {}
    asked = tuple(asked_of(row, subject, judges.known) for row in grid.rows)
    if judges.tagger is not None:
        found = _tagged(cells, judges, progress)
        marks = _with_tags(grid, marks, asked, found)
        notes += _unasked(asked)
    nearest: dict[Cell, tuple[float, str]] = {}
    if dataset is not None and (judges.alike or judges.near):
        likes, copies, nearest, said = _compared(cells, dataset, judges, progress)
        notes += said
        marks = {
            column: replace(
                one, likeness=_mean(grid.pooled(column), likes), memorised=_mean(grid.pooled(column), copies)
            )
            for column, one in marks.items()
        }
    return Verdict(
        marks=marks, found=found, flawed=flawed, nearest=nearest, asked=asked, notes=tuple(dict.fromkeys(notes))
    )


def subject_of(
    run: Run,
    captions: Mapping[str, float],
    *,
    own_traits: Sequence[str] = (),
    own_style: Sequence[str] = (),
) -> Subject:
    """What a sweep looks for: a user's own tags where given, else what pruning took often enough, and the dataset's
    frequent style and background. `captions` gives the share of the captions that each tag stands in.
    """
    chosen = own_traits or [tag for tag in run.traits if run.trait_shares.get(tag, 1.0) >= TRAIT_SHARE]
    # Of an outfit that few pictures show, all that its own word brings counts.
    by_word = {
        word: frozenset(tag_key(tag) for tag, share in shares.items() if share >= TRAIT_SHARE)
        for word, shares in run.traits_of_words.items()
    }
    known = frozenset(map(tag_key, chosen)).union(*(() if own_traits else by_word.values()))
    habits = own_style or [
        tag for tag, share in captions.items() if share >= HABIT_SHARE and kind_of(tag) in ("style", "background")
    ]
    return Subject(
        triggers=tuple(word for word in split_literal(run.trigger) if word not in by_word),
        traits=known,
        habits=frozenset(map(tag_key, habits)),
        # Traits of a user's own belong to every word.
        of_word={word: known if own_traits else traits for word, traits in by_word.items()},
    )


def _spoiled(cells: Sequence[Cell], flawed: Mapping[Cell, tuple[str, ...]]) -> float:
    return sum(bool(flawed[cell]) for cell in cells) / len(cells)


def _tagged(cells: Sequence[Cell], judges: Judges, progress: Progress) -> dict[Cell, Found]:
    """The tags found in each cell; what the tagger has said before costs no model."""
    found: dict[Cell, Found] = {}
    assert judges.tagger is not None
    for start in range(0, len(cells), BATCH):
        progress(start, len(cells))
        some = cells[start : start + BATCH]
        records = {cell: Record(image=cell.file, size=cell.size) for cell in some}
        keys = {cell: judges.scores.key(record) for cell, record in records.items()} if judges.scores else {}
        known: dict[Cell, TagScores | None] = {}
        if judges.scores:
            known = {cell: judges.scores.read(key) for cell, key in keys.items()}
        missing = [cell for cell in some if known.get(cell) is None]
        new = judges.tagger.tag([open_image(records[cell]) for cell in missing])
        for cell, scores in zip(missing, new, strict=True):
            known[cell] = judges.scores.write(keys[cell], scores) if judges.scores else scores
        for cell in some:
            scores_of = known[cell]
            assert scores_of is not None
            named = {**scores_of.general, **scores_of.character}
            found[cell] = frozenset(tag_key(tag) for tag, score in named.items() if score >= judges.threshold)
    progress(len(cells), len(cells))
    return found


def _with_tags(
    grid: Grid, marks: Mapping[Column, Marks], asked: Sequence[Asked], found: Mapping[Cell, Found]
) -> dict[Column, Marks]:
    plain = next(column for column in grid.columns if not column.epoch)
    everywhere = [one for _ in grid.bases for one in asked]
    by_column = {column: [found[cell] for cell in grid.pooled(column)] for column in grid.columns}
    scored = tag_marks(everywhere, by_column, plain)
    return {
        column: replace(one, traits=scored[column][0], flexibility=scored[column][1], bleed=scored[column][2])
        for column, one in marks.items()
    }


def _compared(
    cells: Sequence[Cell], dataset: Dataset, judges: Judges, progress: Progress
) -> tuple[dict[Cell, float], dict[Cell, float], dict[Cell, tuple[float, str]], list[str]]:
    """Likeness, copies (1 or 0) and the nearest training picture of each cell, and what could not be measured."""
    records = [record for record in dataset if not record.is_reg]
    likes: dict[Cell, float] = {}
    copies: dict[Cell, float] = {}
    nearest: dict[Cell, tuple[float, str]] = {}
    for model in dict.fromkeys((judges.alike, judges.near)):
        if model is None:
            continue
        own = _features(model, records, progress)
        spread: Spread | None = own_spread(own, [_source(record) for record in records], model.similarity)
        if spread is None:
            return {}, {}, {}, ["Likeness and memorisation need at least two training pictures."]
        for start in range(0, len(cells), BATCH):
            progress(start, len(cells))
            some = cells[start : start + BATCH]
            alike = model.similarity(model.features([open_image(cell.file) for cell in some]), own)
            for cell, row in zip(some, alike, strict=True):
                if model is judges.alike:
                    likes[cell] = likeness(row, spread)
                if model is judges.near:
                    copies[cell] = float(is_copy(row, spread))
                    nearest[cell] = (float(row.max()), records[int(row.argmax())].name)
    return likes, copies, nearest, []


def _source(record: Record) -> str:
    """What tells pictures of one drawing, its crops and style variants, from those of others."""
    return f"{record.group}/{source_name(record)}"


def _features(model: Embeds, records: Sequence[Record], progress: Progress) -> Floats:
    rows = []
    for start in range(0, len(records), BATCH):
        progress(start, len(records))
        rows.append(model.features([open_image(record) for record in records[start : start + BATCH]]))
    return np.concatenate(rows) if rows else np.zeros((0, 1), dtype=np.float32)


def _mean(cells: Sequence[Cell], values: Mapping[Cell, float]) -> float | None:
    known = [values[cell] for cell in cells if cell in values]
    return sum(known) / len(known) if known else None


def _unknown_traits(subject: Subject, judges: Judges) -> list[str]:
    if judges.tagger is None:
        return []
    unknown = sorted(subject.traits - judges.known)
    notes = [f"The tagger does not know {', '.join(unknown)}; these traits are not measured."] if unknown else []
    if not subject.traits:
        notes.append(
            "Trait recall is not measured: pruning took nothing from the captions, and traits is empty. Name there "
            "what the trigger must bring."
        )
    return notes


def _unasked(asked: Sequence[Asked]) -> list[str]:
    notes = []
    if not any(one.traits for one in asked):
        notes.append("No prompt leaves a trait to the trigger; add one with the trigger and a scene, and no traits.")
    if not any(one.tags for one in asked):
        notes.append("No prompt names a tag that the tagger knows, so flexibility is not measured.")
    return notes
