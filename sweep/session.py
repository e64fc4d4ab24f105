"""A whole sweep: painted, judged, chosen, and shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ..dataset.images import open_image
from ..dataset.values import Dataset
from ..trainer.errors import KilnError
from ..trainer.files import write_text
from ..trainer.formats import tag_shares
from ..trainer.values import Run
from .axes import columns, pick_bases, pick_prompts, pick_seeds, rows
from .blocks import parts_of, pick_presets
from .choose import Choice, choose
from .grid import Open, labelled_grid
from .judging import Judges, Verdict, judge, subject_of
from .marks import Subject
from .options import SweepOptions
from .page import about_cell, write_page
from .render import Painter, Plan, render
from .report import report, table, worst_traits
from .store import CellStore
from .trade import trade_plot
from .values import Cell, Column, Grid, base_label

Progress = Callable[[int, int], None]


class Bases(Protocol):
    """The models that a sweep can paint on."""

    def names(self) -> Sequence[str]:
        """Checkpoints that can be named, as the host lists them."""

    def open(self, base: str) -> Painter:
        """The painter of a base model; `values.WIRED` is the one that came by wire. Nothing is loaded yet."""

    def settings(self) -> Mapping[str, Any]:
        """How pictures are sampled, in plain values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """What the user typed for the axes that every sweep has."""

    prompts: str
    epochs: str
    strengths: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a sweep gives: a labelled sheet a base model, and the rest as nodes pass it on."""

    grid: Grid
    sheets: tuple[Image.Image, ...]
    choice: Choice
    verdict: Verdict
    report: str
    table: str
    plot: Image.Image
    page: Path

    def pictures(self) -> Iterator[Image.Image]:
        """Every cell's picture, row by row, opened one at a time."""
        return (open_image(cell.file) for cell in self.grid.in_order())


def plan_of(run: Run, axes: Axes, options: SweepOptions, bases: Bases) -> Plan:
    """Everything that will be painted. Raises `KilnError` for what cannot be read or does not fit a base model."""
    presets = {preset.name: preset for preset in pick_presets(options.block_presets)}
    models = pick_bases(options.base_models, bases.names())
    # A model without these blocks is told before hours of painting.
    for base in models if any(preset.numbers for preset in presets.values()) else ():
        places = bases.open(base).places()
        for preset in presets.values():
            try:
                parts_of({}, preset, places)
            except KilnError as error:
                raise KilnError(f"{base_label(base)}: {error}") from error
    return Plan(
        bases=models,
        columns=columns(run, axes.epochs, axes.strengths, tuple(presets)),
        rows=rows(pick_prompts(axes.prompts), pick_seeds(axes.seed, options.seeds)),
        presets=presets,
    )


def sweep(
    run: Run,
    plan: Plan,
    bases: Bases,
    judges: Judges,
    options: SweepOptions,
    *,
    dataset: Dataset | None,
    cache: Path,
    progress: Progress,
    fonts: Sequence[Path] = (),
) -> Outcome:
    """Paint what is missing, score it, choose. Cells are kept in `cache`, page and scores in the run's folder."""
    grid = render(run, plan, bases.open, CellStore(cache), progress)
    # All is painted, so the bar stays full; it is still asked whether the user has cancelled.
    verdict = judge(grid, _subject(run, options, dataset), judges, dataset, lambda *_: progress(plan.total, plan.total))
    choice = choose(verdict.marks)
    notes = [*verdict.notes, *worst_traits(verdict.traits_of(grid, choice.column), choice)]
    words = report(run, grid, choice, notes)
    plot = trade_plot(verdict.marks, choice, fonts=fonts)
    settings = {**bases.settings(), **asdict(options)}
    made_from = {base: bases.open(base).mark() for base in plan.bases}
    file = run.folder / f"sweep-{_mark(plan, {**settings, 'models': made_from})}.html"
    write_page(file, run, grid, verdict, choice, words, plot, settings)
    plain = _plain(run, grid, verdict, choice, words)
    write_text(file.with_suffix(".json"), json.dumps(plain, indent=2, ensure_ascii=False))
    return Outcome(
        grid=grid,
        sheets=tuple(_sheet(grid, base, options.grid_cell, fonts) for base in grid.bases),
        choice=choice,
        verdict=verdict,
        report=f"{words}\nContact page: {file}",
        table=table(verdict.marks, choice),
        plot=plot,
        page=file,
    )


def _subject(run: Run, options: SweepOptions, dataset: Dataset | None) -> Subject:
    """What to look for; the dataset's captions, or else what the LoRA's file says of them, tell its own style."""
    if dataset is None:
        captions = tag_shares(run.checkpoint(0).file)
    else:
        trained = [record for record in dataset if not record.is_reg]
        tags = {tag for record in trained for tag in record.tags}
        captions = {tag: sum(tag in record.tags for record in trained) / len(trained) for tag in tags}
    return subject_of(run, captions, own_traits=options.traits, own_style=options.style_tags)


def _sheet(grid: Grid, base: str, most: int, fonts: Sequence[Path]) -> Image.Image:
    def opening(cell: Cell) -> Open:
        return lambda: open_image(cell.file)

    return labelled_grid(
        [[opening(grid.cells[base, column, row]) for column in grid.columns] for row in grid.rows],
        [column.label for column in grid.columns],
        [row.label for row in grid.rows],
        title=base_label(base) if len(grid.bases) > 1 else "",
        most=most,
        fonts=fonts,
    )


def _mark(plan: Plan, settings: Mapping[str, Any]) -> str:
    """A short name for a sweep: the same axes and settings write the same page anew."""
    text = repr((plan.bases, plan.columns, plan.rows, sorted(settings.items())))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _plain(run: Run, grid: Grid, verdict: Verdict, choice: Choice, words: str) -> dict[str, Any]:
    """Scores, choice and cells as JSON holds them: `cells` by base model, row and column."""
    return {
        "run": run.folder.name,
        "name": run.name,
        "best_epoch": choice.epoch,
        "best_strength": choice.strength,
        "reason": choice.reason,
        "bases": list(grid.bases),
        "prompts": [asdict(row) for row in grid.rows],
        "columns": [
            {
                **asdict(column),
                **asdict(one),
                "label": column.label,
                "front": column in choice.front,
                "best": column == choice.column,
            }
            for column, one in verdict.marks.items()
        ],
        "cells": [
            [
                [_plain_cell(grid, base, column, number, verdict) for column in grid.columns]
                for number in range(len(grid.rows))
            ]
            for base in grid.bases
        ],
        "report": words,
        "notes": list(verdict.notes),
    }


def _plain_cell(grid: Grid, base: str, column: Column, number: int, verdict: Verdict) -> dict[str, Any]:
    row = grid.rows[number]
    cell = grid.cells[base, column, row]
    about = about_cell(base, column, row, cell, verdict, number)
    return {"key": cell.file.stem, "size": cell.size, "spoiled": bool(verdict.flawed.get(cell)), "about": about}
