"""The study `sweep_choice`: are the sweep's scores true, and does it choose the right epoch?

Ten strangers, ten epochs each; every other run is too short on purpose, the others far too long. The sweep sees a few
prompts and seeds. What it says is held against pictures of other prompts and seeds: the drawn attributes that they show
(`study_truth.py`) and, for the choice, how much of her and of the prompt the world's tagger finds in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .shots import Shot, flexibility_shots, trait_shots
from .study_cast import cast
from .study_truth import true_traits
from .study_work import Studio, say
from .world.characters import Character

EPOCHS, WITHIN = 10, 0.05
SHORT, LONG = 1, 16
"""Repeats of each of 24 pictures in an epoch: 3 and 48 updates, all at the same rate."""
PICTURES, PROMPTS, SEEDS, HELD = 24, 6, "1", 24


def measure(studio: Studio, *, quick: bool) -> dict[str, Any]:
    """Rows by character and epoch, the correlation, and in how many runs the choice was within 0.05 of the best."""
    count, held = (2, 4) if quick else (10, HELD)
    runs = []
    for number, character in enumerate(cast(count)):
        repeats = SHORT if number % 2 == 0 else 3 if quick else LONG
        say(f"{character.name}: {'too short' if number % 2 == 0 else 'too long'}")
        runs.append(_run(studio, character, repeats, held))
    rows = [row for run in runs for row in run["epochs"]]
    measured, truth = (np.array([row[name] for row in rows]) for name in ("sweep_traits", "true_traits"))
    close = [run["lost"] <= WITHIN for run in runs]
    return {
        "correlation": round(float(np.corrcoef(measured, truth)[0, 1]), 4),
        "correlation_tagger_held_out": round(float(np.corrcoef([row["held_traits"] for row in rows], truth)[0, 1]), 4),
        "chosen_within_0_05": round(sum(close) / len(close), 4),
        "runs_within_0_05": sum(close),
        "runs_in_all": len(close),
        "characters": len(runs),
        "points": len(rows),
        "runs": runs,
    }


def _run(studio: Studio, character: Character, repeats: int, held: int) -> dict[str, Any]:
    records = [studio.record(character.picture(i), repeats=repeats) for i in range(PICTURES)]
    run = studio.train(
        f"choice {character.name} x{repeats}", studio.pruned(character, records), epochs=EPOCHS, lr_scheduler="constant"
    )
    # Seeds and scenes from far behind those that are held out.
    traits, flexible = trait_shots(character, 100 + PROMPTS), flexibility_shots(character, 100 + PROMPTS)
    prompts = [shot.prompt for shot in (*traits[100:], *flexible[100:])]
    found = studio.sweep(run, prompts, seeds=SEEDS)
    seen = {column.epoch: marks for column, marks in found.verdict.marks.items()}
    files = {one.epoch: one.file for one in run.checkpoints}
    shots = traits[:held], flexible[:held]
    base = _share(shots[1], studio.marks(shots[1], None))
    painted = {epoch: studio.paint(shots[0], file) for epoch, file in files.items()}
    truth: dict[int, list[float]] = {epoch: [] for epoch in files}
    for i, shot in enumerate(shots[0]):
        for epoch, tags in zip(files, true_traits(shot, [painted[e][i] for e in files]), strict=True):
            truth[epoch].append(len(tags) / len(shot.wanted))
    rows = []
    for epoch, file in files.items():
        flexibility = min(1.0, _share(shots[1], studio.marks(shots[1], file)) / base) if base else 1.0
        row = {
            "character": character.name, "epoch": epoch, "sweep_traits": seen[epoch].traits,
            "sweep_flexibility": seen[epoch].flexibility, "true_traits": sum(truth[epoch]) / held,
            "held_traits": _share(shots[0], studio.marks(shots[0], file)), "held_flexibility": flexibility,
        }  # fmt: skip
        rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
        say(f"  epoch {epoch}: sweep {seen[epoch].traits:.2f}, truth {row['true_traits']:.2f}")
    sums = {row["epoch"]: row["held_traits"] + row["held_flexibility"] for row in rows}
    return {
        "character": character.name, "kind": "short" if repeats == SHORT else "long", "repeats": repeats,
        "chosen": found.choice.epoch, "best": max(sums, key=lambda epoch: sums[epoch]), "reason": found.choice.reason,
        "lost": round(max(sums.values()) - sums[found.choice.epoch], 4), "epochs": rows,
    }  # fmt: skip


def _share(shots: Sequence[Shot], found: Sequence[set[str]]) -> float:
    hits = sum(len(set(shot.wanted) & tags) for shot, tags in zip(shots, found, strict=True))
    return hits / sum(len(shot.wanted) for shot in shots)


def lines(found: dict[str, Any]) -> list[str]:
    """The page's table."""
    rows = [
        f"| {run['character']} | {run['kind']} | {run['chosen']} | {run['best']} | {run['lost']:.3f} |"
        for run in found["runs"]
    ]
    good = found["correlation"] >= 0.8 and found["chosen_within_0_05"] >= 0.9
    return [
        f"Correlation of the sweep's trait recall with the drawn attributes, over {found['points']} pairs of a "
        f"character and an epoch: **{found['correlation']:.3f}** (asked for: 0.8).",
        "",
        f"Chosen within {WITHIN} of the best epoch's sum of trait recall and flexibility on held-out prompts: "
        f"**{found['runs_within_0_05']} of {found['runs_in_all']}** runs (asked for: nine of ten).",
        "",
        "It holds." if good else "**It does not hold** as asked.",
        "",
        "| character | run | chosen | best | lost |",
        "| --- | --- | --- | --- | --- |",
        *rows,
    ]
