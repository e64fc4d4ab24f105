"""What a sweep compares: columns (a LoRA at a strength), rows (a prompt with a seed) and the cells between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..dataset.values import Size
from ..trainer.ports import BlockCounts

WIRED = ""
"""The name of the base model that came by wire."""


TEXT = "text"
"""The place of a text encoder's layers."""


def base_label(base: str) -> str:
    """What a base model is called in pictures and words."""
    return base or "wired model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the grid. `epoch` 0 is the model without a LoRA; `blocks` names block weights, "" is the whole."""

    epoch: int
    strength: float
    blocks: str = ""

    @property
    def label(self) -> str:
        """What stands above the column."""
        if self.epoch == 0:
            return "no LoRA"
        return f"epoch {self.epoch}  x{self.strength:g}" + (f"  {self.blocks}" if self.blocks else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the grid: a prompt with a seed. `label` stands left of it."""

    label: str
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Painting:
    """A picture as it was decoded.

    `broken` is the share of its values that were NaN or infinite, `unmatched` are the names in the LoRA's file that the
    model has no layer for.
    """

    picture: Image.Image
    broken: float = 0.0
    unmatched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A painted cell on disk. `digest` stands for its pixels: equal digests are equal pictures. The rest is what was
    known when it was painted (`Painting`).
    """

    file: Path
    size: Size
    digest: str
    broken: float
    unmatched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All cells of a sweep, by base model, column and row, each axis in its own order."""

    bases: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: Mapping[tuple[str, Column, Row], Cell]

    def column(self, base: str, column: Column) -> tuple[Cell, ...]:
        """A column's cells, from the first row down."""
        return tuple(self.cells[base, column, row] for row in self.rows)

    def pooled(self, column: Column) -> tuple[Cell, ...]:
        """A column's cells on every base model, base by base."""
        return tuple(cell for base in self.bases for cell in self.column(base, column))

    def in_order(self) -> tuple[Cell, ...]:
        """Every cell, row by row, base by base."""
        return tuple(
            self.cells[base, column, row] for base in self.bases for row in self.rows for column in self.columns
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where a model's layers are: a LoRA's layer name to (`down`, `mid`, `up` or `text`, index), and how many blocks
    there are; None for models that are no UNets.
    """

    of: Mapping[str, tuple[str, int] | None]
    counts: BlockCounts | None
