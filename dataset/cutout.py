"""Cutting figures out of their background with a segmentation model, and laying them on a plain one.

The model: ONNX, input float32 [1, 3, side, side], RGB, 0 to 1, the picture fitted into the square on black; output a
mask of 0 (background) to 1 (figure) of the same size.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .detect import NONE
from .errors import BadModel, ModelMissing
from .images import open_alpha, open_image, save_derived
from .keys import source_name
from .onnx import fetch, open_session, plain_name
from .tags import distinct_tags, tag_key
from .values import Color, Progress, Record

HUB_CUTTERS = {"skytnt/anime-seg/isnetis": ("skytnt/anime-seg", "isnetis.onnx")}
"""Segmentation models of the hub by the name under which they are picked: repository and file."""
_USUAL_SIDE = 1024
_SCENE = re.compile(
    r"(?!no ).* background|background|outdoors|indoors|scenery|nature|sky|.* sky|cloud|clouds|day|night|sunset|ocean"
    r"|sea|beach|forest|tree|trees|grass|building|buildings|city|cityscape|street|room|bedroom|classroom|kitchen|window"
    r"|depth of field|blurry"
)
_NAMED = {
    (255, 255, 255): "white", (0, 0, 0): "black", (128, 128, 128): "grey", (0, 128, 0): "green", (0, 255, 0): "green",
    (0, 0, 255): "blue", (255, 0, 0): "red",
}  # fmt: skip


def list_cutters(folders: Sequence[Path]) -> tuple[str, ...]:
    """What can be picked: local models by name, then the hub's, then `none`."""
    local = {path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.onnx")}
    return (*sorted(local), *HUB_CUTTERS, NONE)


def get_cutter(name: str, folders: Sequence[Path], progress: Progress | None = None) -> Path:
    """The file `<name>.onnx` of a segmentation model; one of HUB_CUTTERS is fetched into the first folder when missing.

    Raises ModelMissing.
    """
    short = plain_name(name)
    for folder in folders:
        if short and (folder / f"{short}.onnx").is_file():
            return folder / f"{short}.onnx"
    if name not in HUB_CUTTERS or not folders:
        places = ", ".join(str(folder) for folder in folders) or "no folder is configured"
        raise ModelMissing(
            f"There is no background model {name!r}. Looked for <name>.onnx in: {places}. Put it there, or pick "
            f"{next(iter(HUB_CUTTERS))} to have it fetched, or {NONE}"
        )
    repo, file = HUB_CUTTERS[name]
    fetch(repo, {file: folders[0] / file}, progress)
    return folders[0] / file


def cut_mask(model: Path, image: Image.Image) -> Image.Image:
    """The figures of an RGB picture as a mask (mode L, 255 is figure) of its size. Raises ModelMissing or BadModel."""
    session = _open(model, model.stat().st_mtime_ns)
    [about, *more] = session.get_inputs()
    if more or len(about.shape) != 4:
        raise BadModel(f"The background model {model} does not take one picture (1, 3, side, side)")
    side = about.shape[2] if isinstance(about.shape[2], int) else _USUAL_SIDE
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    canvas = Image.new("RGB", (side, side))
    canvas.paste(image.convert("RGB").resize(size, Image.Resampling.BILINEAR), (left, top))
    pixels_NCHW = np.ascontiguousarray(np.asarray(canvas, dtype=np.float32).transpose(2, 0, 1)[None] / 255.0)
    output = np.asarray(session.run(None, {about.name: pixels_NCHW})[0], dtype=np.float32).squeeze()
    if output.shape != (side, side) or not np.isfinite(output).all():
        raise BadModel(f"The background model {model} gave {list(output.shape)} numbers, not a mask of {side} x {side}")
    mask = Image.fromarray((np.clip(output, 0, 1) * 255).round().astype(np.uint8))
    return mask.crop((left, top, left + size[0], top + size[1])).resize(image.size, Image.Resampling.BILINEAR)


@functools.lru_cache(maxsize=1)
def _open(model: Path, model_time: int) -> Any:
    """The time is part of the key only: a file put in place of another is opened anew."""
    return open_session(model, "background model")


def clear_background(record: Record, mask: Image.Image, color: Color, folder: Path) -> Record:
    """The record with everything but its figures painted over in `color`.

    `mask` (mode L, 255 is figure) is as large as what the record shows. The whole file is written anew into `folder`
    under the hash of its pixels; outside the record's crop it is `color`. Tags of the old scene go, those of a plain
    background come.
    """
    shown = open_image(record, color)
    alpha = open_alpha(record)
    kept = np.asarray(mask.convert("L"), dtype=np.float32)[..., None] / 255.0
    if alpha is not None:
        kept = np.minimum(kept, np.asarray(alpha, dtype=np.float32)[..., None] / 255.0)
    pixels = np.asarray(shown, dtype=np.float32) * kept + np.array(color, dtype=np.float32) * (1 - kept)
    clear = Image.fromarray(pixels.round().astype(np.uint8))
    if record.crop:
        whole = Image.new("RGB", record.size, color)
        whole.paste(clear, (record.crop.left, record.crop.top))
        clear = whole
    return dataclasses.replace(
        record,
        image=save_derived(clear, folder),
        tags=record.tags if record.prose else _plain_tags(record.tags, color),
        background=color,
        given=(*(tag for tag in record.given if not _SCENE.fullmatch(tag_key(tag))), *_background_tags(color)),
        origin=(*record.origin, f"cut out of {source_name(record)}"),
    )


def _plain_tags(tags: Sequence[str], color: Color) -> tuple[str, ...]:
    """The first tag always stays: it is the trigger, or what the picture is of."""
    kept = [tag for place, tag in enumerate(tags) if place == 0 or not _SCENE.fullmatch(tag_key(tag))]
    return distinct_tags((*kept, *_background_tags(color)))


def _background_tags(color: Color) -> tuple[str, ...]:
    return ("simple background", f"{_NAMED[color]} background") if color in _NAMED else ("simple background",)
