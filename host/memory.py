"""Memory in use."""

from __future__ import annotations

import functools
import time

import psutil
import torch
from torch import nn

OLDEST_SECONDS = 0.25
# The largest block by which the GNU allocator, on 64 bits, learns what to keep.
KEPT_BYTES = 31 * 2**20


def in_use(device: torch.device) -> int:
    """Bytes: what PyTorch held on a CUDA device at its peak, or what this process holds, to a quarter of a second."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _held(int(time.monotonic() / OLDEST_SECONDS))


@functools.lru_cache(maxsize=1)
def _held(_when: int) -> int:
    """To ask takes longer than what is done with the answer at every step."""
    held: int = _process().memory_info().rss
    return held


def forget_peak(device: torch.device) -> None:
    """From here on a CUDA device's peak is that of what comes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def keep_what_is_freed(device: torch.device) -> None:
    """Let the allocator of a CPU keep what a step frees for the next one: fetched anew, it is about 5 % of a step.

    The GNU allocator gives memory back to the system when more of it lies free than twice the largest block that it
    has seen freed. Where it is not that one, nothing changes.
    """
    if device.type == "cpu":
        torch.empty(KEPT_BYTES, dtype=torch.uint8)  # freed at once


@functools.cache
def _process() -> psutil.Process:
    """Found once: that takes longer than to ask it."""
    return psutil.Process()


def weight_bytes(network: nn.Module) -> int:
    """Bytes of a network's parameters as they are loaded."""
    return sum(parameter.nbytes for parameter in network.parameters())


def refuse_beyond_memory(needed: int, what: str, mend: str) -> None:
    """Raise ValueError, before the work begins, when `needed` bytes of main memory are not free."""
    free = psutil.virtual_memory().available
    if needed > free:
        raise ValueError(f"{what} need {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free. {mend}")
