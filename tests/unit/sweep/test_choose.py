"""Which epoch is chosen, and why."""

from __future__ import annotations

import itertools
import random

import pytest

from lora_kiln.sweep.choose import TIE, choose, pareto_front, smoothed
from lora_kiln.sweep.marks import Marks
from lora_kiln.sweep.values import Column

PLAIN = Column(epoch=0, strength=0.0)


def column(epoch: int, strength: float = 1.0, blocks: str = "") -> Column:
    return Column(epoch=epoch, strength=strength, blocks=blocks)


def test_the_highest_sum_wins_and_the_reason_says_so() -> None:
    marks = {
        PLAIN: Marks(traits=0.0, flexibility=1.0),
        column(1): Marks(traits=0.3, flexibility=0.9),
        column(2): Marks(traits=0.8, flexibility=0.7),
        column(3): Marks(traits=0.9, flexibility=0.4),
    }
    choice = choose(marks)
    assert (choice.epoch, choice.strength) == (2, 1.0)
    assert choice.reason.startswith("Epoch 2 at strength 1: trait recall 0.80, flexibility 0.70.")
    assert choice.front == {column(1), column(2), column(3)}


def test_the_column_without_a_lora_is_never_chosen() -> None:
    marks = {PLAIN: Marks(traits=0.0, flexibility=1.0), column(1): Marks(traits=0.1, flexibility=0.1)}
    assert choose(marks).epoch == 1
    with pytest.raises(ValueError, match="at least one epoch"):
        choose({PLAIN: Marks()})


def test_strength_nought_is_painted_to_compare_with_and_never_saved() -> None:
    marks = {
        PLAIN: Marks(traits=0.1, flexibility=1.0),
        column(1, 0.0): Marks(traits=0.1, flexibility=1.0),
        column(1): Marks(traits=0.5, flexibility=0.4),
    }
    assert choose(marks).strength == 1.0


def test_a_corrupt_column_is_out_however_well_it_is_tagged() -> None:
    marks = {
        PLAIN: Marks(traits=0.0, flexibility=1.0, corrupt=0.0),
        column(1): Marks(traits=0.4, flexibility=0.5),
        column(2): Marks(traits=1.0, flexibility=1.0, corrupt=0.5),
    }
    choice = choose(marks)
    assert choice.epoch == 1
    assert choice.front == {column(1)}
    assert "1 column was left out for pictures that are broken, flat or noise" in choice.reason
    # Where the model itself paints so, the LoRA is not to blame.
    assert choose({**marks, PLAIN: Marks(corrupt=0.45)}).epoch == 2


def test_with_nothing_but_corrupt_columns_the_least_is_taken_and_told() -> None:
    marks = {PLAIN: Marks(), column(1): Marks(traits=1.0, corrupt=0.9), column(2): Marks(traits=0.1, corrupt=0.4)}
    choice = choose(marks)
    assert choice.epoch == 2
    assert "Every column has spoiled pictures" in choice.reason


def test_equals_are_told_apart_by_harm_then_epoch_then_strength() -> None:
    same = {"traits": 0.7, "flexibility": 0.8}
    harmful = {column(1): Marks(**same, bleed=0.2), column(2): Marks(**same, bleed=0.1, memorised=0.0)}
    assert choose(harmful).epoch == 2
    assert choose({column(2): Marks(**same), column(1): Marks(**same)}).epoch == 1
    assert choose({column(1, 0.6): Marks(**same), column(1, 0.9): Marks(**same)}).strength == 0.9
    barely = {column(1): Marks(traits=0.7, flexibility=0.8), column(2): Marks(traits=0.7, flexibility=0.8 + TIE / 2)}
    assert choose(barely).epoch == 1
    clearly = {column(1): Marks(traits=0.7, flexibility=0.8), column(2): Marks(traits=0.7, flexibility=0.8 + 2 * TIE)}
    assert choose(clearly).epoch == 2


def test_a_lucky_epoch_between_poor_ones_is_not_chosen() -> None:
    values = {1: 0.2, 2: 1.2, 3: 0.3, 4: 1.1, 5: 1.15, 6: 1.1}
    marks = {column(epoch): Marks(traits=value / 2, flexibility=value / 2) for epoch, value in values.items()}
    assert choose(marks).epoch == 5


