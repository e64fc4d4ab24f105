"""Fixtures of the dataset tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def load_beside() -> Callable[[str], Any]:
    """Loads a module that lies beside these tests; tests are no package, so it is loaded by its path."""

    def load(name: str) -> Any:
        path = Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def write_tagger(load_beside: Callable[[str], Any]) -> Callable[..., Path]:
    """`wd_onnx.write_tagger`."""
    function: Callable[..., Path] = load_beside("wd_onnx").write_tagger
    return function
