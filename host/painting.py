"""The host's sampler as the engine's painter of style variants."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .marks import control_mark
from .sampling import Control, Sampling, Watch, canny_edges, empty_latent, encode_prompt, sample, steered
from .spans import share_of_schedule, step_noise


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """A ControlNet and what it looks at: `hint` is given the source and its number in the dataset (from 0)."""

    control: Control
    hint: Callable[[Image.Image, int], Image.Image]
    mark: Callable[[int], str]
    """Tells the hints of one source apart: the preprocessor with its settings, or the wired picture."""


class StylePainter:
    """img2img of a picture under up to three ControlNets; a `styles.Painter`.

    `watch` is called after each step (see `sampling.Watch`).
    """

    def __init__(
        self, model: Any, clip: Any, vae: Any, guides: Sequence[Guide], negative: str, settings: Sampling,
        watch: Watch | None = None,
    ) -> None:  # fmt: skip
        self._model, self._clip, self._vae = model, clip, vae
        self._guides, self._negative, self._settings, self._watch = tuple(guides), negative, settings, watch
        self._encoded: dict[str, Any] = {}
        self._spanned: dict[float, list[Control]] = {}
        self._marks = [
            repr((control_mark(g.control.net), g.control.strength, g.control.start, g.control.end)) for g in guides
        ]

    def mark(self, number: int) -> str:
        """Everything but source, prompt, seed and denoise that decides the pictures of a scene."""
        hints = [guide.mark(number) for guide in self._guides]
        return repr((self._marks, hints, self._negative, self._settings))

    def scene(self, source: Image.Image, number: int) -> Callable[[Image.Image, str, int, float], Image.Image]:
        """A function paint(start, prompt, seed, denoise) -> picture, under the lines of `source`."""
        hints = [_pixels(guide.hint(source, number)) for guide in self._guides]
        # The next picture's prompts are other ones, but for the negative; those of this one come once a variant.
        self._encoded = {prompt: cond for prompt, cond in self._encoded.items() if prompt == self._negative}

        @functools.cache
        def own_latent() -> Any:
            return self._vae.encode(_pixels(source))

        def paint(start: Image.Image, prompt: str, seed: int, denoise: float) -> Image.Image:
            conds = self._encode(prompt), self._encode(self._negative)
            for control, hint in zip(self._controls(denoise), hints, strict=True):
                conds = steered(*conds, control, hint, self._vae)
            latent = own_latent() if start is source else self._vae.encode(_pixels(start))
            return _picture(
                sample(
                    self._model, self._vae, *conds, latent, self._settings, seed=seed, denoise=denoise,
                    watch=self._watch,
                )
            )  # fmt: skip

        return paint

    def _encode(self, prompt: str) -> Any:
        if prompt not in self._encoded:
            self._encoded[prompt] = encode_prompt(self._clip, prompt)
        return self._encoded[prompt]

    def _controls(self, denoise: float) -> list[Control]:
        """The ControlNets with their spans as the host counts them (decision 14)."""
        if denoise not in self._spanned:
            noise = step_noise(self._model, self._settings, denoise)
            self._spanned[denoise] = [
                dataclasses.replace(
                    guide.control,
                    start=share_of_schedule(self._model, noise, guide.control.start),
                    end=share_of_schedule(self._model, noise, guide.control.end),
                )
                for guide in self._guides
            ]
        return self._spanned[denoise]


class PromptPainter:
    """Pictures from words alone; a `regularize.PromptPainter`."""

    def __init__(
        self, model: Any, clip: Any, vae: Any, negative: str, settings: Sampling, watch: Watch | None = None
    ) -> None:
        self._model, self._clip, self._vae = model, clip, vae
        self._negative, self._settings, self._watch = negative, settings, watch
        self._encoded: Any = None

    def mark(self) -> str:
        """Everything but prompt, seed and size that decides a picture."""
        return repr((self._negative, self._settings))

    def __call__(self, prompt: str, seed: int, size: tuple[int, int]) -> Image.Image:
        """A picture of `size` (width, height) in pixels."""
        if self._encoded is None:
            self._encoded = encode_prompt(self._clip, self._negative)
        latent = empty_latent(self._model, self._vae, *size)
        positive = encode_prompt(self._clip, prompt)
        return _picture(
            sample(
                self._model, self._vae, positive, self._encoded, latent, self._settings, seed=seed, watch=self._watch
            )
        )


def canny_hint(low: float, high: float) -> Callable[[Image.Image, int], Image.Image]:
    """A guide's hint by the host's Canny."""

    def hint(source: Image.Image, _: int) -> Image.Image:
        return _picture(canny_edges(_pixels(source), low, high)[0])

    return hint


def _pixels(picture: Image.Image) -> Tensor:
    """[1, H, W, 3] in 0..1."""
    return torch.from_numpy(np.asarray(picture.convert("RGB"), dtype=np.float32) / 255)[None]


def _picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray((pixels * 255).round().to(torch.uint8).cpu().numpy())
