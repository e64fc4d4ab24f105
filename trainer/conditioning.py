"""Captions as conditionings: encoded every time while the text encoder learns, else once and kept."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from .ports import Model, View
from .recipe import Recipe

# Shuffled captions are nearly all different, so what is kept has a limit; SDXL's takes 0.6 MB a caption, T5's up to 8.
KEPT_BYTES = 2 * 2**30


class Conditioner:
    """Encodes captions. `frozen` says that the text encoder stands still, and conditionings can be kept."""

    def __init__(self, model: Model, recipe: Recipe, *, frozen: bool) -> None:
        self._model, self._recipe, self.frozen = model, recipe, frozen
        self._kept: dict[str, Any] = {}
        self._bytes = 0
        self._full = False

    def prepare(self, captions: Sequence[str], views: Sequence[View]) -> Generator[int, None, None]:
        """Encode what will be asked for, as much as is kept; yields how many have been looked at after each."""
        with self._model.reading():
            for number, (caption, view) in enumerate(zip(captions, views, strict=True)):
                if not self.frozen or self._full:
                    return
                self.encode([caption], [view])
                yield number + 1

    def encode(self, captions: Sequence[str], views: Sequence[View]) -> list[Any]:
        """One conditioning a caption."""
        if not self.frozen:
            return self._made(captions, views)
        if all(caption in self._kept for caption in captions):
            return self._seen(captions, views)
        with self._model.reading(), torch.no_grad():
            return self._seen(captions, views)

    def _seen(self, captions: Sequence[str], views: Sequence[View]) -> list[Any]:
        """Each read by itself: in other company its last digits would be others, and a run that goes on another one."""
        found = []
        for caption, view in zip(captions, views, strict=True):
            made = self._kept.get(caption)
            if made is None:
                [made] = self._made([caption], [view])
                self._keep(caption, made)
            found.append(self._model.seen_as(made, view))
        return found

    def _made(self, captions: Sequence[str], views: Sequence[View]) -> list[Any]:
        settings = self._recipe.captions
        return self._model.encode_text(
            captions,
            views,
            clip_skip=settings.clip_skip,
            max_tokens=settings.max_token_length,
            guidance=settings.guidance_scale,
            weighted=settings.weighted_captions,
        )

    def _keep(self, caption: str, made: Any) -> None:
        size = _bytes(made)
        while self._kept and self._bytes + size > KEPT_BYTES:
            self._full = True
            self._bytes -= _bytes(self._kept.pop(next(iter(self._kept))))
        self._kept[caption] = made
        self._bytes += size


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(_bytes(one) for one in value.values())
    if isinstance(value, list | tuple):
        return sum(_bytes(one) for one in value)
    return 0
