"""Arguments of other libraries as a recipe holds them."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from .errors import KilnError


def parse_arguments(lines: Sequence[str], setting: str) -> dict[str, Any]:
    """`d_coef=2`, `betas=(0.9, 0.99)`, `decouple=True`: one an entry, as kohya writes them.

    Raises `KilnError` naming the `setting` and the entry.
    """
    found: dict[str, Any] = {}
    for line in lines:
        name, equals, text = line.partition("=")
        if not equals or not name.strip().isidentifier():
            raise KilnError(f"{setting} has {line!r}; write name=value, such as {_SUCH_AS.get(setting, 'name=1')}.")
        try:
            found[name.strip()] = ast.literal_eval(_WORDS.get(text.strip().lower(), text.strip()))
        except (ValueError, SyntaxError):
            found[name.strip()] = text.strip()
    return found


_WORDS = {"true": "True", "false": "False"}
_SUCH_AS = {"optimizer_args": "d_coef=2", "network_args": "rs_lora=True"}
