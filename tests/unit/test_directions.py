"""The rooms of the pack import each other in one direction only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

HOST_MODULES = {
    "api_server", "app", "comfy", "comfy_api", "comfy_api_nodes", "comfy_config", "comfy_execution",
    "comfy_extras", "execution", "folder_paths", "latent_preview", "main", "node_helpers", "nodes",
    "protocol", "server",
}  # fmt: skip
OWN_NAMES = {"dataset", "trainer", "sweep", "host", "nodes", "web", "demo", "tests", "dev", "lora_kiln"}


class Rule(NamedTuple):
    """What one room may import: patterns of the pack's modules (its own are free), and ComfyUI's."""

    pack: tuple[str, ...]
    host: frozenset[str] = frozenset()


ROOT_MODULE = "__init__"
_TRAINERS_FILES = ("trainer.blocks", "trainer.files", "trainer.formats", "trainer.ports")
RULES = {
    ROOT_MODULE: Rule(("nodes", "nodes.*"), frozenset({"comfy_api"})),
    "nodes": Rule(
        ("dataset", "dataset.*", "trainer", "trainer.*", "sweep", "sweep.*", "host", "host.*"),
        frozenset({"comfy_api"}),
    ),
    "host": Rule(("trainer.ports", "*.values"), frozenset(HOST_MODULES)),
    "sweep": Rule(("dataset", "dataset.*", "*.values", "*.errors", *_TRAINERS_FILES)),
    "trainer": Rule(("dataset", "dataset.*")),
    "dataset": Rule(()),
}


class Import(NamedTuple):
    """One import statement's target. ``level`` counts the leading dots; an absolute import has none."""

    line: int
    level: int
    module: str
    name: str


def imports(tree: ast.AST) -> Iterator[Import]:
    """Every import in a module, wherever it stands, and calls that import a module by its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, 0, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(node.lineno, node.level, node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called in ("__import__", "import_module", "importlib.import_module"):
                name = str(node.args[0].value)
                module = name.lstrip(".")
                yield Import(node.lineno, len(name) - len(module), module, "")


def target_in_pack(found: Import, file: Path) -> str | None:
    """The module of the pack that a relative import in ``file`` (a path from the root) reaches, if any.

    ``from ..trainer import ports`` and ``from ..trainer.ports import Denoiser`` both give ``trainer.ports``.
    """
    package = file.parent.parts
    above = found.level - 1
    if above > len(package):
        return None
    base = [*package[: len(package) - above], *(found.module.split(".") if found.module else ())]
    return ".".join([*base, found.name] if len(base) < 2 and found.name else base)


def violation(found: Import, file: Path) -> str | None:
    """What is wrong with one import in ``file``; None when the rules allow it."""
    room = file.parts[0] if len(file.parts) > 1 else ROOT_MODULE
    rule = RULES[room]
    if found.level == 0:
        top = found.module.split(".")[0]
        # Inside host/ "nodes" and "main" are ComfyUI's own: the pack's are only ever reached with dots.
        if top in HOST_MODULES and top in rule.host:
            return None
        if top in OWN_NAMES:
            return f"imports {found.module} absolutely; inside the pack imports are relative"
        if top in HOST_MODULES:
            return f"imports ComfyUI's {found.module}; only host/ may (nodes/ may import comfy_api)"
        return None
    target = target_in_pack(found, file)
    if target is None:
        return f"imports {'.' * found.level}{found.module} from outside the pack"
    if target.split(".")[0] == room or any(fnmatch(target, pattern) for pattern in rule.pack):
        return None
    return f"imports {target}; {room} may import {', '.join(rule.pack) or 'its own modules'} only"


def violations(source: str, file: Path) -> list[str]:
    """All forbidden imports in one file's source, as ``path:line: what``."""
    found = ((each, violation(each, file)) for each in imports(ast.parse(source, str(file))))
    return [f"{file.as_posix()}:{each.line}: {wrong}" for each, wrong in found if wrong]


def pack_files(root: Path) -> list[Path]:
    """Every Python file of the pack itself, relative to the root."""
    rooms = (root / room for room in RULES if room != ROOT_MODULE)
    files = [file for room in rooms for file in sorted(room.rglob("*.py"))]
    return [file.relative_to(root) for file in [root / "__init__.py", *files] if file.exists()]


def test_the_rooms_import_in_the_designs_direction(root: Path) -> None:
    wrong = [line for file in pack_files(root) for line in violations((root / file).read_text(encoding="utf-8"), file)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("dataset/load.py", "import comfy.utils"),
        ("dataset/load.py", "import folder_paths"),
        ("dataset/load.py", "from ..trainer.recipe import Recipe"),
        ("dataset/load.py", "from .. import trainer"),
        ("dataset/load.py", "def late():\n    from ..host import progress"),
        ("dataset/load.py", "import importlib\nimportlib.import_module('comfy.utils')"),
        ("trainer/loop.py", "from ..host.model import HostModel"),
        ("trainer/loop.py", "from lora_kiln.dataset.values import Dataset"),
        ("trainer/loop.py", "from dataset.values import Dataset"),
        ("trainer/adapters/lora.py", "from ...nodes.train import KilnTrainLoRA"),
        ("trainer/loop.py", "from demo.base import ROOT"),
        ("trainer/loop.py", "from ..tests import conftest"),
        ("sweep/grid.py", "from ..trainer.loop import train"),
        ("sweep/grid.py", "import server"),
        ("host/model.py", "from ..trainer.loop import train"),
        ("host/model.py", "from ..trainer import loop"),
        ("host/model.py", "from ..nodes.train import KilnTrainLoRA"),
        ("nodes/train.py", "import comfy.model_management"),
        ("nodes/train.py", "from ..demo.base import ROOT"),
        ("nodes/train.py", "from ....elsewhere import thing"),
        ("__init__.py", "from .trainer.loop import train"),
        ("__init__.py", "import folder_paths"),
    ],
)
def test_a_planted_violation_is_caught(file: str, source: str) -> None:
    assert len(violations(source, Path(file))) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (
            "dataset/load.py",
            "import numpy\nfrom PIL import Image\nfrom .values import Dataset\nfrom . import values",
        ),
        (
            "trainer/loop.py",
            "import torch\nfrom ..dataset.values import Dataset\nfrom .ports import Denoiser",
        ),
        ("trainer/adapters/lora.py", "from ..recipe import Recipe\nfrom ...dataset.values import Dataset"),
        ("sweep/grid.py", "from ..trainer.values import Run\nfrom ..dataset import values"),
        (
            "host/model.py",
            "import comfy.utils\nimport nodes\nfrom ..trainer.ports import Denoiser\nfrom . import vae",
        ),
        ("host/model.py", "from ..trainer import ports\nfrom ..dataset.values import Dataset"),
        (
            "nodes/train.py",
            "from comfy_api.latest import io\nfrom ..host.model import Host\nfrom ..sweep import grid",
        ),
        (
            "__init__.py",
            "from comfy_api.latest import ComfyExtension\nfrom .nodes.extension import KilnExtension",
        ),
    ],
)
def test_what_the_design_allows_passes(file: str, source: str) -> None:
    assert violations(source, Path(file)) == []
