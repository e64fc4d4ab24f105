"""Taggers: finding their files, fetching them when asked, and running one on pictures.

One reader for every kind of `tagger_formats.py`: an ONNX model and its list of tags.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import BadModel, ModelMissing
from .onnx import MODEL_FILE, device_of, fetch, open_session, plain_name
from .tagger_formats import Pixels, read_labels
from .tags import tag_key
from .values import Progress

log = logging.getLogger(__name__)

TAGS_FILE = "selected_tags.csv"
BATCH = 8
"""Pictures in one run, where the model takes several."""

_CAMIE = ("camie-tagger-v2.onnx", "camie-tagger-v2-metadata.json")
_LISTS = (TAGS_FILE, "tag_mapping.json", _CAMIE[1], "metadata.json")
"""Names of lists of tags in a tagger's own folder."""
_LIST_ENDS = (".csv", ".json", "-metadata.json", "_metadata.json", "_tag_mapping.json")
"""How the list of a tagger that lies beside others is named, after the model's name."""
_SCORES = ("refined_predictions", "prediction", "predictions", "output", "probs", "logits")
"""Outputs in order of preference, where a model has several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubTagger:
    """A tagger on the Hugging Face hub: its repository, and the paths of the model and of the tags in it."""

    repo: str
    model: str = MODEL_FILE
    tags: str = TAGS_FILE


def _hub_taggers() -> dict[str, HubTagger]:
    wd = [f"SmilingWolf/wd-{name}-tagger-v3" for name in ("vit", "swinv2", "convnext", "vit-large", "eva02-large")]
    wd += [f"SmilingWolf/wd-v1-4-{name}-tagger-v2" for name in ("moat", "swinv2", "convnextv2", "convnext", "vit")]
    cl = "cl_tagger_1_02"
    return {
        **{name: HubTagger(repo=name) for name in wd},
        "deepghs/pixai-tagger-v0.9-onnx": HubTagger(repo="deepghs/pixai-tagger-v0.9-onnx"),
        "Camais03/camie-tagger-v2": HubTagger(repo="Camais03/camie-tagger-v2", model=_CAMIE[0], tags=_CAMIE[1]),
        f"cella110n/cl_tagger/{cl}": HubTagger(
            repo="cella110n/cl_tagger", model=f"{cl}/{MODEL_FILE}", tags=f"{cl}/tag_mapping.json"
        ),
    }


HUB_TAGGERS: Mapping[str, HubTagger] = _hub_taggers()
"""Taggers that are fetched from the Hugging Face hub when somebody picks one that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerFiles:
    """Where a tagger's two files are."""

    name: str
    model: Path
    tags: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TagScores:
    """What a tagger says of one picture: tag to probability, each kind in the order of its list.

    `others` holds the kinds that only some taggers know (copyright, artist, meta, quality, ...).
    """

    rating: dict[str, float]
    general: dict[str, float]
    character: dict[str, float]
    others: dict[str, dict[str, float]] = field(default_factory=dict)


def list_taggers(folders: Sequence[Path]) -> tuple[str, ...]:
    """What can be picked: taggers in the folders by name, then those of the hub, as owner/name."""
    return (*sorted({files.name for folder in folders for files in _taggers_in(folder)}), *HUB_TAGGERS)


def find_tagger(name: str, folders: Sequence[Path]) -> TaggerFiles | None:
    """The files of a tagger in the first folder that has it, or None.

    Raises BadModel when a model is there without its list of tags.
    """
    short = plain_name(name)
    if not short:
        return None
    for folder in folders:
        own = folder / short
        models = [own / MODEL_FILE, own / _CAMIE[0], own / f"{short}.onnx", folder / f"{short}.onnx"]
        for model in models:
            if model.is_file():
                tags = _list_of(model)
                if tags is None:
                    raise BadModel(
                        f"The tagger {model} has no {TAGS_FILE} beside it. "
                        "Put the file of the same download there; without it nobody knows which score is which tag"
                    )
                return TaggerFiles(name=short, model=model, tags=tags)
    return None


def _list_of(model: Path) -> Path | None:
    """The list of tags that belongs to a model: named after it, or in the model's own folder by its usual name."""
    named = [model.with_name(model.stem + end) for end in _LIST_ENDS]
    usual = [model.with_name(name) for name in _LISTS] if _is_alone(model) else []
    # Every model may be called model.onnx; what is named after it says little.
    places = (*usual, *named) if model.name == MODEL_FILE else (*named, *usual)
    return next((path for path in places if path.is_file()), None)


