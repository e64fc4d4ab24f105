"""Style variants and regularisation pictures by the host's sampler, with the miniature world's models."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from demo.hosting import Host, HostInterrupted, Message

TAGGER = "kiln-world-tagger"
CONTROLNET = "kiln-world-canny.safetensors"
Node = Callable[..., dict[str, Any]]
LOADED = {"model": ["checkpoint", 0], "clip": ["checkpoint", 1], "vae": ["checkpoint", 2]}
SMALL = {"resolution": 64, "steps": 3, "cfg": 2.0}


@pytest.fixture
def control_net(inside: Path, root: Path) -> Any:
    """The miniature world's ControlNet, as core's loader gives it."""
    with torch.inference_mode():
        file = root / "demo" / "models" / "controlnet" / CONTROLNET
        return importlib.import_module("comfy.controlnet").load_controlnet(str(file))


@pytest.fixture
def augment(world: Any, dataset: Any) -> Callable[..., Any]:
    """The node on the world's models, every input by name; those that are not given have their defaults."""
    from lora_kiln.nodes.augment import ControlNetStyleAugment

    schema = ControlNetStyleAugment.define_schema()
    defaults = {each.id: each.default for each in schema.inputs if getattr(each, "default", None) is not None}
    defaults |= {each.id: each.options[0] for each in schema.inputs if each.id == "tagger"}

    def run(**given: Any) -> Any:
        several = ("hint", "hint_2", "hint_3", "masks", "hold_masks")
        values = {"sampler_name": "euler", "scheduler": "normal", **defaults, **SMALL, "start_percent": 0.0, **given}
        lists = {name: value if name in several else [value] for name, value in values.items()}
        loaded = {"model": [world.model], "clip": [world.clip], "vae": [world.vae]}
        with torch.inference_mode():
            return ControlNetStyleAugment.execute(**{"dataset": [dataset], **loaded, **lists}).result

    return run


def rows(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table)))


def mean(table: str, column: str) -> float:
    return float(np.mean([float(row[column]) for row in rows(table)]))


def test_variants_are_painted_once_and_their_lines_are_held(
    augment: Callable[..., Any], dataset: Any, control_net: Any
) -> None:
    given = {"styles": "sketch\npastel colors", "denoise": 1.0, "end_percent": 1.0, "resolution": 128, "steps": 10}
    held, report, rejected, sheets, table = augment(control_net=control_net, **given)
    assert len(held) == 3 * len(dataset)
    assert len(rejected) == 0
    assert "8 painted now" in report
    assert {record.size for record in held.records[len(dataset) :]} == {(128, 128)}
    assert sheets.shape[-1] == 3
    assert len(rows(table)) == 8

    again, report, *_ = augment(control_net=control_net, **given)
    assert again == held
    assert "0 painted now, 8 found" in report

    free, report, _, _, loose = augment(control_net=control_net, **{**given, "strength": 0.0})
    assert "8 painted now" in report
    assert {r.image for r in held.records[4:]}.isdisjoint(r.image for r in free.records[4:])
    # Even a denoise of 1 leaves a trace of what it began with, so lines are not lost without the ControlNet.
    assert mean(table, "structure") > mean(loose, "structure") + 0.015


