"""Epoch Sweep on a real host: scored, kept, stopped and gone on with, and saved by wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from demo.hosting import Host, HostInterrupted, Message

from .test_workflow import forget, progress_of

Workflow = dict[str, Any]
PROMPTS = "as trained = mirelva, 1girl, smile, full body\nelse = mirelva, 1girl, red dress, forest, sketch"


@pytest.fixture
def swept(workflow: Workflow) -> Workflow:
    """Train, sweep with the world's tagger, and save what the sweep chose, in one graph."""
    workflow["sweep"]["inputs"] |= {
        "prompts": PROMPTS, "strengths": "0.5, 1", "tagger": "kiln-world-tagger", "dataset": ["crop", 0],
        "block_presets": "OUTD",
    }  # fmt: skip
    workflow["save"]["inputs"] |= {"epoch": ["sweep", 3], "strength": ["sweep", 4], "precision": "fp32"}
    for name, output in (("reason", 5), ("table", 7), ("page", 8)):
        workflow[name] = {"class_type": "PreviewAny", "inputs": {"source": ["sweep", output]}}
    workflow["plot"] = {"class_type": "PreviewImage", "inputs": {"images": ["sweep", 6]}}
    return workflow


def cells(host: Host) -> set[Path]:
    return set((host.base / "output" / "kiln" / "cache" / "cells").rglob("*.png"))


def test_one_queue_trains_sweeps_scores_and_saves_the_best(host: Host, swept: Workflow, pictures: Path) -> None:
    before = cells(host)
    result = host.run(swept, timeout=300)["outputs"]
    assert len(result["cells"]["images"]) == 9 * 2
    assert len(cells(host) - before) == 9 * 2
    run = host.base / "output" / "kiln" / pictures.name
    [page] = run.glob("sweep-*.html")
    assert result["page"]["text"] == [str(page)]
    scores = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert len(scores["columns"]) == 9
    assert all(row["traits"] is not None and row["flexibility"] is not None for row in scores["columns"])
    assert f"Epoch {scores['best_epoch']} at strength {scores['best_strength']:g}" in result["reason"]["text"][0]

    saved = safetensors.torch.load_file(host.base / "models" / "loras" / "kiln" / f"{pictures.name}.safetensors")
    trained = safetensors.torch.load_file(run / f"{pictures.name}-{scores['best_epoch']:06d}.safetensors")
    ups = [key for key in trained if key.endswith(".lora_up.weight")]
    assert ups
    for key in ups:
        torch.testing.assert_close(saved[key], trained[key] * scores["best_strength"])


def test_a_cancelled_sweep_goes_on_where_it_stopped(host: Host, swept: Workflow) -> None:
    # The column without a LoRA must not be there from another test.
    swept["sweep"]["inputs"]["seed"] = 41
    before, heard = cells(host), list[Message]()

    def cancel(message: Message) -> None:
        if any(value == 5 for value, _ in progress_of([message], "sweep")):
            host.interrupt()

    with pytest.raises(HostInterrupted):
        host.run(swept, cancel, timeout=300)
    painted = cells(host) - before
    assert 0 < len(painted) < 18
    times = {file: file.stat().st_mtime_ns for file in painted}
    forget(host)
    host.run(swept, heard.append, timeout=300)
    assert len(cells(host) - before) == 18
    assert {file: file.stat().st_mtime_ns for file in painted} == times


def test_another_base_model_gets_a_sheet_and_cells_of_its_own(host: Host, workflow: Workflow) -> None:
    workflow["sweep"]["inputs"] |= {
        "prompts": PROMPTS,
        "epochs": "last",
        "base_models": "kiln-world-sd15",
        "cells": "none",
    }
    result = host.run(workflow, timeout=300)["outputs"]
    assert len(result["grid"]["images"]) == 2
    assert "on 2 base models" in result["report"]["text"][0]
    assert "cells" not in result
