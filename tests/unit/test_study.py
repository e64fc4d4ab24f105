"""The studies' own arithmetic: the truth about drawings, marks, verdicts and pages."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from demo import study, study_choice, study_ideas  # noqa: E402
from demo.shots import trait_shots  # noqa: E402
from demo.study_cast import cast  # noqa: E402
from demo.study_truth import rivals, true_traits  # noqa: E402
from demo.world import vocabulary as words  # noqa: E402
from demo.world.draw import draw  # noqa: E402


def test_ten_strangers_differ_and_have_what_the_base_never_saw() -> None:
    found = cast(10)
    assert len({one.trigger for one in found}) == 10
    assert len({one.figure for one in found}) == 10
    assert all(one.figure.hair_color in words.STRANGE_HAIR_COLORS for one in found)
    assert cast(10) == found
    with pytest.raises(ValueError, match="12 strangers"):
        cast(13)


def test_the_truth_of_a_drawing_is_what_was_drawn() -> None:
    character = cast(1)[0]
    shots = trait_shots(character, 2)
    for number, shot in enumerate(shots):
        assert shot.figure is not None
        hers = draw(replace(shot.figure, seed=number)).image
        other = replace(
            shot.figure, seed=number, hair_color="black", eye_color="blue", extra="",
            outfit=(replace(shot.figure.outfit[0], pattern="", color="green"),),
        )  # fmt: skip
        found = true_traits(shot, [hers, draw(other).image])
        assert found[0] == set(shot.wanted)
        # Of hers the other girl has the cut of her hair alone.
        assert found[1] == {"twintails"}


def test_a_trait_has_every_other_value_as_its_rival() -> None:
    figure = cast(1)[0].figure
    assert {one.hair_color for one in rivals(figure, "green hair")} == {
        *words.HAIR_COLORS, *words.STRANGE_HAIR_COLORS,
    } - {"green"}  # fmt: skip
    assert {one.eye_color for one in rivals(figure, "yellow eyes")} == set(words.EYE_COLORS) - {"yellow"}
    cloth = {one.outfit[0].tag for one in rivals(figure, "striped kimono")}
    assert cloth == {*(f"{color} kimono" for color in words.CLOTH_COLORS), "checkered kimono", "polka dot kimono"}
    assert rivals(figure, "smile") == []


def rows(*apart: float) -> dict[str, Any]:
    learned = {"plain": 0.8, "other": 0.6}
    return {
        "claim": "It helps.",
        "arms": ["plain", "other"],
        "measure": "shares",
        "rows": [
            {
                "character": f"c{i}",
                study_ideas.BASE: 0.1,
                study_ideas.LEARNED: learned,
                "plain": 0.5,
                "other": 0.5 + one,
            }
            for i, one in enumerate(apart)
        ],
    }


def test_a_claim_is_shown_when_the_interval_lies_on_its_side() -> None:
    up = study_ideas.verdict(rows(0.1, 0.2, 0.15, 0.12), rises=True)
    assert up["difference"] == pytest.approx(0.1425)
    # Their deviation is 0.0435; Student's t for three degrees of freedom is 3.182.
    assert (up["low"], up["high"]) == pytest.approx((0.1425 - 0.0692, 0.1425 + 0.0692), abs=1e-4)
    assert up["shown"]
    assert not study_ideas.verdict(rows(0.8, 0.1), rises=True)["shown"], "two may agree by luck"
    assert not study_ideas.verdict(rows(0.1, 0.2, 0.15, 0.12), rises=False)["shown"]
    assert not study_ideas.verdict(rows(0.1, -0.2, 0.15, -0.1), rises=True)["shown"]


def test_a_character_without_one_arm_does_not_count() -> None:
    found = rows(0.1, 0.2, 0.3)
    found["rows"][1]["plain"] = None
    assert study_ideas.verdict(found, rises=True)["difference"] == pytest.approx(0.2)
    found["rows"][0]["plain"] = None
    with pytest.raises(ValueError, match="1 characters have both arms of 'It helps"):
        study_ideas.verdict(found, rises=True)


def test_a_claim_that_is_not_shown_is_reported_as_such(tmp_path: Path) -> None:
    found = {**rows(-0.1, 0.1), "quick": False}
    found |= study_ideas.verdict(found, rises=True)
    study.write(tmp_path, "idea", "A claim.", study.idea_lines(found, "somewhere"), found, None)
    page = (tmp_path / "idea.md").read_text(encoding="utf-8")
    assert "**The claim is not shown here**" in page
    assert "| c1 | 0.100 | 0.500 | 0.600 |" in page
    assert "plain 0.800, other 0.600." in page
    assert json.loads((tmp_path / "idea.json").read_text(encoding="utf-8"))["shown"] is False


def test_the_choices_page_says_whether_it_holds() -> None:
    run = {
        "character": "a", "kind": "short", "chosen": 9, "best": 10, "lost": 0.02, "lost_by_truth": 0.03,
        "lost_by_the_last": 0.4,
    }  # fmt: skip
    found = {
        "correlation": 0.85, "correlation_within_runs": 0.8, "correlation_sweep_with_held_out_truth": 0.7,
        "correlation_held_out": 0.9, "points": 80, "runs_within_0_05": 9, "runs_in_all": 10,
        "runs_within_0_05_by_truth": 8, "runs_within_0_05_of_last_epochs": 4, "runs_within_0_05_by_chance": 2.5,
        "chosen_within_0_05": 0.9, "runs": [run],
    }  # fmt: skip
    assert "It holds." in study_choice.lines(found)
    assert "**It does not hold** as asked." in study_choice.lines({**found, "correlation": 0.79})
    assert "| a | short | 9 | 10 | 0.020 | 0.030 | 0.400 |" in study_choice.lines(found)
    said = " ".join(study_choice.lines(found))
    assert "The last epochs would be that near in 4, epochs taken by lot in 2.5." in said


def test_what_an_epoch_loses_is_what_the_best_sum_is_above_it() -> None:
    epochs = [
        {"epoch": epoch, "held_traits": traits, "held_truth": 0.5, "held_flexibility": flexible}
        for epoch, traits, flexible in ((1, 0.2, 1.0), (2, 0.8, 0.9), (3, 0.9, 0.7))
    ]
    assert study_choice._lost(epochs, "held_traits") == {1: 0.5, 2: 0.0, 3: 0.1}
    assert study_choice._lost(epochs, "held_truth") == {1: 0.0, 2: 0.1, 3: 0.3}


def test_shots_of_each_idea_ask_what_its_score_counts() -> None:
    character = cast(1)[0]
    for idea in study_ideas.ideas().values():
        shots = idea.shots(character, 6)
        assert len({shot.prompt for shot in shots}) > 3
        everything = {tag for shot in shots for tag in shot.wanted} | {"flat color", "white background", "from behind"}
        worst, best = ([idea.score(shot, found, set()) for shot in shots] for found in (set(), everything))
        assert all(low is None or (low == 0 and high == 1) for low, high in zip(worst, best, strict=True))
    elsewhere = study_ideas.ideas()["style_augmentation"].shots(character, 12)
    assert not any("flat color" in shot.prompt or "white background" in shot.prompt for shot in elsewhere)
    others = study_ideas.ideas()["regularisation"].shots(character, 12)
    assert not any(character.trigger in shot.prompt for shot in others)


def test_random_draws_do_not_depend_on_who_drew_before() -> None:
    random.seed(3)
    assert cast(10)[9] == cast(12)[9]


def test_a_correlation_within_runs_forgets_what_sets_runs_apart() -> None:
    low, high = (
        {"epochs": [{"sweep_traits": at + step, "sweep_truth": at - step} for step in (0.0, 0.1, 0.2)]}
        for at in (0.0, 0.6)
    )
    apart = study_choice._apart([low, high])
    assert study_choice._correlation(apart, "sweep_traits", "sweep_truth") == -1.0
    every = [*low["epochs"], *high["epochs"]]
    assert study_choice._correlation(every, "sweep_traits", "sweep_truth") > 0.8
