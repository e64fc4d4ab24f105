"""Small layers with LyCORIS's modules on them, and in numpy what their files say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lora_kiln.trainer.groups import Network
from lora_kiln.trainer.lycoris_adapters import Lycoris
from lora_kiln.trainer.ports import Layer

RANK, ALPHA = 2, 1.5
KINDS: dict[str, dict[str, Any]] = {
    "LoCon": {},
    "DoRA": {"dora": True},
    "LoHa": {"network_type": "LoHa"},
    "LoHa with DoRA": {"network_type": "LoHa", "dora": True},
    "LoKr": {"network_type": "LoKr", "lokr_factor": 4},
    "DyLoRA": {"network_type": "DyLoRA"},
    "GLoRA": {"network_type": "GLoRA"},
    "OFT": {"network_type": "OFT"},
    "BOFT": {"network_type": "BOFT"},
    "Tucker": {"use_tucker": True},
    "LoCon, rank-stabilised": {"network_args": ("rs_lora=True",)},
    "LoCon, scalar": {"network_args": ("use_scalar=True",)},
    "LoKr, both": {"network_type": "LoKr", "lokr_factor": 8, "network_args": ("decompose_both=True",)},
    "DyLoRA, blocks": {"network_type": "DyLoRA", "network_args": ("block_size=2",)},
    "BOFT, rescaled": {"network_type": "BOFT", "network_args": ("rescaled=True",)},
}
EACH = pytest.mark.parametrize("kind", KINDS)
ON = pytest.mark.parametrize("on", ["linear", "conv"])


def layer_of(on: str, dtype: torch.dtype = torch.float32) -> Layer:
    """A layer of 24 inputs and 16 outputs, the same every time."""
    # Without PyTorch's own initial weights, which would draw from the global generator.
    module: nn.Module = nn.utils.skip_init(nn.Linear, 24, 16)
    if on == "conv":
        module = nn.utils.skip_init(nn.Conv2d, 24, 16, 3, padding=1, stride=2)
    draw = torch.Generator().manual_seed(9)
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.2, generator=draw)
    return Layer(key="lora_unet_x", module=module.to(dtype).requires_grad_(False), part="unet", conv=on == "conv")


def adapter(kind: str, on: str, *, rank: int = RANK, seed: int = 0, trained: bool = False, **more: Any) -> Lycoris:
    """`trained` moves every parameter away from where it stood."""
    draw = torch.Generator().manual_seed(seed)
    made = Lycoris(layer_of(on), rank, ALPHA, draw, Network(**{**KINDS[kind], **more}))
    if trained:
        for parameter in made.parameters:
            parameter.data += torch.randn(parameter.shape, generator=draw) * 0.2
    return made


def x_of(on: str) -> Tensor:
    return torch.randn((3, 24) if on == "linear" else (3, 24, 6, 5), generator=torch.Generator().manual_seed(1))


def run(one: Lycoris, x: Tensor) -> Tensor:
    """The layer's answer with the adapter on it."""
    one.attach()
    try:
        out: Tensor = one.layer.module(x)
    finally:
        one.detach()
    return out


def delta(kind: str, state: dict[str, np.ndarray], weight: np.ndarray, *, rank: int = RANK) -> np.ndarray:
    """The weight that a UI puts in the layer's place for such a file, less the layer's own."""
    scale, kind = float(state["alpha"]) / rank, kind.partition(",")[0]
    if kind in ("LoCon", "DyLoRA", "DoRA"):
        added = scale * state["lora_up.weight"] @ state["lora_down.weight"]
    elif kind.startswith("LoHa"):
        added = scale * (state["hada_w1_a"] @ state["hada_w1_b"]) * (state["hada_w2_a"] @ state["hada_w2_b"])
    elif kind == "LoKr":
        first = state["lokr_w1"] if "lokr_w1" in state else state["lokr_w1_a"] @ state["lokr_w1_b"]
        added = scale * np.kron(first, state["lokr_w2_a"] @ state["lokr_w2_b"])
    elif kind == "GLoRA":
        added = scale * (weight @ state["a1.weight"] @ state["a2.weight"] + state["b1.weight"] @ state["b2.weight"])
    else:
        blocks, eye = state["oft_blocks"], np.eye(state["oft_blocks"].shape[-1])
        q = blocks - blocks.transpose(0, 2, 1)
        turn = (eye + q) @ np.linalg.inv(eye - q)
        turned = np.einsum("knm,kni->kmi", turn, weight.reshape(len(blocks), -1, weight.shape[1]))
        return turned.reshape(weight.shape) - weight
    if "dora_scale" in state:
        whole = weight + added
        return whole / np.linalg.norm(whole, axis=1, keepdims=True) * state["dora_scale"] - weight
    return np.asarray(added)
