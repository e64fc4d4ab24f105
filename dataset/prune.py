"""Pruning captions: what the trigger should absorb goes, the trigger comes first."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from dataclasses import dataclass

from .changes import before_after
from .colors import AUTO, color_of, differs, own_colors
from .garments import CAMERA_TAGS, OUTFIT
from .implied import drop_implied, parse_implications
from .keys import fits
from .lint import Lexicon, lint_trigger
from .report import counted, listed_lines
from .settings import check_settings, setting
from .tag_tables import ACCESSORIES, BODY, CHEST, EARS, EYES, HAIR, POSE, TagGroup
from .tags import (
    clean_tag,
    compile_globs,
    compile_patterns,
    distinct_tags,
    literal_tag,
    matches_any,
    split_literal,
    tag_key,
    underscored,
    unique_tags,
)
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
BY_PURPOSE, PRUNE, KEEP, WITH_TRIGGER = "by purpose", "prune", "keep", "where a group has a trigger"
SUGGEST_SHARE = 0.35
"""A tag in more than this share of a group's pictures may be something that the trigger should absorb."""

_NUMBER = re.compile(r"(?:\d+\+?|multiple )(?:girl|boy|other)s?")
_SAYS_NOTHING = re.compile(
    r"\d\+?(?:girl|boy|other)s?|solo|looking .*|.*background|simple .*|standing|sitting|smile|.*mouth|blush|.* focus"
    r"|frown|grin|closed eyes|indoors|outdoors|from .*|day|night|.*sky|.*clouds?|forest|beach|(?:high|low)res|.*quality"
)


def _choice(group: str) -> str:
    purposes = [purpose for purpose, groups in PURPOSES.items() if group in groups]
    pruned = f"'{BY_PURPOSE}' prunes them for {' and '.join(purposes)}." if purposes else f"'{BY_PURPOSE}' keeps them."
    help = f"Tags of {GROUPS[group].help}. {pruned}"
    return setting(BY_PURPOSE, help, choices=(BY_PURPOSE, PRUNE, KEEP, WITH_TRIGGER))


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneRules:
    """Which tags go, and what comes first."""

    trigger: str = setting(
        "", "The word that stands for what is trained; it becomes the first tag of every caption, letter for letter as "
        "you type it. Empty: the dataset's own."
    )  # fmt: skip
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
    group_triggers: tuple[str, ...] = setting(
        (),
        "Words of their own for groups, one a line, as group: word (armour*: kr-armour). The word comes after the "
        f"trigger in pictures of that group. Set outfit to '{WITH_TRIGGER}' to have it absorb what is worn there.",
        split="lines",
    )
    own: tuple[str, ...] = setting(
        (),
        "Her own colours (green hair, red eyes), or auto for the most frequent. Another colour of the same part stays "
        "in the caption: there she looks different. Empty: every colour goes.",
        split="tags",
    )
    implications: str = setting(
        "",
        'What tags of yours say besides, as JSON: {"holding cup": ["cup"], "* dress": "dress"}.',
        multiline=True,
    )
    underscores: bool = setting(
        False, "Write tags with underscores (long_hair), triggers as you type them. Rules read both spellings."
    )

    def __post_init__(self) -> None:
        check_settings(self)
        compile_patterns(self.patterns)
        parse_implications(self.implications)
        for name in ("trigger", "class_tag"):
            if re.search(r"[,\n]", getattr(self, name)):
                raise ValueError(f"PruneRules.{name} is {getattr(self, name)!r}; give one tag, without a comma")
        for line in self.group_triggers:
            group, colon, word = line.rpartition(":")
            if not colon or not group.strip() or not word.strip() or "," in word:
                raise ValueError(
                    f"PruneRules.group_triggers has the line {line!r}; write group: word, such as armour: kr-armour"
                )
        for tag in self.own:
            if tag_key(tag) != AUTO and color_of(tag) is None:
                raise ValueError(
                    f"PruneRules.own has {tag!r}, which gives no part of the body a colour; write tags such as green "
                    f"hair or red eyes, or {AUTO}"
                )

    def prunes(self, group: str, *, triggered: bool = False) -> bool:
        """Whether the tags of a group go; `triggered` in pictures that have a trigger of their own."""
        choice = getattr(self, group)
        if choice == BY_PURPOSE:
            return group in PURPOSES[self.purpose]
        return choice == PRUNE or (choice == WITH_TRIGGER and triggered)

    @property
    def pruned_groups(self) -> tuple[str, ...]:
        """The groups that go in every picture: those of the purpose, unless told otherwise."""
        return tuple(group for group in GROUPS if self.prunes(group))

    def trigger_of(self, record_group: str) -> str:
        """The word that pictures of a group have besides the trigger, as it was typed; nothing without one."""
        for line in self.group_triggers:
            group, _, word = line.rpartition(":")
            if fits(record_group, group):
                return literal_tag(word)
        return ""


def prune_tags(dataset: Dataset, rules: PruneRules, lexicon: Lexicon | None = None) -> tuple[Dataset, str]:
    """The dataset with pruned captions, each record remembering in `pruned` what it lost, and a report.

    Tags dropped because another says them are not remembered: they are still in the caption. Prose only gets the
    triggers in front. `lexicon` helps to judge the trigger.
    """
    judge = _Judge(dataset, rules)
    records = tuple(_prune(record, rules, judge) for record in dataset)
    words = distinct_tags((*dataset.words, *filter(None, judge.words.values())))
    result = dataclasses.replace(dataset, records=records, trigger=judge.trigger, words=words)
    return result, _report(dataset, result, rules, judge, lexicon)


