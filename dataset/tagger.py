"""Reading taggers of the WD contract: an ONNX model and its `selected_tags.csv`.

Input: float32 NHWC, BGR, 0 to 255, a square picture on white. Output: one probability for each row of the csv, whose
category is 9 for ratings, 0 for general tags, 4 for characters.
"""

from __future__ import annotations

import csv
import functools
import importlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import BadTagger, TaggerMissing
from .tags import clean_tag

log = logging.getLogger(__name__)

MODEL_FILE = "model.onnx"
TAGS_FILE = "selected_tags.csv"
HUB_TAGGERS = (
    "SmilingWolf/wd-vit-tagger-v3",
    "SmilingWolf/wd-swinv2-tagger-v3",
    "SmilingWolf/wd-convnext-tagger-v3",
    "SmilingWolf/wd-vit-large-tagger-v3",
    "SmilingWolf/wd-eva02-large-tagger-v3",
)
"""Taggers that are fetched from the Hugging Face hub when somebody picks one that is not there."""
BATCH = 8
"""Pictures in one run, where the model takes several."""

_RATING, _GENERAL, _CHARACTER = 9, 0, 4
_USUAL_SIDE = 448
_INSTALL = (
    "Taggers need the package onnxruntime, which is not installed. In ComfyUI's own Python run: "
    "python -m pip install onnxruntime (or onnxruntime-gpu for NVIDIA cards, never both), then restart ComfyUI"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerFiles:
    """Where a tagger's two files are."""

    name: str
    model: Path
    tags: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TagScores:
    """What a tagger says of one picture: tag to probability, each kind in the order of the csv."""

    rating: dict[str, float]
    general: dict[str, float]
    character: dict[str, float]


def list_taggers(folders: Sequence[Path]) -> tuple[str, ...]:
    """What can be picked: taggers in the folders by name, then those of the hub, as owner/name."""
    local = {model.parent.name for folder in folders if folder.is_dir() for model in folder.glob(f"*/{MODEL_FILE}")}
    return (*sorted(local), *HUB_TAGGERS)


def find_tagger(name: str, folders: Sequence[Path]) -> TaggerFiles | None:
    """The files of a tagger in the first folder that has it, or None.

    Raises BadTagger when a model is there without its list of tags.
    """
    short = name.rpartition("/")[2]
    # The name comes from a workflow that anybody may have written: it must not lead out of the folders.
    if not short or short in (".", "..") or "\\" in short:
        return None
    for folder in folders:
        files = TaggerFiles(name=short, model=folder / short / MODEL_FILE, tags=folder / short / TAGS_FILE)
        if files.model.is_file():
            if not files.tags.is_file():
                raise BadTagger(
                    f"The tagger {files.model} has no {TAGS_FILE} beside it. "
                    "Put the file of the same download there; without it nobody knows which score is which tag"
                )
            return files
    return None


def why_missing(name: str, folders: Sequence[Path]) -> str:
    """Why a tagger cannot be used, and what mends it."""
    places = ", ".join(str(folder) for folder in folders) or "no folder is configured"
    there = ", ".join(name for name in list_taggers(folders) if name not in HUB_TAGGERS) or "none"
    return (
        f"There is no tagger {name!r}. Looked for <name>/{MODEL_FILE} and <name>/{TAGS_FILE} in: {places}. "
        f"Taggers there: {there}. Put the two files into such a folder, or pick one whose name starts with "
        f"{HUB_TAGGERS[0].partition('/')[0]}/ to have it fetched"
    )


def get_tagger(name: str, folders: Sequence[Path]) -> TaggerFiles:
    """The files of a tagger; one of HUB_TAGGERS that is not there is fetched into the first folder.

    Raises TaggerMissing or BadTagger.
    """
    files = find_tagger(name, folders)
    if files is None and name in HUB_TAGGERS and folders:
        _download(name, folders[0])
        files = find_tagger(name, folders)
    if files is None:
        raise TaggerMissing(why_missing(name, folders))
    return files


def _download(name: str, folder: Path) -> None:
    target = folder / name.rpartition("/")[2]
    log.info("fetching the tagger %s into %s", name, target)
    try:
        hub = importlib.import_module("huggingface_hub")
        for file in (TAGS_FILE, MODEL_FILE):
            hub.hf_hub_download(repo_id=name, filename=file, local_dir=str(target))
    except ImportError as error:
        raise TaggerMissing(
            f"Fetching {name} needs the package huggingface_hub: python -m pip install huggingface_hub. "
            f"Or put {MODEL_FILE} and {TAGS_FILE} into {target} yourself"
        ) from error
    except (OSError, ValueError) as error:
        raise TaggerMissing(
            f"Fetching {name} failed ({error}). Check the connection, "
            f"or put its {MODEL_FILE} and {TAGS_FILE} into {target} yourself"
        ) from error


def open_tagger(files: TaggerFiles) -> Tagger:
    """A tagger ready to run; the one opened last is kept, so that a graph queued again starts at once.

    Raises TaggerMissing without onnxruntime, BadTagger when the files break the contract.
    """
    return _open(files, files.model.stat().st_mtime_ns, files.tags.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _open(files: TaggerFiles, model_time: int, tags_time: int) -> Tagger:
    """The times are part of the key only: a file put in place of another is opened anew."""
    return Tagger(files)


class Tagger:
    """One ONNX session and the names of its outputs."""

    def __init__(self, files: TaggerFiles) -> None:
        self.files = files
        self._rows = _read_rows(files.tags)
        self._session = _session(files.model)
        self._check()
        shape = self._session.get_inputs()[0].shape
        self._side = shape[1] if isinstance(shape[1], int) else _USUAL_SIDE
        # A number here is a model exported for just that many pictures; a name or None takes any number.
        self._fixed = shape[0] if isinstance(shape[0], int) else 0

    def tag(self, images: Sequence[Image.Image]) -> list[TagScores]:
        """Scores for each RGB picture of any size, in order."""
        if not images:
            return []
        step = self._fixed or BATCH
        found: list[TagScores] = []
        for start in range(0, len(images), step):
            chosen = images[start : start + step]
            pixels_NHWC = np.stack([prepare(image, self._side) for image in chosen])
            short = max(0, self._fixed - len(chosen))
            if short:
                pixels_NHWC = np.concatenate([pixels_NHWC, np.repeat(pixels_NHWC[-1:], short, axis=0)])
            scores = self._run(pixels_NHWC)[: len(chosen)]
            found += [self._named(row) for row in scores]
        return found

    def _run(self, pixels_NHWC: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        name = self._session.get_inputs()[0].name
        scores = np.asarray(self._session.run(None, {name: pixels_NHWC})[0], dtype=np.float32)
        if scores.shape != (len(pixels_NHWC), len(self._rows)):
            raise BadTagger(
                f"The tagger {self.files.model} gave scores of shape {scores.shape} for {len(pixels_NHWC)} pictures, "
                f"its {TAGS_FILE} has {len(self._rows)} tags. Take both files from the same download"
            )
        if not (np.isfinite(scores).all() and scores.min() >= -1e-3 and scores.max() <= 1 + 1e-3):
            raise BadTagger(
                f"The tagger {self.files.model} gave scores from {scores.min():.3g} to {scores.max():.3g}, which are "
                "no probabilities. Only taggers of the WD kind (v2, v3) are read"
            )
        return scores

    def _named(self, scores: np.ndarray[Any, np.dtype[np.float32]]) -> TagScores:
        def of(kind: int) -> dict[str, float]:
            named = zip(self._rows, scores, strict=True)
            return {name: float(score) for (name, category), score in named if category == kind}

        return TagScores(rating=of(_RATING), general=of(_GENERAL), character=of(_CHARACTER))

    def _check(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        square = len(shape) == 4 and shape[3] == 3 and (shape[1] == shape[2] or not isinstance(shape[1], int))
        if len(inputs) != 1 or not square:
            raise BadTagger(
                f"The tagger {self.files.model} takes {[item.shape for item in inputs]}, not one square picture with "
                "the colours last (N, side, side, 3). Only taggers of the WD kind (v2, v3) are read"
            )
        number = outputs[0].shape[-1] if outputs[0].shape else None
        if isinstance(number, int) and number != len(self._rows):
            raise BadTagger(
                f"The tagger {self.files.model} gives {number} scores, its {self.files.tags.name} has "
                f"{len(self._rows)} tags. Take both files from the same download"
            )


def prepare(image: Image.Image, side: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """An RGB picture as (side, side, 3) BGR of 0 to 255, centred on a white square and scaled bicubically."""
    longest = max(image.size)
    square = Image.new("RGB", (longest, longest), (255, 255, 255))
    square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
    if longest != side:
        square = square.resize((side, side), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square, dtype=np.float32)[:, :, ::-1])


def _session(model: Path) -> Any:
    # Inside ComfyUI torch is imported long before this, so onnxruntime's CUDA provider finds torch's libraries.
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise TaggerMissing(f"{_INSTALL} ({error})") from error
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    there = runtime.get_available_providers()
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in there]
    try:
        return runtime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # onnxruntime's own errors have no other common base
        raise BadTagger(f"The tagger {model} cannot be opened ({error}). Download it again") from error


def _read_rows(path: Path) -> tuple[tuple[str, int], ...]:
    """(tag, category) for each score, in order."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return tuple(_parse_rows(csv.DictReader(file)))
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError) as error:
        raise BadTagger(
            f"{path} is not a tagger's list of tags ({error!r}). It must be a csv with the columns tag_id, name, "
            "category, count; download it again"
        ) from error


def _parse_rows(rows: Iterator[dict[str, str]] | csv.DictReader[str]) -> Iterator[tuple[str, int]]:
    for row in rows:
        yield clean_tag(row["name"]), int(row["category"])
