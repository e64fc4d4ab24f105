"""What a tagger's findings say of each column: trait recall, flexibility, bleed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..dataset.kinds import hides, kind_of
from .prompts import names, prompted_tags, without_names
from .values import Column, Row

Found = frozenset[str]
"""The tags (`tag_key`) that a tagger finds in one picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was learned: the triggers that all pictures have, the traits that these must bring, the dataset's own style
    and background, and which of the traits belong to a trigger that only some pictures have ("": to having none).
    """

    triggers: tuple[str, ...]
    traits: frozenset[str]
    habits: frozenset[str]
    of_word: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def traits_for(self, prompt: str) -> frozenset[str]:
        """What the triggers of a prompt stand for."""
        if not all(names(prompt, word) for word in self.triggers):
            return frozenset()
        if not self.of_word:
            return self.traits
        said = [traits for word, traits in self.of_word.items() if word and names(prompt, word)]
        if said:
            return frozenset().union(*said) & self.traits
        if not self.triggers:
            return frozenset()
        # What an outfit's own word brings is not to be expected without it.
        plain = self.of_word.get("")
        return self.traits & (frozenset.intersection(*self.of_word.values()) if plain is None else plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one row's picture should and should not show."""

    traits: frozenset[str]
    """To be brought by the trigger alone: the prompt neither names nor replaces nor hides them."""
    tags: frozenset[str]
    """Prompted by name."""
    foreign: frozenset[str]
    """Habits of the dataset where the prompt asks for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """A column's scores, each from 0 to 1, or None where nothing was there to measure."""

    traits: float | None = None
    """Share of the expected traits that are found."""
    flexibility: float | None = None
    """Prompted tags found, as a share of those found without the LoRA; 1 at most."""
    bleed: float | None = None
    """Share of foreign habits found, less that without the LoRA."""
    likeness: float | None = None
    memorised: float | None = None
    corrupt: float = 0.0
    """Share of pictures that are broken, flat or noise."""

    @property
    def sum(self) -> float | None:
        """Trait recall and flexibility together, what an epoch is chosen by; None where no trait was measured: in
        following prompts alone the least trained epoch is the best.
        """
        return None if self.traits is None else self.traits + (self.flexibility or 0.0)


def asked_of(row: Row, subject: Subject, known: frozenset[str]) -> Asked:
    """What a row's prompt lets one expect, in tags that the tagger knows."""
    # Triggers may be tags that the tagger knows, or be made of some; they are no wishes of their own.
    tags = prompted_tags(without_names(row.prompt, (*subject.triggers, *subject.of_word)), known)
    kinds = {kind_of(tag) for tag in tags}
    wanted = subject.traits_for(row.prompt) & known
    traits = frozenset(t for t in wanted if t not in tags and kind_of(t) not in kinds and not hides(tags, t))
    foreign = frozenset(tag for tag in subject.habits & known if tag not in tags and kind_of(tag) in kinds)
    return Asked(traits=traits, tags=tags - subject.traits, foreign=foreign)


def trait_recall(asked: Sequence[Asked], found: Sequence[Found]) -> float | None:
    """Of the expected traits of all pictures, the share found."""
    return _share([(a.traits, f) for a, f in zip(asked, found, strict=True)])


def flexibility(asked: Sequence[Asked], found: Sequence[Found], plain: Sequence[Found]) -> float | None:
    """Prompted tags found, over those found in the same pictures without the LoRA; None where that finds none."""
    with_lora = _share([(a.tags, f) for a, f in zip(asked, found, strict=True)])
    without = _share([(a.tags, f) for a, f in zip(asked, plain, strict=True)])
    return min(1.0, with_lora / without) if with_lora is not None and without else None


def bleed(asked: Sequence[Asked], found: Sequence[Found], plain: Sequence[Found]) -> float | None:
    """Share of the dataset's habits that come uncalled, less the same without the LoRA; 0 at least."""
    with_lora = _share([(a.foreign, f) for a, f in zip(asked, found, strict=True)])
    without = _share([(a.foreign, f) for a, f in zip(asked, plain, strict=True)])
    return max(0.0, with_lora - without) if with_lora is not None and without is not None else None


def by_trait(asked: Sequence[Asked], found: Sequence[Found]) -> dict[str, float]:
    """The recall of each trait that any picture should show, the worst first."""
    tallies: dict[str, list[bool]] = {}
    for one, tags in zip(asked, found, strict=True):
        for trait in sorted(one.traits):
            tallies.setdefault(trait, []).append(trait in tags)
    shares = {trait: sum(hits) / len(hits) for trait, hits in tallies.items()}
    return dict(sorted(shares.items(), key=lambda item: (item[1], item[0])))


def tag_marks(
    asked: Sequence[Asked], found: Mapping[Column, Sequence[Found]], plain: Column
) -> dict[Column, tuple[float | None, float | None, float | None]]:
    """(trait recall, flexibility, bleed) of each column; `plain` is the one without the LoRA."""
    base = found[plain]
    return {
        column: (trait_recall(asked, tags), flexibility(asked, tags, base), bleed(asked, tags, base))
        for column, tags in found.items()
    }


def _share(pairs: Sequence[tuple[frozenset[str], Found]]) -> float | None:
    wanted = sum(len(tags) for tags, _ in pairs)
    return sum(len(tags & found) for tags, found in pairs) / wanted if wanted else None
