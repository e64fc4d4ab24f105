"""Which variants are kept, and why the others are not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lora_kiln.dataset.choice import ChoiceOptions, Scores, fault, measure, verdicts
from lora_kiln.dataset.regions import WHOLE, Regions


def scores(drift: float, structure: float, *, flat: bool = False) -> Scores:
    return Scores(drift={"hair": drift, "upper": drift / 2}, structure=structure, flat=flat)


def test_the_total_falls_with_drift_and_rises_with_structure() -> None:
    assert scores(0, 1).total == 1.0
    assert scores(10, 0.8).mean_drift == 7.5
    assert scores(10, 0.8).total == pytest.approx(0.8 - 0.3)
    assert scores(3.14, 0.8).words() == "drift hair 3.1, upper 1.6; structure 0.80"


def test_thresholds_name_the_part_and_the_numbers() -> None:
    options = ChoiceOptions(max_drift=8, min_structure=0.5)
    assert fault(scores(8, 0.5), options) == ""
    assert fault(scores(9, 0.5), options) == "the colours of hair moved by 9.0, more than 8"
    assert fault(scores(9, 0.4), options).endswith("; its lines agree by 0.40, less than 0.5")
    assert fault(scores(99, 0), ChoiceOptions()) == ""
    assert "flat" in fault(scores(0, 1, flat=True), ChoiceOptions())


def test_the_best_of_those_that_pass_are_kept() -> None:
    found = [scores(4, 0.7), scores(1, 0.9), scores(30, 1.0), scores(2, 0.9), scores(1, 0.9)]
    assert verdicts(found, ChoiceOptions()) == [""] * 5
    why = verdicts(found, ChoiceOptions(keep_best=2, max_drift=10))
    assert [not each for each in why] == [False, True, False, False, True]
    assert "moved by 30.0" in why[2]
    assert "number 3" in why[3]
    assert "number 4" in why[0]
    assert verdicts(found[:1], ChoiceOptions(keep_best=3)) == [""]


def test_measuring_pictures() -> None:
    source = Image.new("RGB", (64, 48), (200, 200, 200))
    ImageDraw.Draw(source).rectangle((16, 12, 48, 36), outline="black", width=2)
    same = measure(source, source, Regions(masks={}), ChoiceOptions())
    assert same == Scores(drift={WHOLE: 0.0}, structure=1.0)
    assert measure(source, Image.new("RGB", (64, 48), "red"), Regions(masks={}), ChoiceOptions()).flat
    left = np.zeros((48, 64), dtype=bool)
    left[:, :32] = True
    half = source.copy()
    half.paste((90, 200, 200), (40, 0, 64, 48))
    found = measure(source, half, Regions(masks={"hair": left, "background": ~left}), ChoiceOptions(compare=("hair",)))
    assert found.drift == {"hair": 0.0}
    assert not found.flat


def test_parts_are_named_from_a_list() -> None:
    with pytest.raises(ValueError, match="'hat'; choose from: hair, face"):
        ChoiceOptions(compare=("hair", "hat"))
