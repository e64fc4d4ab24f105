"""How alike pictures are, by the CLIP_VISION that the user has wired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

Floats = npt.NDArray[np.float32]


class ClipVisionAlike:
    """Features of a CLIP_VISION, and their cosine."""

    def __init__(self, clip_vision: Any) -> None:
        self._model = clip_vision
        self._side = int(getattr(clip_vision, "image_size", 224) or 224)

    def features(self, images: Sequence[Image.Image]) -> Floats:
        """A row of length 1 for each RGB picture, [N, D]. Pictures are padded with white: a crop would lose heads."""
        sides = (self._side, self._side)
        padded = [
            ImageOps.pad(image.convert("RGB"), sides, Image.Resampling.LANCZOS, color="white") for image in images
        ]
        pixels = torch.stack([torch.from_numpy(np.asarray(one, dtype=np.float32) / 255) for one in padded])
        out = self._model.encode_image(pixels)
        rows = out.image_embeds
        if rows is None:
            # Models without a projection have their patches only.
            rows = out.last_hidden_state.mean(dim=1)
        scaled = torch.nn.functional.normalize(rows.float().flatten(1), dim=1)
        found: Floats = scaled.cpu().numpy()
        return found

    def similarity(self, a: Floats, b: Floats) -> Floats:
        """Cosine of each row with each, [N, M]."""
        found: Floats = a @ b.T
        return found
