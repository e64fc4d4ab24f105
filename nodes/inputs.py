"""A settings dataclass as a node's inputs, and a node's inputs as the settings.

Defaults, limits, choices and tooltips are written once, in the dataclass (`dataset/settings.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from comfy_api.latest import io

from ..dataset.tags import parse_tags

T = TypeVar("T")


def inputs_of(settings: type[Any], *, detail: bool = False) -> list[io.Input]:
    """One input for each field, in order, with the field's name as its id: the common ones, or the details."""
    return [_input(field) for field in dataclasses.fields(settings) if field.metadata["detail"] == detail]


def int_input(name: str, **options: Any) -> io.Input:
    """A whole number that the page leaves alone: a `seed` it would draw anew, and no finished run would be found."""
    return io.Int.Input(name, control_after_generate=False, **options)


def only(name: str, values: list[T]) -> T:
    """The one value of an input of a node that gets every input as a list. Raises ValueError for several."""
    if len(values) != 1:
        raise ValueError(f"{name} came as a list of {len(values)}; give one, or a node for each")
    return values[0]


def settings_from(settings: type[T], values: dict[str, Any]) -> T:
    """The dataclass made from a node's values; text becomes a tuple as the field's `split` says."""
    return settings(**parsed({field.name: field for field in dataclasses.fields(settings)}, values))  # type: ignore[arg-type]


def values_of(settings: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Those of a node's values that are fields of a dataclass, where a node has the fields of several."""
    return {field.name: values[field.name] for field in dataclasses.fields(settings) if field.name in values}


def parsed(fields: Mapping[str, dataclasses.Field[Any]], values: dict[str, Any]) -> dict[str, Any]:
    """A page's values as the fields of these names hold them; others pass."""
    return {name: _parsed(fields[name], value) if name in fields else value for name, value in values.items()}


def _input(field: dataclasses.Field[Any]) -> io.Input:
    about = field.metadata
    common: dict[str, Any] = {"tooltip": about["help"], "default": field.default}
    if about["choices"]:
        return io.Combo.Input(field.name, options=list(about["choices"]), **common)
    if isinstance(field.default, bool):
        return io.Boolean.Input(field.name, **common)
    limits = {"min": about["low"], "max": about["high"], "step": about["step"]}
    if isinstance(field.default, int):
        return int_input(field.name, **limits, **common)
    if isinstance(field.default, float):
        return io.Float.Input(field.name, **limits, **common)
    if isinstance(field.default, tuple):
        common["default"] = ("\n" if about["split"] == "lines" else ", ").join(field.default)
        # A caption ending is short; lists of tags and patterns grow, and lines need a box of several lines.
        return io.String.Input(field.name, multiline=about["split"] == "lines" or not field.default, **common)
    return io.String.Input(field.name, multiline=about["multiline"], **common)


def _parsed(field: dataclasses.Field[Any], value: Any) -> Any:
    if not isinstance(field.default, tuple) or not isinstance(value, str):
        return value
    if field.metadata["split"] == "lines":
        return tuple(line.strip() for line in value.splitlines() if line.strip())
    return parse_tags(value)
