"""Pictures as latents: seen, encoded once, kept on disk and shared by every run on the same autoencoder."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from ..dataset.images import open_alpha, open_image, open_mask
from ..dataset.values import Record, Size, identity
from .buckets import cover
from .files import refused
from .groups import Buckets
from .ports import View

# How far colours move, as a share of their full range: enough to unlearn a colour cast, too little to change a colour.
_COLOR = 0.12


def centred(record: Record, bucket: Size) -> View:
    """The record cropped to its middle."""
    _, corner = cover(record.view_size, bucket)
    return View(original=record.view_size, crop=corner, target=bucket)


def drawn(record: Record, bucket: Size, generator: torch.Generator) -> View:
    """The record cropped anywhere."""
    scaled, _ = cover(record.view_size, bucket)
    room = [scaled[axis] - bucket[axis] for axis in (0, 1)]
    left, top = (int(torch.randint(side + 1, (), generator=generator)) for side in room)
    return View(original=record.view_size, crop=(left, top), target=bucket)


def mirrored(view: View) -> View:
    """What a model is told of a view that is seen mirrored: the crop begins where it ended before, from the left."""
    scaled, _ = cover(view.original, view.target)
    left = scaled[0] - view.target[0] - view.crop[0]
    return dataclasses.replace(view, crop=(left, view.crop[1]))


def load_pixels(record: Record, view: View, *, flipped: bool = False, colors: torch.Generator | None = None) -> Tensor:
    """The picture as it is seen, [H, W, 3] in 0..1; `colors` draws how much they move."""
    image = _placed(open_image(record), view, Image.Resampling.BICUBIC)
    if flipped:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if colors is not None:
        image = _recolored(image, colors)
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)


def load_mask(record: Record, view: View, size: tuple[int, int], *, flipped: bool = False) -> Tensor:
    """What counts of a picture, [1, h, w] in 0..1 at the latent's `size` (h, w); all of it without mask or alpha."""
    mask = open_mask(record) or open_alpha(record)
    if mask is None:
        return torch.ones(1, *size)
    mask = _placed(mask, view, Image.Resampling.BILINEAR)
    if flipped:
        mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    full = torch.from_numpy(np.asarray(mask, dtype=np.float32) / 255)
    return torch.nn.functional.interpolate(full[None, None], size, mode="area")[0]


def is_fixed(settings: Buckets) -> bool:
    """Whether a record always looks the same, so that its latent can be kept."""
    return not (settings.random_crop or settings.color_aug)


class LatentStore:
    """Latents x0 [C, h, w] by what they were made from; a file is whole or not there, whoever writes it.

    Making one raises `KilnError` when the disk refuses. `reading` is entered while several are encoded.
    """

    def __init__(
        self,
        folder: Path,
        mark: str,
        encode: Callable[[Tensor], Tensor],
        reading: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._folder, self._mark, self._to_latent, self._reading = folder, mark, encode, reading

    def file(self, record: Record, view: View, flipped: bool) -> Path:
        """Where this view of the record is kept."""
        crop = record.crop.as_tuple() if record.crop else None
        what = repr((identity(record.image), crop, record.background, view.crop, view.target, flipped, self._mark))
        name = hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / name[:2] / f"{name}.safetensors"

    def make(self, record: Record, view: View, flipped: bool) -> None:
        """See to it that the latent is on disk, and readable."""
        if self._read(self.file(record, view, flipped)) is None:
            self._write(record, view, flipped)

    def get(self, record: Record, view: View, flipped: bool) -> Tensor:
        """The latent, fp32 on the CPU. A file that is gone or damaged is made again."""
        found = self._read(self.file(record, view, flipped))
        return found if found is not None else self._write(record, view, flipped)

    def _write(self, record: Record, view: View, flipped: bool) -> Tensor:
        file = self.file(record, view, flipped)
        latent = self.encode(load_pixels(record, view, flipped=flipped))
        # A name of its own: another process may be making the same latent.
        partial = file.with_name(f"{file.stem}.{uuid.uuid4().hex}.partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            safetensors.torch.save_file({"latent": latent}, partial)
            partial.replace(file)
        except (OSError, safetensors.SafetensorError) as error:
            # Of two that make it at once, one is enough.
            if self._read(file) is None:
                raise refused(file, error) from error
        finally:
            _tidy(file)
        return latent

    def encode(self, pixels: Tensor) -> Tensor:
        """[H, W, 3] -> x0 [C, h, w], fp32 on the CPU; nothing is kept."""
        with torch.no_grad():
            return self._to_latent(pixels[None])[0].float().cpu().contiguous()

    def encode_each(self, pictures: Sequence[Tensor]) -> Tensor:
        """The same for several of one size, x0 [B, C, h, w]; a video's autoencoder would take a batch for frames."""
        with self._reading():
            return torch.stack([self.encode(pixels) for pixels in pictures])

    @staticmethod
    def _read(file: Path) -> Tensor | None:
        try:
            return safetensors.torch.load_file(file)["latent"]
        except (OSError, KeyError, safetensors.SafetensorError):
            return None


def _tidy(file: Path) -> None:
    """Drop what this process and killed ones left beside a file; another that is still at it finds it whole."""
    for left in file.parent.glob(f"{file.stem}.*.partial"):
        with contextlib.suppress(OSError):
            left.unlink()


def _placed(image: Image.Image, view: View, enlarge: Image.Resampling) -> Image.Image:
    scaled, _ = cover(image.size, view.target)
    how = Image.Resampling.LANCZOS if scaled[0] < image.size[0] else enlarge
    left, top = view.crop
    return image.resize(scaled, how).crop((left, top, left + view.target[0], top + view.target[1]))


def _recolored(image: Image.Image, generator: torch.Generator) -> Image.Image:
    """Hue, saturation, brightness and contrast each moved a little."""
    moves = ((torch.rand(4, generator=generator) * 2 - 1) * _COLOR).tolist()
    hue, saturation, value = image.convert("HSV").split()
    hue = hue.point([(i + round(moves[0] * 0.25 * 256)) % 256 for i in range(256)])
    image = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    for kind, move in (
        (ImageEnhance.Color, moves[1]),
        (ImageEnhance.Brightness, moves[2]),
        (ImageEnhance.Contrast, moves[3]),
    ):
        image = kind(image).enhance(1 + move)
    return image
