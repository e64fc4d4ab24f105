"""The desk where the thread that trains and those that answer pages meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_kiln.host.live import DESK, Desk, Live, Teller
from lora_kiln.trainer.ports import Asked


def test_what_was_asked_for_is_given_once_and_a_stop_stays() -> None:
    desk = Desk()
    number = desk.add(Live(node="5", name="rose"))
    assert not desk.ask("rose", stop=True), "nothing is asked of what is not begun"
    assert not desk.ask("", stop=True)
    desk.change(number, run="rose-2", steps=9)
    assert desk.take(number) == Asked()
    assert desk.ask("rose-2", sample=True)
    assert desk.ask("rose-2", stop=True)
    assert not desk.ask("rose", stop=True)
    assert desk.take(number) == Asked(stop=True, sample=True)
    assert desk.take(number) == Asked(stop=True)
    desk.remove(number)
    assert desk.all() == []
    assert not desk.ask("rose-2", stop=True)


def test_a_training_is_told_of_for_as_long_as_it_is_open() -> None:
    with Teller("rose", "5") as teller:
        teller.stage("encoding images", 1, 4)
        assert [(one["name"], one["run"], one["words"], one["done"]) for one in DESK.all()] == [
            ("rose", "", "encoding images", 1)
        ]
        teller.begun(Path("runs/rose-2"), 3, 9)
        teller.step(4)
        [live] = DESK.all()
        assert (live["run"], live["words"], live["step"], live["steps"]) == ("rose-2", "", 4, 9)
    assert DESK.all() == []


def test_what_raises_ends_it_too() -> None:
    with pytest.raises(KeyboardInterrupt), Teller("rose", "5"):
        raise KeyboardInterrupt
    assert DESK.all() == []
