"""The axes of a sweep, read from what a user types."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ..trainer.errors import KilnError
from ..trainer.values import Run
from .values import WIRED, Column, Row

_NAMED = re.compile(r"([^,=(){}\[\]<>]{1,60}?)\s+=\s+(\S.*)")
_LAST = re.compile(r"last(?:\s+([1-9]\d*))?")
_EPOCHS = "Write all, last 5, or numbers like 2,4-8."
_MOST_SEEDS = 1000


def pick_epochs(run: Run, text: str) -> tuple[int, ...]:
    """`all`, `last 5`, `2,4-8`: saved epochs in natural order. Raises `KilnError` for a number that was not saved.

    Several LoRAs saved inside one epoch count as one: the last.
    """
    saved = sorted({one.epoch for one in run.checkpoints})
    text = text.strip().lower()
    if not saved:
        raise KilnError(f"Run {run.name!r} in {run.folder} has no saved epoch; let it train for at least one.")
    if text in ("", "all"):
        return tuple(saved)
    if last := _LAST.fullmatch(text):
        return tuple(saved[-int(last[1] or 1) :])
    found: set[int] = set()
    for part in text.split(","):
        numbers = _span(part)
        if not numbers:
            raise KilnError(f"epochs is {text!r}; {part.strip()!r} is no epoch. {_EPOCHS}")
        # A run may have saved every second one.
        fitting = [epoch for epoch in saved if epoch in numbers]
        if not fitting:
            raise KilnError(
                f"epochs is {text!r}, but run {run.name!r} saved {saved}; {part.strip()} is not among them."
            )
        found |= set(fitting)
    return tuple(sorted(found))


def check_epochs(text: str) -> None:
    """Raises `KilnError` where `text` can be read for no run; what was saved is not known yet."""
    whole = text.strip().lower()
    wrong = [part.strip() for part in whole.split(",") if not _span(part)]
    if wrong and whole not in ("", "all") and not _LAST.fullmatch(whole):
        raise KilnError(f"epochs is {text!r}; {wrong[0]!r} is no epoch. {_EPOCHS}")


def pick_strengths(text: str) -> tuple[float, ...]:
    """Numbers separated by commas or spaces, in the order given, each once."""
    try:
        strengths = tuple(dict.fromkeys(float(part) for part in re.split(r"[,\s]+", text.strip()) if part))
    except ValueError as error:
        raise KilnError(f"strengths is {text!r}: {error}. Write numbers like 0.6, 0.8, 1.0.") from error
    if not strengths or not all(map(math.isfinite, strengths)):
        raise KilnError(f"strengths is {text!r}; write at least one number, such as 1.0.")
    return strengths


def pick_prompts(text: str) -> tuple[tuple[str, str], ...]:
    """(name, prompt) of each line, empty lines left out; `name = prompt` names it, others are named by themselves."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise KilnError("prompts is empty; write one prompt a line.")
    return tuple((named[1].strip(), named[2]) if (named := _NAMED.fullmatch(line)) else (line, line) for line in lines)


def pick_seeds(seed: int, more: str) -> tuple[int, ...]:
    """The node's seed, then those of `7, 42, 100-103`, each once. Raises `KilnError` for what is no seed."""
    found = [seed]
    for part in re.split(r"[,;\s]+", re.sub(r"\s*-\s*", "-", more.strip())):
        numbers = _span(part) if part else range(0)
        if part and not 0 < len(numbers) <= _MOST_SEEDS:
            raise KilnError(f"seeds is {more!r}; {part!r} is no seed. Write numbers like 7, 42, 100-103, or nothing.")
        found += numbers
    return tuple(dict.fromkeys(found))


def pick_bases(lines: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The wired model, then the checkpoints named, each by its whole name or by a part that only one has.

    Raises `KilnError` for a name that means none or several.
    """
    found = [WIRED]
    for line in lines:
        fitting = [name for name in known if name == line] or [n for n in known if line.casefold() in n.casefold()]
        if len(fitting) != 1:
            several = f"means {len(fitting)} of them: {', '.join(fitting[:5])}" if fitting else "is none of them"
            raise KilnError(
                f"base_models has {line!r}, which {several}. Write checkpoints as their loader lists them; there are "
                f"{', '.join(known[:20]) or 'none'}."
            )
        found.append(fitting[0])
    return tuple(dict.fromkeys(found))


def columns(run: Run, epochs: str, strengths: str, presets: Sequence[str] = ("",)) -> tuple[Column, ...]:
    """The no-LoRA column, then every chosen epoch at every strength with every choice of block weights."""
    found = [
        Column(epoch=epoch, strength=strength, blocks=blocks)
        for epoch in pick_epochs(run, epochs)
        for strength in pick_strengths(strengths)
        for blocks in presets
    ]
    return (Column(epoch=0, strength=0.0), *found)


def rows(prompts: Sequence[tuple[str, str]], seeds: Sequence[int]) -> tuple[Row, ...]:
    """Every prompt with every seed; labels tell the seed where there are several."""
    return tuple(
        Row(label=f"{name}  (seed {seed})" if len(seeds) > 1 else name, prompt=prompt, seed=seed)
        for name, prompt in prompts
        for seed in seeds
    )


def _span(text: str) -> range:
    """The numbers of `7` or `3-5`; none for anything else."""
    span = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", text)
    return range(int(span[1]), int(span[2] or span[1]) + 1) if span else range(0)
