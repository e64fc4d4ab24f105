"""A run on disk: a folder that outlives the graph, found again by what it was made from."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..dataset.values import Dataset
from .board import Board, open_board
from .errors import KilnError
from .files import Log, whole, write_text
from .formats import save_file
from .recipe import WRITING, Recipe
from .state import FILE as STATE_FILE
from .state import has_state
from .values import Checkpoint, Run

START_FILE = "start.safetensors"
"""In a run's folder: the LoRA that a fork went on from."""
RESERVED = ("cache", "datasets", "kohya", "latents")
"""Folders beside the runs' that are no run's."""
FIGURES = ("metrics", "validation")
"""In a run's folder: the names of the `.jsonl` files that hold figures."""
NOTES = "notes"
"""The same for what the user was told while it went on."""


class RunFolder:
    """Writes one run's files. `run.json` is always whole: it is replaced, never rewritten in place.

    `fingerprint` stands for everything that decides the result; `origin` says what the run was forked from.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        fingerprint: str,
        dataset: Dataset,
        *,
        origin: str = "",
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.folder, self.name, self.fingerprint = folder, name, fingerprint
        # A fork keeps what it went on from, so that it can be gone on with by itself.
        self._start = start if origin else None
        self._board: Board | None = None
        self._logs = {kind: Log(folder / f"{kind}.jsonl") for kind in (*FIGURES, NOTES)}
        shares = _trait_shares(dataset)
        self.about: dict[str, Any] = {
            "name": name,
            "fingerprint": fingerprint,
            "finished": False,
            "trigger": dataset.trigger,
            "traits": list(shares),
            "trait_shares": shares,
            "traits_of_words": _traits_of_words(dataset),
            "origin": origin,
            "started_at": str(time.time()),
            "went_on": 0,
            "checkpoints": [],
        }

    @property
    def started_at(self) -> str:
        """When the run was first started, in seconds since 1970."""
        return str(self.about["started_at"])

    def may_go_on(self) -> bool:
        """Whether an unfinished try at the very same run lies here."""
        return read_about(self.folder).get("fingerprint") == self.fingerprint

    def has_state(self) -> bool:
        """Whether an unfinished try at the very same run left a state here, readable or not."""
        return self.may_go_on() and (self.folder / STATE_FILE).is_file()

    def start(self, recipe: Recipe, step: int) -> None:
        """Make the folder ready to go on after `step`: what a later step wrote is dropped, and with 0 everything."""
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        before = read_about(self.folder)
        self.about["went_on"] = before.get("went_on", 0)
        if step:
            self.about["started_at"], self.about["origin"] = before["started_at"], before["origin"]
            self.about["checkpoints"] = [row for row in before["checkpoints"] if row["step"] <= step]
        else:
            (self.folder / STATE_FILE).unlink(missing_ok=True)
        if self._start is not None and not (self.folder / START_FILE).is_file():
            save_file(self._start, {}, self.folder / START_FILE)
        kept = {row["file"] for row in self.about["checkpoints"]}
        for file in self.folder.glob("*.safetensors"):
            # What a user has put here, or given a name of its own, stays.
            if file.name not in kept and self._is_checkpoint(file.name):
                file.unlink()
        lines = {kind: _keep_lines(self.folder / f"{kind}.jsonl", step) for kind in self._logs}
        rows = [(kind, row) for kind in FIGURES for row in lines[kind]]
        for file in self.folder.glob("samples/step????????-*.png"):
            if file.name[4:12] > f"{step:08d}":
                file.unlink()
        _write_json(self.folder / "recipe.json", recipe.to_dict())
        self._write()
        rows.sort(key=lambda row: row[1]["step"])
        self._board = open_board(self.folder, float(self.started_at), rows)

    def log(self, **values: Any) -> None:
        """Append one line to `metrics.jsonl`. A number that is not finite, which JSON lacks, becomes null."""
        self._append("metrics", values)

    def log_validation(self, **values: Any) -> None:
        """Append one line to `validation.jsonl`."""
        self._append("validation", values)

    def log_note(self, *, step: int, words: str) -> None:
        """Append one line to `notes.jsonl`: what the user was told."""
        self._logs[NOTES].add((json.dumps({"step": step, "words": words}, ensure_ascii=False) + "\n").encode())

    def checkpoint_file(self, epoch: int, step: int | None) -> Path:
        """The file of a whole epoch, or of a step inside one."""
        return self.folder / (
            f"{self.name}-{epoch:06d}.safetensors" if step is None else f"{self.name}-step{step:08d}.safetensors"
        )

    def _is_checkpoint(self, file: str) -> bool:
        return bool(re.fullmatch(rf"{re.escape(self.name)}-(\d{{6}}|step\d{{8}})\.safetensors", file))

    def has_checkpoint(self, step: int) -> bool:
        """Whether what was trained up to this update is saved."""
        return any(row["step"] == step for row in self.about["checkpoints"])

    def has_validation(self, step: int) -> bool:
        """Whether the held-out images were tested after this update."""
        file = self.folder / "validation.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return any(json.loads(line)["step"] == step for line in lines)

    def add(self, checkpoint: Checkpoint, *, keep_last: int = 0) -> None:
        """Remember a saved LoRA, and forget all but the last `keep_last`; 0 keeps all."""
        rows = self.about["checkpoints"]
        rows.append({"epoch": checkpoint.epoch, "step": checkpoint.step, "file": checkpoint.file.name})
        old = rows[:-keep_last] if keep_last else []
        self.about["checkpoints"] = rows[len(old) :]
        self._write()
        for row in old:
            (self.folder / row["file"]).unlink(missing_ok=True)

    def keep_sample(self, picture: Tensor, step: int, number: int) -> Path:
        """Save a picture [H, W, 3] in 0..1 that was painted at this step."""
        file = self.sample_file(step, number)
        pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        with whole(file) as partial:
            Image.fromarray(pixels).save(partial, "PNG")
        return file

    def sample_file(self, step: int, number: int) -> Path:
        """Where the picture of a prompt that was painted at this step is."""
        return self.folder / "samples" / f"step{step:08d}-{number:02d}.png"

    def stop(self, step: int) -> Run:
        """Mark the run as ended by the user after this step and return it; what it can go on from stays."""
        self.close()
        self.about["stopped_at"] = step
        self._write()
        return load_run(self.folder)

    def finish(self) -> Run:
        """Mark the run as whole and return it."""
        self.close()
        self.about["finished"] = True
        self._write()
        (self.folder / STATE_FILE).unlink(missing_ok=True)
        return load_run(self.folder)

    def close(self) -> None:
        """Let go of the files that a run adds to."""
        for log in self._logs.values():
            log.close()
        if self._board:
            self._board.close()

    def _append(self, kind: str, values: dict[str, Any]) -> None:
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        self._logs[kind].add((json.dumps(plain, allow_nan=False) + "\n").encode())
        if self._board:
            self._board.add(kind, plain)

    def _write(self) -> None:
        _write_json(self.folder / "run.json", self.about)


def _trait_shares(dataset: Dataset) -> dict[str, float]:
    """Pruned tags in alphabetical order, each with the share of the pictures (regularisation left out) that lost it."""
    trained = [record for record in dataset if not record.is_reg]
    counts = Counter(tag for record in trained for tag in set(record.pruned))
    return {tag: round(counts[tag] / len(trained), 4) for tag in sorted(counts)}


def _traits_of_words(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Shares as `_trait_shares` gives them, of the pictures that have each trigger which some lack: of an outfit, or of
    one of several characters. Under "" stand the pictures that have none of these; empty where all have the same.
    """
    trained = [record for record in dataset if not record.is_reg]
    having = {word: [record for record in trained if record.has_word(word)] for word in dataset.triggers}
    some = {word: records for word, records in having.items() if records and len(records) < len(trained)}
    if not some:
        return {}
    named = {id(record) for records in some.values() for record in records}
    rest = [record for record in trained if id(record) not in named]
    every = {**some, **({"": rest} if rest else {})}
    return {word: _trait_shares(Dataset(records=tuple(records))) for word, records in every.items()}


