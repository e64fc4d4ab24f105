"""A training's reporter for those who want to hear of little."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Silent:
    """Says nothing and asks for nothing; a subclass hears what it wants to hear."""

    def begun(self, folder: Path, step: int, steps: int) -> None:
        """The first update is near."""

    def asked(self) -> Any:
        """Nobody asks for anything."""
        from lora_kiln.trainer.ports import Asked

        return Asked()

    def stage(self, words: str, done: int, total: int) -> None:
        """Preparation."""

    def note(self, words: str) -> None:
        """Words for the user."""

    def step(self, report: Any) -> None:
        """An update is done."""

    def saved(self, epoch: int, file: Path) -> None:
        """A file is there."""

    def painted(self, step: int, files: Sequence[Path]) -> None:
        """Pictures are there."""
