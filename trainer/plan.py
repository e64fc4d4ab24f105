"""What is seen in which order: sizes, repeats, batches, and the exact number of steps, before the first one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch

from ..dataset.values import Dataset, Record
from .buckets import Size, bucket_of, bucket_sizes
from .errors import NothingToTrain
from .recipe import Recipe

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`buckets[i]` is the size of record i; `repeats[i]` how often an epoch sees it."""

    records: tuple[Record, ...]
    buckets: tuple[Size, ...]
    repeats: tuple[int, ...]
    batch: int
    epochs: int

    @property
    def steps_an_epoch(self) -> int:
        """Sum over buckets of ceil(repeated images / batch): tails are kept."""
        return sum(-(-count // self.batch) for count in self.images().values())

    @property
    def steps(self) -> int:
        """Optimizer updates of the whole run."""
        return self.steps_an_epoch * self.epochs

    def images(self) -> dict[Size, int]:
        """Repeated images in each bucket."""
        found: dict[Size, int] = {}
        for bucket, repeats in zip(self.buckets, self.repeats, strict=True):
            found[bucket] = found.get(bucket, 0) + repeats
        return found

    def epoch(self, generator: torch.Generator) -> list[list[int]]:
        """One epoch's batches of record numbers in random order; a batch holds one bucket only."""
        pools: dict[Size, list[int]] = {}
        for index, (bucket, repeats) in enumerate(zip(self.buckets, self.repeats, strict=True)):
            pools.setdefault(bucket, []).extend([index] * repeats)
        batches = []
        for bucket in sorted(pools):
            pool = _shuffled(pools[bucket], generator)
            batches += [pool[i : i + self.batch] for i in range(0, len(pool), self.batch)]
        return _shuffled(batches, generator)


def make_plan(dataset: Dataset, recipe: Recipe) -> Plan:
    """Assign buckets and repeats. Raises `NothingToTrain` for a dataset without training images."""
    training = [record for record in dataset if not record.is_reg]
    if not training:
        raise NothingToTrain(
            f"The dataset has {len(dataset)} records and none to train on; "
            "wire in a dataset with at least one image that is not a regularisation image."
        )
    sizes = bucket_sizes(recipe.buckets)
    return Plan(
        records=dataset.records,
        buckets=tuple(bucket_of(record.view_size, sizes) for record in dataset),
        repeats=_balanced(dataset.records),
        batch=recipe.amount.batch_size,
        epochs=recipe.amount.epochs,
    )


def _balanced(records: tuple[Record, ...]) -> tuple[int, ...]:
    """Each record's repeats; regularisation images are repeated until there are as many as training ones."""
    repeats = [record.repeats for record in records]
    regular = [i for i, record in enumerate(records) if record.is_reg]
    missing = sum(r for r, record in zip(repeats, records, strict=True) if not record.is_reg)
    missing -= sum(repeats[i] for i in regular)
    for turn in range(max(0, missing) if regular else 0):
        repeats[regular[turn % len(regular)]] += 1
    return tuple(repeats)


def _shuffled(items: list[T], generator: torch.Generator) -> list[T]:
    return [items[i] for i in torch.randperm(len(items), generator=generator).tolist()]
