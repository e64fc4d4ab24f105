"""What a tiny network of an architecture is made of, and what must be seen of it.

Reading this needs neither ComfyUI nor PyTorch; drawing a conditioning needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

# The host's kinds of model, and what the pack says that they predict.
PREDICTIONS = {
    "EPS": "epsilon",
    "STABLE_CASCADE": "epsilon",
    "V_PREDICTION": "v",
    "V_PREDICTION_EDM": "v",
    "V_PREDICTION_CONTINUOUS": "v",
    "V_PREDICTION_DDPM": "v",
    "FLOW": "flow",
    "FLUX": "flow",
    "EDM": "other",
    "FLOW_COSMOS": "other",
    "IMG_TO_IMG": "other",
    "IMG_TO_IMG_FLOW": "other",
}


class Draw:
    """Tensors of a conditioning, all from one generator."""

    def __init__(self, seed: int) -> None:
        import torch

        self._torch, self._generator = torch, torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> Any:
        """Noise."""
        return self._torch.randn(shape, generator=self._generator) * scale

    def ones(self, *shape: int) -> Any:
        """A mask that hides nothing, in whole numbers as tokenizers give it."""
        return self._torch.ones(shape, dtype=self._torch.long)

    def tokens(self, *shape: int, below: int) -> Any:
        """Token numbers."""
        return self._torch.randint(below, shape, generator=self._generator)

    def seen(self, *shape: int) -> Any:
        """What CLIP vision says of a picture: hidden states [1, patches, width]."""
        hidden = self.normal(*shape)
        return SimpleNamespace(last_hidden_state=hidden, penultimate_hidden_states=hidden)


def nothing(draw: Draw) -> dict[str, Any]:
    """Nothing more."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Family:
    """A tiny network of one of `comfy.supported_models`, and a conditioning for it."""

    host: str
    """The class in `comfy.supported_models`."""
    variant: str = ""
    """Tells rows of the same class apart."""
    title: str
    """What people call it."""
    network: Mapping[str, Any]
    """The `unet_config` that the host would read from a checkpoint."""
    since: str = ""
    """The first of the hosts that the tables were written for that has it; empty for all of them."""
    newer: Mapping[str, Any] = field(default_factory=dict)
    """More of `network`, for hosts whose `parameters` have these names."""
    parameters: str = ""
    """The host's dataclass that `newer` is looked up in, with its module."""
    narrowed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Parts of the network whose size the host leaves at its default, by class, and the sizes to build them with."""
    latent: tuple[int, ...]
    """Channels and then h, w, or frames, h, w, or a length."""
    text: tuple[int, int]
    """Tokens and width of the encoded caption."""
    kind: str
    """The host's `ModelType`."""
    key: str
    """A name that the saved file must have."""
    pooled: int = 0
    """Width of the pooled text; 0 for families without."""
    extra: Callable[[Draw], dict[str, Any]] = nothing
    """More of the conditioning, by the names that the host's nodes give it."""
    markers: Callable[[Draw], dict[str, Any]] = nothing
    """Tensors of a checkpoint that tell the host more than the network's shape does."""
    rate: float = 1e-2
    """Learning rate; the wider a network, the smaller."""
    idle: tuple[str, ...] = ()
    """Patterns of saved names whose layers learn nothing, because no gradient or only zeros reach them here."""
    rounded: tuple[str, ...] = ()
    """Patterns of saved names whose gradient is zero by arithmetic, so that rounding alone may move them."""
    mute: bool = False
    """Whether the caption says nothing to the network here."""
    note: str = ""
    """What a reader should know; for a family that fails, why."""
    fails: str = ""
    """Words of the error that the host raises, for what cannot be trained."""

    @property
    def name(self) -> str:
        """The class, and which of its rows."""
        return f"{self.host}-{self.variant}" if self.variant else self.host

    @property
    def prediction(self) -> str:
        """What the pack must say that the network predicts."""
        return PREDICTIONS[self.kind]


@dataclass(frozen=True, kw_only=True)
class Untried:
    """A class of `comfy.supported_models` that no tiny network is made of, and why."""

    host: str
    title: str
    since: str = ""
    note: str
