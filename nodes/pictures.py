"""Pillow pictures to and from the host's IMAGE, float [B, H, W, 3] in 0..1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_image(*pictures: Image.Image) -> Tensor:
    """Pictures of one size as an IMAGE batch."""
    return torch.stack([torch.from_numpy(np.asarray(p.convert("RGB"), dtype=np.float32) / 255) for p in pictures])


def from_image(image: Tensor) -> Sequence[Image.Image]:
    """An IMAGE [B, H, W, 3], or a single [H, W, 3], as pictures."""
    batch = image if image.ndim == 4 else image[None]
    arrays = (batch.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]


def to_mask(*masks: Image.Image) -> Tensor:
    """Masks of one size as a MASK [B, H, W] in 0..1."""
    return torch.stack([torch.from_numpy(np.asarray(m.convert("L"), dtype=np.float32) / 255) for m in masks])


def from_mask(mask: Tensor) -> Sequence[Image.Image]:
    """A MASK [B, H, W], or a single [H, W], as pictures of mode L."""
    batch = mask if mask.ndim == 3 else mask[None]
    arrays = (batch.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return [Image.fromarray(array) for array in arrays]
