"""The recipe: every training setting, in small groups. Each lives once, with its words under it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..dataset.settings import check_settings, setting
from .errors import KilnError

OPTIMIZERS = ("AdamW",)
SCHEDULES = ("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What is trained: the adapter and the parts of the model it is put on."""

    dim: int = setting(16, "Rank of the LoRA on linear layers.", low=1, high=1024, step=1)
    alpha: float = setting(8.0, "The LoRA is scaled by alpha / dim.", low=0.001, high=1024, step=0.5)
    conv_dim: int = setting(0, "Rank on 3x3 convolutions (LoCon); 0 leaves them alone.", low=0, high=1024, step=1)
    conv_alpha: float = setting(1.0, "Alpha of the convolutions' LoRA.", low=0.001, high=1024, step=0.5)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """How the weights move."""

    optimizer_type: str = setting("AdamW", "Optimizer.", choices=OPTIMIZERS)
    unet_lr: float = setting(
        1e-4, "Learning rate of the diffusion model; 0 leaves it alone.", low=0, high=10, step=1e-6
    )
    text_lr: float = setting(5e-5, "Learning rate of the text encoder; 0 leaves it alone.", low=0, high=10, step=1e-6)
    weight_decay: float = setting(0.01, "Decoupled weight decay.", low=0, high=1, step=0.001)
    beta1: float = setting(0.9, "Adam's first moment decay.", low=0, high=0.9999, step=0.001)
    beta2: float = setting(0.999, "Adam's second moment decay.", low=0, high=0.999999, step=0.001)
    lr_scheduler: str = setting("cosine", "Learning-rate schedule.", choices=SCHEDULES)
    warmup: float = setting(
        0.0, "Warmup: 1 or more is steps, below 1 a share of all steps.", low=0, high=1e6, step=0.01
    )
    cycles: int = setting(1, "Restarts of cosine_with_restarts.", low=1, high=100, step=1)
    max_grad_norm: float = setting(
        1.0, "Gradients are clipped to this norm; 0 does not clip.", low=0, high=1e4, step=0.1
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much is trained."""

    epochs: int = setting(
        10, "Passes over the dataset, repeats included. One file is saved after each.", low=1, high=10000, step=1
    )
    batch_size: int = setting(1, "Images a step.", low=1, high=1024, step=1)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """The sizes that images are trained at, in pixels."""

    resolution: int = setting(
        1024, "An image is trained at about resolution x resolution pixels.", low=64, high=8192, step=64
    )
    bucket_step: int = setting(64, "Sides are multiples of this.", low=8, high=512, step=8)
    min_bucket: int = setting(256, "Shortest side of a bucket.", low=8, high=8192, step=8)
    max_bucket: int = setting(2048, "Longest side of a bucket.", low=8, high=8192, step=8)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """How captions are read."""

    shuffle_caption: bool = setting(True, "Tags come in a new order every time an image is seen.")
    keep_tokens: int = setting(
        1, "The first tags stay in place under shuffle: trigger, class.", low=0, high=100, step=1
    )
    caption_dropout: float = setting(
        0.0, "Share of images that are seen with no caption at all.", low=0, high=1, step=0.01
    )
    tag_dropout: float = setting(0.0, "Chance that a tag after the kept ones is left out.", low=0, high=1, step=0.01)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the error counts for."""

    min_snr_gamma: float = setting(0.0, "Min-SNR weighting's gamma, usually 5; 0 is off.", low=0, high=100, step=0.5)
    debiased_estimation: bool = setting(
        False, "Debiased estimation: noisy steps, where the picture is laid out, count more."
    )
    prior_loss_weight: float = setting(1.0, "Weight of regularisation images.", low=0, high=10, step=0.05)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.debiased_estimation and self.min_snr_gamma:
            raise ValueError(
                f"Loss.debiased_estimation is on and min_snr_gamma is {self.min_snr_gamma}; both weigh by SNR, use one"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides what a training run does, apart from the model and the dataset."""

    network: Network = dataclasses.field(default_factory=Network)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    amount: Amount = dataclasses.field(default_factory=Amount)
    buckets: Buckets = dataclasses.field(default_factory=Buckets)
    captions: Captions = dataclasses.field(default_factory=Captions)
    loss: Loss = dataclasses.field(default_factory=Loss)
    seed: int = setting(0, "Every random choice of the run follows from it.", low=0, high=2**63 - 1, step=1)

    def __post_init__(self) -> None:
        check_settings(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, as `recipe.json` holds them."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Recipe:
        """The way back; unknown keys raise `KilnError`."""
        recipe: Recipe = _built(Recipe, values, "recipe")
        return recipe


def _built(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise KilnError(f"{where} has no setting {', '.join(unknown)}; known are {', '.join(fields)}.")
    groups = {name for name, field in fields.items() if dataclasses.is_dataclass(field.default_factory)}
    return kind(
        **{
            name: _built(fields[name].default_factory, value, f"{where}.{name}")  # type: ignore[arg-type]
            if name in groups
            else value
            for name, value in values.items()
        }
    )
