"""The words that a record is trained with, drawn afresh every time it is seen."""

from __future__ import annotations

import torch

from ..dataset.values import Record
from .recipe import Captions


def draw_caption(record: Record, settings: Captions, generator: torch.Generator) -> str:
    """The record's caption after dropout and shuffle; the first `keep_tokens` tags stay first."""
    if settings.caption_dropout and _chance(generator) < settings.caption_dropout:
        return ""
    if record.prose:
        return record.prose
    kept, rest = record.tags[: settings.keep_tokens], list(record.tags[settings.keep_tokens :])
    if settings.tag_dropout:
        rest = [tag for tag in rest if _chance(generator) >= settings.tag_dropout]
    if settings.shuffle_caption:
        rest = [rest[i] for i in torch.randperm(len(rest), generator=generator).tolist()]
    return ", ".join((*kept, *rest))


def _chance(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
