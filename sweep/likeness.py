"""Likeness and memorisation, read against the dataset's own spread.

Features are rows [N, D]; what "alike" means is the model's business: a function from two such arrays to similarities
[N, M], 1 for the same picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Similarity = Callable[[Floats, Floats], Floats]

_LEAST_LIKE, _NEAREST = 5, 95
"""Percentiles: what counts as hardly her, and as a copy."""
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How alike the dataset's pictures are among themselves."""

    middle: float
    """Median over pictures of the mean similarity to the others."""
    low: float
    """The same of the least alike (5th percentile)."""
    near: float
    """Similarity to the nearest other picture, of the nearest (95th percentile)."""


def cosine(a: Floats, b: Floats) -> Floats:
    """Cosine similarity of each row with each, [N, M]."""
    scaled = [rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (a, b)]
    found: Floats = (scaled[0] @ scaled[1].T).astype(np.float32)
    return found


def own_spread(features: Floats, sources: Sequence[str], similarity: Similarity) -> Spread | None:
    """The dataset's spread; crops of one picture (equal `sources`) are not compared. None with fewer than two."""
    alike = similarity(features, features)
    names = np.asarray(sources)
    other = names[:, None] != names[None, :]
    rows = [row[mask] for row, mask in zip(alike, other, strict=True) if mask.any()]
    if len(rows) < 2:
        return None
    means = np.asarray([row.mean() for row in rows])
    nearest = np.asarray([row.max() for row in rows])
    return Spread(
        middle=float(np.median(means)),
        low=float(np.percentile(means, _LEAST_LIKE)),
        near=float(np.percentile(nearest, _NEAREST)),
    )


def likeness(to_dataset: Floats, spread: Spread) -> float:
    """One picture's likeness from its similarities [M] to the dataset: 1 as like as its median picture is to the
    others, 0.5 as its least alike, 0 twice as far off.
    """
    width = max(spread.middle - spread.low, _LEAST_SPREAD)
    return float(np.clip(1 - (spread.middle - float(to_dataset.mean())) / (2 * width), 0, 1))


def is_copy(to_dataset: Floats, spread: Spread) -> bool:
    """Whether the nearest training picture is nearer than hardly two of them are to each other."""
    return float(to_dataset.max()) > spread.near
