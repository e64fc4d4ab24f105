"""One epoch of a run as a file of its own."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from ..dataset.settings import check_settings, setting
from .cover import cover_metadata, last_sample, save_preview
from .errors import KilnError
from .formats import DTYPES, TRAINED_WORDS, cast, load_file, metadata_of, save_file
from .scaling import scaled
from .values import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveOptions:
    """What the saved file is called and holds."""

    file_name: str = setting("", "The file's name, folders with / allowed. Empty takes the run's name.")
    epoch: int = setting(0, "Which epoch to save; 0 is the last one.", low=0, high=100000, step=1)
    precision: str = setting("fp16", "Precision of the saved weights.", choices=tuple(DTYPES))
    strength: float = setting(
        1.0,
        "What strength 1 of the saved file stands for: Epoch Sweep's best_strength, or 1 to keep the LoRA as trained.",
        low=-10.0, high=10.0, step=0.05,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)


def export(run: Run, options: SaveOptions, folder: Path, cover: Image.Image | None = None) -> Path:
    """Write the chosen epoch below `folder` and return the file. An older one of ours is replaced.

    `cover` goes into the file, and beside it as a picture. Without one, the last sample that the run painted up to that
    epoch goes into the file alone. Raises `KilnError` for a wrong name or epoch, for the name of another's file,
    for a strength that this kind of LoRA cannot be saved at, and when the disk refuses.
    """
    checkpoint = run.checkpoint(options.epoch)
    file = target_file(options.file_name.strip() or run.name, folder)
    refuse_to_replace(file)
    tensors, metadata = load_file(checkpoint.file)
    tensors = scaled(tensors, options.strength)
    if options.strength != 1:
        metadata["modelspec.usage_hint"] = f"Trained strength {options.strength:g} is 1.0 in this file."
    title = {"ss_output_name": file.stem, "modelspec.title": file.stem}
    kept = {key: value for key, value in metadata.items() if not key.startswith("sshs_")}
    shown = cover or last_sample(run.folder, checkpoint.step)
    save_file(cast(tensors, options.precision), {**kept, **title, **(cover_metadata(shown) if shown else {})}, file)
    if cover:
        save_preview(cover, file)
    return file


def refuse_to_replace(file: Path) -> None:
    """Raise `KilnError` for a file that does not say, in what no other trainer writes, that it is ours.

    An empty file holds nothing that could be lost.
    """
    if not file.exists() or not file.stat().st_size:
        return
    with contextlib.suppress(KilnError):
        if TRAINED_WORDS in metadata_of(file):
            return
    raise KilnError(
        f"{file} is there already, and does not say that LoRA Kiln made it; give another file_name, or move it away."
    )


def target_file(name: str, folder: Path) -> Path:
    """`name`, or `folder/name`, as a `.safetensors` below `folder`. Raises `KilnError` for what leads elsewhere."""
    parts = PurePosixPath(name.strip().removesuffix(".safetensors").replace("\\", "/")).parts
    if not parts or any(not re.fullmatch(r"[^:*?\"<>|/\x00-\x1f]{1,200}", part) or part == ".." for part in parts):
        raise KilnError(f"file_name is {name!r}; use a plain name, or folder/name, below {folder}.")
    return folder.joinpath(*parts[:-1], f"{parts[-1]}.safetensors")
