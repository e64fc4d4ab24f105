"""Words of style variants: what the painter is told, and the caption of what it paints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .colors import color_of, differs, own_colors
from .settings import check_settings, setting
from .tags import clean_tag, distinct_tags, parse_tags, tag_key, unique_tags
from .values import Dataset, Record
from .wildcards import Wildcards

AFTER, FIRST = "after the trigger", "first"
SOURCE, DIFFERING, RETAG = "the source's tags", "with differing colours", "retag"

_ARROW = "=>"
_NOT_TAGS = re.compile(r"<[^<>]*>|\bBREAK\b|\bembedding:[^\s,]+")
_WEIGHT = re.compile(r":\s*\d*\.?\d+\s*(?=[)\]])")
_BRACKET = re.compile(r"(?<!\\)[()\[\]]")
_DISAMBIGUATED = re.compile(r"[^()\[\]:]*[^()\[\]:\s]\s*\([^():]+\)")
"""A tag such as `watercolor (medium)`: its brackets are part of the name."""
_QUALITY = re.compile(
    r"masterpiece|(?:best|great|good|amazing|high|normal|low|worst) quality|(?:very )?aesthetic|absurdres"
    r"|(?:high|low)res|score \d+(?: up)?|newest|recent|\d+k|ultra[- ]detailed|highly detailed"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionOptions:
    """What the painter is told of the picture, and how variants are captioned."""

    say_pruned: bool = setting(
        True, "Tell the painter the traits too that pruning took out of the captions: it does not know the trigger."
    )
    say_trigger: bool = setting(
        False, "Tell the painter the trigger: only a model that knows it, with an earlier LoRA, can use it."
    )
    style_place: str = setting(
        AFTER,
        "Where a variant's caption names its style: after the trigger, which stays first for keep_tokens, or first.",
        choices=(AFTER, FIRST),
    )
    tags: str = setting(
        SOURCE,
        "What else the captions of variants say. the source's tags; the same with differing colours: hair and eyes "
        "that the tagger sees in another colour are named; retag: the tagger's tags, without those that pruning took "
        "away, differing colours kept.",
        choices=(SOURCE, DIFFERING, RETAG),
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One style as it was drawn for one variant: the prompt's words, and the tags of the caption."""

    prompt: str
    tags: tuple[str, ...]


def draw_style(line: str, wildcards: Wildcards, seed: int, name: str) -> Style:
    """A style line, `prompt` or `prompt => tags of the caption`, with its wildcards drawn.

    Without an arrow the tags are those of the prompt, without weights, LoRA and embedding names, and words of quality.
    """
    prompt, arrow, tags = line.partition(_ARROW)
    drawn = wildcards.expand(prompt, seed, f"{name} | {prompt.strip()}")
    if arrow:
        return Style(prompt=drawn, tags=parse_tags(wildcards.expand(tags, seed, f"{name} | {line.strip()}")))
    return Style(prompt=drawn, tags=plain_tags(drawn))


def plain_tags(prompt: str) -> tuple[str, ...]:
    """The tags of a prompt, without what only a sampler understands and without words of quality."""
    found = []
    for part in _NOT_TAGS.sub(" ", prompt).split(","):
        tag = part.strip()
        if not _DISAMBIGUATED.fullmatch(tag):
            tag = _BRACKET.sub("", _WEIGHT.sub("", tag))
        found.append(tag)
    return tuple(tag for tag in unique_tags(found) if not _QUALITY.fullmatch(tag_key(tag)))


def painter_prompt(record: Record, style: Style, trigger: str, options: CaptionOptions) -> str:
    """What the painter is told: the style's words, then what the picture shows."""
    return ", ".join(part for part in (style.prompt, shown_words(record, trigger, options)) if part)


def shown_words(record: Record, trigger: str, options: CaptionOptions) -> str:
    """What a picture shows, as a prompt: brackets of tags are written so that they are no weights."""
    if record.prose:
        text = record.prose
        if trigger and not options.say_trigger:
            text = re.sub(rf"\b{re.escape(trigger)}\b[,\s]*", "", text)
        return _BRACKET.sub(r"\\\g<0>", text)
    tags = record.tags if options.say_trigger else tuple(t for t in record.tags if tag_key(t) != tag_key(trigger))
    pruned = record.pruned if options.say_pruned else ()
    return _BRACKET.sub(r"\\\g<0>", ", ".join(unique_tags((*tags, *pruned))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a variant's record says: fields of `Record` by the same names."""

    tags: tuple[str, ...]
    prose: str = ""
    pruned: tuple[str, ...] = ()


def variant_words(
    record: Record,
    style: Style,
    options: CaptionOptions,
    *,
    trigger: str = "",
    found: Sequence[str] = (),
    absorbed: Sequence[str] = (),
) -> Words:
    """What a variant of `record` says.

    `found` are the tags that a tagger sees in the variant, `absorbed` all that pruning took away anywhere in the
    dataset.
    """
    if record.prose:
        prose = ", ".join(part for part in (*style.tags, record.prose))
        return Words(tags=record.tags, prose=prose, pruned=record.pruned)
    # The trigger, or what stands in its place: the first tag.
    place = next((i for i, tag in enumerate(record.tags) if trigger and tag_key(tag) == tag_key(trigger)), 0)
    lead = record.tags[place : place + 1]
    rest = _content(record, (*record.tags[:place], *record.tags[place + 1 :]), options, found, absorbed)
    parts = (*style.tags, *lead, *rest) if options.style_place == FIRST else (*lead, *style.tags, *rest)
    tags = distinct_tags(parts)
    keys = {tag_key(tag) for tag in tags}
    # A trait that the caption names is not left for the trigger to absorb.
    return Words(tags=tags, pruned=tuple(tag for tag in record.pruned if tag_key(tag) not in keys))


def _content(
    record: Record, tags: Sequence[str], options: CaptionOptions, found: Sequence[str], absorbed: Sequence[str]
) -> tuple[str, ...]:
    """What the caption says beside style and trigger."""
    own = own_colors((*record.tags, *record.pruned), Dataset())
    other = [clean_tag(tag) for tag in found if differs(tag, own)]
    if options.tags == SOURCE:
        return tuple(tags)
    if options.tags == RETAG:
        gone = {tag_key(tag) for tag in absorbed}
        return tuple(tag for tag in found if tag_key(tag) not in gone or tag in other)
    parts = {colored[0] for tag in other if (colored := color_of(tag))}
    kept = [tag for tag in tags if not ((colored := color_of(tag)) and colored[0] in parts)]
    return (*kept, *other)
