"""Outputs that are not there this time."""

from __future__ import annotations

from typing import Any

from comfy_execution.graph import ExecutionBlocker


def blocked() -> Any:
    """An output that keeps whatever hangs on it from running, without an error."""
    return ExecutionBlocker(None)
