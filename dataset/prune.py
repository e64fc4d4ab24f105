"""Pruning captions: what the trigger should absorb goes, the trigger comes first."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .garments import CAMERA_TAGS, OUTFIT
from .implied import drop_implied
from .report import counted, listed_lines
from .settings import check_settings, setting
from .tag_tables import ACCESSORIES, BODY, CHEST, EARS, EYES, HAIR, POSE, TagGroup
from .tags import clean_tag, compile_globs, compile_patterns, matches_any, tag_key, unique_tags
from .values import Dataset, Record

GROUPS: dict[str, TagGroup] = {
    "hair": HAIR,
    "eyes": EYES,
    "ears": EARS,
    "chest": CHEST,
    "body": BODY,
    "accessories": ACCESSORIES,
    "outfit": OUTFIT,
    "pose": POSE,
}
PURPOSES: dict[str, tuple[str, ...]] = {
    "character": ("hair", "eyes", "ears", "chest", "body"),
    "outfit": ("outfit",),
    "pose": ("pose",),
    "concept": (),
    "style": (),
}
"""What each kind of LoRA absorbs into its trigger."""
BY_PURPOSE = "by purpose"
SUGGEST_SHARE = 0.35
"""A tag in more than this share of a group's pictures may be something that the trigger should absorb."""

_SAYS_NOTHING = re.compile(
    r"\d\+?(?:girl|boy|other)s?|solo|looking .*|.*background|simple .*|standing|sitting|smile|.*mouth|blush|.* focus"
    r"|frown|grin|closed eyes|indoors|outdoors|from .*|day|night|.*sky|.*clouds?|forest|beach|(?:high|low)res|.*quality"
)


