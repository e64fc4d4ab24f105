"""`python dev.py workflows`: write `example_workflows/*.json`, and each in API form into `example_workflows/api`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..hosting import Host
from ..mount import ROOT
from ..workflow import to_api
from . import character, loopback, one_image, outfits, style, styles, transfer, turnaround
from .thumbnails import take

FOLDER = ROOT / "example_workflows"
TWINS = "api"
BUILT: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    module.NAME: module.build
    for module in (character, one_image, turnaround, styles, outfits, style, loopback, transfer)
}


def main(arguments: list[str]) -> int:
    """Build every workflow from the nodes as they are now, and the twin of every file in the folder."""
    parser = argparse.ArgumentParser(prog="dev.py workflows", description=__doc__)
    parser.add_argument("--thumbnails", action="store_true", help="take their pictures in the page instead")
    if parser.parse_args(arguments).thumbnails:
        return take(FOLDER)
    with tempfile.TemporaryDirectory(prefix="kiln-workflows-") as folder, Host(Path(folder)) as host:
        object_info = host.object_info()
    for name in write_all(object_info):
        print(FOLDER / name)
    return 0


def write_all(object_info: Mapping[str, Any], folder: Path = FOLDER) -> list[str]:
    """Write what is built, then the API form of every workflow in the folder; returns the files' names."""
    for name, build in BUILT.items():
        _write(folder / f"{name}.json", build(object_info))
    files = sorted(folder.glob("*.json"))
    for file in files:
        _write(folder / TWINS / file.name, to_api(json.loads(file.read_text(encoding="utf-8")), object_info))
    return [file.name for file in files]


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
