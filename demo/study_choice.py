"""The study `sweep_choice`: are the sweep's scores true, and does it choose the right epoch?

Ten strangers, ten epochs each; every other run is too short on purpose, the others far too long. The sweep sees a few
prompts and seeds. Its trait recall is held against the truth: the drawn attributes (`study_truth.py`) that its own
pictures show, and those that pictures of many other prompts and seeds show. For the choice, the tagger says how much
of the prompt is in those others, and of her the tagger or the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .shots import Shot, flexibility_shots, trait_shots
from .study_cast import cast
from .study_truth import true_traits
from .study_work import Studio, say
from .world.characters import Character

EPOCHS, WITHIN = 10, 0.05
SIZES = {"short": (8, 1), "long": (24, 16)}
"""Pictures, and repeats of each in an epoch: 1 and 48 updates, all at the same rate."""
PROMPTS, SEEDS = 12, "1"
HELD, CONTESTED, NEAR = 24, 72, 0.15
"""Held-out shots of her, and as many in other clothes; epochs that may be the best, those within `NEAR` of the best by
the first shots, and the chosen one get more: a score of 24 shots is chance by about 0.05.
"""


def measure(studio: Studio, *, quick: bool) -> dict[str, Any]:
    """Rows by character and epoch, the correlation, and in how many runs the choice was within 0.05 of the best."""
    count, held = (2, (4, 6)) if quick else (10, (HELD, CONTESTED))
    runs = []
    for number, character in enumerate(cast(count)):
        kind = "short" if number % 2 == 0 else "long"
        say(f"{character.name}: too {kind}")
        runs.append(_run(studio, character, kind, (24, 3) if quick and kind == "long" else SIZES[kind], held))
    rows = [row for run in runs for row in run["epochs"]]
    close = [run["lost"] <= WITHIN for run in runs]
    return {
        "correlation": _correlation(rows, "sweep_traits", "sweep_truth"),
        "correlation_within_runs": _correlation(_apart(runs), "sweep_traits", "sweep_truth"),
        "correlation_sweep_with_held_out_truth": _correlation(rows, "sweep_traits", "held_truth"),
        "correlation_held_out": _correlation(rows, "held_traits", "held_truth"),
        "chosen_within_0_05": round(sum(close) / len(close), 4),
        "runs_within_0_05": sum(close),
        "runs_in_all": len(close),
        "runs_within_0_05_by_truth": sum(run["lost_by_truth"] <= WITHIN for run in runs),
        "runs_within_0_05_of_last_epochs": sum(run["lost_by_the_last"] <= WITHIN for run in runs),
        "runs_within_0_05_by_chance": round(sum(run["near"] for run in runs), 2),
        "characters": len(runs),
        "points": len(rows),
        "runs": runs,
    }


def _run(
    studio: Studio, character: Character, kind: str, size: tuple[int, int], held: tuple[int, int]
) -> dict[str, Any]:
    pictures, repeats = size
    records = [studio.record(character.picture(i), repeats=repeats) for i in range(pictures)]
    dataset = studio.pruned(character, records)
    run = studio.train(f"choice {character.name} too {kind}", dataset, epochs=EPOCHS, lr_scheduler="constant")
    # Seeds and scenes from far behind those that are held out.
    seen = [shots(character, 100 + PROMPTS)[100:] for shots in (trait_shots, flexibility_shots)]
    found = studio.sweep(run, [shot.prompt for shots in seen for shot in shots], seeds=SEEDS)
    marks = {column.epoch: (column, marks) for column, marks in found.verdict.marks.items()}
    truth = _truth_of(found, character, {shot.prompt: shot for shots in seen for shot in shots})
    files = {one.epoch: one.file for one in run.checkpoints}
    elsewhere = _held(studio, character, files, held[0])
    sums = {epoch: one["held_traits"] + one["held_flexibility"] for epoch, one in elsewhere.items()}
    near = {epoch: files[epoch] for epoch in files if sums[epoch] >= max(sums.values()) - NEAR}
    near[found.choice.epoch] = files[found.choice.epoch]
    elsewhere |= _held(studio, character, near, held[1])
    rows = []
    for epoch in files:
        column, scores = marks[epoch]
        row = {
            "character": character.name, "epoch": epoch, "sweep_traits": scores.traits, "sweep_truth": truth[column],
            "sweep_flexibility": scores.flexibility, **elsewhere[epoch],
        }  # fmt: skip
        rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
        say(
            f"  epoch {epoch}: sweep {scores.traits:.2f}, truth {truth[column]:.2f}, elsewhere "
            f"{row['held_truth']:.2f} of {row['held_shots']}"
        )
    lost, true = (_lost(rows, of_her) for of_her in ("held_traits", "held_truth"))
    chosen = found.choice.epoch
    return {
        "character": character.name, "kind": kind, "pictures": pictures, "repeats": repeats, "chosen": chosen,
        "best": min(lost, key=lambda epoch: lost[epoch]), "reason": found.choice.reason, "lost": lost[chosen],
        "lost_by_truth": true[chosen], "lost_by_the_last": lost[max(lost)],
        "near": round(sum(one <= WITHIN for one in lost.values()) / len(lost), 4), "epochs": rows,
    }  # fmt: skip


def _held(
    studio: Studio, character: Character, files: Mapping[int, Path], count: int
) -> dict[int, dict[str, float | int]]:
    """By epoch, what so many held-out shots of each kind show."""
    traits, flexible = trait_shots(character, count), flexibility_shots(character, count)
    base = _share(flexible, studio.marks(flexible, None))
    shown = _shown(traits, [studio.paint(traits, file) for file in files.values()])
    found: dict[int, dict[str, float | int]] = {}
    for (epoch, file), truth in zip(files.items(), shown, strict=True):
        followed = min(1.0, _share(flexible, studio.marks(flexible, file)) / base) if base else 1.0
        found[epoch] = {
            "held_traits": _share(traits, studio.marks(traits, file)), "held_truth": truth,
            "held_flexibility": followed, "held_shots": count,
        }  # fmt: skip
    return found


def _lost(rows: Sequence[Mapping[str, Any]], of_her: str) -> dict[int, float]:
    """By epoch, how much its sum of traits and flexibility is below that of the best one."""
    sums = {row["epoch"]: row[of_her] + row["held_flexibility"] for row in rows}
    return {epoch: round(max(sums.values()) - one, 4) for epoch, one in sums.items()}


def _apart(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """The rows of every run, less the run's means: what is left says whether epochs of one run are told apart."""
    found = []
    for run in runs:
        names = ("sweep_traits", "sweep_truth")
        means = {name: sum(row[name] for row in run["epochs"]) / len(run["epochs"]) for name in names}
        found += [{name: row[name] - means[name] for name in names} for row in run["epochs"]]
    return found


