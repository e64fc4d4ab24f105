"""Which variants of a picture are kept: two scores, thresholds, and the best of those that pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .lines import edge_agreement, grown
from .regions import DRAWN, PARTS, Regions, color_drift
from .select import Selection, read_selection
from .settings import check_settings, setting
from .tags import tag_key

FULL_DRIFT = 25.0
"""A mean drift of this much (CIEDE2000) weighs as much as the loss of all lines."""
_FLAT = 2.0
"""A picture whose pixels differ by less than this (of 255, standard deviation) shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceOptions:
    """Which variants become part of the dataset."""

    keep_best: int = setting(
        0, "So many variants of each picture and style are kept, those with the best scores. 0: all that pass.", low=0,
        high=64, step=1,
    )  # fmt: skip
    max_drift: float = setting(
        0.0,
        "Variants with a part whose colours moved by more than this on average are rejected (CIEDE2000: 2 is hardly "
        "seen, 10 is another shade, 20 another colour). 0: no limit.",
        low=0.0, high=100.0, step=0.5,
    )  # fmt: skip
    min_structure: float = setting(
        0.0, "Variants whose lines agree less than this with the source's are rejected (1: the same lines). 0: no "
        "limit.", low=0.0, high=1.0, step=0.01,
    )  # fmt: skip
    compare: tuple[str, ...] = setting(
        ("hair", "face", "upper", "lower"),
        f"Parts whose colours count: of {', '.join((*PARTS, DRAWN))}. Where they are not known, the whole figure or "
        "picture counts.",
        split="tags",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        for name in self.compare:
            if tag_key(name) not in (*PARTS, DRAWN):
                raise ValueError(f"ChoiceOptions.compare has {name!r}; choose from: {', '.join((*PARTS, DRAWN))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOptions:
    """Which variants a person keeps or rejects, whatever their scores."""

    by_hand: str = setting(
        "",
        "Variants chosen by hand, stronger than their scores: a name a line, + before what is kept and - before what "
        "is rejected. Clicks on the node's pictures write it.",
        multiline=True,
    )

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def selection(self) -> Selection:
        """What is kept and rejected. Raises DatasetError for a text that cannot be read."""
        return read_selection(self.by_hand)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What was measured of one variant: colour drift by part (CIEDE2000) and agreement of the lines (0 to 1)."""

    drift: Mapping[str, float]
    structure: float
    flat: bool = False

    @property
    def mean_drift(self) -> float:
        """Over the parts that count, each as much as the others."""
        return sum(self.drift.values()) / max(1, len(self.drift))

    @property
    def total(self) -> float:
        """Structure less the drift's share: 1 is the source itself."""
        return self.structure - self.mean_drift / FULL_DRIFT

    def words(self) -> str:
        """For reports: `drift hair 3.1, face 2.0; structure 0.84`."""
        parts = ", ".join(f"{name} {value:.1f}" for name, value in self.drift.items())
        return f"drift {parts}; structure {self.structure:.2f}"


def measure(source: Image.Image, variant: Image.Image, regions: Regions, options: ChoiceOptions) -> Scores:
    """Compare a variant with its source, two RGB pictures of one size."""
    names = regions.named([tag_key(name) for name in options.compare])
    figure = regions.figure
    # Lines around the figure count, a painted scene behind it does not.
    within = grown(figure, max(1, round(0.03 * max(figure.shape)))) if figure is not None else None
    return Scores(
        drift=color_drift(source, variant, regions, names),
        structure=edge_agreement(source, variant, within),
        flat=float(np.asarray(variant, dtype=np.float32).std(axis=(0, 1)).max()) < _FLAT,
    )


def fault(scores: Scores, options: ChoiceOptions) -> str:
    """Why a variant is rejected, in words; empty when it passes."""
    if scores.flat:
        return "it is one flat colour; the sampler made no picture"
    part, worst = max(scores.drift.items(), key=lambda item: item[1])
    reasons = []
    if options.max_drift and worst > options.max_drift:
        reasons.append(f"the colours of {part} moved by {worst:.1f}, more than {options.max_drift:g}")
    if options.min_structure and scores.structure < options.min_structure:
        reasons.append(f"its lines agree by {scores.structure:.2f}, less than {options.min_structure:g}")
    return "; ".join(reasons)


def verdicts(scores: Sequence[Scores], options: ChoiceOptions, out: Collection[int] = ()) -> list[str]:
    """Why each of the variants of one picture and style is rejected; empty for those that are kept.

    Those whose places are in `out` are rejected by hand: the next best of the others take their place.
    """
    found = [fault(one, options) for one in scores]
    passing = [i for i, why in enumerate(found) if not why and i not in out]
    passing.sort(key=lambda i: (-scores[i].total, i))
    for place, i in enumerate(passing[options.keep_best :] if options.keep_best else (), options.keep_best + 1):
        found[i] = f"its score of {scores[i].total:.2f} is number {place}, and the best {options.keep_best} are kept"
    return found
