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
    share: str = "base"
    """Who trains it: every network, `locon`, which is any with ranks for convolutions, `lycoris`, its networks with
    such ranks, or `ends`, which lie outside of a transformer's blocks: only where only_layers name them."""
    t5: bool = False
    """Whether it is T5's, which is larger than many diffusion models and trained only when asked for."""
    encoder: int = 0
    """Which of the text encoders that can be trained it belongs to, from 0."""
    place: tuple[str, int] | None = None
    """In a UNet: `down`, `mid` or `up`, and which of its blocks, from 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCounts:
    """How many down, middle and up blocks a UNet has, as kohya counts them (SD 1.5: 12, 1, 12; SDXL: 9, 3, 9)."""

    down: int
    mid: int
    up: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a picture is seen this time, in pixels: the size it came in, the crop's corner, the size trained at."""

    original: tuple[int, int]
    crop: tuple[int, int]
    target: tuple[int, int]


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
        """Every layer that an adapter can be put on."""

    def blocks(self) -> BlockCounts | None:
        """A UNet's blocks; None for other kinds of model."""

    def open(self, *, precision: str, checkpointing: bool, text: bool = True) -> AbstractContextManager[None]:
        """Load everything and keep it open for backward; afterwards the loaded model is as it was before.

        `precision` is one of the recipe's; `checkpointing` computes blocks again in backward; without `text` the text
        encoder only reads.
        """

    def pixel_mark(self) -> str:
        """Tells autoencoders apart: the same mark gives the same x0 for the same pixels."""

    def reading(self) -> AbstractContextManager[None]:
        """For encoding many captions or pictures: what does that may stay loaded until the end."""

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """[B, H, W, 3] in 0..1 -> x0."""

    def encode_text(
        self,
        captions: Sequence[str],
        views: Sequence[View],
        *,
        clip_skip: int,
        max_tokens: int,
        guidance: float = 0,
        weighted: bool = False,
    ) -> list[Any]:
        """One conditioning a caption, for pictures seen like that. Differentiable.

        `max_tokens` 0 reads all; `guidance` is what a distilled model is told, 0 the host's own; `weighted` reads
        `(words:1.2)` as a weight.
        """

    def seen_as(self, cond: Any, view: View) -> Any:
        """A conditioning for a picture that is seen otherwise; the words are not read again."""

    def denoise(self, x_t: Tensor, sigma: Tensor, conds: Sequence[Any]) -> Tensor:
        """Predicted x0. Differentiable."""

    def sample(
        self,
        prompt: str,
        *,
        negative: str,
        width: int,
        height: int,
        steps: int,
        cfg: float,
        seed: int,
        clip_skip: int,
    ) -> Tensor:
        """A picture [H, W, 3] in 0..1, painted by the host's own sampler with the adapters in place."""

    def facts(self) -> dict[str, str]:
        """What the saved file's metadata says of the base: architecture, prediction type, name, ..."""

    def traits(self) -> ModelTraits:
        """What settings must be checked against."""

    def memory(self) -> int:
        """Bytes in use: of the GPU at its peak, or of this process on a CPU. Asked after each step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTraits:
    """What a recipe can be wrong about, told before training."""

    device: str
    """`cpu` or `cuda`."""
    clip_layers: int
    """Layers that clip skip counts; 0 where it means nothing: with T5 and other language models, beside CLIP too."""
    weight_bytes: int
    """Of the diffusion model and the text encoders."""
    half: bool = False
    """Whether the open model computes in fp16, where small gradients vanish unless they are scaled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One finished step. `step` counts from 1; `lr` are the rates really used, by part."""

    step: int
    steps: int
    epoch: int
    loss: float
    lr: dict[str, float]
    grad_norm: float
    seconds_a_step: float
    """Of the last steps, on average."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user wants of a running training, beside that it goes on."""

    stop: bool = False
    """End after this update and keep what is there, as if the run had been meant to be that short."""
    sample: bool = False
    """Paint the sample pictures after this update."""


class Reporter(Protocol):
    """Hears of progress, says what the user asks for, and may stop the run by raising."""

    def begun(self, folder: Path, step: int, steps: int) -> None:
        """All is prepared; the run in `folder` goes on after `step` of `steps`."""

    def asked(self) -> Asked:
        """What was asked for since the last time; called after every update."""

    def stage(self, words: str, done: int, total: int) -> None:
        """Preparation, such as encoding images."""

    def note(self, words: str) -> None:
        """Something that the user should read: a warning, or where a run goes on."""

    def step(self, report: StepReport) -> None:
        """A step is done."""

    def saved(self, epoch: int, file: Path) -> None:
        """A LoRA is on disk."""

    def painted(self, step: int, files: Sequence[Path]) -> None:
        """Sample pictures are on disk."""
