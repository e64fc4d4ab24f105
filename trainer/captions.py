"""The words that a record is trained with, drawn afresh every time it is seen."""

from __future__ import annotations

import torch

from ..dataset.values import Record
from .groups import Captions


def draw_caption(record: Record, settings: Captions, generator: torch.Generator) -> str:
    """The record's caption after dropout and shuffle; the kept tags stay first.

    They are the first `keep_tokens`, or those before `keep_tokens_separator`, which is never trained on.
    """
    if settings.caption_dropout and _chance(generator) < settings.caption_dropout:
        return ""
    if record.prose:
        return record.prose
    kept, rest = kept_and_rest(record.tags, settings)
    if settings.tag_dropout:
        rest = [tag for tag in rest if _chance(generator) >= settings.tag_dropout]
    if settings.shuffle_caption:
        rest = [rest[i] for i in torch.randperm(len(rest), generator=generator).tolist()]
    return ", ".join((*kept, *rest))


def kept_and_rest(tags: tuple[str, ...], settings: Captions) -> tuple[list[str], list[str]]:
    """The tags that stay in place, and the others."""
    mark = settings.keep_tokens_separator.strip()
    if mark and any(mark in tag for tag in tags):
        # It may stand between commas or between two tags: `kiln, |||, smile` and `kiln ||| smile`.
        kept, _, rest = ", ".join(tags).partition(mark)
        return _split(kept), _split(rest.replace(mark, ","))
    return list(tags[: settings.keep_tokens]), list(tags[settings.keep_tokens :])


def written(record: Record, settings: Captions) -> str:
    """The record's caption in its own order, without the separator."""
    kept, rest = kept_and_rest(record.tags, settings)
    return record.prose or ", ".join((*kept, *rest))


def varies(settings: Captions) -> bool:
    """Whether the same record's caption differs from time to time."""
    return bool(settings.shuffle_caption or settings.tag_dropout or settings.caption_dropout)


def _split(text: str) -> list[str]:
    return [tag.strip() for tag in text.split(",") if tag.strip()]


def _chance(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