def fingerprint(recipe: Recipe, dataset: Dataset, model: str) -> str:
    """A sha256 in hex of everything that decides the result; `model` stands for the loaded base."""
    text = json.dumps(recipe.learned(), sort_keys=True)
    return hashlib.sha256("\n".join((text, dataset.fingerprint(), model)).encode()).hexdigest()


def find_folder(root: Path, name: str, mark: str, *, forked: bool = False) -> Path:
    """`root/name`, or `name-2`, ...: the first that is free or that holds the run with this fingerprint.

    A fork counts only where `forked` allows it, and comes first there. An unfinished run that has LoRAs and nothing
    to go on from is left as it is. Raises `KilnError` for a name that is no plain folder name.
    """
    if name.casefold() in RESERVED:
        raise KilnError(f"The run's name is {name!r}, where the pack keeps files of all runs; choose another name.")
    if not re.fullmatch(r"[^\\/:*?\"<>|\x00-\x1f]{1,120}", name) or name.strip(" .") != name:
        raise KilnError(f"The run's name is {name!r}; use letters, digits, spaces, - and _ only.")
    free: Path | None = None
    mine = []
    for folder in _folders(root, name):
        if not folder.exists():
            free = folder
            break
        about = read_about(folder)
        if about.get("fingerprint") == mark and (forked or not about.get("origin")) and not is_stranded(folder):
            mine.append((not about.get("origin"), folder))
    return min(mine, key=lambda pair: pair[0])[1] if mine else free or root / name


