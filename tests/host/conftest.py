"""Fixtures of the host tests: ComfyUI inside this process, its models, and workflows for the running server."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from demo.base import prepare_base
from demo.graphs import default_node
from demo.world.characters import characters
from demo.world.draw import draw

if TYPE_CHECKING:
    from demo.hosting import Host

CHECKPOINT = "kiln-world-sd15.safetensors"


class Loaded(NamedTuple):
    """What core's checkpoint loader gives."""

    model: Any
    clip: Any
    vae: Any


def write_pictures(folder: Path, count: int = 4) -> Path:
    """Pictures of one stranger with their tags beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        drawing = draw(characters()["mirelva"].picture(number))
        drawing.image.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(", ".join(drawing.tags), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def draw_pictures() -> Callable[[Path], Path]:
    """Writes captioned pictures of a stranger into a folder, and returns it."""
    return write_pictures


@pytest.fixture(scope="session")
def inside(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ComfyUI importable here, on the CPU, with a base directory of its own, which it returns."""
    if str(comfy) not in sys.path:
        sys.path.insert(0, str(comfy))
    args = importlib.import_module("comfy.cli_args").args
    base = prepare_base(tmp_path_factory.mktemp("inside"))
    args.cpu, args.base_directory = True, str(base)
    importlib.import_module("demo.hostpack")
    return base


@pytest.fixture(scope="session")
def load_checkpoint(inside: Path) -> Callable[[str], Loaded]:
    """Loads a checkpoint with core's node, under inference mode, as prompts run."""

    def load(name: str) -> Loaded:
        import torch

        with torch.inference_mode():
            return Loaded(*importlib.import_module("nodes").CheckpointLoaderSimple().load_checkpoint(name)[:3])

    return load


@pytest.fixture
def world(load_checkpoint: Callable[[str], Loaded]) -> Loaded:
    """The miniature world's checkpoint, freshly loaded."""
    return load_checkpoint(CHECKPOINT)


@pytest.fixture
def dataset(tmp_path: Path) -> Any:
    """Four pictures of a stranger, captioned."""
    from lora_kiln.dataset.load import load_dataset

    return load_dataset(write_pictures(tmp_path / "pictures"))[0]


@pytest.fixture(scope="session")
def small_recipe() -> Callable[..., Any]:
    """A recipe of few steps at 64 pixels that trains the U-Net, its convolutions and the text encoder."""

    def make(
        *, epochs: int = 1, batch: int = 2, side: int = 64, groups: dict[str, Any] | None = None, **rates: float
    ) -> Any:
        from lora_kiln.trainer.groups import Amount, Buckets, Network, Optimizer
        from lora_kiln.trainer.recipe import Recipe

        return Recipe(
            amount=Amount(epochs=epochs, batch_size=batch),
            seed=1,
            **{
                "network": Network(dim=4, alpha=4.0, conv_dim=2, conv_alpha=2.0),
                "optimizer": Optimizer(**{"unet_lr": 1e-2, "text_lr": 1e-2, **rates}),
                "buckets": Buckets(resolution=side, bucket_step=64, min_bucket=64, max_bucket=side),
                **(groups or {}),
            },
        )

    return make


@pytest.fixture(scope="session")
def run_node() -> Callable[..., Any]:
    """`KilnTrainLoRA` on loaded models, in this process; returns its outputs."""

    def run(loaded: Any, dataset: Any, recipe: Any, name: str, **inputs: Any) -> Any:
        from lora_kiln.nodes.train import NEW_RUN, TrainLoRA

        inputs = {"preflight_only": False, "when_changed": NEW_RUN, **inputs}
        return TrainLoRA.execute(*loaded, dataset, recipe, name, **inputs).result

    return run


@pytest.fixture(scope="session")
def view() -> Callable[[int, int], Any]:
    """A picture that came in the size it is trained at, in pixels."""

    def make(width: int, height: int) -> Any:
        from lora_kiln.trainer.ports import View

        return View(original=(width, height), crop=(0, 0), target=(width, height))

    return make


@pytest.fixture(scope="session")
def node(host: Host) -> Callable[..., dict[str, Any]]:
    """One node of a workflow in API form; inputs that are not given take the defaults that the page would show."""
    return partial(default_node, host.object_info())


@pytest.fixture
def pictures(host: Host, request: pytest.FixtureRequest) -> Path:
    """A folder of captioned pictures in the running server's input folder, its own for each test."""
    return write_pictures(host.base / "input" / re.sub(r"\W+", "-", request.node.name).strip("-"))


@pytest.fixture
def workflow(node: Callable[..., dict[str, Any]], pictures: Path) -> dict[str, Any]:
    """Load -> prune -> crop -> train -> save and sweep, small enough for seconds; tests change what they need."""
    loaded = {"model": ["checkpoint", 0], "clip": ["checkpoint", 1], "vae": ["checkpoint", 2]}
    sides = {"resolution": 64, "bucket_step": 64, "min_bucket": 64, "max_bucket": 64}
    return {
        "checkpoint": node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "load": node("KilnLoadDataset", folder=pictures.name),
        "prune": node("KilnPruneTags", dataset=["load", 0], trigger="mirelva", class_tag="1girl"),
        "crop": node("KilnCropViews", dataset=["prune", 0]),
        "recipe": node("KilnRecipe", epochs=2, batch_size=8, dim=4, alpha=4.0, unet_lr=1e-3, **sides),
        "train": node("KilnTrainLoRA", dataset=["crop", 0], recipe=["recipe", 0], name=pictures.name, **loaded),
        "save": node("KilnSaveLoRA", run=["train", 2], file_name=f"kiln/{pictures.name}"),
        "sweep": node(
            "KilnEpochSweep", run=["train", 2], prompts="mirelva, 1girl\n1girl, forest", strengths="1.0", steps=2,
            width=64, height=64, **loaded,
        ),
        "grid": node("SaveImage", images=["sweep", 0], filename_prefix=f"grid-{pictures.name}"),
        "cells": node("PreviewImage", images=["sweep", 1]),
        "report": node("PreviewAny", source=["sweep", 2]),
        "problems": node("PreviewAny", source=["load", 1]),
    }  # fmt: skip
