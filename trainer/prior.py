"""Prior-output preservation: regularisation images teach the model its own answers, not their pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .batches import Batch
from .conditioning import Conditioner
from .network import Placed
from .ports import Model
from .recipe import Recipe


class Prior:
    """What the model would answer without its adapters, which are attached to it."""

    def __init__(self, model: Model, recipe: Recipe, placed: Sequence[Placed]) -> None:
        self._model, self._placed = model, placed
        # Without adapters the text encoder stands still, and what it answers can be kept.
        self._conditioner = Conditioner(model, recipe, frozen=True)

    @torch.no_grad()
    def targets(self, batch: Batch, x_t: Tensor, sigma: Tensor, target: Tensor) -> Tensor:
        """`target` [B, ...] with the model's own x0 for `x_t` and `sigma` [B] in the rows of regularisation images."""
        rows = [row for row, regular in enumerate(batch.regular) if regular]
        if not rows:
            return target
        with _bare(self._placed):
            conds = self._conditioner.encode([batch.captions[row] for row in rows], [batch.views[row] for row in rows])
            own = self._model.denoise(x_t[rows], sigma[rows], conds)
        found = target.clone()
        found[rows] = own.to(target)
        return found


@contextlib.contextmanager
def _bare(placed: Sequence[Placed]) -> Iterator[None]:
    """The layers without their adapters, for a while."""
    for one in reversed(placed):
        one.adapter.detach()
    try:
        yield
    finally:
        for one in placed:
            one.adapter.attach()
