"""Captions from a tagger."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from .images import open_image
from .report import counted, listed_lines, tag_table
from .settings import check_settings, setting
from .tagger import BATCH, TagScores
from .tags import compile_globs, join_tags, matches_any, unique_tags
from .values import Dataset, Progress, Record


class TagsImages(Protocol):
    """What tags pictures: a `Tagger`, or a stand-in for it."""

    def tag(self, images: list[Image.Image]) -> list[TagScores]:
        """Scores for each RGB picture, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TagOptions:
    """Which of the tagger's tags become captions, and what happens to those that are there."""

    general_threshold: float = setting(
        0.35, "General tags with at least this probability are taken.", low=0.0, high=1.0, step=0.01
    )
    character_threshold: float = setting(
        0.85, "Names of known characters need this much.", low=0.0, high=1.0, step=0.01
    )
    mode: str = setting(
        "replace",
        "replace: the old caption goes; append: new tags come after it; only if empty: pictures "
        "with a caption keep it.",
        choices=("replace", "append", "only if empty"),
    )
    exclude: tuple[str, ...] = setting(
        (), "Tags that are never taken, * for any text (*background, solo).", split="tags"
    )
    keep: tuple[str, ...] = setting(
        (),
        "Tags of the old caption that replace leaves in front (the trigger, say), * for any text.",
        split="tags",
    )

    def __post_init__(self) -> None:
        check_settings(self)


def auto_tag(
    dataset: Dataset, tagger: TagsImages, options: TagOptions, progress: Progress | None = None
) -> tuple[Dataset, str]:
    """The dataset with captions from `tagger`, and a report. Tags of one picture go from sure to unsure.

    What is tagged is the view: a crop is tagged for what it shows. Raises BadImage for a picture that cannot be read.
    """
    chosen = [i for i, record in enumerate(dataset) if options.mode != "only if empty" or not record.caption]
    records = list(dataset.records)
    for start in range(0, len(chosen), BATCH):
        places = chosen[start : start + BATCH]
        scores = tagger.tag([open_image(records[i]) for i in places])
        for i, found in zip(places, scores, strict=True):
            records[i] = _captioned(records[i], pick_tags(found, options), options, dataset.trigger)
        if progress:
            progress(min(start + BATCH, len(chosen)), len(chosen))
    result = dataset.replace_records(records)
    return result, _report(dataset, result, len(chosen), options)


def pick_tags(scores: TagScores, options: TagOptions) -> tuple[str, ...]:
    """Characters, then general tags, each from the most probable down, without the excluded ones."""
    exclude = compile_globs(options.exclude)
    picked: list[str] = []
    for named, least in (
        (scores.character, options.character_threshold),
        (scores.general, options.general_threshold),
    ):
        ranked = sorted(named.items(), key=lambda item: -item[1])
        picked += [tag for tag, score in ranked if score >= least and not matches_any(tag, exclude)]
    return unique_tags(picked)


def _captioned(record: Record, found: tuple[str, ...], options: TagOptions, trigger: str) -> Record:
    if options.mode == "append" and record.prose:
        return dataclasses.replace(record, prose=f"{record.prose}, {join_tags(found)}" if found else record.prose)
    if options.mode == "replace":
        kept = compile_globs((*options.keep, trigger))
        old = tuple(tag for tag in record.tags if matches_any(tag, kept))
    else:
        old = record.tags
    tags = unique_tags((*old, *found))
    # A trait that stands in the caption again is not left for the trigger to absorb.
    pruned = tuple(tag for tag in record.pruned if tag not in tags)
    return dataclasses.replace(record, tags=tags, prose="", pruned=pruned)


def _report(before: Dataset, after: Dataset, tagged: int, options: TagOptions) -> str:
    counts = Counter(len(record.tags) for record in after)
    average = sum(number * times for number, times in counts.items()) / max(1, len(after))
    parts = [
        f"{counted(tagged, 'picture')} tagged ({options.mode}), {len(before) - tagged} left as they were; "
        f"{average:.1f} tags a picture"
    ]
    empty = [record.name for record in after if not record.caption]
    if empty:
        parts.append(listed_lines("Nothing found for (lower the threshold?)", empty))
    parts.append(tag_table(after))
    return "\n\n".join(part for part in parts if part)
