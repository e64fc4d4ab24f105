"""A plain LoRA at another rank, by singular value decomposition of each layer's change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..dataset.settings import check_settings, setting
from .errors import KilnError
from .formats import TRAINED_WORDS

METHODS = ("rank", "energy")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeOptions:
    """How small a LoRA becomes."""

    method: str = setting("rank", "The same rank everywhere, or as much of each layer as is wanted.", choices=METHODS)
    new_dim: int = setting(8, "The new rank; with energy, the highest one.", low=1, high=1024, step=1)
    new_conv_dim: int = setting(0, "The same for 3x3 convolutions; 0 takes new_dim.", low=0, high=1024, step=1)
    energy: float = setting(
        0.95, "With energy: share of each layer's squared singular values that is kept.", low=0.01, high=1, step=0.01
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resized:
    """The smaller file, and for each layer its old and new rank and the share of its Frobenius norm that is left."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    layers: dict[str, tuple[int, int, float]]

    def report(self) -> str:
        """A page of words."""
        ranks = [new for _, new, _ in self.layers.values()]
        worst = min(self.layers, key=lambda name: self.layers[name][2])
        left = [share for _, _, share in self.layers.values()]
        return (
            f"{len(self.layers)} layers, rank {min(ranks)} to {max(ranks)}, {sum(ranks) / len(ranks):.1f} on average; "
            f"{sum(left) / len(left):.1%} of the norm kept on average, least {self.layers[worst][2]:.1%} in {worst}."
        )


def resize(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], options: ResizeOptions) -> Resized:
    """Every layer's change alpha / rank * up @ down at a lower rank, the best in the least-squares sense.

    Alpha becomes the new rank, so that the new factors hold the whole change. A layer of a lower rank stays as it is.
    Raises `KilnError` for a file that is no plain LoRA.
    """
    names = [key.removesuffix(".lora_down.weight") for key in tensors if key.endswith(".lora_down.weight")]
    other = [key for key in tensors if not key.endswith((".lora_down.weight", ".lora_up.weight", ".alpha"))]
    if not names or other:
        raise KilnError(
            f"Only plain LoRA and LoCon files can be resized, and this one holds {(other or list(tensors))[:3]}; "
            "LoHa, LoKr, DoRA and Tucker convolutions cannot."
        )
    out: dict[str, Tensor] = {}
    layers = {}
    for name in names:
        down, up = tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"]
        alpha = float(tensors.get(f"{name}.alpha", torch.tensor(float(len(down)))))
        is_conv = down.ndim == 4 and down.shape[-1] > 1
        most = (options.new_conv_dim or options.new_dim) if is_conv else options.new_dim
        small = _smaller(down, up, alpha, most, options.energy if options.method == "energy" else 1.0)
        out |= {f"{name}.lora_down.weight": small[0], f"{name}.lora_up.weight": small[1]}
        out[f"{name}.alpha"] = torch.tensor(small[2])
        layers[name] = (len(down), len(small[0]), small[3])
    ranks = {rank for _, rank, _ in layers.values()}
    dim = str(ranks.pop()) if len(ranks) == 1 else "Dynamic"
    kept = {TRAINED_WORDS: "", **{key: value for key, value in metadata.items() if not key.startswith("sshs_")}}
    comment = json.dumps({"resized": {"method": options.method, "new_dim": options.new_dim, "energy": options.energy}})
    return Resized(
        tensors=out,
        metadata={**kept, "ss_network_dim": dim, "ss_network_alpha": dim, "ss_training_comment": comment},
        layers=layers,
    )


def _smaller(down: Tensor, up: Tensor, alpha: float, most: int, energy: float) -> tuple[Tensor, Tensor, float, float]:
    """New down, up, alpha, and the share of the norm kept; through QR, so that only rank x rank is decomposed."""
    rank = len(down)
    q_up, r_up = torch.linalg.qr(up.flatten(1).float())
    q_down, r_down = torch.linalg.qr(down.flatten(1).float().T)
    u, values, v = torch.linalg.svd(r_up @ r_down.T * (alpha / rank))
    total = values.square().sum()
    if energy < 1 and total > 0:
        shares = values.square().cumsum(0) / total
        most = min(most, int((shares < energy).sum()) + 1)
    new = min(most, rank, len(values))
    if new == rank:
        return down, up, alpha, 1.0
    root = values[:new].sqrt()
    new_up = (q_up @ u[:, :new] * root).reshape(up.shape[0], new, *up.shape[2:])
    new_down = (root[:, None] * (v[:new] @ q_down.T)).reshape(new, *down.shape[1:])
    kept = float((values[:new].square().sum() / total).sqrt()) if total > 0 else 1.0
    return new_down.to(down.dtype).contiguous(), new_up.to(up.dtype).contiguous(), float(new), kept
