"""The words that a record is trained with, drawn afresh every time it is seen."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import torch

from ..dataset.values import Record
from .groups import Captions
from .spans import parse_span

_WILDCARD = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")


class Moment(NamedTuple):
    """When a caption is read: the update, from 1, and the last one that does not read all of its tags."""

    step: int
    warm: int


def draw_caption(record: Record, settings: Captions, generator: torch.Generator, moment: Moment | None = None) -> str:
    """The record's caption after dropout, wildcards and shuffle; prose is never taken apart.

    The first `keep_tokens` stay in place, or those before `keep_tokens_separator`, which is never trained on; what
    comes behind a second one stays last, as in sd-scripts. Without a `moment` all tags are read.
    """
    if settings.caption_dropout and _chance(generator) < settings.caption_dropout:
        return ""
    first, rest, last = _read(record, settings, generator)
    if moment and moment.step <= moment.warm:
        rest = rest[: _warmed(len(rest), settings.token_warmup_min, moment)]
    if settings.tag_dropout:
        rest = [tag for tag in rest if _chance(generator) >= settings.tag_dropout]
    if settings.shuffle_caption:
        rest = [rest[i] for i in torch.randperm(len(rest), generator=generator).tolist()]
    return _joined([*first, *rest, *last], settings)


def written(record: Record, settings: Captions) -> str:
    """The record's caption in its own order, without separators, and with the first of each wildcard."""
    first, rest, last = _read(record, settings, None)
    return _joined([*first, *rest, *last], settings)


def left_out(settings: Captions, epoch: int) -> bool:
    """Whether an epoch, counted from 1, is seen without captions."""
    every = settings.caption_dropout_every_n_epochs
    return bool(every) and epoch > 0 and epoch % every == 0


def varies(settings: Captions) -> bool:
    """Whether the same record's caption differs from time to time."""
    changes = settings.shuffle_caption or settings.tag_dropout or settings.caption_dropout or settings.enable_wildcard
    return bool(changes)


def settled(record: Record, settings: Captions) -> bool:
    """Whether a record is trained with the same words every time, as prose is that nothing can be moved in."""
    if settings.caption_dropout or (settings.enable_wildcard and _WILDCARD.search(record.caption)):
        return False
    _, rest, _ = _read(record, settings, None)
    if rest and parse_span(settings.token_warmup).amount:
        return False
    return not (settings.shuffle_caption and len(rest) > 1) and not (settings.tag_dropout and rest)


def parts_of(tags: tuple[str, ...], settings: Captions) -> tuple[list[str], list[str], list[str]]:
    """The tags that stay in front, those that move, and those that stay behind."""
    mark = settings.keep_tokens_separator.strip()
    if not mark or not any(mark in tag for tag in tags):
        return list(tags[: settings.keep_tokens]), list(tags[settings.keep_tokens :]), []
    # It may stand between commas or between two tags: `kiln, |||, smile` and `kiln ||| smile`.
    separator = _separator(settings)
    first, _, more = separator.join(tags).partition(mark)
    rest, _, last = more.partition(mark)
    return _split(first, separator), _split(rest, separator), _split(last.replace(mark, separator), separator)


def _warmed(count: int, least: int, moment: Moment) -> int:
    """How many of `count` tags are read while they become more: sd-scripts' arithmetic, which counts updates from 0."""
    return max(0, math.floor((moment.step - 1) * ((count - least) / moment.warm)) + least)


def _read(
    record: Record, settings: Captions, generator: torch.Generator | None
) -> tuple[list[str], list[str], list[str]]:
    text, separator = record.caption, _separator(settings)
    if settings.enable_wildcard:
        text = _chosen(text, generator)
    elif record.tags and not record.prose and separator == ",":
        return parts_of(record.tags, settings)
    if record.prose and (separator == "," or separator not in text):
        return [text], [], []
    return parts_of(tuple(_split(text, separator)), settings)


def _chosen(text: str, generator: torch.Generator | None) -> str:
    """One of each `{a|b|c}`, the first without a generator; `{{` and `}}` are braces, as in sd-scripts."""

    def choice(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0][0]
        options = found[1].split("|")
        return options[int(torch.randint(len(options), (), generator=generator)) if generator else 0].strip()

    return _WILDCARD.sub(choice, text)


def _joined(tags: list[str], settings: Captions) -> str:
    mark = settings.secondary_separator.strip()
    return ", ".join(tag for one in tags for tag in (_split(one, mark) if mark else [one]))


def _separator(settings: Captions) -> str:
    return settings.caption_separator.strip() or ","


def _split(text: str, separator: str) -> list[str]:
    return [tag.strip() for tag in text.split(separator) if tag.strip()]


def _chance(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator))
