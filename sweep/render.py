"""Painting a sweep's cells, a column at a time: a LoRA is patched once for all prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from PIL import Image, ImageChops
from torch import Tensor

from ..trainer.formats import load_file
from ..trainer.values import Run
from .axes import Column


class Painter(Protocol):
    """What a sweep asks of the host."""

    def column(self, lora: dict[str, Tensor] | None, strength: float) -> Callable[[str], Image.Image]:
        """A function from prompt to picture with that LoRA on, or none."""


def render(
    run: Run,
    columns: Sequence[Column],
    prompts: Sequence[str],
    painter: Painter,
    progress: Callable[[int, int], None],
) -> list[list[Image.Image]]:
    """Pictures as rows (prompts) of columns. `progress(done, total)` may raise to stop."""
    total = len(columns) * len(prompts)
    painted: list[list[Image.Image]] = []
    for number, column in enumerate(columns):
        lora = load_file(run.checkpoint(column.epoch).file)[0] if column.epoch else None
        paint = painter.column(lora, column.strength)
        cells = []
        for row, prompt in enumerate(prompts):
            progress(number * len(prompts) + row, total)
            cells.append(paint(prompt))
        painted.append(cells)
    progress(total, total)
    return [list(row) for row in zip(*painted, strict=True)]


def report(
    run: Run,
    columns: Sequence[Column],
    prompts: Sequence[str],
    rows: Sequence[Sequence[Image.Image]],
    unmatched: Iterable[str],
) -> str:
    """What was compared, with a warning for cells that the LoRA did not change and for names that loaded nowhere."""
    lines = [f"Run {run.name}: {len(columns) - 1} columns with the LoRA, {len(prompts)} prompts."]
    for column, pictures in zip(columns, zip(*rows, strict=True), strict=True):
        same = [
            prompt
            for prompt, row, picture in zip(prompts, rows, pictures, strict=True)
            if column.epoch and ImageChops.difference(row[0], picture).getbbox() is None
        ]
        if same:
            lines.append(f"Warning: {column.label} equals no LoRA for {len(same)} of {len(prompts)} prompts.")
    names = sorted(set(unmatched))
    if names:
        lines.append(f"Warning: {len(names)} names in the file match no layer of this model, first {names[0]}.")
    return "\n".join(lines)
