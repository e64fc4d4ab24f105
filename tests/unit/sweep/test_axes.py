"""What a user types for epochs, strengths and prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_kiln.sweep.axes import columns, pick_bases, pick_epochs, pick_prompts, pick_seeds, pick_strengths, rows
from lora_kiln.sweep.values import WIRED, Column, Row
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.values import Checkpoint, Run

FOLDER = Path("/runs/cat").absolute()
RUN = Run(
    folder=FOLDER,
    name="cat",
    checkpoints=tuple(Checkpoint(epoch=e, step=10 * e, file=FOLDER / f"{e}.safetensors") for e in range(1, 11)),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", tuple(range(1, 11))),
        ("", tuple(range(1, 11))),
        (" ALL ", tuple(range(1, 11))),
        ("last", (10,)),
        ("last 2", (9, 10)),
        ("Last  50", tuple(range(1, 11))),
        ("2,4-8", (2, 4, 5, 6, 7, 8)),
        ("8, 2 , 2", (2, 8)),
        ("3 - 5", (3, 4, 5)),
        ("9-12", (9, 10)),
    ],
)
def test_epochs_are_picked_as_written(text: str, expected: tuple[int, ...]) -> None:
    assert pick_epochs(RUN, text) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("first 2", "'first 2' is no epoch"),
        ("2,x", "'x' is no epoch"),
        ("2,,4", "'' is no epoch"),
        ("-3", "'-3' is no epoch"),
        ("2-", "'2-' is no epoch"),
        ("11-99999999999", "11-99999999999 is not among them"),
        ("2, 0", "0 is not among them"),
        ("last 0", "'last 0' is no epoch"),
        ("1,5-2", "'5-2' is no epoch"),
    ],
)
def test_epochs_that_make_no_sense_are_named(text: str, named: str) -> None:
    with pytest.raises(KilnError, match=named):
        pick_epochs(RUN, text)


def test_a_run_without_epochs_says_so() -> None:
    with pytest.raises(KilnError, match="no saved epoch"):
        pick_epochs(Run(folder=FOLDER, name="cat", checkpoints=()), "all")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.0", (1.0,)), ("0.6, 0.8,1", (0.6, 0.8, 1.0)), ("0.5 0.5 -1", (0.5, -1.0)), (" .7 ", (0.7,))],
)
def test_strengths_are_numbers_in_the_order_given(text: str, expected: tuple[float, ...]) -> None:
    assert pick_strengths(text) == expected


@pytest.mark.parametrize("text", ["", " , ", "strong", "0.5;0.7", "nan", "inf"])
def test_strengths_that_are_no_numbers_are_named(text: str) -> None:
    with pytest.raises(KilnError, match="strengths is"):
        pick_strengths(text)


def test_prompts_are_lines() -> None:
    assert pick_prompts(" a cat, sitting\n\n  a dog \r\n") == (("a cat, sitting",) * 2, ("a dog",) * 2)
    with pytest.raises(KilnError, match="prompts is empty"):
        pick_prompts(" \n ")


def test_the_columns_begin_without_the_lora() -> None:
    assert columns(RUN, "last 2", "0.5 1") == (
        Column(epoch=0, strength=0.0),
        Column(epoch=9, strength=0.5),
        Column(epoch=9, strength=1.0),
        Column(epoch=10, strength=0.5),
        Column(epoch=10, strength=1.0),
    )
    assert [column.label for column in columns(RUN, "9", "0.5")] == ["no LoRA", "epoch 9  x0.5"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("close by = kie, (red:1.2), =_=", ("close by", "kie, (red:1.2), =_=")),
        ("\u8d64 = kie", ("\u8d64", "kie")),
        ("kie, =_=, hat", ("kie, =_=, hat", "kie, =_=, hat")),
        ("kie, a = b", ("kie, a = b", "kie, a = b")),
        ("score=9 = kie", ("score=9 = kie", "score=9 = kie")),
    ],
)
def test_a_name_stands_before_an_equals_sign_with_spaces(line: str, expected: tuple[str, str]) -> None:
    assert pick_prompts(line) == (expected,)


def test_epochs_saved_several_times_count_once() -> None:
    twice = tuple(Checkpoint(epoch=e, step=s, file=FOLDER / f"{s}.safetensors") for e, s in ((1, 5), (1, 10), (2, 15)))
    assert pick_epochs(Run(folder=FOLDER, name="cat", checkpoints=twice), "all") == (1, 2)


@pytest.mark.parametrize(("text", "expected"), [("", (3,)), ("7, 3 9", (3, 7, 9)), ("10 - 12;5", (3, 10, 11, 12, 5))])
def test_further_seeds_follow_the_first(text: str, expected: tuple[int, ...]) -> None:
    assert pick_seeds(3, text) == expected


@pytest.mark.parametrize("text", ["x", "5-3", "1-", "1.5", "0-5000000"])
def test_seeds_that_make_no_sense_are_named(text: str) -> None:
    with pytest.raises(KilnError, match="seeds is"):
        pick_seeds(0, text)


def test_base_models_are_named_whole_or_in_part() -> None:
    known = ("xl/animagine-3.1.safetensors", "xl/animagine-4.safetensors", "noob.safetensors")
    assert pick_bases((), known) == (WIRED,)
    assert pick_bases(("NOOB", "xl/animagine-4.safetensors", "noob"), known) == (WIRED, known[2], known[1])
    with pytest.raises(KilnError, match="means 2 of them: xl/animagine"):
        pick_bases(("animagine",), known)
    with pytest.raises(KilnError, match="is none of them"):
        pick_bases(("pony",), known)


def test_every_prompt_meets_every_seed_and_labels_tell_them_apart() -> None:
    assert rows((("face", "a"), ("b", "b")), (4,)) == (
        Row(label="face", prompt="a", seed=4), Row(label="b", prompt="b", seed=4),
    )  # fmt: skip
    assert [(row.label, row.seed) for row in rows((("face", "a"),), (4, 9))] == [
        ("face  (seed 4)", 4), ("face  (seed 9)", 9),
    ]  # fmt: skip


def test_block_weights_multiply_the_columns() -> None:
    found = columns(RUN, "9", "0.5 1", ("", "OUTD"))
    assert [column.label for column in found] == [
        "no LoRA", "epoch 9  x0.5", "epoch 9  x0.5  OUTD", "epoch 9  x1", "epoch 9  x1  OUTD",
    ]  # fmt: skip


def test_a_span_of_epochs_takes_those_that_were_saved() -> None:
    second = tuple(Checkpoint(epoch=epoch, step=epoch, file=FOLDER / f"{epoch}") for epoch in (2, 4, 6, 8, 10))
    assert pick_epochs(Run(folder=FOLDER, name="cat", checkpoints=second), "4-9") == (4, 6, 8)
