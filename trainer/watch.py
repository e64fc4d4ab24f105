"""A run as it is looked at from outside, while it goes on or long after: all of it is read from its folder.

Everything here is plain values, as JSON holds them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .prompts import words_of
from .runs import NOTES, RESERVED, read_about
from .state import FILE as STATE_FILE

MOST_ROWS = 20_000
"""Steps that are told at once; who wants more asks again."""
_COLUMNS = ("step", "epoch", "loss", "grad_norm", "it_s", "memory", "skipped")
_DIGITS = 6
_SAMPLE = re.compile(r"step(\d{8})-(\d{2,})\.png")


def runs(root: Path, name: str = "") -> list[dict[str, Any]]:
    """Every run below `root`, or those of one name, the one that was last written to first."""
    found = []
    for file in root.glob("*/run.json"):
        folder = file.parent
        about = read_about(folder)
        if folder.is_symlink() or folder.name.casefold() in RESERVED or not about or name not in ("", about["name"]):
            continue
        logged = folder / "metrics.jsonl"
        changed = max(one.stat().st_mtime for one in (file, logged) if one.is_file())
        found.append({**_state(folder, about), "changed": changed})
    return sorted(found, key=lambda run: -run["changed"])


def overview(folder: Path) -> dict[str, Any]:
    """Everything of a run but its steps. Of a folder without a readable `run.json`, nothing: {}."""
    about = read_about(folder)
    if not about:
        return {}
    ahead = _read_json(folder / "preflight.json")
    recipe = _read_json(folder / "recipe.json")
    return {
        **_state(folder, about),
        **{key: about.get(key, "") for key in ("trigger", "origin", "started_at")},
        **{key: ahead.get(key, 0) for key in ("steps", "steps_an_epoch", "epochs")},
        "doubts": ahead.get("notes", []),
        "report": ahead.get("text", ""),
        "prompts": [words_of(line) for line in recipe.get("saving", {}).get("sample_prompts", [])],
        "checkpoints": [
            {"epoch": row["epoch"], "step": row["step"], "there": (folder / row["file"]).is_file()}
            for row in about["checkpoints"]
        ],
        "notes": list(_rows(folder / f"{NOTES}.jsonl")),
        "validation": [{"step": row["step"], "loss": row["loss"]} for row in _rows(folder / "validation.jsonl")],
        "samples": samples(folder),
        "sweeps": sweeps(folder),
    }


def samples(folder: Path) -> list[dict[str, Any]]:
    """The sample pictures, oldest first; `mark` changes with the picture."""
    found = []
    for file in sorted((folder / "samples").glob("step*.png")):
        if match := _SAMPLE.fullmatch(file.name):
            mark = f"{file.stat().st_mtime_ns:x}"
            found.append({"step": int(match[1]), "number": int(match[2]), "file": file.name, "mark": mark})
    return found


def sweeps(folder: Path) -> list[dict[str, Any]]:
    """The sweeps whose scores lie in the run's folder, and when they were made, the newest first."""
    found = [{"name": file.stem, "changed": file.stat().st_mtime} for file in folder.glob("sweep-*.json")]
    return sorted(found, key=lambda sweep: -sweep["changed"])


def steps_after(folder: Path, place: int, step: int) -> dict[str, Any]:
    """The steps that were logged after byte `place`, where the line of `step` ends; 0, 0 asks for all.

    `columns` holds a list a value, `lr` in it one a part of the model. `fresh` says that what was known before does
    not count any more: a run that goes on after a crash, or begins again, drops the steps that it makes anew. `place`
    is where to ask next, and `more` whether to do so at once.
    """
    rows, end, more = _read_rows(folder / "metrics.jsonl", place)
    fresh = place == 0 or rows is None or bool(rows and rows[0]["step"] != step + 1)
    if fresh and place:
        rows, end, more = _read_rows(folder / "metrics.jsonl", 0)
    return {"fresh": fresh, "place": end, "more": more, "columns": _columns(rows or [])}


def _read_rows(file: Path, place: int) -> tuple[list[dict[str, Any]] | None, int, bool]:
    """Whole lines from `place` on, where they end, and whether there are more; None where no line begins there."""
    try:
        with file.open("rb") as opened:
            if place:
                opened.seek(place - 1)
                if opened.read(1) != b"\n":
                    return None, 0, False
            rows: list[dict[str, Any]] = []
            for line in opened:
                if not line.endswith(b"\n"):
                    break
                if len(rows) == MOST_ROWS:
                    return rows, place, True
                rows.append(json.loads(line))
                place += len(line)
            return rows, place, False
    except FileNotFoundError:
        return None, 0, False
    except ValueError:
        # A crash may cut a line off in the middle, and the next one begins in it.
        return rows, place, False


def _columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    parts = dict.fromkeys(part for row in rows for part in row["lr"])
    plain = {name: [_short(row.get(name)) for row in rows] for name in _COLUMNS}
    return {**plain, "lr": {part: [_short(row["lr"].get(part)) for row in rows] for part in parts}}


def _short(value: Any) -> Any:
    """Fewer digits: a picture of twenty thousand steps shows no more of them."""
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{_DIGITS}g}")
    return value


def _state(folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    return {
        "run": folder.name,
        "name": about["name"],
        "finished": bool(about.get("finished")),
        "stopped_at": about.get("stopped_at", 0),
        "can_go_on": (folder / STATE_FILE).is_file(),
    }


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _rows(file: Path) -> Iterable[dict[str, Any]]:
    """The lines of a log, up to one that cannot be read."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            return
        yield row
