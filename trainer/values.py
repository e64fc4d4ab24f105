"""What training leaves behind, as a value on a wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import KilnError


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One saved epoch: `epoch` counts from 1, `step` is the number of optimizer updates so far."""

    epoch: int
    step: int
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A folder with `run.json`, `recipe.json`, `metrics.jsonl` and one `.safetensors` an epoch."""

    folder: Path
    name: str
    checkpoints: tuple[Checkpoint, ...]
    trigger: str = ""
    # Tags that pruning took from the captions: the traits that the trigger must have absorbed.
    traits: tuple[str, ...] = ()
    # In what share of the pictures each was; runs of older versions do not say.
    trait_shares: Mapping[str, float] = field(default_factory=dict)
    # The same for each trigger that only some of the pictures have; under "" for those that have none of them.
    traits_of_words: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def checkpoint(self, epoch: int) -> Checkpoint:
        """The saved epoch of that number; 0 is the last one. Raises `KilnError` when it was not saved."""
        if epoch == 0 and self.checkpoints:
            return self.checkpoints[-1]
        # Of several saved inside one epoch, the last.
        for one in reversed(self.checkpoints):
            if one.epoch == epoch:
                return one
        saved = ", ".join(str(one.epoch) for one in self.checkpoints) or "none"
        raise KilnError(
            f"Run {self.name!r} in {self.folder} has no epoch {epoch}; saved are {saved}. Choose one of them."
        )
