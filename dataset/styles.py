"""What is asked of a style augmentation: which variants, whose colours are held, and who paints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image

from .choice import ChoiceOptions, HandOptions
from .errors import DatasetError
from .finding import FigureModels
from .regions import DRAWN, PARTS
from .settings import check_settings, setting
from .style_captions import SOURCE, CaptionOptions
from .values import Dataset, Record, Size
from .wildcards import Wildcards

SPREAD, LOWER = "spread over the variants", "lower while it drifts"

Paint = Callable[[Image.Image, str, int, float], Image.Image]
"""paint(start, prompt, seed, denoise) -> the scene painted anew from `start`, at its size."""


class Painter(Protocol):
    """Who paints: `host.painting.StylePainter`, or a stand-in for it."""

    def scene(self, source: Image.Image, number: int) -> Paint:
        """A function that paints under the lines of `source`, the dataset's picture of that number (from 0)."""

    def mark(self, number: int) -> str:
        """Everything but source, prompt, seed and denoise that decides the pictures of a scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleOptions:
    """Which variants are made of each picture."""

    styles: tuple[str, ...] = setting(
        ("flat color", "sketch"),
        "Style prompts, one a line; the picture's own caption says what is shown, the line says how. {a|b} draws one "
        "of its parts, __name__ a line of the wildcard file name.txt. After => stand the tags of the caption, where "
        "they are not those of the prompt.",
        split="lines",
    )
    variants: int = setting(1, "Pictures a style, each with a seed of its own.", low=1, high=64, step=1)
    seed: int = setting(0, "The first variant's seed.", low=0, high=2**63 - 1, step=1)
    resolution: int = setting(
        1024,
        "Variants have about resolution x resolution pixels, in the bucket of their source. A wired recipe's sizes "
        "count instead.",
        low=64,
        high=4096,
        step=64,
    )
    step: int = setting(64, "Sides of a variant are multiples of this.", low=8, high=512, step=8)
    repeats: int = setting(1, "How often an epoch sees each variant.", low=1, high=1000, step=1)
    keep_originals: bool = setting(True, "Keep the source pictures in the dataset too.")
    denoise: float = setting(
        0.6, "How much is painted anew: lower keeps more of the colours and of the source's style.", low=0.01, high=1.0,
        step=0.01,
    )  # fmt: skip
    denoise_low: float = setting(
        0.0, "The lower end of a ladder of denoise, such as 0.5 under a denoise of 0.7. 0: no ladder.", low=0.0,
        high=1.0, step=0.01,
    )  # fmt: skip
    ladder: str = setting(
        SPREAD,
        "How a ladder is used. spread over the variants: the first has denoise, the last denoise_low. lower while it "
        "drifts: each starts at denoise and is painted again a rung lower until it passes max_drift and min_structure.",
        choices=(SPREAD, LOWER),
    )
    rungs: int = setting(3, "Rungs of the ladder that is climbed down while it drifts.", low=2, high=10, step=1)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.denoise_low > self.denoise:
            raise ValueError(
                f"StyleOptions.denoise_low is {self.denoise_low:g}, more than denoise {self.denoise:g}; swap them"
            )

    def tries(self, variant: int) -> tuple[float, ...]:
        """The denoise of a variant (from 0): one, or the rungs that are tried from the top."""
        if not self.denoise_low:
            return (self.denoise,)
        if self.ladder == SPREAD:
            return (_between(self.denoise, self.denoise_low, variant, self.variants),)
        return tuple(_between(self.denoise, self.denoise_low, rung, self.rungs) for rung in range(self.rungs))


def _held(part: str, where: str) -> float:
    return setting(
        0.0,
        f"Hold the colours of {where}: 1 takes all of the drift back, 0 leaves them to the painter.",
        low=0.0, high=1.0, step=0.05,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldOptions:
    """Parts whose colours are held: the variant's are matched to the source's, and it is painted once more from
    there, so that no seam is left; what that moves is taken back."""

    hold_hair: float = _held("hair", "the hair")
    hold_face: float = _held("face", "the face")
    hold_upper: float = _held("upper", "the upper body")
    hold_lower: float = _held("lower", "the lower body")
    hold_background: float = _held("background", "the background")
    hold_mask: float = _held(DRAWN, "what the masks in hold_masks show white")
    hold_denoise: float = setting(
        0.35, "Denoise of the second painting, from the matched colours. 0: they stay as matched.", low=0.0, high=1.0,
        step=0.01,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def strengths(self) -> dict[str, float]:
        """The strengths above 0 by the parts' names."""
        found = {name: getattr(self, f"hold_{name}") for name in (*PARTS, DRAWN)}
        return {name: value for name, value in found.items() if value > 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that the user can set."""

    styles: StyleOptions = field(default_factory=StyleOptions)
    hold: HoldOptions = field(default_factory=HoldOptions)
    choice: ChoiceOptions = field(default_factory=ChoiceOptions)
    captions: CaptionOptions = field(default_factory=CaptionOptions)
    hand: HandOptions = field(default_factory=HandOptions)
    tagger: bool = False
    """Whether there is a tagger to look at the variants."""

    def __post_init__(self) -> None:
        if not self.styles.styles:
            raise DatasetError("styles is empty; write at least one style prompt, one a line.")
        if self.captions.tags != SOURCE and not self.tagger:
            raise DatasetError(f"tags is {self.captions.tags!r}, which needs a tagger; pick one, or choose {SOURCE!r}")
        climbs = self.styles.denoise_low and self.styles.ladder == LOWER
        if climbs and not (self.choice.max_drift or self.choice.min_structure):
            raise DatasetError(
                f"ladder is {LOWER!r}, but nothing says what drifts; set max_drift (10, say), or min_structure, or "
                f"choose {SPREAD!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """What the work is done with. `mark` tells loaded models apart; `bucket` gives the size that a record is trained
    at; masks are none, or one for each picture; `tag` gives the pictures with a tagger's tags."""

    painter: Painter
    cache: Path
    bucket: Callable[[Record], Size]
    mark: str = ""
    wildcards: Wildcards = field(default_factory=Wildcards)
    models: FigureModels | None = None
    masks: Sequence[Image.Image] = ()
    hold_masks: Sequence[Image.Image] = ()
    tag: Callable[[Dataset], Dataset] | None = None


def _between(high: float, low: float, place: int, count: int) -> float:
    """The rung of that place, from 0 at the top, of so many between two values."""
    return round(high + (low - high) * place / max(1, count - 1), 4)
