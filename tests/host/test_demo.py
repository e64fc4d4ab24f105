"""The main job, whole: a character that the model has never seen, learned through the example workflow."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from demo import run


def test_a_second_character_is_learned_through_the_example_workflow(tmp_path: Path) -> None:
    code = run.main(["--quick", "--character", "tornika", "--out", str(tmp_path)])

    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["steps"] > 0
    assert result["epochs"] > 1
    assert run.missed_bars(result) == []
    assert code == 0
    for name in ("grid.png", "before_after.png"):
        with Image.open(tmp_path / name) as picture:
            picture.verify()
    assert (tmp_path / "tornika.safetensors").stat().st_size > 100_000


def test_a_missed_bar_is_named() -> None:
    result = {"trait_recall": {"base": 0.5, "lora": 0.7}, "prompt_recall": {"base": 0.8, "lora": 0.6}}

    words = run.missed_bars(result)

    assert ["0.70" in words[0], "0.50" in words[1], "0.60" in words[2]] == [True, True, True]
