"""Regularisation pictures: what the class looks like to the model as it is, painted from prompts with wildcards."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from .easel import is_whole, write_picture
from .errors import DatasetError
from .report import counted, listed_lines, tag_table
from .settings import check_settings, setting
from .style_captions import plain_tags
from .tags import compile_globs, matches_any, parse_tags, tag_key, unique_tags, without_words
from .values import Dataset, Progress, Record, Size
from .wildcards import Wildcards

GROUP = "regularization"
CAPTIONS = "captions"
"""The wildcard that stands for the captions of a wired dataset."""
_SIZE = re.compile(r"\s*(\d+)\s*[x×*]\s*(\d+)\s*", re.IGNORECASE)
_FLAT = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegularizationOptions:
    """Which pictures are painted, which of them count, and how they are captioned."""

    prompts: tuple[str, ...] = setting(
        ("1girl, solo, {standing|sitting|walking}, {smile|open mouth|closed mouth}, {indoors|outdoors}",),
        "Prompts of the class, one a line, used in turn. {a|b} draws one of its parts, __name__ a line of the wildcard "
        f"file name.txt, __{CAPTIONS}__ a caption of the wired dataset without its trigger.",
        split="lines",
    )
    count: int = setting(60, "Pictures of the set.", low=1, high=10_000, step=1)
    class_tag: str = setting("1girl", "What the class is called: the first tag of every caption. Empty: none is added.")
    seed: int = setting(0, "The first picture's seed; the next ones count on.", low=0, high=2**62, step=1)
    sizes: tuple[str, ...] = setting(
        (), "Sizes in pixels, used in turn, such as: 1024x1024, 832x1216. Empty: those that the wired dataset is "
        "trained at, or one square of the resolution.", split="tags",
    )  # fmt: skip
    resolution: int = setting(
        1024, "Sizes are about resolution x resolution pixels where none are given.", low=64, high=4096, step=64
    )
    require: tuple[str, ...] = setting(
        (), "With a tagger: a picture counts only with all of these tags, * for any text (1girl, solo).", split="tags"
    )
    forbid: tuple[str, ...] = setting(
        (), "With a tagger: a picture with one of these tags is rejected, * for any text (multiple *, *text*, comic).",
        split="tags",
    )  # fmt: skip
    reject: str = setting(
        "", "Numbers of pictures that you do not want, as the sheet shows them, such as: 3, 7, 12-14. Others are "
        "painted in their place."
    )  # fmt: skip
    tries: float = setting(
        3.0,
        "At most count times this many pictures are painted to find enough that pass.",
        low=1.0,
        high=50.0,
        step=0.5,
    )
    repeats: int = setting(1, "How often an epoch sees each picture.", low=1, high=1000, step=1)

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.prompts:
            raise ValueError("RegularizationOptions.prompts is empty; write at least one prompt, one a line")
        if "," in self.class_tag:
            raise ValueError(f"RegularizationOptions.class_tag is {self.class_tag!r}; give one tag, without a comma")
        _ = self.rejected, self.given_sizes

    @property
    def rejected(self) -> frozenset[int]:
        """The numbers, from 1, that the user does not want. ValueError for what is no number."""
        found: set[int] = set()
        for part in re.split(r"[,\s]+", self.reject.strip()):
            span = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
            if part and (not span or int(span[1]) < 1 or int(span[2] or span[1]) < int(span[1])):
                raise ValueError(
                    f"RegularizationOptions.reject has {part!r}; write numbers such as 3, 7, 12-14, without spaces "
                    "around the dash"
                )
            if span:
                found |= set(range(int(span[1]), int(span[2] or span[1]) + 1))
        return frozenset(found)

    @property
    def given_sizes(self) -> tuple[Size, ...]:
        """(width, height) in pixels as written. ValueError for what is no size."""
        found = []
        for text in self.sizes:
            size = _SIZE.fullmatch(text)
            if not size or min(int(size[1]), int(size[2])) < 16:
                raise ValueError(f"RegularizationOptions.sizes has {text!r}; write sizes such as 832x1216")
            found.append((int(size[1]), int(size[2])))
        return tuple(found)


class PromptPainter(Protocol):
    """Who paints from words alone: `host.painting.PromptPainter`, or a stand-in for it."""

    def __call__(self, prompt: str, seed: int, size: Size) -> Image.Image:
        """A picture of `size` (width, height) in pixels."""

    def mark(self) -> str:
        """Everything but prompt, seed and size that decides a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What the set is made with. `mark` tells loaded models apart, `sizes` are those of training; `tag` gives pictures
    with a tagger's tags, without one the prompt's words are the caption."""

    painter: PromptPainter
    cache: Path
    sizes: Sequence[Size]
    mark: str = ""
    wildcards: Wildcards = field(default_factory=Wildcards)
    tag: Callable[[Dataset], Dataset] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Regularization:
    """The set, what was rejected, a report, and every picture to look at with what is said of it."""

    dataset: Dataset
    rejected: Dataset
    report: str
    shown: tuple[tuple[Record, str], ...]


def regularization_set(options: RegularizationOptions, workshop: Workshop, progress: Progress) -> Regularization:
    """`options.count` pictures of the class, captioned, as a dataset of regularisation pictures.

    Picture number n is always painted from the same prompt and seed, in a file named by what it was made from: a
    second run paints only what is missing, and a rejected number only brings one more. Raises DatasetError when not
    one picture passes.
    """
    if workshop.tag is None and (options.require or options.forbid):
        raise DatasetError("require and forbid look at a tagger's tags; pick a tagger, or leave both empty")
    sizes = options.given_sizes or tuple(workshop.sizes)
    workshop.cache.mkdir(parents=True, exist_ok=True)
    kept: list[Record] = []
    rejected: list[Record] = []
    shown: list[tuple[Record, str]] = []
    reasons: list[str] = []
    painted = 0
    for number in range(1, round(options.count * options.tries) + len(options.rejected) + 1):
        if len(kept) == options.count:
            break
        progress(len(kept), options.count)
        prompt, size = _prompt(options, workshop, number), sizes[(number - 1) % len(sizes)]
        file = _file(prompt, options.seed + number - 1, size, workshop)
        by_hand = number in options.rejected
        there = is_whole(file)
        if by_hand and not there:
            continue
        if not there:
            write_picture(workshop.painter(prompt, options.seed + number - 1, size), file)
            painted += 1
        record, why = _looked_at(file, prompt, number, options, workshop)
        why = "you rejected it" if by_hand else why
        (rejected if why else kept).append(record)
        reasons += [f"{number}: {why}"] if why else []
        shown.append((record, f"{number}: rejected: {why}" if why else f"{number}: kept; {record.caption}"))
    progress(options.count, options.count)
    if not kept:
        raise DatasetError(
            f"None of {counted(len(shown), 'picture')} passes. Ask for less in require and forbid.\n"
            + listed_lines("Rejected", reasons)
        )
    dataset = Dataset(records=tuple(kept))
    report = _report(dataset, reasons, painted, options, workshop)
    return Regularization(dataset=dataset, rejected=Dataset(records=tuple(rejected)), report=report, shown=tuple(shown))


def caption_lines(dataset: Dataset) -> tuple[str, ...]:
    """The captions of a dataset without its triggers, each once: what the wildcard of that name draws from."""
    triggers = set(map(tag_key, dataset.triggers))
    found = []
    for record in dataset:
        if record.prose:
            found.append(without_words(record.prose, dataset.triggers))
        else:
            # Brackets of tags would be weights to the painter.
            words = ", ".join(tag for tag in record.tags if tag_key(tag) not in triggers)
            found.append(re.sub(r"[()]", r"\\\g<0>", words))
    # A caption is no wildcard: its braces and bars stand for themselves.
    return tuple(dict.fromkeys(re.sub(r"[{}|]", r"\\\g<0>", text) for text in found if text))


def _prompt(options: RegularizationOptions, workshop: Workshop, number: int) -> str:
    line = options.prompts[(number - 1) % len(options.prompts)]
    return workshop.wildcards.expand(line, options.seed + number - 1, f"regularization {number}")


def _file(prompt: str, seed: int, size: Size, workshop: Workshop) -> Path:
    what = ("regularization", prompt, seed, size, workshop.mark, workshop.painter.mark())
    return workshop.cache / f"{hashlib.sha256(repr(what).encode()).hexdigest()}.png"


def _looked_at(
    file: Path, prompt: str, number: int, options: RegularizationOptions, workshop: Workshop
) -> tuple[Record, str]:
    """The record of a picture, captioned, and why it is rejected ("": it is kept)."""
    with Image.open(file) as image:
        size = image.size
        flat = float(np.asarray(image.convert("RGB"), dtype=np.float32).std(axis=(0, 1)).max()) < _FLAT
    lead = parse_tags(options.class_tag)
    record = Record(
        image=file, size=size, tags=unique_tags((*lead, *plain_tags(prompt))), repeats=options.repeats, group=GROUP,
        is_reg=True, origin=(f"painted {number}, seed {options.seed + number - 1}",),
    )  # fmt: skip
    if flat:
        return record, "it is one flat colour; the sampler made no picture"
    if workshop.tag is None:
        return record, ""
    [tagged] = workshop.tag(Dataset(records=(record,)))
    captioned = Record(
        image=file, size=size, tags=unique_tags((*lead, *tagged.tags)), repeats=options.repeats, group=GROUP,
        is_reg=True, origin=record.origin,
    )  # fmt: skip
    return captioned, _fault(tagged.tags, options)


def _fault(tags: Sequence[str], options: RegularizationOptions) -> str:
    """Why the tagger's tags do not pass, in words."""
    missing = [each for each in options.require if not any(matches_any(tag, compile_globs([each])) for tag in tags)]
    forbidden = [tag for tag in tags if matches_any(tag, compile_globs(options.forbid))]
    parts = [f"it lacks {', '.join(missing)}"] if missing else []
    parts += [f"it shows {', '.join(forbidden)}"] if forbidden else []
    return "; ".join(parts)


def _report(
    dataset: Dataset, reasons: Sequence[str], painted: int, options: RegularizationOptions, workshop: Workshop
) -> str:
    looked = len(dataset) + len(reasons)
    lines = [
        f"{counted(len(dataset), 'regularisation picture')} of {options.count}: {painted} painted now, "
        f"{looked - painted} found in {workshop.cache}."
    ]
    if len(dataset) < options.count:
        lines.append(
            f"Warning: {options.count - len(dataset)} are missing, though {looked} were looked at. Ask for less in "
            "require and forbid, or raise tries"
        )
    if reasons:
        lines.append(listed_lines(f"Rejected ({len(reasons)})", reasons, most=None))
    lines.append(tag_table(dataset))
    return "\n".join(line for line in lines if line)