def test_two_controlnets_line_art_and_hints(augment: Callable[..., Any], dataset: Any, control_net: Any) -> None:
    given = {"styles": "sketch", "control_net": control_net, "control_net_2": control_net, "strength_2": 0.5}
    files = {}
    for kind in ("line art", "picture"):
        result, *_ = augment(**given, preprocessor_2=kind)
        files[kind] = result.records[4].image.read_bytes()
    hints = [torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    result, *_ = augment(**given, preprocessor_2="hint", hint_2=hints)
    files["hints"] = result.records[4].image.read_bytes()
    result, report, *_ = augment(**given, preprocessor_2="hint", hint_2=[torch.cat([hints[0], *hints[:0:-1]])])
    # The second and the fourth have changed places.
    assert "2 painted now, 2 found" in report
    assert len(set(files.values())) == 3
    with pytest.raises(ValueError, match="hint_2 brings 2 pictures for 4"):
        augment(**given, preprocessor_2="hint", hint_2=hints[:2])
    with pytest.raises(ValueError, match="no control_net_3"):
        augment(**given, hint_3=hints)
    with pytest.raises(ValueError, match="the first must be less"):
        augment(**given, start_percent_2=0.5)


def test_held_colours_drift_less(augment: Callable[..., Any], control_net: Any) -> None:
    given = {"styles": "pastel colors", "control_net": control_net, "denoise": 0.9, "resolution": 128, "steps": 6}
    left = torch.zeros(1, 128, 128)
    left[:, :, :64] = 1
    given |= {"compare": "mask", "hold_masks": [left] * 4}
    *_, free = augment(**given)
    *_, half = augment(**given, hold_mask=0.5, hold_denoise=0.35)
    *_, held = augment(**given, hold_mask=1.0, hold_denoise=0.35)
    assert mean(held, "drift") < 0.7 * mean(free, "drift")
    assert mean(held, "drift") < mean(half, "drift") < mean(free, "drift")


@pytest.mark.parametrize(
    ("module", "name", "settings"),
    [
        ("nodes_model_advanced", "RescaleCFG", [(0.3,), (0.9,)]),
        # What its patch closes over is a dict.
        ("nodes_freelunch", "FreeU", [(1.1, 1.2, 0.9, 0.2), (1.5, 1.2, 0.9, 0.2)]),
    ],
)
def test_a_model_node_before_it_paints_anew(
    augment: Callable[..., Any], world: Any, module: str, name: str, settings: list[tuple[float, ...]]
) -> None:
    """Options of the model are part of what a picture's name stands for."""
    import importlib

    core = getattr(importlib.import_module(f"comfy_extras.{module}"), name)
    given = {"styles": "sketch", "model": world.model}
    augment(**given)
    for values in settings:
        found = (
            core.execute(world.model, *values).result
            if hasattr(core, "execute")
            else core().patch(world.model, *values)
        )
        assert "4 painted now" in augment(**{**given, "model": found[0]})[1]
        assert "0 painted now" in augment(**{**given, "model": found[0]})[1]


@pytest.fixture
def graph(node: Node, pictures: Path) -> dict[str, Any]:
    """Load -> augment on the running server."""
    return {
        "checkpoint": node("CheckpointLoaderSimple", ckpt_name="kiln-world-sd15.safetensors"),
        "net": node("ControlNetLoader", control_net_name=CONTROLNET),
        "load": node("KilnLoadDataset", folder=pictures.name),
        "styles": node(
            "KilnControlNetStyleAugment", dataset=["load", 0], control_net=["net", 0], styles="sketch\n{flat color|x}",
            variants=2, keep_best=1, tags="with differing colours", tagger=TAGGER, **LOADED, **SMALL,
        ),
        "report": node("PreviewAny", source=["styles", 1]),
        "rejected": node("KilnDatasetReport", dataset=["styles", 2]),
        "rejects": node("PreviewAny", source=["rejected", 3]),
        "sheets": node("PreviewImage", images=["styles", 3]),
        "scores": node("PreviewAny", source=["styles", 4]),
    }  # fmt: skip


def progress_of(heard: list[Message], name: str) -> list[tuple[float, int]]:
    return [
        (message.data["value"], message.data["max"])
        for message in heard
        if message.kind == "progress" and message.data.get("node") == name
    ]


def test_progress_counts_pictures_and_the_best_are_kept(host: Host, graph: dict[str, Any]) -> None:
    heard: list[Message] = []
    outputs = host.run(graph, heard.append, timeout=300)["outputs"]
    report = outputs["report"]["text"][0]
    assert "16 variants of 4 pictures: 16 painted now" in report
    assert "Rejected (8 of 16)" in report
    found = rows(outputs["scores"]["text"][0])
    for group in range(8):
        pair = found[2 * group : 2 * group + 2]
        best = max(pair, key=lambda row: float(row["score"]))
        assert [row["kept"] for row in pair] == ["1" if row is best else "0" for row in pair]
    bars = [value for value, total in progress_of(heard, "styles") if total == 16]
    # Between two pictures the bar moves with the sampler's steps. Newer hosts leave out what comes too fast.
    every = [picture + step / (SMALL["steps"] + 1) for picture in range(16) for step in range(SMALL["steps"] + 1)]
    assert set(bars) <= {*every, 16}
    assert bars == sorted(bars)
    assert (bars[0], bars[-1]) == (0, 16)
    assert len(set(bars)) > 4


def test_a_cancel_keeps_what_is_done(host: Host, graph: dict[str, Any]) -> None:
    cache = host.base / "output" / "kiln" / "cache"
    before = set(cache.glob("*.png")) if cache.is_dir() else set()
    graph["styles"]["inputs"]["seed"] = 4711

    def cancel(message: Message) -> None:
        if any(value >= 5 for value, _ in progress_of([message], "styles")):
            host.interrupt()

    with pytest.raises(HostInterrupted):
        host.run(graph, cancel, timeout=300)
    done = set(cache.glob("*.png")) - before
    assert 5 <= len(done) < 16
    assert not list(cache.glob("*.partial"))
    outputs = host.run(graph, timeout=300)["outputs"]
    assert f"{16 - len(done)} painted now, {len(done)} found" in outputs["report"]["text"][0]


def test_a_regularisation_set_is_filtered_and_tagged(host: Host, node: Node, pictures: Path) -> None:
    words = host.base / "models" / "kiln" / "wildcards"
    words.mkdir(parents=True, exist_ok=True)
    (words / "place.txt").write_text("forest\nbeach\n", encoding="utf-8")
    graph = {
        "checkpoint": node("CheckpointLoaderSimple", ckpt_name="kiln-world-sd15.safetensors"),
        "load": node("KilnLoadDataset", folder=pictures.name),
        "reg": node(
            "KilnRegularizationSet", prompts="1girl, {smile|open mouth}, __place__", count=3, tagger=TAGGER,
            dataset=["load", 0], **LOADED, **{**SMALL, "steps": 8},
        ),
        "both": node("KilnMergeDatasets", dataset_1=["load", 0], dataset_2=["reg", 0]),
        "report": node("PreviewAny", source=["reg", 1]),
        "merged": node("PreviewAny", source=["both", 1]),
        "saved": node("KilnSaveDataset", dataset=["reg", 0], name=f"reg {pictures.name}"),
        "sheets": node("PreviewImage", images=["reg", 3]),
    }  # fmt: skip
    outputs = host.run(graph, timeout=300)["outputs"]
    assert "3 regularisation pictures of 3: 3 painted now" in outputs["report"]["text"][0]
    assert "4 + 3 = 7 pictures" in outputs["merged"]["text"][0]
    graph["reg"]["inputs"]["reject"] = "2"
    report = host.run(graph, timeout=300)["outputs"]["report"]["text"][0]
    assert "1 painted now, 3 found" in report
    assert "2: you rejected it" in report
