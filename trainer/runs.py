"""A run on disk: a folder that outlives the graph, found again by what it was made from."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

from ..dataset.values import Dataset
from .errors import KilnError
from .recipe import Recipe
from .values import Checkpoint, Run


class RunFolder:
    """Writes one run's files. `run.json` is always whole: it is replaced, never rewritten in place."""

    def __init__(self, folder: Path, name: str, fingerprint: str, dataset: Dataset) -> None:
        self.folder, self.name, self.fingerprint = folder, name, fingerprint
        traits = sorted({tag for record in dataset for tag in record.pruned})
        self.about: dict[str, Any] = {
            "name": name,
            "fingerprint": fingerprint,
            "finished": False,
            "trigger": dataset.trigger,
            "traits": traits,
            "checkpoints": [],
        }

    def start(self, recipe: Recipe) -> None:
        """Make the folder, with nothing in it that an earlier try at the same run left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in (*self.folder.glob("*.safetensors"), self.folder / "metrics.jsonl"):
            file.unlink(missing_ok=True)
        _write_json(self.folder / "recipe.json", recipe.to_dict())
        self._write()

    def log(self, **values: Any) -> None:
        """Append one line to `metrics.jsonl`. A number that is not finite, which JSON lacks, becomes null."""
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain, allow_nan=False) + "\n")

    def checkpoint_file(self, epoch: int) -> Path:
        return self.folder / f"{self.name}-{epoch:06d}.safetensors"

    def add(self, checkpoint: Checkpoint) -> None:
        """Remember a saved epoch."""
        row = {"epoch": checkpoint.epoch, "step": checkpoint.step, "file": checkpoint.file.name}
        self.about["checkpoints"].append(row)
        self._write()

    def finish(self) -> Run:
        """Mark the run as whole and return it."""
        self.about["finished"] = True
        self._write()
        return load_run(self.folder)

    def _write(self) -> None:
        _write_json(self.folder / "run.json", self.about)


def fingerprint(recipe: Recipe, dataset: Dataset, model: str) -> str:
    """A sha256 in hex of everything that decides the result; `model` stands for the loaded base."""
    text = json.dumps(recipe.to_dict(), sort_keys=True)
    return hashlib.sha256("\n".join((text, dataset.fingerprint(), model)).encode()).hexdigest()


def find_folder(root: Path, name: str, mark: str) -> Path:
    """`root/name`, or `name-2`, ...: the first that is free or that holds the run with this fingerprint.

    Raises `KilnError` for a name that is no plain folder name.
    """
    if not re.fullmatch(r"[^\\/:*?\"<>|\x00-\x1f]{1,120}", name) or name.strip(" .") != name:
        raise KilnError(f"The run's name is {name!r}; use letters, digits, spaces, - and _ only.")
    number = 1
    while True:
        folder = root / (name if number == 1 else f"{name}-{number}")
        if not folder.exists() or _read(folder).get("fingerprint") == mark:
            return folder
        number += 1


def is_finished(folder: Path) -> bool:
    """Whether a whole run with all its files lies there."""
    about = _read(folder)
    files = [folder / row["file"] for row in about.get("checkpoints", [])]
    return bool(about.get("finished")) and all(file.is_file() for file in files)


def load_run(folder: Path) -> Run:
    """The run in `folder`. Raises `KilnError` when there is none."""
    about = _read(folder)
    if not about:
        raise KilnError(f"{folder} holds no run (no readable run.json); choose a folder that KilnTrainLoRA wrote.")
    checkpoints = tuple(
        Checkpoint(epoch=row["epoch"], step=row["step"], file=folder / row["file"]) for row in about["checkpoints"]
    )
    return Run(
        folder=folder,
        name=about["name"],
        checkpoints=checkpoints,
        trigger=about["trigger"],
        traits=tuple(about["traits"]),
    )


def read_losses(folder: Path) -> list[float]:
    """The loss of every step so far; NaN where it was not finite."""
    file = folder / "metrics.jsonl"
    if not file.is_file():
        return []
    losses = (json.loads(line)["loss"] for line in file.read_text(encoding="utf-8").splitlines())
    return [math.nan if loss is None else loss for loss in losses]


def _read(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _write_json(file: Path, content: dict[str, Any]) -> None:
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    partial.replace(file)
