"""Memory in use."""

from __future__ import annotations

import psutil
import torch
from torch import nn


def in_use(device: torch.device) -> int:
    """Bytes: what PyTorch held on a CUDA device at its peak, or what this process holds now."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    held: int = psutil.Process().memory_info().rss
    return held


def weight_bytes(network: nn.Module) -> int:
    """Bytes of a network's parameters as they are loaded."""
    return sum(parameter.nbytes for parameter in network.parameters())