def test_neighbours_count_half_and_strengths_do_not_mix() -> None:
    values = {column(e): v for e, v in ((1, 0.0), (2, 1.0), (4, 0.5), (8, 0.5))}
    few = {column(e, 0.5): float(e) for e in (1, 2, 4)}
    found = smoothed({**values, **few})
    assert [found[column(e)] for e in (1, 2, 4, 8)] == pytest.approx(
        # 4 is twice as far from 2 as 1 is, and 8 is too far off for anybody.
        [(0 + 0 + 1) / 3, (2 * 1 + 2 * (2 / 3 * 0 + 1 / 3 * 0.5)) / 4, (1 + 1) / 3, 0.5]
    )
    even = {column(e): v for e, v in ((2, 0.0), (4, 1.0), (6, 0.5), (8, 0.5))}
    assert list(smoothed(even).values()) == pytest.approx([1 / 3, 2.5 / 4, 2.5 / 4, 0.5])
    assert {c: found[c] for c in few} == few


def test_without_a_tagger_likeness_less_memorisation_counts() -> None:
    marks = {
        PLAIN: Marks(likeness=0.0),
        column(1): Marks(likeness=0.6, memorised=0.0),
        column(2): Marks(likeness=0.9, memorised=0.5),
    }
    choice = choose(marks)
    assert choice.epoch == 1
    assert "likeness less memorisation" in choice.reason


def test_with_nothing_measured_it_is_the_last_sound_epoch_at_the_strength_nearest_one() -> None:
    marks = {
        PLAIN: Marks(),
        column(1): Marks(),
        column(2, 0.5): Marks(),
        column(2, 0.9): Marks(),
        column(3): Marks(corrupt=1.0),
    }
    choice = choose(marks)
    assert (choice.epoch, choice.strength) == (2, 0.9)
    assert "nothing tells what was learned" in choice.reason


def test_following_prompts_alone_chooses_no_epoch() -> None:
    """The epoch that has learned the least follows them best."""
    marks = {column(e): Marks(flexibility=1 - 0.2 * e) for e in (1, 2, 3)}
    choice = choose(marks)
    assert choice.epoch == 3
    assert "nothing tells what was learned" in choice.reason
    alike = {c: Marks(flexibility=one.flexibility, likeness=0.3 * c.epoch) for c, one in marks.items()}
    assert choose(alike).epoch == 3
    assert "Highest likeness less memorisation and flexibility" in choose(alike).reason
    burnt = {c: Marks(flexibility=one.flexibility, likeness=0.5 + 0.1 * c.epoch) for c, one in marks.items()}
    assert choose(burnt).epoch == 1


def test_block_weights_are_told_and_not_chosen() -> None:
    marks = {
        column(1): Marks(traits=0.5, flexibility=0.5),
        column(1, blocks="OUTD"): Marks(traits=0.9, flexibility=0.9),
    }
    choice = choose(marks)
    assert choice.column == column(1)
    assert "With block weights epoch 1  x1  OUTD has 1.80" in choice.reason


def test_a_run_that_is_too_short_or_too_long_is_told() -> None:
    rising = {column(e): Marks(traits=0.1 * e, flexibility=0.9) for e in (1, 2, 3)}
    assert "longer run may be better" in choose(rising).reason
    burnt = {column(e): Marks(traits=0.9, flexibility=0.3 - 0.05 * e) for e in (1, 2, 3)}
    assert "Prompts are hardly followed" in choose(burnt).reason


def test_the_front_is_what_brute_force_finds() -> None:
    rng = random.Random(7)
    marks = {column(e): Marks(traits=rng.randrange(8) / 8, flexibility=rng.randrange(8) / 8) for e in range(1, 40)}
    beaten = {
        one
        for one, other in itertools.permutations(marks, 2)
        if marks[other].traits >= marks[one].traits  # type: ignore[operator]
        and marks[other].flexibility >= marks[one].flexibility  # type: ignore[operator]
        and (marks[other].traits, marks[other].flexibility) != (marks[one].traits, marks[one].flexibility)
    }
    assert pareto_front(marks) == set(marks) - beaten