def _is_alone(model: Path) -> bool:
    return model.name in (MODEL_FILE, _CAMIE[0]) or model.stem == model.parent.name


def _taggers_in(folder: Path) -> Iterator[TaggerFiles]:
    """Taggers of a folder: `<name>/model.onnx` and its like, and `<name>.onnx` with `<name>.csv` beside it."""
    if not folder.is_dir():
        return
    for model in (*folder.glob("*/*.onnx"), *folder.glob("*.onnx")):
        own = model.parent != folder
        if (_is_alone(model) or not own) and (own or model.name != MODEL_FILE):
            tags = _list_of(model)
            if tags is not None or own:
                name = model.parent.name if own else model.stem
                yield TaggerFiles(name=name, model=model, tags=tags or model.with_name(TAGS_FILE))


def why_missing(name: str, folders: Sequence[Path]) -> str:
    """Why a tagger cannot be used, and what mends it."""
    places = ", ".join(str(folder) for folder in folders) or "no folder is configured"
    there = ", ".join(name for name in list_taggers(folders) if name not in HUB_TAGGERS) or "none"
    return (
        f"There is no tagger {name!r}. Looked for <name>/{MODEL_FILE} and <name>/{TAGS_FILE}, and for <name>.onnx and "
        f"<name>.csv, in: {places}. Taggers there: {there}. Put the two files into such a folder, or pick one whose "
        f"name starts with an owner, such as {next(iter(HUB_TAGGERS))}, to have it fetched"
    )


def get_tagger(name: str, folders: Sequence[Path], progress: Progress | None = None) -> TaggerFiles:
    """The files of a tagger: from the folders, else from the hub's own cache on this machine, else (one of
    HUB_TAGGERS only) fetched into the first folder. `progress` hears the bytes of a download.

    Raises ModelMissing or BadModel.
    """
    hub = HUB_TAGGERS.get(name)
    files = find_tagger(name, folders) or (_cached(name, hub) if hub else None)
    if files is None and hub and folders:
        target = folders[0] / plain_name(name)
        places = {path: target / plain_name(path) for path in (hub.tags, hub.model)}
        fetch(hub.repo, places, progress)
        files = find_tagger(name, folders)
    if files is None:
        raise ModelMissing(why_missing(name, folders))
    return files


def _cached(name: str, hub: HubTagger) -> TaggerFiles | None:
    """A tagger that another program has fetched into the hub's cache."""
    try:
        library = importlib.import_module("huggingface_hub")
    except ImportError:
        return None
    found = [library.try_to_load_from_cache(hub.repo, path) for path in (hub.model, hub.tags)]
    # What is known not to exist is an object there, what is unknown is None.
    if not all(isinstance(path, str) and Path(path).is_file() for path in found):
        return None
    return TaggerFiles(name=plain_name(name), model=Path(found[0]), tags=Path(found[1]))


def known_tags(folders: Sequence[Path]) -> frozenset[str]:
    """The tags (`tag_key`) that the first readable tagger of the folders knows; none without a tagger there."""
    for folder in folders:
        for files in sorted(_taggers_in(folder), key=lambda files: files.name):
            try:
                return _keys_of(files.tags, files.tags.stat().st_mtime_ns)
            except (BadModel, OSError) as error:
                log.info("no tags are read from %s (%s)", files.tags, error)
    return frozenset()


@functools.lru_cache(maxsize=1)
def _keys_of(tags: Path, time: int) -> frozenset[str]:
    """The time is part of the key only."""
    return frozenset(tag_key(row[0]) for row in read_labels(tags).rows if row is not None and row[1] != "rating")


def tagger_mark(files: TaggerFiles) -> str:
    """What tells one tagger from another: a sha256 in hex over both files' content."""
    stats = [(path, path.stat().st_size, path.stat().st_mtime_ns) for path in (files.model, files.tags)]
    return _mark(tuple(stats))


