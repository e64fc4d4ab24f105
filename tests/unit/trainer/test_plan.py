"""What an epoch sees: steps, tails, repeats, regularisation, one size a batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_kiln.dataset.values import Box, Dataset, Record
from lora_kiln.trainer.errors import NothingToTrain
from lora_kiln.trainer.plan import Plan, make_plan
from lora_kiln.trainer.recipe import Amount, Buckets, Recipe

SQUARE, WIDE, TALL = (512, 512), (1024, 512), (500, 1000)


def records(*rows: tuple[tuple[int, int], int], **fields: Any) -> tuple[Record, ...]:
    """Records of the given (size, repeats); the files need not exist."""
    return tuple(
        Record(image=Path(f"/pictures/{i}.png").absolute(), size=size, repeats=repeats, **fields)
        for i, (size, repeats) in enumerate(rows)
    )


def plan_of(*all_records: Record, batch: int = 2, epochs: int = 3) -> Plan:
    recipe = Recipe(amount=Amount(epochs=epochs, batch_size=batch), buckets=Buckets(resolution=512))
    return make_plan(Dataset(records=all_records), recipe)


def test_steps_are_batches_of_every_bucket_tails_kept() -> None:
    # Square: 3 + 2 = 5 pictures, 3 batches of two; wide: 4, 2 batches; tall: 1, 1 batch.
    plan = plan_of(*records((SQUARE, 3), (WIDE, 4), (SQUARE, 2), (TALL, 1)))
    assert plan.steps_an_epoch == 3 + 2 + 1
    assert plan.steps == 18
    assert len(plan.epoch(torch.Generator())) == 6
    assert sorted(plan.images().values()) == [1, 4, 5]


@pytest.mark.parametrize("batch", [1, 2, 3, 16])
def test_an_epoch_sees_every_record_as_often_as_its_repeats_say(batch: int) -> None:
    plan = plan_of(*records((SQUARE, 3), (WIDE, 4), (SQUARE, 2), (TALL, 1)), batch=batch)
    batches = plan.epoch(torch.Generator().manual_seed(7))
    assert Counter(i for one in batches for i in one) == {0: 3, 1: 4, 2: 2, 3: 1}
    assert len(batches) == plan.steps_an_epoch
    for one in batches:
        assert 1 <= len(one) <= batch
        assert len({plan.buckets[i] for i in one}) == 1


def test_the_order_follows_from_the_generator_and_changes_from_epoch_to_epoch() -> None:
    plan = plan_of(*records(*[(SQUARE, 1)] * 30))
    first, again = (torch.Generator().manual_seed(1) for _ in range(2))
    epochs = [plan.epoch(first), plan.epoch(first)]
    assert epochs == [plan.epoch(again), plan.epoch(again)]
    assert epochs[0] != epochs[1]
    assert epochs[0] != plan.epoch(torch.Generator().manual_seed(2))


def test_the_size_that_counts_is_the_crops() -> None:
    [record] = records((SQUARE, 1), crop=Box(left=0, top=0, right=512, bottom=256))
    [bucket] = plan_of(record).buckets
    assert bucket[0] > bucket[1]


@pytest.mark.parametrize(
    ("regular", "expected"),
    [
        ([1], [10]),  # one picture, seen as often as all ten training ones
        ([1, 1, 1], [4, 3, 3]),
        ([20, 1], [20, 1]),  # more than enough stays as it is
    ],
)
def test_regularisation_is_repeated_up_to_the_number_of_training_pictures(
    regular: list[int], expected: list[int]
) -> None:
    training = records((SQUARE, 6), (SQUARE, 4))
    regularisation = records(*[(SQUARE, n) for n in regular], is_reg=True)
    assert plan_of(*training, *regularisation).repeats == (6, 4, *expected)


@pytest.mark.parametrize("dataset", [(), records((SQUARE, 1), is_reg=True)])
def test_without_training_pictures_there_is_nothing_to_train(dataset: tuple[Record, ...]) -> None:
    with pytest.raises(NothingToTrain, match=f"{len(dataset)} records"):
        plan_of(*dataset)
