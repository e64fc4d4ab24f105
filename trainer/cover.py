"""A picture of what a LoRA does, in its file and beside it, where model browsers look for one."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

from PIL import Image, ImageOps

from .files import whole

THUMBNAIL = 256
"""Pixels of a side: modelspec asks for a very small square one, and recommends this."""
COVER = 512
"""Pixels of the longer side at most. Readers of headers, the host among them, stop at some megabytes."""


def cover_metadata(picture: Image.Image) -> dict[str, str]:
    """The picture as modelspec's thumbnail, a data URL, and whole as kohya-style pages read it, a JSON list."""
    picture = picture.convert("RGB")
    whole_one = picture.copy()
    whole_one.thumbnail((COVER, COVER), Image.Resampling.LANCZOS)
    # Of an upright picture the upper part: heads are there.
    square = ImageOps.fit(picture, (THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS, centering=(0.5, 0.2))
    return {
        "modelspec.thumbnail": f"data:image/jpeg;base64,{_jpeg(square)}",
        "ssmd_cover_images": json.dumps([_jpeg(whole_one)]),
    }


def save_preview(picture: Image.Image, lora: Path) -> Path:
    """Write the picture as `<name>.png` beside the LoRA and return its file; an older one is replaced.

    Raises `KilnError` when the disk refuses.
    """
    file = lora.with_suffix(".png")
    with whole(file) as partial:
        picture.save(partial, "PNG")
    return file


def last_sample(run: Path, step: int) -> Image.Image | None:
    """What the first sample prompt of the run in this folder last gave, up to this step; None without samples."""
    files = sorted(file for file in run.glob("samples/step????????-00.png") if file.name[4:12] <= f"{step:08d}")
    if not files:
        return None
    with Image.open(files[-1]) as picture:
        return picture.convert("RGB")


def _jpeg(picture: Image.Image) -> str:
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=85)
    return base64.b64encode(written.getvalue()).decode("ascii")