def latest(root: Path, name: str) -> Path | None:
    """The last of `root/name`, `name-2`, ... that holds a run with a saved LoRA."""
    found = None
    for folder in _folders(root, name):
        if not folder.exists():
            return found
        if read_about(folder).get("checkpoints"):
            found = folder
    return found


def changes(folder: Path, recipe: Recipe) -> list[str]:
    """What a recipe learns otherwise than the run in `folder`, a line a setting; empty when that cannot be told."""
    try:
        before = Recipe.from_dict(json.loads((folder / "recipe.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError):
        # Recipes of older versions have other settings, and some of another type.
        return []
    found = before.differences(recipe)
    return [f"{name} was {old}, is {new}" for name, (old, new) in found.items() if name not in WRITING]


def _folders(root: Path, name: str) -> Iterator[Path]:
    yield root / name
    yield from (root / f"{name}-{number}" for number in itertools.count(2))


def is_finished(folder: Path) -> bool:
    """Whether a whole run lies there with any of its LoRAs; others may have been deleted to make room."""
    return bool(read_about(folder).get("finished")) and _has_files(folder)


def is_stranded(folder: Path) -> bool:
    """Whether an unfinished run lies there whose LoRAs beginning anew would delete: its state is gone or broken."""
    ended = read_about(folder).get("finished") or is_kept(folder)
    return not ended and _has_files(folder) and not has_state(folder)


def is_kept(folder: Path) -> bool:
    """Whether a run lies there that the user has stopped and kept, with any of its LoRAs."""
    return bool(read_about(folder).get("stopped_at")) and _has_files(folder)


def go_on(folder: Path) -> None:
    """Let a run that was stopped and kept go on when it is asked for again. Raises `KilnError` when it cannot."""
    about = read_about(folder)
    if not about.get("stopped_at"):
        raise KilnError(f"The run in {folder} was not stopped and kept; queue its graph to go on with it.")
    if not has_state(folder):
        raise KilnError(
            f"{folder} holds no {STATE_FILE} that can be read, so the run cannot go on; give the node another name to "
            "train from the beginning."
        )
    del about["stopped_at"]
    _write_json(folder / "run.json", {**about, "went_on": about.get("went_on", 0) + 1})


def times_gone_on(root: Path, name: str) -> int:
    """How often `go_on` was asked for, of all runs of that name: a graph with another number has to run again."""
    counts = itertools.takewhile(lambda folder: folder.is_dir(), _folders(root, name))
    return sum(read_about(folder).get("went_on", 0) for folder in counts)


def _has_files(folder: Path) -> bool:
    return any((folder / row["file"]).is_file() for row in read_about(folder).get("checkpoints", []))


def load_run(folder: Path) -> Run:
    """The run in `folder`, with those of its LoRAs that are still there. Raises `KilnError` when there is none."""
    about = read_about(folder)
    if not about:
        raise KilnError(f"{folder} holds no run (no readable run.json); choose a folder that KilnTrainLoRA wrote.")
    checkpoints = tuple(
        Checkpoint(epoch=row["epoch"], step=row["step"], file=folder / row["file"])
        for row in about["checkpoints"]
        if (folder / row["file"]).is_file()
    )
    return Run(
        folder=folder,
        name=about["name"],
        checkpoints=checkpoints,
        trigger=about["trigger"],
        traits=tuple(about["traits"]),
        trait_shares=about.get("trait_shares", {}),
        traits_of_words=about.get("traits_of_words", {}),
    )


def run_names(root: Path) -> list[str]:
    """Folders below `root` that hold a run with a saved LoRA, the newest first."""
    files = sorted(root.glob("*/run.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    return [file.parent.name for file in files if read_about(file.parent).get("checkpoints")]


def stamp(folder: Path) -> str:
    """Changes whenever the run does."""
    return json.dumps(read_about(folder), sort_keys=True)


def read_losses(folder: Path) -> list[float]:
    """The loss of every step so far; NaN where it was not finite."""
    file = folder / "metrics.jsonl"
    if not file.is_file():
        return []
    losses = (json.loads(line)["loss"] for line in file.read_text(encoding="utf-8").splitlines())
    return [math.nan if loss is None else loss for loss in losses]


def read_about(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _keep_lines(file: Path, step: int) -> list[dict[str, Any]]:
    """Drop the lines of later steps, and one that a crash cut off; those that stay are returned."""
    if not file.is_file():
        return []
    kept, rows = [], []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        if row["step"] > step:
            break
        kept.append(line + "\n")
        rows.append(row)
    write_text(file, "".join(kept))
    return rows


def _write_json(file: Path, content: dict[str, Any]) -> None:
    write_text(file, json.dumps(content, indent=2, ensure_ascii=False))
