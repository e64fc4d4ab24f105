"""CCIP: whether two pictures show the same character (deepghs/ccip_onnx), whatever she wears and does.

A model is a folder `<name>/` with `model_feat.onnx`, from pictures [N, 3, side, side] to features [N, D], and
`model_metrics.onnx`, from features [N, D] to differences [N, N]: 0 for the same picture, under about 0.18 for the
same character.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import BadModel, ModelMissing
from .onnx import device_of, fetch, find_folder, list_folders, open_session, plain_name
from .values import Progress

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]

FEATURES, METRICS = "model_feat.onnx", "model_metrics.onnx"
REPO = "deepghs/ccip_onnx"
HUB_MODELS = tuple(f"{REPO}/{name}" for name in ("ccip-caformer-24-randaug-pruned", "ccip-caformer_b36-24"))
"""Fetched from the Hugging Face hub when somebody picks one that is not there."""
_SIDE = 384
# CLIP's statistics of pixels, which these models were trained with.
_MEAN = np.array((0.48145466, 0.4578275, 0.40821073), dtype=np.float32)
_STD = np.array((0.26862954, 0.26130258, 0.27577711), dtype=np.float32)
_BATCH = 4
_PAIRS = 64
"""Rows compared at once: the model lays every pair out in memory."""


def list_ccip(folders: Sequence[Path]) -> tuple[str, ...]:
    """What can be picked: models in the folders, then those of the hub, as owner/repository/name."""
    return (*list_folders(folders, FEATURES), *HUB_MODELS)


def get_ccip(name: str, folders: Sequence[Path], progress: Progress | None = None) -> Ccip:
    """The model of that name, ready to run; one of HUB_MODELS is fetched into the first folder when it is not there.

    Raises ModelMissing or BadModel.
    """
    folder = find_folder(name, folders, FEATURES)
    if folder is None and name in HUB_MODELS and folders:
        short = plain_name(name)
        fetch(REPO, {f"{short}/{file}": folders[0] / short / file for file in (METRICS, FEATURES)}, progress)
        folder = folders[0] / short
    if folder is None or not (folder / METRICS).is_file():
        places = ", ".join(map(str, folders)) or "no folder is configured"
        raise ModelMissing(
            f"There is no CCIP model {name!r}. Looked for <name>/{FEATURES} and <name>/{METRICS} in: {places}. Put "
            f"both there, or pick {HUB_MODELS[0]} to have it fetched"
        )
    return _open(folder, (folder / FEATURES).stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _open(folder: Path, time: int) -> Ccip:
    """The time is part of the key only."""
    return Ccip(folder)


class Ccip:
    """Both ONNX sessions of a model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._features = open_session(folder / FEATURES, "CCIP model")
        self._metrics = open_session(folder / METRICS, "CCIP model")
        [taken] = self._features.get_inputs()
        self._input = taken.name
        if len(taken.shape) != 4 or (isinstance(taken.shape[1], int) and taken.shape[1] != 3):
            raise BadModel(
                f"The CCIP model {folder / FEATURES} takes {taken.shape}; pictures are (N, 3, {_SIDE}, {_SIDE}). "
                "Take both files from the same download"
            )
        self._side = taken.shape[2] if isinstance(taken.shape[2], int) else _SIDE
        log.info("CCIP %s on %s", folder.name, device_of(self._features))

    def features(self, images: Sequence[Image.Image]) -> Floats:
        """A row for each RGB picture, [N, D]."""
        rows = [self._run(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
        return np.concatenate(rows) if rows else np.zeros((0, 1), dtype=np.float32)

    def similarity(self, a: Floats, b: Floats) -> Floats:
        """One minus the model's difference of each row of `a` with each of `b`, [N, M]."""
        rows = [
            np.concatenate([self._differences(part, b[at : at + _PAIRS]) for at in range(0, len(b), _PAIRS)], axis=1)
            for part in (a[at : at + _PAIRS] for at in range(0, len(a), _PAIRS))
        ]
        return 1 - np.concatenate(rows) if rows else np.zeros((0, len(b)), dtype=np.float32)

    def _differences(self, a: Floats, b: Floats) -> Floats:
        both = np.concatenate([a, b]).astype(np.float32)
        found = _first(self._metrics, {self._metrics.get_inputs()[0].name: both})
        if found.shape != (len(both), len(both)) or not np.isfinite(found).all():
            raise BadModel(
                f"The CCIP model {self._folder / METRICS} gave {found.shape} for {len(both)} pictures, and must give a "
                "difference for each pair. Take both files from the same download"
            )
        return found[: len(a), len(a) :]

    def _run(self, images: Sequence[Image.Image]) -> Floats:
        sides = (self._side, self._side)
        pixels = np.stack([np.asarray(i.convert("RGB").resize(sides, Image.Resampling.BILINEAR)) for i in images])
        scaled = (pixels.astype(np.float32) / 255 - _MEAN) / _STD
        found = _first(self._features, {self._input: np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))})
        if found.ndim != 2 or len(found) != len(images):
            raise BadModel(
                f"The CCIP model {self._folder / FEATURES} gave {found.shape} for {len(images)} pictures, and must "
                "give a row for each. Take both files from the same download"
            )
        return found


def _first(session: Any, fed: dict[str, Floats]) -> Floats:
    found: Floats = np.asarray(session.run(None, fed)[0], dtype=np.float32)
    return found
