"""A finished sweep as it is looked at later: its scores, and the cells that belong to it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..trainer.errors import KilnError

_NAME = re.compile(r"sweep-[0-9a-f]{1,64}")
_KEY = re.compile(r"[0-9a-f]{16,128}")
"""Of a cell. A shared run may hold any text there."""


def read_sweep(run: Path, name: str) -> dict[str, Any]:
    """What `sweep` wrote of a sweep in the run's folder (`session.plain`). Raises `KilnError` when there is none."""
    file = run / f"{name}.json"
    try:
        if not _NAME.fullmatch(name) or file.is_symlink():
            raise FileNotFoundError(name)
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KilnError(f"{run.name} holds no sweep {name!r} that can be read; queue Epoch Sweep again.") from error
    if "cells" not in found:
        raise KilnError(f"{name} of {run.name} was made by an older version; queue Epoch Sweep again, nothing is lost.")
    return found


def cell_file(run: Path, name: str, key: str, cache: Path) -> Path:
    """The picture of a cell of that sweep, in the folder of all cells. Raises `KilnError` for any other key, and for
    a picture that was deleted."""
    cells = read_sweep(run, name)["cells"]
    if not _KEY.fullmatch(key) or not any(cell["key"] == key for sheet in cells for row in sheet for cell in row):
        raise KilnError(f"{name} of {run.name} has no such cell.")
    file = cache / key[:2] / f"{key}.png"
    if not file.is_file() or file.is_symlink():
        raise KilnError(f"A cell of {name} was deleted; queue Epoch Sweep again, and it is painted anew.")
    return file