def _choice(group: str) -> str:
    purposes = [purpose for purpose, groups in PURPOSES.items() if group in groups]
    pruned = f"'{BY_PURPOSE}' prunes them for {' and '.join(purposes)}." if purposes else f"'{BY_PURPOSE}' keeps them."
    help = f"Tags of {GROUPS[group].help}. {pruned}"
    return setting(BY_PURPOSE, help, choices=(BY_PURPOSE, "prune", "keep"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRules:
    """Which tags go, and what comes first."""

    trigger: str = setting("", "The word that stands for what is trained; it becomes the first tag of every caption.")
    class_tag: str = setting("", "What she is, such as 1girl; it becomes the second tag. Empty: nothing is moved.")
    purpose: str = setting(
        "character",
        "What the LoRA is for. character: hair, eyes, ears, chest and body go into the trigger; outfit: the garments; "
        "pose: posture and hands; concept: only your own patterns; style: nothing is pruned.",
        choices=tuple(PURPOSES),
    )
    hair: str = _choice("hair")
    eyes: str = _choice("eyes")
    ears: str = _choice("ears")
    chest: str = _choice("chest")
    body: str = _choice("body")
    accessories: str = _choice("accessories")
    outfit: str = _choice("outfit")
    pose: str = _choice("pose")
    patterns: tuple[str, ...] = setting(
        (), "Regular expressions, one a line; a tag goes when one matches all of it (.* hair takes long hair).",
        split="lines",
    )  # fmt: skip
    keep: tuple[str, ...] = setting(
        (), "Tags that stay whatever the rules say, * for any text (green hair, holding *).", split="tags"
    )
    implied: bool = setting(True, "Drop tags that another tag already says: skirt beside black skirt.")

    def __post_init__(self) -> None:
        check_settings(self)
        compile_patterns(self.patterns)
        for name in ("trigger", "class_tag"):
            if re.search(r"[,\n]", getattr(self, name)):
                raise ValueError(f"PruneRules.{name} is {getattr(self, name)!r}; give one tag, without a comma")

    @property
    def pruned_groups(self) -> tuple[str, ...]:
        """The groups that go: those of the purpose, unless told otherwise."""
        return tuple(
            group
            for group in GROUPS
            if getattr(self, group) == "prune"
            or (getattr(self, group) == BY_PURPOSE and group in PURPOSES[self.purpose])
        )


def prune_tags(dataset: Dataset, rules: PruneRules) -> tuple[Dataset, str]:
    """The dataset with pruned captions, each record remembering in `pruned` what it lost, and a report.

    Tags dropped because another says them are not remembered: they are still in the caption. Prose only gets the
    trigger in front.
    """
    verdict = _judge(rules)
    trigger = clean_tag(rules.trigger)
    records = tuple(_prune(record, rules, trigger, verdict) for record in dataset)
    result = dataclasses.replace(dataset, records=records, trigger=trigger or dataset.trigger)
    return result, _report(dataset, result, rules, verdict)


def _judge(rules: PruneRules) -> Callable[[str], str]:
    """A function from a tag to why it goes: the name of a group, `pattern`, or nothing when it stays."""
    keep = compile_globs((*rules.keep, rules.trigger, rules.class_tag))
    patterns = compile_patterns(rules.patterns)
    known: dict[str, str] = {}

    def why(tag: str) -> str:
        if tag not in known:
            reasons = [group for group in rules.pruned_groups if GROUPS[group].has(tag)]
            reasons += ["pattern"] if matches_any(tag, patterns) else []
            known[tag] = reasons[0] if reasons and not matches_any(tag, keep) else ""
        return known[tag]

    return why


def _prune(record: Record, rules: PruneRules, trigger: str, why: Callable[[str], str]) -> Record:
    if record.is_reg:
        return record
    if record.prose:
        there = not trigger or trigger.casefold() in record.prose.casefold()
        return record if there else dataclasses.replace(record, prose=f"{trigger}, {record.prose}")
    kept = [tag for tag in record.tags if not why(tag)]
    lost = [tag for tag in record.tags if why(tag)]
    if rules.implied:
        kept = list(drop_implied(kept, keep=(trigger, rules.class_tag)))
    first = [tag for tag in (trigger, clean_tag(rules.class_tag)) if tag]
    return dataclasses.replace(record, tags=unique_tags((*first, *kept)), pruned=unique_tags((*record.pruned, *lost)))


def lint_trigger(trigger: str, dataset: Dataset) -> tuple[str, ...]:
    """Warnings about a trigger whose words already mean something in the captions: concepts bleed into it."""
    own = tag_key(trigger)
    tags = {tag_key(tag) for record in dataset for tag in (*record.tags, *record.pruned)} - {own}
    words = {word for tag in tags for word in tag.split()}
    warnings = [
        f"The trigger {trigger!r} contains {word!r}, a word of other tags: the two will bleed into each other. "
        "Use one made-up word"
        for word in re.findall(r"[^\W_]+", own)
        if word in words and len(word) > 2
    ]
    if trigger and re.fullmatch(r"[a-z]{1,3}", own):
        warnings.append(f"The trigger {trigger!r} is very short and may be part of other words. Give a longer one")
    return tuple(warnings)


def suggest(dataset: Dataset, share: float = SUGGEST_SHARE) -> dict[str, tuple[str, ...]]:
    """Group to the tags in more than `share` of its pictures, most frequent first, scene and pose words left out."""
    found = {}
    for group, records in dataset.groups().items():
        counts = Counter(tag for record in records if not record.is_reg for tag in record.tags)
        tags = tuple(
            tag
            for tag, count in counts.most_common()
            if count > share * len(records) and len(records) > 1 and _may_be_absorbed(tag, dataset.trigger)
        )
        if tags:
            found[group] = tags
    return found


def _may_be_absorbed(tag: str, trigger: str) -> bool:
    key = tag_key(tag)
    plain = _SAYS_NOTHING.fullmatch(key) or key in CAMERA_TAGS or key == tag_key(trigger)
    return not plain and not POSE.has(tag)


def _report(before: Dataset, after: Dataset, rules: PruneRules, why: Callable[[str], str]) -> str:
    trained = [record for record in before if not record.is_reg]
    counts = Counter(tag for record in trained if not record.prose for tag in record.tags if why(tag))
    rows = [
        f"{tag}: {count} ({why(tag)})" for tag, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    groups = ", ".join(rules.pruned_groups) or "no group"
    parts = [f"Pruned for {rules.purpose} ({groups}) in {counted(len(trained), 'picture')}"]
    parts += [f"Warning: {warning}" for warning in lint_trigger(rules.trigger, before)]
    parts.append(listed_lines(f"Pruned tags ({len(rows)})", rows) if rows else "No tag was pruned")
    suggestions = [f"{group or '(no name)'}: {', '.join(tags)}" for group, tags in suggest(after).items()]
    if suggestions and rules.purpose != "style":
        share = f"{SUGGEST_SHARE:.0%}"
        parts.append(
            listed_lines(f"Still in more than {share} of a group; prune what the trigger should say", suggestions)
        )
    prose = sum(bool(record.prose) for record in before)
    if prose:
        parts.append(f"{counted(prose, 'caption')} of prose: only the trigger was put in front")
    parts.append(_before_after(before.records, after.records))
    return "\n\n".join(parts)


def _before_after(before: Sequence[Record], after: Sequence[Record]) -> str:
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old.caption != new.caption]
    lines = [line for old, new in changed[:5] for line in (f"{new.name}", f"  - {old.caption}", f"  + {new.caption}")]
    return listed_lines(f"Changed captions ({len(changed)}), the first ones", lines)
