"""A training run by its name: found again, gone on with, forked, or begun."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..dataset.values import Dataset
from . import loop
from .formats import load_file
from .ports import Model, Reporter
from .preflight import Preflight
from .recipe import Recipe
from .runs import (
    START_FILE,
    RunFolder,
    changes,
    find_folder,
    fingerprint,
    is_finished,
    is_kept,
    is_stranded,
    latest,
    load_run,
    read_about,
)
from .values import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to train on what. Runs lie below `root`; `mark` stands for the loaded model.

    `start` holds the tensors of a LoRA to go on from, or None.
    """

    model: Model
    mark: str
    dataset: Dataset
    recipe: Recipe
    root: Path
    name: str
    start: Mapping[str, Tensor] | None = None

    def look_ahead(self, reporter: Reporter) -> Preflight:
        """What the run would do; nothing is written but latents."""
        target = RunFolder(self.root / self.name, self.name, self._fingerprint(), self.dataset)
        return loop.preflight(
            self.model, self.dataset, self.recipe, target, reporter, latents=self._latents, start=self.start
        )

    def run(self, reporter: Reporter, *, fork: bool) -> Run:
        """The finished run; `fork` lets a changed one go on from the last LoRA of its name."""
        mark = self._fingerprint()
        folder = find_folder(self.root, self.name, mark, forked=fork)
        if is_finished(folder):
            return _whole(folder, reporter)
        if is_kept(folder):
            return _kept(folder, reporter)
        start, origin = self.start, str(read_about(folder).get("origin", ""))
        before = latest(self.root, self.name)
        if origin:
            start = load_file(folder / START_FILE)[0]
        elif before and before != folder and read_about(before).get("fingerprint") == mark and is_stranded(before):
            reporter.note(
                f"{before.name} holds LoRAs of this very run and no state to go on from; it stays as it is, and "
                f"training begins anew in {folder.name}."
            )
        elif before and before != folder:
            different = "; ".join(changes(before, self.recipe)) or "the dataset, the captions or the model"
            reporter.note(f"Not the run in {before.name}. Different: {different}.")
            if fork and start is None and not folder.exists():
                last = load_run(before).checkpoint(0)
                start, origin = load_file(last.file)[0], f"{before.name}, step {last.step}"
                reporter.note(f"Going on from {origin}.")
        target = RunFolder(folder, self.name, mark, self.dataset, origin=origin, start=start)
        return loop.train(self.model, self.dataset, self.recipe, target, reporter, latents=self._latents, start=start)

    @property
    def _latents(self) -> Path:
        return self.root / "latents"

    def _fingerprint(self) -> str:
        found = fingerprint(self.recipe, self.dataset, self.mark)
        if self.start is None:
            return found
        digest = hashlib.sha256(found.encode())
        for key in sorted(self.start):
            digest.update(key.encode())
            digest.update(self.start[key].detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()


def _whole(folder: Path, reporter: Reporter) -> Run:
    """A finished run, and a word about LoRAs of it that somebody deleted."""
    run, saved = load_run(folder), len(read_about(folder)["checkpoints"])
    if len(run.checkpoints) < saved:
        reporter.note(
            f"{folder.name} is finished; {len(run.checkpoints)} of its {saved} LoRAs are still there. To train it "
            "anew, delete them all, or give the run another name."
        )
    return run


def _kept(folder: Path, reporter: Reporter) -> Run:
    """What the user has stopped and kept counts as done until they want it to go on."""
    at = read_about(folder)["stopped_at"]
    reporter.note(f"{folder.name} was stopped and kept after step {at}; press go on in the node to train the rest.")
    return load_run(folder)
