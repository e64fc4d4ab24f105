"""The axes of a sweep, read from what a user types."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..trainer.errors import KilnError
from ..trainer.values import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the grid. `epoch` 0 is the model without a LoRA."""

    epoch: int
    strength: float

    @property
    def label(self) -> str:
        """What stands above the column."""
        return "no LoRA" if self.epoch == 0 else f"epoch {self.epoch}  x{self.strength:g}"


def pick_epochs(run: Run, text: str) -> tuple[int, ...]:
    """`all`, `last 5`, `2,4-8`: saved epochs in natural order. Raises `KilnError` for a number that was not saved."""
    saved = [one.epoch for one in run.checkpoints]
    text = text.strip().lower()
    if not saved:
        raise KilnError(f"Run {run.name!r} in {run.folder} has no saved epoch; let it train for at least one.")
    if text in ("", "all"):
        return tuple(saved)
    if last := re.fullmatch(r"last(?:\s+([1-9]\d*))?", text):
        return tuple(saved[-int(last[1] or 1) :])
    found: set[int] = set()
    for part in text.split(","):
        span = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        numbers = range(int(span[1]), int(span[2] or span[1]) + 1) if span else ()
        if not numbers:
            raise KilnError(
                f"epochs is {text!r}; {part.strip()!r} is no epoch. Write all, last 5, or numbers like 2,4-8."
            )
        found |= set(numbers)
    missing = sorted(found - set(saved))
    if missing:
        raise KilnError(f"epochs is {text!r}, but run {run.name!r} saved {saved}; {missing} are not among them.")
    return tuple(sorted(found))


def pick_strengths(text: str) -> tuple[float, ...]:
    """Numbers separated by commas or spaces, in the order given, each once."""
    try:
        strengths = tuple(dict.fromkeys(float(part) for part in re.split(r"[,\s]+", text.strip()) if part))
    except ValueError as error:
        raise KilnError(f"strengths is {text!r}: {error}. Write numbers like 0.6, 0.8, 1.0.") from error
    if not strengths or not all(map(math.isfinite, strengths)):
        raise KilnError(f"strengths is {text!r}; write at least one number, such as 1.0.")
    return strengths


def pick_prompts(text: str) -> tuple[str, ...]:
    """One prompt a line; empty lines are left out."""
    prompts = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not prompts:
        raise KilnError("prompts is empty; write one prompt a line.")
    return prompts


def columns(run: Run, epochs: str, strengths: str) -> tuple[Column, ...]:
    """The no-LoRA column, then every chosen epoch at every strength."""
    pairs = [Column(epoch=e, strength=s) for e in pick_epochs(run, epochs) for s in pick_strengths(strengths)]
    return (Column(epoch=0, strength=0.0), *pairs)