class _Judge:
    """Why tags go; each tag is judged once for pictures with and once for those without a trigger of their own."""

    def __init__(self, dataset: Dataset, rules: PruneRules) -> None:
        self.rules = rules
        self.trigger = literal_tag(rules.trigger) or dataset.trigger
        self.triggers = split_literal(self.trigger)
        self.implications = parse_implications(rules.implications)
        self.words = {group: rules.trigger_of(group) for group in dataset.groups()}
        self._keep = compile_globs((*rules.keep, *self.triggers, rules.class_tag, *self.words.values()))
        self._patterns = compile_patterns(rules.patterns)
        self._own = own_colors(rules.own, dataset)
        self._known: dict[tuple[str, bool], str] = {}

    def why(self, tag: str, record: Record) -> str:
        """The name of a group, `pattern`, or nothing when the tag stays."""
        triggered = bool(self.words[record.group])
        if (tag, triggered) not in self._known:
            reasons = [
                name for name in GROUPS if self.rules.prunes(name, triggered=triggered) and GROUPS[name].has(tag)
            ]
            reasons += ["pattern"] if matches_any(tag, self._patterns) else []
            stays = not reasons or matches_any(tag, self._keep) or differs(tag, self._own)
            self._known[tag, triggered] = "" if stays else reasons[0]
        return self._known[tag, triggered]


def _prune(record: Record, rules: PruneRules, judge: _Judge) -> Record:
    if record.is_reg:
        return record
    triggers = [word for word in (*judge.triggers, judge.words[record.group]) if word]
    if record.prose:
        missing = [word for word in triggers if not _has_word(record.prose, word)]
        return dataclasses.replace(record, prose=", ".join((*missing, record.prose))) if missing else record
    kept = [tag for tag in record.tags if not judge.why(tag, record)]
    lost = [tag for tag in record.tags if judge.why(tag, record)]
    if rules.implied:
        kept = list(drop_implied(kept, keep=(*triggers, rules.class_tag), more=judge.implications))
    tag = clean_tag(rules.class_tag)
    rest = [*([tag] if tag and not _is_other_number(record, tag) else []), *kept]
    tags = distinct_tags((*triggers, *(map(underscored, rest) if rules.underscores else rest)))
    return dataclasses.replace(record, tags=tags, pruned=unique_tags((*record.pruned, *lost)))


def _has_word(prose: str, word: str) -> bool:
    """Whether a text has a word, or several, letter for letter; `cookie` does not have `kie`."""
    return re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", prose.casefold()) is not None


def _is_other_number(record: Record, class_tag: str) -> bool:
    """Whether the class tag counts people (1girl) and the caption counts others (2girls)."""
    keys = {tag_key(tag) for tag in record.tags}
    own = tag_key(class_tag)
    return bool(_NUMBER.fullmatch(own)) and own not in keys and any(_NUMBER.fullmatch(key) for key in keys)


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


def _report(before: Dataset, after: Dataset, rules: PruneRules, judge: _Judge, lexicon: Lexicon | None) -> str:
    trained = [record for record in before if not record.is_reg]
    counts = Counter(
        (tag, why) for record in trained if not record.prose for tag in record.tags if (why := judge.why(tag, record))
    )
    rows = [f"{tag}: {count} ({why})" for (tag, why), count in sorted(counts.items(), key=lambda i: (-i[1], i[0]))]
    groups = ", ".join(rules.pruned_groups) or "no group"
    parts = [f"Pruned for {rules.purpose} ({groups}) in {counted(len(trained), 'picture')}"]
    parts += [f"Warning: {warning}" for warning in _warnings(before, rules, judge, lexicon)]
    others = [record.name for record in trained if _is_other_number(record, rules.class_tag)]
    if others:
        parts.append(listed_lines(f"Without {rules.class_tag}, they show others ({len(others)})", others))
    parts.append(listed_lines(f"Pruned tags ({len(rows)})", rows) if rows else "No tag was pruned")
    suggestions = [f"{group or '(no name)'}: {', '.join(tags)}" for group, tags in suggest(after).items()]
    if suggestions and rules.purpose != "style":
        share = f"{SUGGEST_SHARE:.0%}"
        parts.append(
            listed_lines(f"Still in more than {share} of a group; prune what the trigger should say", suggestions)
        )
    prose = sum(bool(record.prose) for record in trained)
    if prose:
        parts.append(f"{counted(prose, 'caption')} of prose: only the trigger was put in front")
    parts.append(before_after(before.records, after.records))
    return "\n\n".join(parts)


def _warnings(dataset: Dataset, rules: PruneRules, judge: _Judge, lexicon: Lexicon | None) -> list[str]:
    """What is doubtful about the trigger and those of the groups."""
    words = dict.fromkeys((*judge.triggers, *(line.rpartition(":")[2].strip() for line in rules.group_triggers)))
    warnings = [warning for word in words if word for warning in lint_trigger(word, dataset, lexicon)]
    for line in rules.group_triggers:
        name = line.rpartition(":")[0].strip()
        if not any(fits(group, name) for group in dataset.groups()):
            warnings.append(f"no group is called {name!r}; there are: {', '.join(sorted(dataset.groups())) or 'none'}")
    return warnings
