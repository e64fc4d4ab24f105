"""Fixtures of the dataset tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def write_tagger() -> Callable[..., Path]:
    """`wd_onnx.write_tagger`; tests are no package, so the file is loaded by its path."""
    path = Path(__file__).with_name("wd_onnx.py")
    spec = importlib.util.spec_from_file_location("wd_onnx", path)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable[..., Path] = module.write_tagger
    return function