@functools.lru_cache(maxsize=8)
def _mark(stats: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, size, _ in stats:
        digest.update(str(size).encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def open_tagger(files: TaggerFiles) -> Tagger:
    """A tagger ready to run; the one opened last is kept, so that a graph queued again starts at once.

    Raises ModelMissing without onnxruntime, BadModel when the files break the contract.
    """
    return _open(files, files.model.stat().st_mtime_ns, files.tags.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _open(files: TaggerFiles, model_time: int, tags_time: int) -> Tagger:
    """The times are part of the key only: a file put in place of another is opened anew."""
    return Tagger(files)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerOnDemand:
    """A tagger that is opened when the first picture needs it: what is known already costs no model."""

    files: TaggerFiles

    def tag(self, images: Sequence[Image.Image]) -> list[TagScores]:
        """Scores for each RGB picture, in order."""
        return open_tagger(self.files).tag(images) if images else []


class Tagger:
    """One ONNX session, how its pictures look and what its scores are called."""

    def __init__(self, files: TaggerFiles) -> None:
        self.files = files
        labels = read_labels(files.tags)
        self._rows = labels.rows
        self._session = open_session(files.model, "tagger")
        inputs = self._session.get_inputs()
        form = labels.format_for(inputs[0].shape) if len(inputs) == 1 else None
        if form is None:
            raise BadModel(
                f"The tagger {files.model} takes {[item.shape for item in inputs]}, which is not what a tagger with "
                f"{files.tags.name} takes: one square picture, (N, side, side, 3) for WD, (N, 3, side, side) for "
                "pixai, camie v2 and cl_tagger v1. Only these are read"
            )
        self.format = form
        self._input = inputs[0].name
        self._half = "float16" in inputs[0].type
        self._side = form.side_of(inputs[0].shape)
        # A number here is a model exported for just that many pictures; a name or None takes any number.
        self._fixed = inputs[0].shape[0] if isinstance(inputs[0].shape[0], int) else 0
        self._output, self._logits = self._choose_output()
        log.info("tagger %s (%s) on %s", files.name, form.name, device_of(self._session))

    def tag(self, images: Sequence[Image.Image]) -> list[TagScores]:
        """Scores for each RGB picture of any size, in order."""
        if not images:
            return []
        step = self._fixed or BATCH
        found: list[TagScores] = []
        for start in range(0, len(images), step):
            chosen = images[start : start + step]
            pixels = np.stack([self.format.prepare(image, self._side) for image in chosen])
            short = max(0, self._fixed - len(chosen))
            if short:
                pixels = np.concatenate([pixels, np.repeat(pixels[-1:], short, axis=0)])
            found += [self._named(row) for row in self._run(pixels)[: len(chosen)]]
        return found

    def _choose_output(self) -> tuple[str, bool]:
        """The name of the output that holds the scores, and whether those are logits."""
        outputs = self._session.get_outputs()
        fitting = [item for item in outputs if item.shape and self._fits(item.shape[-1])]
        if not fitting:
            raise BadModel(
                f"The tagger {self.files.model} gives {outputs[0].shape[-1] if outputs[0].shape else 'one'} scores, "
                f"its {self.files.tags.name} has {len(self._rows)} tags. Take both files from the same download"
            )
        known = [item.name for name in _SCORES for item in fitting if item.name == name]
        name = (known or [fitting[0].name])[0]
        return name, self.format.logits or name == "logits"

    def _fits(self, number: Any) -> bool:
        if not isinstance(number, int) or number == len(self._rows):
            return True
        # A mapping may leave out what its maker has dropped; a csv has a row for every score.
        return self.files.tags.suffix.lower() != ".csv" and number > len(self._rows)

    def _run(self, pixels: Pixels) -> Pixels:
        fed = pixels.astype(np.float16) if self._half else pixels
        scores: Pixels = np.asarray(self._session.run([self._output], {self._input: fed})[0], dtype=np.float32)
        if scores.ndim != 2 or len(scores) != len(pixels) or not self._fits(scores.shape[1]):
            raise BadModel(
                f"The tagger {self.files.model} gave scores of shape {scores.shape} for {len(pixels)} pictures, "
                f"its {self.files.tags.name} has {len(self._rows)} tags. Take both files from the same download"
            )
        if self._logits:
            scores = (1.0 / (1.0 + np.exp(-np.clip(scores, -60.0, 60.0)))).astype(np.float32)
        if not (np.isfinite(scores).all() and scores.min() >= -1e-3 and scores.max() <= 1 + 1e-3):
            raise BadModel(
                f"The tagger {self.files.model} gave scores from {scores.min():.3g} to {scores.max():.3g}, which are "
                "no probabilities. It is not of the kind that its list of tags says, or the download is damaged"
            )
        return scores

    def _named(self, scores: Pixels) -> TagScores:
        kinds: dict[str, dict[str, float]] = {"rating": {}, "general": {}, "character": {}}
        for row, score in zip(self._rows, scores.tolist(), strict=False):
            if row is not None:
                kinds.setdefault(row[1], {})[row[0]] = score
        first = {kind: kinds.pop(kind) for kind in ("rating", "general", "character")}
        return TagScores(**first, others=kinds)