def _truth_of(found: Any, character: Character, shots: Mapping[str, Shot]) -> dict[Any, float]:
    """By column of a sweep: the share of the traits that its rows ask for which its pictures show."""
    extra = character.figure.extra
    hits, wanted = Counter[Any](), 0
    for row, asked in zip(found.grid.rows, found.verdict.asked, strict=True):
        shot = shots[row.prompt]
        assert shot.figure is not None
        # The sweep looks for it in other clothes too.
        figure = replace(shot.figure, extra=extra) if extra in asked.traits else shot.figure
        names = tuple(tag for tag in figure.trait_tags() if tag in asked.traits)
        wanted += len(names)
        pictures = [
            Image.open(found.grid.cells[found.grid.bases[0], column, row].file) for column in found.grid.columns
        ]
        shown = true_traits(replace(shot, wanted=names, figure=figure), pictures)
        for column, tags in zip(found.grid.columns, shown, strict=True):
            hits[column] += len(tags)
    return {column: hits[column] / wanted for column in found.grid.columns}


def _shown(shots: Sequence[Shot], painted: Sequence[Sequence[Image.Image]]) -> list[float]:
    """The share of the wanted traits that each row of pictures of the shots shows."""
    hits = [0] * len(painted)
    for i, shot in enumerate(shots):
        for place, tags in enumerate(true_traits(shot, [row[i] for row in painted])):
            hits[place] += len(tags)
    return [count / sum(len(shot.wanted) for shot in shots) for count in hits]


def _correlation(rows: Sequence[Mapping[str, float]], one: str, other: str) -> float:
    return round(float(np.corrcoef([row[one] for row in rows], [row[other] for row in rows])[0, 1]), 4)


def _share(shots: Sequence[Shot], found: Sequence[set[str]]) -> float:
    hits = sum(len(set(shot.wanted) & tags) for shot, tags in zip(shots, found, strict=True))
    return hits / sum(len(shot.wanted) for shot in shots)


def lines(found: dict[str, Any]) -> list[str]:
    """The page's table."""
    rows = [
        f"| {run['character']} | {run['kind']} | {run['chosen']} | {run['best']} | {run['lost']:.3f} "
        f"| {run['lost_by_truth']:.3f} | {run['lost_by_the_last']:.3f} |"
        for run in found["runs"]
    ]
    good = found["correlation"] >= 0.8 and found["chosen_within_0_05"] >= 0.9
    return [
        f"Correlation of the sweep's trait recall with the attributes that its pictures show as drawn, over "
        f"{found['points']} pairs of a character and an epoch: **{found['correlation']:.3f}** (asked for: 0.8); within "
        f"the runs, each less its own mean: {found['correlation_within_runs']:.3f}. "
        f"With what {HELD} to {CONTESTED} pictures of other prompts and seeds show: "
        f"{found['correlation_sweep_with_held_out_truth']:.3f}; of the tagger's recall in those others with what they "
        f"show: {found['correlation_held_out']:.3f}.",
        "",
        f"Chosen within {WITHIN} of the best epoch's sum of trait recall and flexibility on held-out prompts: "
        f"**{found['runs_within_0_05']} of {found['runs_in_all']}** runs (asked for: nine of ten). The last epochs "
        f"would be that near in {found['runs_within_0_05_of_last_epochs']}, epochs taken by lot in "
        f"{found['runs_within_0_05_by_chance']:.1f}. With the truth in place of the tagger's recall: "
        f"{found['runs_within_0_05_by_truth']}.",
        "",
        "It holds." if good else "**It does not hold** as asked.",
        "",
        "| character | run | chosen | best | lost | lost by truth | by the last epoch |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
