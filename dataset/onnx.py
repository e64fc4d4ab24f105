"""ONNX models: where they lie, opening one for onnxruntime, and fetching its files from the Hugging Face hub.

A model is a folder `<name>/` that holds `model.onnx` and what explains it. What its scores mean is its reader's
business (`tagger.py` and its like); here are only files and sessions.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib
import logging
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import BadModel, DatasetError, ModelMissing
from .values import Progress

log = logging.getLogger(__name__)

MODEL_FILE = "model.onnx"
INSTALL = (
    "ONNX models need the package onnxruntime, which is not installed. In ComfyUI's own Python run: "
    "python -m pip install onnxruntime (or onnxruntime-gpu for NVIDIA cards, never both), then restart ComfyUI"
)
_CHUNK = 1 << 20
_TIMEOUT = 30.0
"""Seconds without a single byte after which a download is given up."""
_PROVIDERS: tuple[tuple[str, dict[str, str]], ...] = (
    # Without these onnxruntime tries every convolution at every size and doubles its memory when it grows: memory that
    # the host does not know of and the training that follows needs.
    (
        "CUDAExecutionProvider",
        {"cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"},
    ),
    ("CPUExecutionProvider", {}),
)


def plain_name(name: str) -> str:
    """The last part of a model's name (`owner/name`), or nothing when it could lead out of a folder of models.

    Names come from workflows that anybody may have written.
    """
    short = name.rpartition("/")[2]
    return "" if short in (".", "..") or "\\" in short or "\0" in short or ":" in short else short


def find_folder(name: str, folders: Sequence[Path], file: str = MODEL_FILE) -> Path | None:
    """The folder `<name>/` with `file` in it, in the first of `folders` that has it; None when none has."""
    short = plain_name(name)
    return next((folder / short for folder in folders if short and (folder / short / file).is_file()), None)


def list_folders(folders: Sequence[Path], file: str = MODEL_FILE) -> tuple[str, ...]:
    """The names of the models in the folders, in order of the alphabet."""
    found = {path.parent.name for folder in folders if folder.is_dir() for path in folder.glob(f"*/{file}")}
    return tuple(sorted(found))


def open_session(model: Path, what: str) -> Any:
    """An onnxruntime session on CUDA where that is there, else on the CPU; `what` names the model's kind in errors.

    Raises ModelMissing without onnxruntime, BadModel for a file that is no model.
    """
    # Inside ComfyUI torch is imported long before this, so onnxruntime's CUDA provider finds torch's libraries.
    try:
        runtime = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ModelMissing(f"{INSTALL} ({error})") from error
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    there = runtime.get_available_providers()
    providers = [(name, about) for name, about in _PROVIDERS if name in there]
    try:
        return runtime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # onnxruntime's own errors have no other common base
        raise BadModel(f"The {what} {model} cannot be opened ({error}). Download it again") from error


def device_of(session: Any) -> str:
    """`CUDA` or `CPU`: where a session runs."""
    return str(session.get_providers()[0]).removesuffix("ExecutionProvider")


def fetch(repo: str, files: Mapping[str, Path], progress: Progress | None = None, revision: str = "main") -> None:
    """Bring files of a hub repository (path there -> file here) onto this machine; those that are here stay.

    `progress` hears bytes of all files. It may raise: what has arrived stays in `<file>.part`, and the next call goes
    on from there. A file gets its name only once it is whole. Raises ModelMissing when that fails, naming the mend.
    """
    wanted = {path: file for path, file in files.items() if not file.is_file()}
    if not wanted:
        return
    by_hand = f"put its {' and '.join(path for path in wanted)} at {', '.join(str(file) for file in wanted.values())}"
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise ModelMissing(
            f"Fetching {repo} needs the package huggingface_hub: python -m pip install huggingface_hub. "
            f"Or {by_hand} yourself"
        ) from error
    about = {path: _metadata(hub, repo, path, revision, by_hand) for path in wanted}
    total = sum(meta.size or 0 for meta in about.values())
    done = 0
    for path, file in wanted.items():
        log.info("fetching %s of %s into %s (%.0f MB)", path, repo, file, (about[path].size or 0) / 1e6)
        try:
            done = _stream(hub, about[path], file, progress, done, total)
        except (OSError, http.client.HTTPException, DatasetError) as error:
            raise ModelMissing(
                f"Fetching {path} of {repo} failed ({error}). Check the connection and the free disk space and queue "
                f"again (it goes on where it stopped), or {by_hand} yourself"
            ) from error


def _metadata(hub: Any, repo: str, path: str, revision: str, by_hand: str) -> Any:
    try:
        return hub.get_hf_file_metadata(hub.hf_hub_url(repo, path, revision=revision))
    except Exception as error:  # the hub's errors come from requests or httpx, by its version: no common base
        raise ModelMissing(
            f"The hub does not give {path} of {repo} ({error}). Check the connection, or {by_hand} yourself"
        ) from error


def _stream(hub: Any, meta: Any, file: Path, progress: Progress | None, done: int, total: int) -> int:
    """One file through `<file>.part` into place; how many bytes of all files are there then."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    start = part.stat().st_size if part.is_file() else 0
    if meta.size is None or start > meta.size:
        part.unlink(missing_ok=True)
        start = 0
    if start != meta.size or not start:
        request = urllib.request.Request(meta.location, headers=_headers(hub, meta.location))
        if start:
            request.add_header("Range", f"bytes={start}-")
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            # A server that does not know ranges sends the whole file again.
            if answer.status != http.client.PARTIAL_CONTENT:
                start = 0
            with part.open("ab" if start else "wb") as out:
                while chunk := answer.read(_CHUNK):
                    out.write(chunk)
                    start += len(chunk)
                    if progress:
                        progress(min(done + start, total or done + start), total or done + start)
    _check(part, meta)
    part.replace(file)
    return done + start


def _headers(hub: Any, location: str) -> dict[str, str]:
    """The user's token goes to the hub only: the storage that it redirects to must not get it."""
    own = urllib.parse.urlsplit(location).netloc == urllib.parse.urlsplit(hub.hf_hub_url("a/b", "c")).netloc
    return dict(importlib.import_module("huggingface_hub.utils").build_hf_headers()) if own else {}


def _check(part: Path, meta: Any) -> None:
    """Raise DatasetError, and drop the part, when it is not what the hub announced."""
    size = part.stat().st_size
    if meta.size is not None and size != meta.size:
        # Too short: the connection broke, and the rest comes next time.
        if size > meta.size:
            part.unlink()
        raise DatasetError(f"{size:,} of {meta.size:,} bytes arrived")
    # Large files carry their sha256 as their mark; small ones a mark of git's.
    if meta.etag and len(meta.etag) == hashlib.sha256().digest_size * 2:
        with part.open("rb") as file:
            found = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                found.update(chunk)
        if found.hexdigest() != meta.etag:
            part.unlink()
            raise DatasetError("what arrived has another checksum than the hub says")
