"""What the trainer asks of a host. `host/` implements it on the real one; tests write small fakes by hand.

Tensors: x is a latent in the model's own space [B, C, h, w]; sigma is the host's noise level [B].
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that can carry an adapter. `key` is its name in saved files, without a suffix."""

    key: str
    module: nn.Module
    part: str
    """`unet` or `text`."""
    conv: bool
    """Whether it is a convolution larger than 1x1 (LoCon's share)."""


class Schedule(Protocol):
    """The model family's noise: all that the objective needs to know of it."""

    def sigmas(self) -> Tensor:
        """The training noise levels, ascending, fp32 [N]."""

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """x_t from clean latents and unit noise."""

    def denoised_from(self, sigma: Tensor, output: Tensor, x_t: Tensor) -> Tensor:
        """The host's `calculate_denoised`: x0 from the network's raw output."""


class Model(Protocol):
    """A loaded diffusion model with its text encoder and autoencoder, open for training."""

    @property
    def schedule(self) -> Schedule:
        """The noise of the model's family."""

    def layers(self) -> Sequence[Layer]:
        """Every layer that an adapter can be put on, while open."""

    def open(self) -> AbstractContextManager[None]:
        """Load everything and keep it open for backward; afterwards the loaded model is as it was before."""

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """[B, H, W, 3] in 0..1 -> x0."""

    def encode_text(self, captions: Sequence[str], *, width: int, height: int) -> list[Any]:
        """One conditioning a caption, for pictures of that size in pixels. Differentiable."""

    def denoise(self, x_t: Tensor, sigma: Tensor, conds: Sequence[Any]) -> Tensor:
        """Predicted x0. Differentiable."""

    def facts(self) -> dict[str, str]:
        """What the saved file's metadata says of the base: architecture, prediction type, name, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One finished step. `step` counts from 1; `lr` are the rates really used, by part."""

    step: int
    steps: int
    epoch: int
    loss: float
    lr: dict[str, float]
    seconds_a_step: float


class Reporter(Protocol):
    """Hears of progress and may stop the run by raising."""

    def stage(self, words: str, done: int, total: int) -> None:
        """Preparation, such as encoding images."""

    def step(self, report: StepReport) -> None:
        """A step is done."""

    def saved(self, epoch: int, file: Path) -> None:
        """An epoch's file is on disk."""
