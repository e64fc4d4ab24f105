"""Detectors of persons, half bodies, heads, faces and eyes: YOLO models exported to ONNX.

Input: `images`, float32 NCHW, RGB, 0 to 1, the picture fitted into the model's side on grey. Output: `output0`,
[1, 4 + classes, N] with centre, width and height in pixels of the input and one score a class, or, from models that
drop doubles themselves, [1, N, 6] with corners, score and class. The metadata `names` and `imgsz` say what the
classes are and how large the input is.
"""

from __future__ import annotations

import ast
import functools
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import BadModel, ModelMissing
from .onnx import MODEL_FILE, device_of, fetch, find_folder, list_folders, open_session, plain_name
from .values import Box, Progress, Size

log = logging.getLogger(__name__)

THRESHOLD_FILE = "threshold.json"
NONE = "none"
"""What stands for no model in a list of choices."""
_STEP = 32
"""Inputs of free size are multiples of this many pixels."""
_USUAL_SIDE = 640
_GREY = (114, 114, 114)

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of detector: its repository on the hub and the models there, the best first.

    `word` is in the names of its models and of its classes. `confidence` counts where a model has no threshold.json.
    Those that are not `usual` are taken only when somebody picks them.
    """

    help: str
    word: str
    repo: str
    models: tuple[str, ...]
    confidence: float
    iou: float
    usual: bool = True

    @property
    def hub(self) -> tuple[str, ...]:
        """The names under which the hub's models are picked."""
        return tuple(f"{self.repo}/{model}" for model in self.models)


KINDS: Mapping[str, Kind] = {
    "person": Kind(
        help="Finds whole figures: needed to split pictures whose background is not plain.", word="person",
        repo="deepghs/anime_person_detection", models=("person_detect_v1.1_m", "person_detect_v1.1_s"),
        confidence=0.3, iou=0.5,
    ),
    "halfbody": Kind(
        help="Finds upper bodies: says where an upper body view ends.", word="halfbody",
        repo="deepghs/anime_halfbody_detection", models=("halfbody_detect_v1.0_s", "halfbody_detect_v1.0_n"),
        confidence=0.5, iou=0.7, usual=False,
    ),
    "head": Kind(
        help="Finds heads with their hair: every view is measured from the chin.", word="head",
        repo="deepghs/anime_head_detection", models=("head_detect_v2.0_s", "head_detect_v0_s"),
        confidence=0.4, iou=0.7,
    ),
    "face": Kind(
        help="Finds faces: the face view, and the chin where hair hides it.", word="face",
        repo="deepghs/anime_face_detection", models=("face_detect_v1.4_s", "face_detect_v1.4_n"),
        confidence=0.25, iou=0.7,
    ),
    "eyes": Kind(
        help="Finds eyes: says where the close-up of the bangs ends.", word="eye",
        repo="deepghs/anime_eye_detection", models=("eye_detect_v1.0_s", "eye_detect_v1.0_n"),
        confidence=0.3, iou=0.3, usual=False,
    ),
}  # fmt: skip
"""Every kind of detector by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorFiles:
    """A detector that is on this machine."""

    kind: str
    model: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One thing that a detector found, in pixels of the picture. `score` is from 0 to 1."""

    box: Box
    score: float
    label: str


def list_detectors(kind: str, folders: Sequence[Path]) -> tuple[str, ...]:
    """What can be picked for a kind: local models whose name has its word, then the hub's, then `none`."""
    word = KINDS[kind].word
    local = [name for name in list_folders(folders) if word in name.lower().replace("-", "").replace(" ", "")]
    return (*local, *KINDS[kind].hub, NONE)


def get_detector(kind: str, name: str, folders: Sequence[Path], progress: Progress | None = None) -> DetectorFiles:
    """The files of a detector; one of the hub's that is not there is fetched into the first folder.

    Raises ModelMissing.
    """
    folder = find_folder(name, folders)
    if folder is None and name in KINDS[kind].hub and folders:
        folder = folders[0] / plain_name(name)
        short = plain_name(name)
        files = {f"{short}/{file}": folder / file for file in (THRESHOLD_FILE, MODEL_FILE)}
        fetch(KINDS[kind].repo, files, progress)
    if folder is None:
        places = ", ".join(str(place) for place in folders) or "no folder is configured"
        raise ModelMissing(
            f"There is no {kind} detector {name!r}. Looked for <name>/{MODEL_FILE} in: {places}. Put it there, or pick "
            f"{KINDS[kind].hub[0]} to have it fetched, or {NONE}"
        )
    return DetectorFiles(kind=kind, model=folder / MODEL_FILE)


def detect(files: DetectorFiles, image: Image.Image) -> tuple[Found, ...]:
    """What a detector finds in an RGB picture, the surest first. Raises ModelMissing or BadModel."""
    return _open(files, files.model.stat().st_mtime_ns).find(image)


@functools.lru_cache(maxsize=len(KINDS))
def _open(files: DetectorFiles, model_time: int) -> Detector:
    """The time is part of the key only: a file put in place of another is opened anew."""
    return Detector(files)


