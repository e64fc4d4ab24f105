"""Many small tensors as a long one, for optimizers that move every number by itself.

A LoRA has hundreds of tensors of a few thousand numbers. Clipping and AdamW take longer to walk through them than to
do their arithmetic; of one tensor they make a single pass. The adapters keep their own tensors, which become views.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

ELEMENTWISE = (torch.optim.AdamW, torch.optim.SGD)
"""What an optimizer of these kinds does to a number depends on that number, its gradient and the group's settings."""


class Flat:
    """Leaf tensors of one type and device, laid end to end in `whole`; their gradients lie in `whole.grad`."""

    def __init__(self, tensors: Sequence[Tensor], part: str) -> None:
        self.part, self._tensors = part, tuple(tensors)
        self.whole = nn.Parameter(torch.cat([tensor.detach().flatten() for tensor in tensors]))
        for tensor, piece in zip(self._tensors, self._pieces(self.whole.detach()), strict=True):
            tensor.data = piece

    def clear(self) -> None:
        """Gradients of zero, into which the next backward passes add."""
        if self.whole.grad is not None:
            self.whole.grad.zero_()
            return
        self.whole.grad = torch.zeros_like(self.whole)
        for tensor, piece in zip(self._tensors, self._pieces(self.whole.grad), strict=True):
            tensor.grad = piece

    def rest(self) -> None:
        """No gradients, and none to come: an optimizer leaves `whole` alone from here on."""
        self.whole.requires_grad_(False).grad = None
        for tensor in self._tensors:
            tensor.requires_grad_(False).grad = None

    def _pieces(self, whole: Tensor) -> list[Tensor]:
        parts = whole.split([tensor.numel() for tensor in self._tensors])
        return [piece.view(tensor.shape) for piece, tensor in zip(parts, self._tensors, strict=True)]


def gather(optimizer: torch.optim.Optimizer, idle: Collection[Tensor]) -> list[Flat]:
    """Put one long tensor into the place of each parameter group's own. Call it before the first update.

    Those in `idle` stay as they are: they never get a gradient, and an optimizer would let them decay if they had one
    of zero. Groups are named by `part`.
    """
    left_out, found = {id(tensor) for tensor in idle}, []
    for group in optimizer.param_groups:
        moved = [tensor for tensor in group["params"] if id(tensor) not in left_out]
        if moved:
            found.append(Flat(moved, group["part"]))
            group["params"] = [found[-1].whole, *(tensor for tensor in group["params"] if id(tensor) in left_out)]
    return found
