"""Lengths of training as people write them."""

from __future__ import annotations

import pytest

from lora_kiln.trainer.spans import parse_span


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("100", 100, "steps"),
        ("1", 1, "steps"),
        ("250 steps", 250, "steps"),
        ("1 step", 1, "steps"),
        ("250steps", 250, "steps"),
        ("0.1", 0.1, "share"),
        (".25", 0.25, "share"),
        ("0.999", 0.999, "share"),
        ("10 %", 0.1, "share"),
        ("2.5%", 0.025, "share"),
        ("100 %", 1.0, "share"),
        ("1 epoch", 1, "epochs"),
        ("0.5 epochs", 0.5, "epochs"),
        ("3 epochs", 3, "epochs"),
        ("  1  EPOCH ", 1, "epochs"),
        ("", 0, "share"),
        ("   ", 0, "share"),
        ("0", 0, "share"),
        ("0 %", 0, "share"),
        ("0 epochs", 0, "epochs"),
    ],
)
def test_a_length_is_read_as_it_is_written(text: str, amount: float, unit: str) -> None:
    found = parse_span(text)
    assert found.unit == unit
    assert found.amount == pytest.approx(amount)


@pytest.mark.parametrize(
    "text", ["ten", "-1", "10 %%", "1 day", "1,5", "1e3", "nan", "inf", "%", "epoch", "1 2", "0x10", "1."]
)
def test_what_is_no_length_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="no length of training; write 100, 10 %, 1 epoch or 250 steps"):
        parse_span(text)


def test_more_than_the_whole_run_is_refused() -> None:
    with pytest.raises(ValueError, match=r"101 %.*more than the whole run"):
        parse_span("101 %")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("10 %", 20),
        ("0.1", 20),
        ("12", 12),
        ("1 epoch", 30),
        ("0.5 epochs", 15),
        ("2.5 epochs", 75),
        ("", 0),
        ("100 %", 200),
        ("500", 200),  # never more than the run
        ("99 epochs", 200),
    ],
)
def test_a_length_in_updates_of_a_run_of_200_with_epochs_of_30(text: str, steps: int) -> None:
    assert parse_span(text).steps(steps=200, steps_an_epoch=30) == steps


@pytest.mark.parametrize(
    ("text", "rounded", "least"), [("1 %", 0, 1), ("0.04", 1, 1), ("0.1 epochs", 0, 1), ("0", 0, 0), ("", 0, 0)]
)
def test_a_short_length_comes_to_nothing_unless_one_is_the_least(text: str, rounded: int, least: int) -> None:
    span = parse_span(text)
    assert span.steps(steps=20, steps_an_epoch=4) == rounded
    assert span.steps(steps=20, steps_an_epoch=4, least=1) == least
