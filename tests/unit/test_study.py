"""What a study makes of its counts; references by hand."""

from __future__ import annotations

from typing import Any

import pytest

from demo import study_choice, study_ideas


def rows(*pairs: tuple[float | None, float | None]) -> dict[str, Any]:
    return {"claim": "It helps.", "arms": ["plain", "helped"], "rows": [{"plain": a, "helped": b} for a, b in pairs]}


def test_a_claim_is_shown_where_the_interval_lies_on_its_side() -> None:
    found = study_ideas.verdict(rows((0.1, 0.4), (0.2, 0.4), (0.1, 0.2), (0.3, 0.5)), rises=True)
    # Differences 0.3, 0.2, 0.1, 0.2: deviation 0.0816, Student's t for 3 degrees of freedom 3.182.
    assert found == {"difference": 0.2, "low": 0.0701, "high": 0.3299, "shown": True}
    assert not study_ideas.verdict(rows((0.1, 0.4), (0.2, 0.4), (0.1, 0.2), (0.3, 0.5)), rises=False)["shown"]
    assert not study_ideas.verdict(rows((0.1, 0.9), (0.2, 0.3)), rises=True)["shown"], "two may agree by luck"


def test_a_character_without_one_arm_does_not_count() -> None:
    assert study_ideas.verdict(rows((0.1, 0.4), (None, 0.4), (0.1, 0.4)), rises=True)["difference"] == 0.3
    with pytest.raises(ValueError, match="1 characters have both arms of 'It helps"):
        study_ideas.verdict(rows((0.1, 0.4), (None, 0.4)), rises=True)


def test_a_correlation_within_runs_forgets_what_sets_runs_apart() -> None:
    low, high = (
        {"epochs": [{"sweep_traits": at + step, "sweep_truth": at - step} for step in (0.0, 0.1, 0.2)]}
        for at in (0.0, 0.6)
    )
    apart = study_choice._apart([low, high])
    assert study_choice._correlation(apart, "sweep_traits", "sweep_truth") == -1.0
    every = [*low["epochs"], *high["epochs"]]
    assert study_choice._correlation(every, "sweep_traits", "sweep_truth") > 0.8
