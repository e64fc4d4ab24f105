"""Which file a loaded model came from: the host's models do not know, the graph does."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import folder_paths

_FOLDERS = ("checkpoints", "diffusion_models")
_DEEPEST = 100


def base_file(prompt: Mapping[str, Any] | None, node: str) -> Path | None:
    """The checkpoint at the upper end of a node's `model` wire, past LoRAs and patches; None where none is found.

    `prompt` is the graph as the host runs it: by node id, its `inputs`, wires as [node id, output].
    """
    for _ in range(_DEEPEST):
        inputs = ((prompt or {}).get(node) or {}).get("inputs", {})
        wires = {name: value for name, value in inputs.items() if isinstance(value, list) and len(value) == 2}
        # A reroute has one wire, whatever its name.
        wire = wires.get("model") or (next(iter(wires.values())) if len(wires) == 1 else None)
        if wire is None:
            found = (_file(value) for value in inputs.values() if isinstance(value, str))
            return next(filter(None, found), None)
        node = str(wire[0])
    return None


def base_facts(file: Path | None) -> dict[str, str]:
    """kohya's `ss_sd_model_name` and `ss_sd_model_hash`: the first 8 digits of SHA-256 over 64 KiB from 1 MiB on."""
    if file is None:
        return {}
    try:
        with file.open("rb") as opened:
            opened.seek(0x100000)
            digest = hashlib.sha256(opened.read(0x10000)).hexdigest()[:8]
    except OSError:
        return {"ss_sd_model_name": file.name}
    return {"ss_sd_model_name": file.name, "ss_sd_model_hash": digest}


def _file(name: str) -> Path | None:
    if Path(name).suffix.lower() not in folder_paths.supported_pt_extensions:
        return None
    for folder in _FOLDERS:
        # On Windows the host cannot take apart a path on another drive.
        with contextlib.suppress(ValueError, OSError):
            if path := folder_paths.get_full_path(folder, name):
                return Path(path)
    return None