class Detector:
    """One ONNX session and what its numbers mean."""

    def __init__(self, files: DetectorFiles) -> None:
        self.files = files
        self._kind = KINDS[files.kind]
        self._session = open_session(files.model, f"{files.kind} detector")
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise BadModel(
                f"The {files.kind} detector {files.model} takes {[item.shape for item in inputs]}, not one picture "
                "with the colours first (N, 3, height, width). Only YOLO models exported to ONNX are read"
            )
        about = self._session.get_modelmeta().custom_metadata_map
        self._input = inputs[0].name
        self._names = _names(about.get("names", ""), files)
        self._confidence = _threshold(files.model.with_name(THRESHOLD_FILE), self._kind.confidence)
        sides = _sides(about.get("imgsz", ""))
        # (height, width); None where the model takes any.
        self._fixed = tuple(side if isinstance(side, int) else None for side in shape[2:])
        self._largest = sides
        log.info("%s detector %s on %s", files.kind, files.model, device_of(self._session))

    def find(self, image: Image.Image) -> tuple[Found, ...]:
        """What it finds in an RGB picture of any size, the surest first; doubles are dropped."""
        pixels_NCHW, scale, (left, top) = self._prepare(image)
        output = np.asarray(self._session.run(None, {self._input: pixels_NCHW})[0], dtype=np.float32)
        corners, scores, classes = self._read(output)
        wanted = [number for number, name in self._names.items() if self._kind.word in name.lower().replace(" ", "")]
        sure = scores >= self._confidence
        if wanted and len(wanted) < len(self._names):
            sure &= np.isin(classes, wanted)
        corners, scores, classes = corners[sure], scores[sure], classes[sure]
        corners = (corners - np.array([left, top, left, top], dtype=np.float32)) / scale
        found = []
        for place in drop_doubles(corners, scores, self._kind.iou):
            box = _inside(corners[place], image.size)
            if box is not None:
                label = self._names.get(int(classes[place]), self._kind.word)
                found.append(Found(box=box, score=float(scores[place]), label=label))
        return tuple(found)

    def _prepare(self, image: Image.Image) -> tuple[Floats, float, tuple[int, int]]:
        """The input, how many of its pixels are one of the picture, and where the picture's corner lies in it."""
        limits = [fixed or largest for fixed, largest in zip(self._fixed, self._largest, strict=True)]
        scale = min(limits[0] / image.height, limits[1] / image.width)
        if None in self._fixed:
            # A model of free size need not enlarge what is small.
            scale = min(1.0, scale)
        width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        size = [
            fixed or math.ceil(side / _STEP) * _STEP for fixed, side in zip(self._fixed, (height, width), strict=True)
        ]
        left, top = (size[1] - width) // 2, (size[0] - height) // 2
        canvas = Image.new("RGB", (size[1], size[0]), _GREY)
        canvas.paste(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR), (left, top))
        pixels = np.asarray(canvas, dtype=np.float32).transpose(2, 0, 1)[None] / 255.0
        return np.ascontiguousarray(pixels), scale, (left, top)

    def _read(self, output: Floats) -> tuple[Floats, Floats, Floats]:
        """Corners [N, 4] in pixels of the input, scores [N] and classes [N]."""
        classes = max(1, len(self._names))
        if output.ndim == 3 and output.shape[1] == 4 + classes:
            rows = output[0].T
            middle, half = rows[:, :2], rows[:, 2:4] / 2
            scores = rows[:, 4:]
            corners = np.concatenate([middle - half, middle + half], axis=1)
            found: tuple[Floats, Floats, Floats] = corners, scores.max(axis=1), scores.argmax(axis=1).astype(np.float32)
        elif output.ndim == 3 and output.shape[2] == 6:
            found = output[0, :, :4], output[0, :, 4], output[0, :, 5]
        else:
            raise BadModel(
                f"The {self.files.kind} detector {self.files.model} gave numbers of shape {list(output.shape)}; with "
                f"{classes} classes that must be [1, {4 + classes}, N], or [1, N, 6]. Only YOLO models are read"
            )
        if not all(np.isfinite(part).all() for part in found):
            raise BadModel(f"The {self.files.kind} detector {self.files.model} gave numbers that are not finite")
        return found


def drop_doubles(corners: Floats, scores: Floats, iou: float) -> list[int]:
    """Which boxes stay, the surest first, when those that overlap a surer one by more than `iou` go (greedy NMS)."""
    areas = np.prod(np.maximum(corners[:, 2:] - corners[:, :2], 0), axis=1)
    # A stable order: equal scores keep that of the model's output.
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        first, order = int(order[0]), order[1:]
        kept.append(first)
        low = np.maximum(corners[first, :2], corners[order, :2])
        high = np.minimum(corners[first, 2:], corners[order, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        order = order[shared <= iou * np.maximum(areas[first] + areas[order] - shared, 1e-9)]
    return kept


def _inside(corners: Floats, size: Size) -> Box | None:
    left, top, right, bottom = (round(float(value)) for value in corners)
    left, top, right, bottom = max(0, left), max(0, top), min(size[0], right), min(size[1], bottom)
    return Box(left=left, top=top, right=right, bottom=bottom) if right > left and bottom > top else None


def _names(text: str, files: DetectorFiles) -> dict[int, str]:
    """The classes by number, from metadata such as `{0: 'head'}`; one class of the kind's name without metadata."""
    if not text:
        return {0: KINDS[files.kind].word}
    try:
        return {int(number): str(name) for number, name in dict(ast.literal_eval(text)).items()}
    except (ValueError, SyntaxError, TypeError) as error:
        raise BadModel(
            f"The detector {files.model} names its classes {text!r}, which cannot be read. Download it again"
        ) from error


def _sides(text: str) -> tuple[int, int]:
    """(height, width) of the input from metadata such as `[640, 640]`."""
    numbers = [
        int(part) for part in text.replace("[", " ").replace("]", " ").replace(",", " ").split() if part.isdigit()
    ]
    if not numbers or min(numbers) < 1:
        return _USUAL_SIDE, _USUAL_SIDE
    return numbers[0], numbers[-1]


def _threshold(path: Path, usual: float) -> float:
    """The confidence that the model's maker advises, from `{"threshold": 0.3}` beside it."""
    if not path.is_file():
        return usual
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["threshold"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadModel(f'{path} has no number "threshold" ({error}). Download it again, or delete it') from error
