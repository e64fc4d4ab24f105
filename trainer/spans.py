"""Lengths of training as people write them: `100`, `0.1`, `10 %`, `1 epoch`, `250 steps`."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_FORM = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(%|steps?|epochs?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a run. `unit` is `steps` (optimizer updates), `epochs`, or `share` of all steps."""

    amount: float
    unit: str

    def steps(self, *, steps: int, steps_an_epoch: int, least: int = 0) -> int:
        """In updates, rounded, never more than the run's `steps`; any length at all is at least `least`."""
        if not self.amount:
            return 0
        factor = {"steps": 1, "epochs": steps_an_epoch, "share": steps}[self.unit]
        return min(steps, max(least, round(self.amount * factor)))


@functools.lru_cache(maxsize=256)
def parse_span(text: str) -> Span:
    """The span that `text` says; a bare number is a share below 1 and steps from 1 on, as in kohya's scripts.

    Raises ValueError for anything else, and for more than 100 %.
    """
    found = _FORM.fullmatch(text.strip().lower()) if text.strip() else _FORM.fullmatch("0")
    if found is None:
        raise ValueError(f"{text!r} is no length of training; write 100, 10 %, 1 epoch or 250 steps")
    amount, unit = float(found[1]), (found[2] or "").rstrip("s")
    if unit == "%":
        amount /= 100
        if amount > 1:
            raise ValueError(f"{text!r} is more than the whole run; write 100 % or less")
    if unit == "%" or (not unit and amount < 1):
        return Span(amount=amount, unit="share")
    return Span(amount=amount, unit="epochs" if unit == "epoch" else "steps")
