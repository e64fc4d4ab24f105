"""What one forward pass sees: drawn by name, prepared one batch ahead of the model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from .captions import Moment, draw_caption, left_out, settled
from .latents import LatentStore, centred, drawn, is_fixed, load_mask, load_pixels, mirrored
from .noise import draw_levels, draw_noise, draw_perturbation
from .own import recipe_for
from .plan import Plan
from .ports import View
from .recipe import Recipe
from .spans import parse_span
from .streams import stream

# Latents that are kept at hand: those of a few hundred pictures of 1024 pixels. The others are read again each time.
KEPT_BYTES = 64 * 2**20
Made = TypeVar("Made")


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


class _Job(NamedTuple):
    """An update that is to be made: its records, a row a batch, and the first batch's number."""

    step: int
    epoch: int
    rows: list[list[int]]
    number: int


class _Look(NamedTuple):
    """How a picture is seen. `pixels` are there when it looks different each time."""

    view: View
    flipped: bool
    pixels: Tensor | None


class Batches:
    """Draws and loads batches. Everything about batch n follows from the recipe's seed and n."""

    def __init__(self, plan: Plan, recipe: Recipe, store: LatentStore) -> None:
        self.plan, self.recipe, self.store = plan, recipe, store
        self._kept: dict[tuple[int, bool], Tensor] = {}
        self._room = KEPT_BYTES
        # As each record has it.
        self._recipes = [recipe_for(recipe, record) for record in plan.records]

    def updates(self, first: int) -> Generator[Update, None, None]:
        """The run's updates from number `first` (counting from 1) on, each prepared while the last one is used."""
        jobs = (job for job in self._schedule() if job.step >= first)
        if all(is_fixed(one.buckets) for one, n in zip(self._recipes, self.plan.repeats, strict=True) if n):
            yield from _ahead(self._update, jobs)
            return
        # Live pictures go through the autoencoder, on the model's own thread.
        with contextlib.closing(_ahead(lambda job: (job, self._looks(job)), jobs)) as coming:
            for job, looks in coming:
                yield self._update(job, looks)

    def captions(self, first: int) -> list[tuple[str, View]]:
        """The captions, with a view of each one's picture, that updates from number `first` on will ask for.

        Those that differ each time are left out, unless the recipe keeps their forms few.
        """
        records = self.plan.records
        still = [i for i, repeats in enumerate(self.plan.repeats) if repeats and self._settled(i)]
        asked = dict.fromkeys((index, 0) for index in still)
        if self.recipe.captions.caption_variants and len(still) < sum(map(bool, self.plan.repeats)):
            for job in self._schedule():
                for number, indices in enumerate(job.rows, job.number) if job.step >= first else ():
                    asked |= dict.fromkeys(zip(indices, self._variants(number, indices), strict=True))
        found = [(self._caption(i, variant), centred(records[i], self.plan.buckets[i])) for i, variant in asked]
        kinds = {one.captions for one in self._recipes}
        if found and any(left_out(one, epoch + 1) for one in kinds for epoch in range(self.plan.epochs)):
            found.append(("", found[0][1]))
        return found

    def trial(self, indices: Sequence[int]) -> Batch:
        """A batch of these records that no update sees."""
        return self._batch(-1, indices, self._seen(-1, indices), None)

    def _schedule(self) -> Iterator[_Job]:
        step = number = 0
        for epoch in range(1, self.plan.epochs + 1):
            for rows in self.plan.epoch(stream(self.recipe.seed, "order", epoch)):
                step += 1
                if step > self.plan.steps:
                    return
                yield _Job(step, epoch, rows, number)
                number += len(rows)

    def _looks(self, job: _Job) -> list[list[_Look]]:
        return [self._seen(job.number + i, indices) for i, indices in enumerate(job.rows)]

    def _update(self, job: _Job, looks: Sequence[Sequence[_Look]] | None = None) -> Update:
        batches = tuple(
            self._batch(job.number + i, indices, one, job)
            for i, (indices, one) in enumerate(zip(job.rows, looks or self._looks(job), strict=True))
        )
        return Update(step=job.step, epoch=job.epoch, batches=batches)

    def _seen(self, number: int, indices: Sequence[int]) -> list[_Look]:
        """How each picture of a batch is seen this time, and its pixels where they are other ones each time."""
        generator = stream(self.recipe.seed, "looks", number)
        looks = []
        for index in indices:
            record, bucket, settings = self.plan.records[index], self.plan.buckets[index], self._recipes[index].buckets
            view = drawn(record, bucket, generator) if settings.random_crop else centred(record, bucket)
            flipped = settings.flip_aug and float(torch.rand((), generator=generator)) < 0.5
            pixels = None
            if not is_fixed(settings):
                colors = generator if settings.color_aug else None
                pixels = load_pixels(record, view, flipped=flipped, colors=colors)
            looks.append(_Look(view, flipped, pixels))
        return looks

    def _batch(self, number: int, indices: Sequence[int], looks: Sequence[_Look], job: _Job | None) -> Batch:
        of = partial(stream, self.recipe.seed)
        live = [look.pixels for look in looks if look.pixels is not None]
        encoded = iter(self.store.encode_each(live) if live else ())
        x0 = torch.stack([
            self._latent(i, look.view, look.flipped) if look.pixels is None else next(encoded)
            for i, look in zip(indices, looks, strict=True)
        ])  # fmt: skip
        views, masks = [], []
        for index, (view, flipped, _) in zip(indices, looks, strict=True):
            if self.recipe.loss.masked_loss:
                size = (x0.shape[-2], x0.shape[-1])
                masks.append(load_mask(self.plan.records[index], view, size, flipped=flipped))
            views.append(mirrored(view) if flipped else view)
        noise = self.recipe.noise
        return Batch(
            number=number,
            x0=x0,
            noise=draw_noise(x0, noise, of("noise", number)),
            more_noise=draw_perturbation(x0, noise, of("perturbation", number)),
            levels=draw_levels(len(x0), noise, of("timesteps", number)),
            captions=self._captions(number, indices, job),
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

    def _captions(self, number: int, indices: Sequence[int], job: _Job | None) -> tuple[str, ...]:
        if self.recipe.captions.caption_variants:
            found = list(map(self._caption, indices, self._variants(number, indices)))
        else:
            generator = stream(self.recipe.seed, "captions", number)
            found = [
                draw_caption(self.plan.records[i], self._recipes[i].captions, generator, self._moment(i, job))
                for i in indices
            ]
        if job is None:
            return tuple(found)
        empty = [left_out(self._recipes[i].captions, job.epoch) for i in indices]
        return tuple("" if dropped else one for one, dropped in zip(found, empty, strict=True))

    def _moment(self, index: int, job: _Job | None) -> Moment | None:
        """How far the run is with reading more and more tags; None where all are read."""
        span = parse_span(self._recipes[index].captions.token_warmup)
        if job is None or not span.amount:
            return None
        return Moment(job.step, span.steps(steps=self.plan.steps, steps_an_epoch=self.plan.steps_an_epoch))

    def _variants(self, number: int, indices: Sequence[int]) -> list[int]:
        """Which form of each caption a batch shows; the only one of those that have no other."""
        generator = stream(self.recipe.seed, "captions", number)
        found = torch.randint(self.recipe.captions.caption_variants, (len(indices),), generator=generator).tolist()
        return [0 if self._settled(i) else variant for i, variant in zip(indices, found, strict=True)]

    def _settled(self, index: int) -> bool:
        return settled(self.plan.records[index], self._recipes[index].captions)

    def _caption(self, index: int, variant: int) -> str:
        generator = stream(self.recipe.seed, "caption variants", index, variant)
        return draw_caption(self.plan.records[index], self._recipes[index].captions, generator)

    def _weights(self, indices: Sequence[int]) -> Tensor:
        records = [self.plan.records[i] for i in indices]
        prior = self.recipe.loss.prior_loss_weight
        return torch.tensor([record.weight * (prior if record.is_reg else 1.0) for record in records])


def _ahead(work: Callable[[_Job], Made], jobs: Iterable[_Job]) -> Generator[Made, None, None]:
    """What `work` makes of each job, in a thread: one is made while the one before is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="kiln-batches") as pool:
        coming: Future[Made] | None = None
        try:
            for job in jobs:
                after = pool.submit(work, job)
                if coming is not None:
                    yield coming.result()
                coming = after
            if coming is not None:
                yield coming.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
