"""Settings of a sweep beside the axes that every sweep has."""

from __future__ import annotations

from dataclasses import dataclass

from ..dataset.score_cache import LEAST
from ..dataset.settings import check_settings, setting

ALL_CELLS, NO_CELLS = "all", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """Further axes, what is measured, and what comes out."""

    seeds: str = setting("", "Further seeds: 7, 42, 100-103. Every prompt is painted with each.")
    base_models: tuple[str, ...] = setting(
        (), "Further checkpoints by name, one a line: does the LoRA work on other models and in other styles?",
        split="lines",
    )  # fmt: skip
    block_presets: tuple[str, ...] = setting(
        (), "Block weights to try beside the whole LoRA, one a line: OUTD, MIDD, ..., or name: 17 numbers.",
        split="lines",
    )  # fmt: skip
    threshold: float = setting(
        0.35, "With a tagger: a tag counts as found from this probability.", low=LEAST, high=1.0, step=0.01
    )
    traits: tuple[str, ...] = setting(
        (), "Tags that the trigger must bring. Empty: those that pruning took from the captions.", split="tags"
    )
    style_tags: tuple[str, ...] = setting(
        (), "The dataset's own style and background tags, for bleed. Empty: the frequent ones of its captions.",
        split="tags",
    )  # fmt: skip
    grid_cell: int = setting(
        512, "Pixels of a cell's longer side in the grid; smaller cells stay as they are.", low=64, high=4096, step=64
    )
    cells: str = setting(
        ALL_CELLS, "all: every cell as an image of the list. none: they stay on disk, which saves memory.",
        choices=(ALL_CELLS, NO_CELLS),
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)
