"""Settings that live once: default, limits and help sit in a dataclass field; nodes and checks read them there."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

T = TypeVar("T")


def setting(
    default: T,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    split: str = "",
    multiline: bool = False,
    detail: bool = False,
) -> T:
    """A dataclass field that documents itself.

    `choices` limits a string; `low` and `high` (both inclusive) limit a number; `step` is the page's step.
    `split` says how a page's text becomes a tuple: "tags" (at commas and lines) or "lines".
    A `multiline` string gets a box of several lines.
    A `detail` stands on a node of its own, beside the main one that has the common settings.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "low": low,
        "high": high,
        "step": step,
        "split": split,
        "multiline": multiline,
        "detail": detail,
    }
    field: T = dataclasses.field(default=default, metadata=metadata)
    return field


def check_settings(options: Any) -> None:
    """Raise ValueError for the first field of a settings dataclass that breaks its own limits."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        where = f"{type(options).__name__}.{field.name}"
        choices = field.metadata.get("choices") or ()
        if choices and value not in choices:
            raise ValueError(f"{where} is {value!r}; choose one of: {', '.join(choices)}")
        low, high = field.metadata.get("low"), field.metadata.get("high")
        if low is not None and value < low:
            raise ValueError(f"{where} is {value}; it must be {low} or more")
        if high is not None and value > high:
            raise ValueError(f"{where} is {value}; it must be {high} or less")
