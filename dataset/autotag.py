"""Captions from a tagger, or from the texts of any other captioner."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from .errors import DatasetError
from .garments import CAMERA_TAGS
from .images import open_image
from .report import counted, listed_lines, tag_table
from .score_cache import LEAST, ScoreCache
from .settings import check_settings, setting
from .sides import SIDE_TAGS
from .tagger import BATCH, TagScores
from .tagger_formats import KINDS
from .tags import (
    compile_globs,
    distinct_tags,
    join_tags,
    looks_like_prose,
    matches_any,
    parse_tags,
    tag_key,
    unique_tags,
)
from .values import Dataset, Progress, Record

MORE_KINDS = tuple(kind for kind in KINDS if kind not in ("general", "character"))
_NAMES = ("character", "copyright", "artist")
"""Kinds that name somebody or something: wrong ones do harm, so they need the higher threshold."""
_LEAST_CUT = 0.15
"""Where a tagger is sure of nothing the widest gap lies among the noise; most pictures have no name to find."""
_VIEW_TAGS = frozenset((*CAMERA_TAGS, *SIDE_TAGS.values()))
_READERS = 4
"""Pictures that are decoded at once."""

Patterns = tuple[re.Pattern[str], ...]


class TagsImages(Protocol):
    """What tags pictures: a `Tagger`, or a stand-in for it."""

    def tag(self, images: list[Image.Image]) -> list[TagScores]:
        """Scores for each RGB picture, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TagOptions:
    """Which of the tagger's tags become captions, and what happens to those that are there."""

    general_threshold: float = setting(
        0.35, "General tags with at least this probability are taken.", low=LEAST, high=1.0, step=0.01
    )
    character_threshold: float = setting(
        0.85, "Names of known characters need this much.", low=LEAST, high=1.0, step=0.01
    )
    mode: str = setting(
        "replace",
        "replace: the old caption goes, but for what Split Figures and Crop Views know (from behind); append: "
        "new tags come after it; only if empty: pictures with a caption keep it, of more than such tags.",
        choices=("replace", "append", "only if empty"),
    )
    exclude: tuple[str, ...] = setting(
        (), "Tags that are never taken, * for any text (*background, solo).", split="tags"
    )
    keep: tuple[str, ...] = setting(
        (),
        "Tags that stay whatever else is said, * for any text: those of the old caption stay in front when it is "
        "replaced (the trigger, say), those of the tagger are taken even when exclude names them.",
        split="tags",
    )
    mcut: bool = setting(
        False,
        "Set the thresholds for each picture by itself, at the widest gap between its scores (MCut); the two numbers "
        "above are not used then.",
    )
    also: tuple[str, ...] = setting(
        (),
        f"Further kinds of tags to take from taggers that know them: {', '.join(MORE_KINDS)}. Of the rating the most "
        "probable one is taken; copyright and artist need the character threshold.",
        split="tags",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        for kind in self.also:
            if tag_key(kind) not in MORE_KINDS:
                raise ValueError(f"TagOptions.also has {kind!r}; choose from: {', '.join(MORE_KINDS)}")


def auto_tag(
    dataset: Dataset,
    tagger: TagsImages,
    options: TagOptions,
    progress: Progress | None = None,
    cache: ScoreCache | None = None,
) -> tuple[Dataset, str]:
    """The dataset with captions from `tagger`, and a report. Tags of one picture go from sure to unsure.

    What is tagged is the view: a crop is tagged for what it shows. Scores that `cache` has are taken from there.
    Raises BadImage for a picture that cannot be read.
    """
    chosen = _chosen(dataset, options)
    records = list(dataset.records)
    asked = 0
    with ThreadPoolExecutor(_READERS) as readers:
        for start in range(0, len(chosen), BATCH):
            places = chosen[start : start + BATCH]
            scores, new = _scores([records[i] for i in places], tagger, cache, readers)
            asked += new
            for i, found in zip(places, scores, strict=True):
                records[i] = _captioned(records[i], pick_tags(found, options), "", options, dataset.triggers)
            if progress:
                progress(min(start + BATCH, len(chosen)), len(chosen))
    result = dataset.replace_records(records)
    kept = f"; {len(chosen) - asked} of them known from before" if cache and asked < len(chosen) else ""
    return result, _report(dataset, result, len(chosen), options, kept)


def _scores(
    records: Sequence[Record], tagger: TagsImages, cache: ScoreCache | None, readers: ThreadPoolExecutor
) -> tuple[list[TagScores], int]:
    """Scores of each record, and for how many of them the tagger was asked."""
    if cache is None:
        return tagger.tag(list(readers.map(open_image, records))), len(records)
    keys = [cache.key(record) for record in records]
    known = {key: scores for key in dict.fromkeys(keys) if (scores := cache.read(key)) is not None}
    wanted = {key: record for key, record in zip(keys, records, strict=True) if key not in known}
    if wanted:
        found = tagger.tag(list(readers.map(open_image, wanted.values())))
        known |= {key: cache.write(key, scores) for key, scores in zip(wanted, found, strict=True)}
    return [known[key] for key in keys], len(wanted)


def caption_with(dataset: Dataset, texts: Sequence[str], options: TagOptions) -> tuple[Dataset, str]:
    """The dataset with captions that another captioner wrote: one text for each picture, in order, and a report.

    Tags and prose are told apart by their looks. A single text with a line for each picture serves too. Raises
    DatasetError when the numbers differ.
    """
    lines = [line for line in texts[0].splitlines() if line.strip()] if len(texts) == 1 else []
    if len(texts) == 1 and len(dataset) > 1 and len(lines) == len(dataset):
        texts = lines
    if len(texts) != len(dataset):
        raise DatasetError(
            f"There are {counted(len(texts), 'caption')} for {counted(len(dataset), 'picture')}. Give one for each, in "
            "the order of the dataset (Dataset to Images gives the pictures in that order)"
        )
    chosen = _chosen(dataset, options)
    records = list(dataset.records)
    exclude, keep = compile_globs(options.exclude), compile_globs(options.keep)
    for i in chosen:
        prose = looks_like_prose(texts[i])
        tags = () if prose else tuple(tag for tag in parse_tags(texts[i]) if _wanted(tag, exclude, keep))
        text = " ".join(texts[i].split()) if prose else ""
        records[i] = _captioned(records[i], tags, text, options, dataset.triggers)
    result = dataset.replace_records(records)
    return result, _report(dataset, result, len(chosen), options, "; captions from the wire")


def _chosen(dataset: Dataset, options: TagOptions) -> list[int]:
    return [i for i, record in enumerate(dataset) if options.mode != "only if empty" or not _is_written(record)]


def _is_written(record: Record) -> bool:
    """Whether a caption says more than which view it is of."""
    given = {tag_key(tag) for tag in record.given}
    return bool(record.prose) or any(tag_key(tag) not in _VIEW_TAGS | given for tag in record.tags)


def _view_tags(record: Record) -> tuple[str, ...]:
    """What the steps that made a record know of it, as far as nobody has taken it out of the caption since."""
    given = {tag_key(tag) for tag in record.given}
    if any(step.startswith(("crop:", "split:")) for step in record.origin):
        given |= _VIEW_TAGS
    return record.given if record.prose else tuple(tag for tag in record.tags if tag_key(tag) in given)


def _settled(record: Record, view: Sequence[str]) -> frozenset[str]:
    """Tags that no tagger has a say in: a view knows how much it shows, a split figure which side of her."""
    crop = any(tag_key(tag) in CAMERA_TAGS for tag in view)
    split = any(step.startswith("split:") for step in record.origin)
    return frozenset((*(CAMERA_TAGS if crop else ()), *(SIDE_TAGS.values() if split else ())))


def pick_tags(scores: TagScores, options: TagOptions) -> tuple[str, ...]:
    """Characters, then further kinds, then general tags, each from the most probable down, without the excluded."""
    exclude, keep = compile_globs(options.exclude), compile_globs(options.keep)
    kinds: Mapping[str, dict[str, float]] = {
        "rating": scores.rating,
        "general": scores.general,
        "character": scores.character,
        **scores.others,
    }
    also = {tag_key(kind) for kind in options.also}
    picked: list[str] = []
    for kind in ("character", "copyright", "artist", *(k for k in MORE_KINDS if k not in _NAMES), "general"):
        if kind in also or kind in ("general", "character"):
            ranked = sorted(kinds.get(kind, {}).items(), key=lambda item: -item[1])
            least = _threshold(kind, [score for _, score in ranked], options)
            picked += [tag for tag, score in ranked if score >= least and _wanted(tag, exclude, keep)]
    return unique_tags(picked)


def _threshold(kind: str, ranked: Sequence[float], options: TagOptions) -> float:
    if kind == "rating":
        return ranked[0] if ranked else 1.0
    if options.mcut:
        cut = mcut_threshold(ranked)
        return cut if kind == "general" else max(cut, _LEAST_CUT)
    return options.character_threshold if kind in _NAMES else options.general_threshold


def mcut_threshold(ranked: Sequence[float]) -> float:
    """The middle of the widest gap between neighbours of descending scores; 1 when there are fewer than two.

    Largeron, Moulin and Gery, "MCut: a thresholding strategy for multi-label classification" (IDA 2012).
    """
    if len(ranked) < 2:
        return 1.0
    _, place = max((ranked[i] - ranked[i + 1], -i) for i in range(len(ranked) - 1))
    return (ranked[-place] + ranked[-place + 1]) / 2


def _wanted(tag: str, exclude: Patterns, keep: Patterns) -> bool:
    return not matches_any(tag, exclude) or matches_any(tag, keep)


def _captioned(
    record: Record, found: tuple[str, ...], prose: str, options: TagOptions, triggers: Sequence[str]
) -> Record:
    """The record with new tags or new prose, as the mode says. Tags of the view alone are no caption."""
    view: tuple[str, ...] = ()
    if options.mode == "append" and (record.prose or prose):
        text = ", ".join(part for part in (record.caption, prose or join_tags(found)) if part)
        return dataclasses.replace(record, tags=(), prose=text)
    if options.mode == "replace":
        kept = compile_globs((*options.keep, *triggers))
        view = _view_tags(record)
        old = tuple(tag for tag in record.tags if matches_any(tag, kept) and tag not in view)
    elif not _is_written(record):
        old, view = (), record.tags
    else:
        old = record.tags
    if prose:
        return dataclasses.replace(record, tags=(), prose=", ".join((*old, *view, prose)))
    settled = _settled(record, view)
    seen = (tag for tag in found if tag not in view and tag_key(tag) not in settled)
    tags = distinct_tags((*old, *seen, *view))
    # A trait that stands in the caption again is not left for the trigger to absorb.
    pruned = tuple(tag for tag in record.pruned if tag not in tags)
    return dataclasses.replace(record, tags=tags, prose="", pruned=pruned)


def _lost_words(old: Record, new: Record) -> bool:
    """Whether something that an old caption said is gone."""
    said = {tag_key(tag) for tag in parse_tags(new.caption)}
    return old.prose not in new.caption or any(tag_key(tag) not in said for tag in old.tags)


def _report(before: Dataset, after: Dataset, tagged: int, options: TagOptions, kept: str) -> str:
    counts = Counter(len(record.tags) for record in after)
    average = sum(number * times for number, times in counts.items()) / max(1, len(after))
    parts = [
        f"{counted(tagged, 'picture')} tagged ({options.mode}){kept}, {len(before) - tagged} left as they were; "
        f"{average:.1f} tags a picture"
    ]
    lost = sum(_lost_words(old, new) for old, new in zip(before, after, strict=True))
    if options.mode == "replace" and lost:
        parts.append(
            f"Replaced {counted(lost, 'caption')} that had been there; keep, or another mode, holds on to their tags"
        )
    empty = [record.name for record in after if not record.caption]
    if empty:
        parts.append(listed_lines("Nothing found for (lower the threshold?)", empty))
    parts.append(tag_table(after))
    return "\n\n".join(part for part in parts if part)
