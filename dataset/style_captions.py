"""Words of style variants: what the painter is told, and the caption of what it paints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .colors import color_of, differs, own_colors
from .kinds import kind_of
from .settings import check_settings, setting
from .tags import (
    clean_tag,
    distinct_tags,
    parse_tags,
    tag_key,
    unique_tags,
    without_words,
    word_pattern,
)
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
    drawn = wildcards.expand(line, seed, f"{name} | {line.strip()}")
    prompt, arrow, tags = drawn.partition(_ARROW)
    return Style(prompt=prompt.strip(), tags=parse_tags(tags) if arrow else plain_tags(prompt))


def plain_tags(prompt: str) -> tuple[str, ...]:
    """The tags of a prompt, without what only a sampler understands and without words of quality."""
    found = []
    for part in _NOT_TAGS.sub(" ", prompt).split(","):
        tag = part.strip()
        if not _DISAMBIGUATED.fullmatch(tag):
            tag = _BRACKET.sub("", _WEIGHT.sub("", tag))
        found.append(tag)
    return tuple(tag for tag in unique_tags(found) if not _QUALITY.fullmatch(tag_key(tag)))


def painter_prompt(record: Record, style: Style, triggers: Sequence[str], options: CaptionOptions) -> str:
    """What the painter is told: the style's words, then what the picture shows."""
    return ", ".join(part for part in (style.prompt, shown_words(record, triggers, options, beside=style)) if part)


def shown_words(
    record: Record, triggers: Sequence[str], options: CaptionOptions, *, beside: Style | None = None
) -> str:
    """What a picture shows, as a prompt: brackets of tags are written so that they are no weights.

    Its own style and background are left out `beside` a style that names others.
    """
    if record.prose:
        text = record.prose if options.say_trigger else without_words(record.prose, triggers)
        return _BRACKET.sub(r"\\\g<0>", text)
    unsaid = set() if options.say_trigger else set(map(tag_key, triggers))
    tags = tuple(tag for tag in record.tags if tag_key(tag) not in unsaid)
    pruned = record.pruned if options.say_pruned else ()
    if beside:
        tags, pruned = _beside(tags, beside), _beside(pruned, beside)
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
    triggers: Sequence[str] = (),
    found: Sequence[str] = (),
    absorbed: Sequence[str] = (),
) -> Words:
    """What a variant of `record` says: its triggers stay together.

    `found` are the tags that a tagger sees in the variant, `absorbed` all that pruning took away anywhere in the
    dataset.
    """
    if record.prose:
        lead, others = _leading(record.prose, triggers) if options.style_place == AFTER else ([], record.prose)
        prose = ", ".join(part for part in (*lead, *style.tags, others) if part)
        return Words(tags=record.tags, prose=prose, pruned=record.pruned)
    known = set(map(tag_key, triggers))
    # The triggers, or what stands in their place: the first tag.
    lead = [tag for tag in record.tags if tag_key(tag) in known] or list(record.tags[:1])
    shown = _beside([tag for tag in record.tags if tag not in lead], style)
    rest, recolored = _content(record, shown, options, found, absorbed)
    parts = (*style.tags, *lead, *rest) if options.style_place == FIRST else (*lead, *style.tags, *rest)
    tags = distinct_tags(parts)
    keys = {tag_key(tag) for tag in tags}
    # A trait that the caption names, in her colour or another one, is not left for the trigger to absorb.
    left = [tag for tag in record.pruned if tag_key(tag) not in keys and _part(tag) not in recolored]
    return Words(tags=tags, pruned=tuple(left))


def _leading(prose: str, triggers: Sequence[str]) -> tuple[list[str], str]:
    """The triggers that a text begins with, and the text without them."""
    # One trigger may begin as another does.
    longest, lead = sorted(triggers, key=len, reverse=True), []
    while word := next((one for one in longest if one and re.match(word_pattern(one), prose)), None):
        lead.append(word)
        prose = prose[len(word) :].lstrip(", \t")
    return lead, prose


def _beside(tags: Sequence[str], style: Style) -> tuple[str, ...]:
    """The tags of a picture, less its own style where the style names one, and likewise its background."""
    given = {kind_of(tag) for tag in (*style.tags, *plain_tags(style.prompt))} & {"style", "background"}
    return tuple(tag for tag in tags if kind_of(tag) not in given)


def _part(tag: str) -> str:
    """What a tag gives a colour to; empty for other tags."""
    colored = color_of(tag)
    return colored[0] if colored else ""


def _content(
    record: Record, tags: Sequence[str], options: CaptionOptions, found: Sequence[str], absorbed: Sequence[str]
) -> tuple[tuple[str, ...], set[str]]:
    """What the caption says beside style and trigger, and the parts that it names in another colour."""
    if options.tags == SOURCE:
        return tuple(tags), set()
    own = own_colors((*record.tags, *record.pruned), Dataset())
    other = [clean_tag(tag) for tag in found if differs(tag, own)]
    parts = {_part(tag) for tag in other} - {""}
    if options.tags == RETAG:
        gone = {tag_key(tag) for tag in absorbed}
        return tuple(tag for tag in found if tag_key(tag) not in gone or tag in other), parts
    return (*(tag for tag in tags if _part(tag) not in parts), *other), parts
