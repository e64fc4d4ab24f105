"""The host's sampler as the engine's painters: for sweeps, and for style variants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .lora import unmatched_keys, with_lora
from .sampling import Control, Sampling, canny_edges, empty_latent, encode_prompt, sample, steered


class SweepPainter:
    """Paints prompts with a LoRA on; `unmatched` collects names that the host would load nowhere."""

    def __init__(
        self, model: Any, clip: Any, vae: Any, negative: str, settings: Sampling, size: tuple[int, int], seed: int
    ) -> None:
        self._model, self._clip, self._vae = model, clip, vae
        self._negative, self._settings, self._size, self._seed = negative, settings, size, seed
        self.unmatched: set[str] = set()

    def column(self, lora: dict[str, Tensor] | None, strength: float) -> Callable[[str], Image.Image]:
        """A function from prompt to picture; the LoRA is patched in once."""
        model, clip = self._model, self._clip
        if lora is not None:
            self.unmatched |= set(unmatched_keys(model, clip, lora))
            model, clip = with_lora(model, clip, lora, strength)
        negative = encode_prompt(clip, self._negative)

        def paint(prompt: str) -> Image.Image:
            latent = empty_latent(model, self._vae, *self._size)
            positive = encode_prompt(clip, prompt)
            return _picture(sample(model, self._vae, positive, negative, latent, self._settings, seed=self._seed))

        return paint


@dataclass(frozen=True, slots=True, kw_only=True)
class StylePainter:
    """img2img of a picture under a ControlNet that sees its canny edges."""

    model: Any
    clip: Any
    vae: Any
    control: Control
    negative: str
    settings: Sampling
    denoise: float
    canny_low: float
    canny_high: float

    def mark(self) -> str:
        """A text that tells two painters' settings apart."""
        control = self.control
        net = sum(float(p.detach().float().abs().sum()) for p in control.net.control_model.parameters())
        return repr((net, control.strength, control.start, control.end, self.negative, self.settings, self.denoise,
                     self.canny_low, self.canny_high))  # fmt: skip

    def __call__(self, source: Image.Image, prompt: str, seed: int) -> Image.Image:
        """The source repainted from the prompt, at its own size."""
        pixels = torch.from_numpy(np.asarray(source, dtype=np.float32) / 255)[None]
        hint = canny_edges(pixels, self.canny_low, self.canny_high)
        conds = encode_prompt(self.clip, prompt), encode_prompt(self.clip, self.negative)
        positive, negative = steered(*conds, self.control, hint, self.vae)
        latent = self.vae.encode(pixels)
        return _picture(
            sample(self.model, self.vae, positive, negative, latent, self.settings, seed=seed, denoise=self.denoise)
        )


def _picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray((pixels * 255).round().to(torch.uint8).numpy())
