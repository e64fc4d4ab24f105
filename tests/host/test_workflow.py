"""The whole graph on a running server, over HTTP and websocket."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors
from PIL import Image

from demo.hosting import Host, HostInterrupted, Message

Workflow = dict[str, Any]
CHECKPOINT = "kiln-world-sd15.safetensors"


def forget(host: Host) -> None:
    """Let the server drop every cached output, as after a restart."""
    host._request("POST", "/free", json={"unload_models": True, "free_memory": True}).raise_for_status()
    # The server may do so only after its next prompt.
    image = {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 7}}
    host.run({"1": image, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}, timeout=60)


def progress_of(heard: list[Message], node: str) -> list[tuple[int, int]]:
    """(value, max) of every progress message of a node."""
    return [
        (message.data["value"], message.data["max"])
        for message in heard
        if message.kind == "progress" and message.data.get("node") == node
    ]


def test_the_graph_trains_saves_and_sweeps_and_trains_once_only(
    host: Host, workflow: Workflow, pictures: Path, root: Path
) -> None:
    heard: list[Message] = []
    result = host.run(workflow, heard.append, timeout=300)
    run = host.base / "output" / "kiln" / pictures.name
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert progress_of(heard, "train") == [(row["step"], len(rows)) for row in rows]
    assert progress_of(heard, "sweep")[-1] == (6, 6)
    texts = [message.data["text"] for message in heard if message.kind == "progress_text"]
    assert json.loads((run / "preflight.json").read_text())["text"] in texts[0]
    about = json.loads((run / "run.json").read_text())
    assert about["finished"]
    assert about["trigger"] == "mirelva"
    assert "green hair" in about["traits"]
    assert [row["epoch"] for row in about["checkpoints"]] == [1, 2]
    assert all((run / row["file"]).is_file() for row in about["checkpoints"])

    saved = host.base / "models" / "loras" / "kiln" / f"{pictures.name}.safetensors"
    assert result["outputs"]["save"]["text"] == [f"models/loras/kiln/{pictures.name}.safetensors"]
    with safetensors.safe_open(saved, framework="pt") as opened:
        metadata = opened.metadata()
    assert metadata["trained_words"] == "mirelva"
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    checkpoint = (root / "demo" / "models" / "checkpoints" / CHECKPOINT).read_bytes()
    assert metadata["ss_sd_model_name"] == CHECKPOINT
    assert metadata["ss_sd_model_hash"] == hashlib.sha256(checkpoint[0x100000:0x110000]).hexdigest()[:8]
    assert f"kiln/{saved.name}" in host.object_info()["LoraLoader"]["input"]["required"]["lora_name"][0]

    (grid,) = result["outputs"]["grid"]["images"]
    with Image.open(io.BytesIO(host.view(grid))) as sheet:
        assert sheet.width > 3 * 64
        assert sheet.height > 2 * 64
    assert len(result["outputs"]["cells"]["images"]) == 3 * 2
    assert "2 columns with the LoRA, 2 prompts" in result["outputs"]["report"]["text"][0]

    forget(host)
    before = (run / "metrics.jsonl").stat().st_mtime_ns
    heard.clear()
    host.run(workflow, heard.append, timeout=300)
    assert "train" in {message.data.get("node") for message in heard if message.kind == "executing"}
    assert progress_of(heard, "train") == []
    assert (run / "metrics.jsonl").stat().st_mtime_ns == before
    assert not run.with_name(f"{run.name}-2").exists()


def test_a_cancelled_training_stops_and_the_same_server_trains_on(
    host: Host, workflow: Workflow, pictures: Path
) -> None:
    heard: list[Message] = []

    def cancel(message: Message) -> None:
        heard.append(message)
        if progress_of([message], "train"):
            host.interrupt()

    workflow["recipe"]["inputs"]["epochs"] = 500
    with pytest.raises(HostInterrupted) as caught:
        host.run(workflow, cancel, timeout=300)
    assert caught.value.node_type == "KilnTrainLoRA"
    assert 1 <= len(progress_of(heard, "train")) < 100
    run = host.base / "output" / "kiln" / pictures.name
    assert not json.loads((run / "run.json").read_text())["finished"]

    workflow["recipe"]["inputs"]["epochs"] = 1
    workflow["train"]["inputs"]["name"] = "second try"
    heard.clear()
    host.run(workflow, heard.append, timeout=300)
    steps = progress_of(heard, "train")
    assert steps
    assert steps[-1][0] == steps[-1][1]
    assert json.loads((host.base / "output" / "kiln" / "second try" / "run.json").read_text())["finished"]


def test_a_changed_recipe_gets_a_folder_of_its_own(host: Host, workflow: Workflow, pictures: Path) -> None:
    graph = {key: value for key, value in workflow.items() if key not in ("sweep", "grid", "cells", "report")}
    for seed in (0, 1):
        graph["recipe"]["inputs"].update(seed=seed, epochs=1)
        host.run(graph, timeout=300)
    runs = host.base / "output" / "kiln"
    losses = [
        [json.loads(line)["loss"] for line in (runs / name / "metrics.jsonl").read_text().splitlines()]
        for name in (pictures.name, f"{pictures.name}-2")
    ]
    assert len(losses[0]) == len(losses[1])
    assert losses[0] != losses[1]


def test_a_run_that_was_deleted_is_trained_again_by_the_same_graph(
    host: Host, workflow: Workflow, pictures: Path
) -> None:
    graph = {key: value for key, value in workflow.items() if key not in ("sweep", "grid", "cells", "report")}
    graph["recipe"]["inputs"].update(epochs=1)
    run = host.base / "output" / "kiln" / pictures.name
    for trains in (True, False):
        heard: list[Message] = []
        host.run(graph, heard.append, timeout=300)
        assert bool(progress_of(heard, "train")) is trains
    shutil.rmtree(run)
    heard = []
    host.run(graph, heard.append, timeout=300)
    assert progress_of(heard, "train")
    assert (run / "run.json").is_file()


def test_the_checkpoint_is_found_past_loras_reroutes_and_other_models(inside: Path) -> None:
    from lora_kiln.host.base_file import base_file

    graph = {
        "1": {"inputs": {"ckpt_name": CHECKPOINT}},
        "2": {"inputs": {"model": ["1", 0], "clip": ["1", 1], "lora_name": "some.safetensors", "strength_model": 1.0}},
        "3": {"inputs": {"": ["2", 0]}},
        "4": {"inputs": {"model": ["3", 0], "vae": ["8", 0], "name": "some.safetensors"}},
        "5": {"inputs": {"model": ["9", 0]}},
        "6": {"inputs": {"model": ["6", 0]}},
    }
    assert inside
    found = base_file(graph, "4")
    assert found is not None
    assert found.name == CHECKPOINT
    assert [base_file(graph, node) for node in ("5", "6", "9")] == [None] * 3
    assert base_file(None, "4") is None
