"""What one forward pass sees: drawn by name, prepared one batch ahead of the model."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .captions import draw_caption, varies
from .latents import LatentStore, centred, drawn, is_fixed, load_mask, load_pixels, mirrored
from .noise import draw_levels, draw_noise, draw_perturbation
from .plan import Plan
from .ports import View
from .recipe import Recipe
from .streams import stream

# Latents that are kept at hand: those of a few hundred pictures of 1024 pixels. The others are read again each time.
KEPT_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Images of one size, on the CPU. `number` counts batches from 0 over the whole run."""

    number: int
    x0: Tensor
    noise: Tensor
    more_noise: Tensor | None
    """Input perturbation's, or None."""
    levels: Tensor
    captions: tuple[str, ...]
    views: tuple[View, ...]
    weights: Tensor
    regular: tuple[bool, ...]
    """Which are regularisation images."""
    mask: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The batches of one optimizer step. `step` and `epoch` count from 1."""

    step: int
    epoch: int
    batches: tuple[Batch, ...]


class Batches:
    """Draws and loads batches. Everything about batch n follows from the recipe's seed and n."""

    def __init__(self, plan: Plan, recipe: Recipe, store: LatentStore) -> None:
        self.plan, self.recipe, self.store = plan, recipe, store
        self._kept: dict[tuple[int, bool], Tensor] = {}
        self._room = KEPT_BYTES

    def updates(self, first: int) -> Generator[Update, None, None]:
        """The run's updates from number `first` (counting from 1) on, each prepared while the last one is used."""
        jobs = ((step, epoch, rows, number) for step, epoch, rows, number in self._schedule() if step >= first)
        if not is_fixed(self.recipe.buckets):
            # Live pictures go through the autoencoder, on the model's own thread.
            for job in jobs:
                yield self._update(*job)
            return
        with ThreadPoolExecutor(1, thread_name_prefix="kiln-batches") as pool:
            ahead: Future[Update] | None = None
            try:
                for job in jobs:
                    coming = pool.submit(self._update, *job)
                    if ahead is not None:
                        yield ahead.result()
                    ahead = coming
                if ahead is not None:
                    yield ahead.result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def trial(self, indices: Sequence[int]) -> Batch:
        """A batch of these records that no update sees."""
        return self._batch(-1, indices)

    def _schedule(self) -> Iterator[tuple[int, int, list[list[int]], int]]:
        step = number = 0
        for epoch in range(1, self.plan.epochs + 1):
            for rows in self.plan.epoch(stream(self.recipe.seed, "order", epoch)):
                step += 1
                if step > self.plan.steps:
                    return
                yield step, epoch, rows, number
                number += len(rows)

    def _update(self, step: int, epoch: int, rows: list[list[int]], number: int) -> Update:
        batches = tuple(self._batch(number + i, indices) for i, indices in enumerate(rows))
        return Update(step=step, epoch=epoch, batches=batches)

    def _batch(self, number: int, indices: Sequence[int]) -> Batch:
        of = partial(stream, self.recipe.seed)
        looks = of("looks", number)
        views, latents, masks = [], [], []
        for index in indices:
            record, bucket = self.plan.records[index], self.plan.buckets[index]
            settings = self.recipe.buckets
            view = drawn(record, bucket, looks) if settings.random_crop else centred(record, bucket)
            flipped = settings.flip_aug and float(torch.rand((), generator=looks)) < 0.5
            if is_fixed(settings):
                latent = self._latent(index, view, flipped)
            else:
                colors = looks if settings.color_aug else None
                latent = self.store.encode(load_pixels(record, view, flipped=flipped, colors=colors))
            if self.recipe.loss.masked_loss:
                size = (latent.shape[-2], latent.shape[-1])
                masks.append(load_mask(record, view, size, flipped=flipped))
            views.append(mirrored(view) if flipped else view)
            latents.append(latent)
        x0 = torch.stack(latents)
        noise = self.recipe.noise
        return Batch(
            number=number,
            x0=x0,
            noise=draw_noise(x0, noise, of("noise", number)),
            more_noise=draw_perturbation(x0, noise, of("perturbation", number)),
            levels=draw_levels(len(x0), noise, of("timesteps", number)),
            captions=self._captions(indices, of("captions", number)),
            views=tuple(views),
            weights=self._weights(indices),
            regular=tuple(self.plan.records[i].is_reg for i in indices),
            mask=torch.stack(masks) if masks else None,
        )

    def _latent(self, index: int, view: View, flipped: bool) -> Tensor:
        found = self._kept.get((index, flipped))
        if found is None:
            found = self.store.get(self.plan.records[index], view, flipped)
            if found.nbytes <= self._room:
                self._kept[index, flipped] = found
                self._room -= found.nbytes
        return found

    def _captions(self, indices: Sequence[int], generator: torch.Generator) -> tuple[str, ...]:
        settings = self.recipe.captions
        if not settings.caption_variants:
            return tuple(draw_caption(self.plan.records[i], settings, generator) for i in indices)
        variants = torch.randint(settings.caption_variants, (len(indices),), generator=generator).tolist()
        return tuple(self._caption(i, v if varies(settings) else 0) for i, v in zip(indices, variants, strict=True))

    def _caption(self, index: int, variant: int) -> str:
        generator = stream(self.recipe.seed, "caption variants", index, variant)
        return draw_caption(self.plan.records[index], self.recipe.captions, generator)

    def _weights(self, indices: Sequence[int]) -> Tensor:
        records = [self.plan.records[i] for i in indices]
        prior = self.recipe.loss.prior_loss_weight
        return torch.tensor([record.weight * (prior if record.is_reg else 1.0) for record in records])
