"""How good the world's models are, measured through a real host."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..graphs import control_graph
from ..hosting import Host
from ..marking import paint, painted, recall
from ..shots import Shot, world_shots
from ..world.draw import draw
from ..world.figure import Figure
from .common import random_figures
from .control import edges

_SHOTS, _STEERED = 64, 16
_STRENGTHS = {"edge_agreement_without": 0.0, "edge_agreement_with": 1.0}


def measure() -> dict[str, float]:
    """Prompt recall of the base, and how far pictures keep the edges that the ControlNet was given."""
    with (
        tempfile.TemporaryDirectory(prefix="kiln-world-") as folder,
        Host(Path(folder), extra=["--use-pytorch-cross-attention"]) as host,
    ):
        shots = world_shots(_SHOTS)
        pictures = paint(host, shots, "prompt recall")
        figures = random_figures(_STEERED, "steered", strange=0.0)
        agreement = {words: edge_agreement(host, figures, strength) for words, strength in _STRENGTHS.items()}
    return {"prompt_recall": round(recall(shots, pictures), 4), **agreement}


def edge_agreement(host: Host, figures: Sequence[Figure], strength: float) -> float:
    """Mean F1 of the pictures' edges against the hint's, a pixel of slack allowed; captions say next to nothing."""
    drawn = [draw(figure).image for figure in figures]
    names = [f"hint{i}.png" for i in range(len(drawn))]
    for name, image in zip(names, drawn, strict=True):
        image.save(host.base / "input" / name)
    shots = [Shot(prompt=f"1girl, solo, {f.style}", seed=i, wanted=()) for i, f in enumerate(figures)]
    pictures = painted(host, control_graph(shots, names, strength=strength), len(shots), f"ControlNet at {strength}")
    scores = [_f1(_edges(a), _edges(b)) for a, b in zip(drawn, pictures, strict=True)]
    return round(float(np.mean(scores)), 4)


def _edges(image: Image.Image) -> np.ndarray:
    found: np.ndarray = edges(np.asarray(image))[0].numpy() > 0.5
    return found


def _f1(wanted: np.ndarray, found: np.ndarray) -> float:
    hits = (found & _thick(wanted)).sum() / max(1, found.sum())
    covered = (wanted & _thick(found)).sum() / max(1, wanted.sum())
    return float(2 * hits * covered / max(1e-9, hits + covered))


def _thick(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    height, width = mask.shape
    shifted = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    thick: np.ndarray = np.logical_or.reduce(shifted)
    return thick
