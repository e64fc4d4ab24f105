"""Kohya's values as settings of ours: typed and limited as the recipe's fields say."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from .kohya_keys import ZERO_IS_RANK, ZERO_IS_UNSET
from .kohya_sheet import Sheet
from .recipe import Recipe, group_of, groups

# Wider in kohya's files than here, and then no mistake: 100000 stands for full rank, a bucket step of 1 for any size.
_CLAMPED = (
    ("dim", "high"), ("conv_dim", "high"), ("alpha", "high"), ("alpha", "low"), ("conv_alpha", "high"),
    ("bucket_step", "low"),
)  # fmt: skip
# What the GUI leaves out where a 0 stands, so that sd-scripts' own value counts.
_LEFT_OUT = ("max_grad_norm", "prior_loss_weight")


def take(sheet: Sheet, names: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """The values under `names`, which map kohya's names to ours, each checked against our setting's limits."""
    found: dict[str, Any] = {}
    for name, setting in names.items():
        if not sheet.has(prefix + name):
            continue
        value = _typed(sheet, prefix + name, setting)
        cell = sheet.cell(prefix + name)
        left_out = name in _LEFT_OUT and sheet.dialect == "gui" and cell is not None and cell.key == name
        if value == 0 and (name in ZERO_IS_UNSET or name.startswith("loraplus") or left_out):
            sheet.say(prefix + name, "default", "left alone")
            continue
        if value == 0 and name in ZERO_IS_RANK:
            value = sheet.real(ZERO_IS_RANK[name], 4.0)
        found[setting] = settle(sheet, prefix + name, setting, value)
    return found


def settle(sheet: Sheet, name: str, setting: str, value: Any) -> Any:
    """The value as our setting takes it, and the line that says so. Raises `KilnError` for one out of its limits."""
    about = _field(setting).metadata
    fitting = value
    if about["choices"] and value not in about["choices"]:
        raise sheet.fail(name, f"choose one of {', '.join(about['choices'])}")
    for end, beyond in (("low", min), ("high", max)):
        limit = about[end]
        if limit is not None and beyond(value, limit) == value and value != limit:
            if (setting, end) not in _CLAMPED or value <= 0:
                raise sheet.fail(name, f"{setting} goes from {about['low']} to {about['high']}")
            fitting = limit
    if fitting != value:
        sheet.say(name, "applied", f"{setting} = {fitting}, as far as it goes")
    elif not value and value == _field(setting).default:
        sheet.say(name, "default", "off")
    else:
        sheet.say(name, "applied", f"{setting} = {shown(fitting)}")
    return fitting


def shown(value: Any) -> str:
    """A setting's value for a report."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _field(setting: str) -> dataclasses.Field[Any]:
    kind: Any = Recipe if setting == "seed" else groups()[group_of()[setting]]
    return next(field for field in dataclasses.fields(kind) if field.name == setting)


def _typed(sheet: Sheet, name: str, setting: str) -> Any:
    default = _field(setting).default
    if isinstance(default, bool):
        return sheet.flag(name)
    if isinstance(default, int):
        return sheet.whole(name)
    if isinstance(default, float):
        return sheet.real(name)
    text = sheet.text(name)
    return text.lower() if _field(setting).metadata["choices"] else text


def span(sheet: Sheet, name: str, *, percent: bool = False) -> str:
    """A length of training: steps, a share below 1, `10%`, or percent where that is what the key means."""
    text = sheet.text(name)
    value = float(text[:-1] or "nan") if re.fullmatch(r"[\d.]+%", text) else sheet.real(name)
    percent = percent or text.endswith("%")
    # A float is a share to sd-scripts, the whole run included.
    if not percent and (0 < value < 1 or text == "1.0"):
        value, percent = value * 100, True
    if math.isnan(value) or value < 0 or (percent and value > 100):
        raise sheet.fail(name, "give 0 to 100 percent" if percent else "give steps, or a share below 1")
    return f"{value:g} %" if percent else f"{value:.0f}"
