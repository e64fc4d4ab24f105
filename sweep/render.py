"""Painting a sweep's cells, a column at a time: a LoRA is patched once for all prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..trainer.formats import load_file
from ..trainer.values import Run
from .blocks import Part, Preset, parts_of
from .store import CellStore, file_mark
from .values import Cell, Column, Grid, Painting, Places, Row

Paint = Callable[[str, int], Painting]
"""From a prompt and a seed to the picture."""


class Painter(Protocol):
    """One base model, as a sweep asks the host for it."""

    def mark(self) -> str:
        """Stands for the model's weights and for how it samples: equal marks paint equal pictures."""

    def places(self) -> Places:
        """Where the layers of a LoRA are in this model."""

    def column(self, parts: Sequence[Part], strength: float, prompts: Sequence[str]) -> Paint:
        """A function that paints these prompts with these parts of a LoRA on, each at its factor of the strength; none
        is none.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is painted; `presets` are the block weights that columns name."""

    bases: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    presets: Mapping[str, Preset]

    @property
    def total(self) -> int:
        """Cells in all."""
        return len(self.bases) * len(self.columns) * len(self.rows)


def render(
    run: Run,
    plan: Plan,
    open_base: Callable[[str], Painter],
    store: CellStore,
    progress: Callable[[int, int], None],
) -> Grid:
    """Every cell on disk, those that are there already left alone. `progress(done, total)` may raise to stop; what was
    painted until then is found again.
    """
    cells: dict[tuple[str, Column, Row], Cell] = {}
    for base in plan.bases:
        painter = open_base(base)
        mark = painter.mark()
        for column in plan.columns:
            made = _makings(run, plan, column, mark)
            _column(run, plan, base, column, painter, made, store, cells, progress)
        # The next base must not come into memory beside this one.
        del painter
    progress(plan.total, plan.total)
    return Grid(bases=plan.bases, columns=plan.columns, rows=plan.rows, cells=cells)


def _makings(run: Run, plan: Plan, column: Column, mark: str) -> dict[Row, dict[str, Any]]:
    """What each cell of a column is made from."""
    lora: dict[str, Any] = {}
    if column.epoch:
        file = run.checkpoint(column.epoch).file
        lora = {
            "lora": file_mark(file), "strength": column.strength,
            "blocks": list(plan.presets[column.blocks].numbers) if column.blocks else [],
        }  # fmt: skip
    return {row: {"model": mark, **lora, "prompt": row.prompt, "seed": row.seed} for row in plan.rows}


def _column(
    run: Run, plan: Plan, base: str, column: Column, painter: Painter, made: Mapping[Row, dict[str, Any]],
    store: CellStore, cells: dict[tuple[str, Column, Row], Cell], progress: Callable[[int, int], None],
) -> None:  # fmt: skip
    """One column's cells into `cells`; without a missing one the LoRA is not even read."""
    keys = {row: store.key(made[row]) for row in plan.rows}
    kept = {key: store.read(key) for key in keys.values()}
    missing = [row.prompt for row in plan.rows if kept[keys[row]] is None]
    paint: Paint | None = None
    for row in plan.rows:
        progress(len(cells), plan.total)
        cell = kept[keys[row]]
        if cell is None:
            paint = paint or _ready(run, plan, column, painter, missing)
            cell = kept[keys[row]] = store.write(keys[row], paint(row.prompt, row.seed), made[row])
        cells[base, column, row] = cell


def _ready(run: Run, plan: Plan, column: Column, painter: Painter, prompts: Sequence[str]) -> Paint:
    if not column.epoch:
        return painter.column((), 0.0, prompts)
    lora = load_file(run.checkpoint(column.epoch).file)[0]
    preset = plan.presets[column.blocks] if column.blocks else Preset()
    places = painter.places() if preset.numbers else Places(of={}, counts=None)
    return painter.column(parts_of(lora, preset, places), column.strength, prompts)
