"""What is seen in which order: sizes, repeats, batches, and the exact number of steps, before the first one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from ..dataset.values import Box, Dataset, Record, Size
from .errors import NothingToTrain
from .own import bucket_for
from .recipe import Recipe
from .streams import stream

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`buckets[i]` is the size of record i; `repeats[i]` how often an epoch sees it. `held_out` are only tested on."""

    records: tuple[Record, ...]
    buckets: tuple[Size, ...]
    repeats: tuple[int, ...]
    batch: int
    accumulation: int
    epochs: int
    steps: int
    """Optimizer updates of the whole run; the last epoch may be cut short."""
    held_out: tuple[int, ...] = ()

    @property
    def batches_an_epoch(self) -> int:
        """Sum over buckets of ceil(repeated images / batch): tails are kept."""
        return sum(-(-count // self.batch) for count in self.images().values())

    @property
    def steps_an_epoch(self) -> int:
        """Updates: `accumulation` batches each, the last of an epoch with what is left."""
        return -(-self.batches_an_epoch // self.accumulation)

    def images(self) -> dict[Size, int]:
        """Repeated images in each bucket, those held out left out."""
        found: dict[Size, int] = {}
        for bucket, repeats in zip(self.buckets, self.repeats, strict=True):
            if repeats:
                found[bucket] = found.get(bucket, 0) + repeats
        return found

    def epoch(self, generator: torch.Generator) -> list[list[list[int]]]:
        """One epoch's updates in random order, each a list of batches of record numbers; a batch holds one bucket."""
        pools: dict[Size, list[int]] = {}
        for index, (bucket, repeats) in enumerate(zip(self.buckets, self.repeats, strict=True)):
            pools.setdefault(bucket, []).extend([index] * repeats)
        batches = []
        for bucket in sorted(pools):
            pool = _shuffled(pools[bucket], generator)
            batches += [pool[i : i + self.batch] for i in range(0, len(pool), self.batch)]
        batches = _shuffled(batches, generator)
        return [batches[i : i + self.accumulation] for i in range(0, len(batches), self.accumulation)]


def make_plan(dataset: Dataset, recipe: Recipe) -> Plan:
    """Assign buckets, repeats and the held-out share. Raises `NothingToTrain` for a dataset without training images."""
    training = [index for index, record in enumerate(dataset) if not record.is_reg]
    if not training:
        raise NothingToTrain(
            f"The dataset has {len(dataset)} records and none to train on; "
            "wire in a dataset with at least one image that is not a regularisation image."
        )
    held_out = _held_out(training, dataset.records, recipe)
    amount = recipe.amount
    plan = Plan(
        records=dataset.records,
        buckets=tuple(bucket_for(recipe.buckets, record) for record in dataset),
        repeats=_balanced(dataset.records, held_out),
        batch=amount.batch_size,
        accumulation=amount.accumulation,
        epochs=amount.epochs,
        steps=0,
        held_out=held_out,
    )
    steps = amount.max_train_steps or plan.steps_an_epoch * amount.epochs
    return dataclasses.replace(plan, steps=steps, epochs=-(-steps // plan.steps_an_epoch))


def _held_out(training: list[int], records: tuple[Record, ...], recipe: Recipe) -> tuple[int, ...]:
    """The records that only validation sees: the recipe's share, at least one and never all.

    A picture that is there several times, at several sizes perhaps, is held out as a whole.
    """
    pictures: dict[tuple[Path, Box | None], list[int]] = {}
    for index in training:
        pictures.setdefault((records[index].image, records[index].crop), []).append(index)
    share = recipe.saving.validation_share
    if not share or len(pictures) < 2:
        return ()
    count = min(len(pictures) - 1, max(1, round(share * len(pictures))))
    chosen = _shuffled(list(pictures.values()), stream(recipe.seed, "validation"))[:count]
    return tuple(sorted(index for rows in chosen for index in rows))


def _balanced(records: tuple[Record, ...], held_out: tuple[int, ...]) -> tuple[int, ...]:
    """Each record's repeats: an epoch sees as many regularisation images as training ones.

    As in sd-scripts' `register_image`s: too few are seen again in turn, those too many are left out from the end.
    """
    kept_out = set(held_out)
    repeats = [0 if i in kept_out or record.is_reg else record.repeats for i, record in enumerate(records)]
    regular = [i for i, record in enumerate(records) if record.is_reg]
    room = sum(repeats)
    for i in regular:
        repeats[i] = min(records[i].repeats, room)
        room -= repeats[i]
    for turn in range(room if regular else 0):
        repeats[regular[turn % len(regular)]] += 1
    return tuple(repeats)


def _shuffled(items: list[T], generator: torch.Generator) -> list[T]:
    return [items[i] for i in torch.randperm(len(items), generator=generator).tolist()]
