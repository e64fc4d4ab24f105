"""Captions before and after, in words."""

from __future__ import annotations

from collections.abc import Sequence

from .values import Record

_MOST = 40
"""Pictures whose captions are shown; a report is read by people."""


def before_after(before: Sequence[Record], after: Sequence[Record]) -> str:
    """The captions that changed, both ways, and which tags came and went; `after` has the same records in order."""
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old.caption != new.caption]
    if not changed:
        return "No caption changed"
    lines = [f"Changed captions ({len(changed)} of {len(before)}):"]
    for old, new in changed[:_MOST]:
        lines += [f"  {old.group}/{old.name}" if old.group else f"  {old.name}"]
        lines += [f"    - {old.caption or '(none)'}", f"    + {new.caption or '(none)'}"]
    if len(changed) > _MOST:
        lines.append(f"  ... and {len(changed) - _MOST} more")
    return "\n".join(lines)
