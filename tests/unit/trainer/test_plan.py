"""What an epoch sees: steps, tails, repeats, regularisation, one size a batch."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_kiln.dataset.values import Box, Dataset, Record
from lora_kiln.trainer.errors import NothingToTrain
from lora_kiln.trainer.plan import Plan, make_plan
from lora_kiln.trainer.recipe import Recipe

SQUARE, WIDE, TALL = (512, 512), (1024, 512), (500, 1000)


def records(*rows: tuple[tuple[int, int], int], **fields: Any) -> tuple[Record, ...]:
    """Records of the given (size, repeats); the files need not exist."""
    return tuple(
        Record(image=Path(f"/pictures/{i}.png").absolute(), size=size, repeats=repeats, **fields)
        for i, (size, repeats) in enumerate(rows)
    )


def plan_of(*all_records: Record, batch: int = 2, epochs: int = 3, **settings: Any) -> Plan:
    recipe = Recipe().with_settings(epochs=epochs, batch_size=batch, resolution=512, **settings)
    return make_plan(Dataset(records=all_records), recipe)


def batches_of(plan: Plan, seed: int = 7) -> list[list[int]]:
    """One epoch's batches, whatever updates they belong to."""
    return [batch for update in plan.epoch(torch.Generator().manual_seed(seed)) for batch in update]


def test_steps_are_batches_of_every_bucket_tails_kept() -> None:
    # Square: 3 + 2 = 5 pictures, 3 batches of two; wide: 4, 2 batches; tall: 1, 1 batch.
    plan = plan_of(*records((SQUARE, 3), (WIDE, 4), (SQUARE, 2), (TALL, 1)))
    assert plan.steps_an_epoch == 3 + 2 + 1
    assert plan.steps == 18
    assert [len(update) for update in plan.epoch(torch.Generator())] == [1] * 6
    assert sorted(plan.images().values()) == [1, 4, 5]


@pytest.mark.parametrize("batch", [1, 2, 3, 16])
def test_an_epoch_sees_every_record_as_often_as_its_repeats_say(batch: int) -> None:
    plan = plan_of(*records((SQUARE, 3), (WIDE, 4), (SQUARE, 2), (TALL, 1)), batch=batch)
    batches = batches_of(plan)
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
        ([3, 20, 1], [3, 7, 0]),  # what is too much is left out
    ],
)
def test_an_epoch_sees_as_much_regularisation_as_training(regular: list[int], expected: list[int]) -> None:
    training = records((SQUARE, 6), (SQUARE, 4))
    regularisation = records(*[(SQUARE, n) for n in regular], is_reg=True)
    assert plan_of(*training, *regularisation).repeats == (6, 4, *expected)


@pytest.mark.parametrize("dataset", [(), records((SQUARE, 1), is_reg=True)])
def test_without_training_pictures_there_is_nothing_to_train(dataset: tuple[Record, ...]) -> None:
    with pytest.raises(NothingToTrain, match=f"{len(dataset)} records"):
        plan_of(*dataset)


@pytest.mark.parametrize(
    ("accumulation", "updates"), [(1, [1] * 6), (2, [2, 2, 2]), (4, [4, 2]), (5, [5, 1]), (6, [6]), (99, [6])]
)
def test_accumulation_makes_updates_of_several_batches_the_tail_of_an_epoch_too(
    accumulation: int, updates: list[int]
) -> None:
    plan = plan_of(*records((SQUARE, 3), (WIDE, 4), (SQUARE, 2), (TALL, 1)), accumulation=accumulation)
    assert plan.batches_an_epoch == 6
    assert plan.steps_an_epoch == len(updates)
    assert plan.steps == 3 * len(updates)
    assert [len(update) for update in plan.epoch(torch.Generator().manual_seed(3))] == updates
    assert Counter(i for batch in batches_of(plan) for i in batch) == {0: 3, 1: 4, 2: 2, 3: 1}


@pytest.mark.parametrize(
    ("most", "steps", "epochs"), [(0, 15, 3), (1, 1, 1), (5, 5, 1), (6, 6, 2), (14, 14, 3), (15, 15, 3), (17, 17, 4)]
)
def test_a_number_of_updates_goes_before_the_epochs(most: int, steps: int, epochs: int) -> None:
    plan = plan_of(*records((SQUARE, 10)), max_train_steps=most)
    assert plan.steps_an_epoch == 5
    assert (plan.steps, plan.epochs) == (steps, epochs)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.01, 1), (0.1, 2), (0.25, 5), (0.5, 10)])
def test_a_share_is_held_out_and_never_trained_on(share: float, count: int) -> None:
    plan = plan_of(*records(*[(SQUARE, 2)] * 20), validation_share=share)
    assert len(plan.held_out) == count
    assert {i for batch in batches_of(plan) for i in batch} == set(range(20)) - set(plan.held_out)
    assert plan.images() == {(512, 512): 40 - 2 * count}
    assert plan.steps_an_epoch == 20 - count


def test_what_is_held_out_follows_from_the_seed() -> None:
    chosen = [plan_of(*records(*[(SQUARE, 1)] * 20), validation_share=0.2, seed=seed).held_out for seed in (1, 1, 2, 3)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) == 3
    assert all(list(one) == sorted(set(one)) for one in chosen)


def test_held_out_are_training_pictures_and_never_all_of_them() -> None:
    regular = records((SQUARE, 1), (SQUARE, 1), is_reg=True)
    plan = plan_of(*regular, *records((SQUARE, 4), (SQUARE, 4)), validation_share=0.5)
    [held_out] = plan.held_out
    assert held_out in (2, 3)
    # Regularisation makes up for what is really trained on.
    assert plan.repeats[:2] == (2, 2)
    assert sum(plan.repeats[2:]) == 4
    assert plan_of(*records((SQUARE, 4)), validation_share=0.5).held_out == ()


def test_without_buckets_all_pictures_are_one_square() -> None:
    plan = plan_of(*records((SQUARE, 3), (WIDE, 4), (TALL, 1)), enable_bucket=False)
    assert plan.images() == {(512, 512): 8}
    assert plan.steps_an_epoch == 4


def test_without_enlarging_small_pictures_have_buckets_of_their_own() -> None:
    plan = plan_of(*records(((300, 200), 1), (SQUARE, 1), ((310, 250), 1)), bucket_no_upscale=True)
    assert plan.buckets == ((256, 192), (512, 512), (256, 192))


def test_a_picture_that_is_there_several_times_is_held_out_as_a_whole() -> None:
    """At two sizes, say: the other one would be trained on."""
    rows = records(*[(SQUARE, 1)] * 6)
    doubled = (*rows, *(dataclasses.replace(row, own=("resolution=256",)) for row in rows))
    plan = plan_of(*doubled, validation_share=0.34)
    assert len(plan.held_out) == 4
    assert {doubled[i].image for i in plan.held_out} == {doubled[i].image for i in plan.held_out[:2]}
    trained = {record.image for record, n in zip(plan.records, plan.repeats, strict=True) if n}
    assert not trained & {doubled[i].image for i in plan.held_out}
    assert plan_of(*rows, validation_share=0.34).held_out == plan.held_out[:2]
