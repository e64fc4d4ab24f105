"""Random numbers of a run: every draw has a name, so nothing depends on what was drawn before it.

A run that goes on after a stop draws exactly what it would have drawn without it, and nothing has to be saved for that.
"""

from __future__ import annotations

import hashlib

import torch


def stream(seed: int, name: str, *numbers: int) -> torch.Generator:
    """An independent generator on the CPU: the same seed, name and numbers give the same draws."""
    return torch.Generator().manual_seed(derived(seed, name, *numbers))


def derived(seed: int, name: str, *numbers: int) -> int:
    """A seed of 63 bits that follows from these."""
    words = " ".join((str(seed), name, *map(str, numbers)))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8], "big") >> 1
