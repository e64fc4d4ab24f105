"""A training process that is killed again and again ends as one that never was."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer.recipe import Recipe

KILLS = 5

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork: starting Python anew takes seconds")

# Imports everything once, then forks a process for each run that is asked for, tells its number, and waits for it.
NURSERY = """
import importlib.util, json, os, sys
from pathlib import Path

root, fakes_file, base, recipe_file = map(Path, sys.argv[1:])
sys.path.append(str(root))
from demo.mount import mount

mount()
spec = importlib.util.spec_from_file_location("fakes", fakes_file)
fakes = importlib.util.module_from_spec(spec)
sys.modules["fakes"] = fakes
spec.loader.exec_module(fakes)

import torch
import torch._dynamo
from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.trainer.loop import train
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.runs import RunFolder

torch.set_num_threads(1)
print("ready", flush=True)
for name in map(str.strip, sys.stdin):
    child = os.fork()
    if child:
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)
        continue
    files = sorted((base / "pictures").glob("*.png"))
    records = tuple(Record(image=file, size=(64, 64), tags=("kiln", "a", "b", "c")) for file in files)
    dataset = Dataset(records=records, trigger="kiln")
    recipe = Recipe.from_dict(json.loads(recipe_file.read_text()))
    folder = RunFolder(base / "runs" / name, "run", "mark", dataset)
    train(fakes.FakeModel(), dataset, recipe, folder, fakes.FakeReporter(), latents=base / "latents")
    os._exit(0)
# Taking everything down that was imported takes more than a second.
os._exit(0)
"""


class Nursery:
    """Processes that train, each under a name; those of one name go on with one run."""

    def __init__(self, root: Path, base: Path, recipe: Recipe) -> None:
        (base / "recipe.json").write_text(json.dumps(recipe.to_dict()))
        fakes = Path(__file__).with_name("conftest.py")
        words = [sys.executable, "-c", NURSERY, str(root), str(fakes), str(base), str(base / "recipe.json")]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._line() == "ready"

    def begin(self, name: str) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return int(self._line())

    def end(self) -> int:
        """Waits for the process; its exit status, or the number of the signal that ended it."""
        return int(self._line())

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def nursery(
    root: Path, tmp_path: Path, pictures: Callable[..., Dataset], small_recipe: Callable[..., Recipe]
) -> Iterator[Nursery]:
    pictures("red", "blue", "lime", "navy", "cyan")
    recipe = small_recipe(epochs=20).with_settings(
        ema_decay=0.95, shuffle_caption=True, save_every="9 steps", keep_last=3, validation_share=0.2,
        validate_every="5 steps", sample_prompts=("kiln",), sample_every="12 steps", module_dropout=0.2,
    )  # fmt: skip
    made = Nursery(root, tmp_path, recipe)
    yield made
    made.close()


def steps_in(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_never_was(
    nursery: Nursery, tmp_path: Path, outcome: Callable[[Path], dict[str, Any]]
) -> None:
    nursery.begin("whole")
    assert nursery.end() == 0
    draw, metrics = random.Random(), tmp_path / "runs" / "killed" / "metrics.jsonl"
    for _ in range(KILLS):
        child, before, began = nursery.begin("killed"), steps_in(metrics), time.monotonic()
        # Now and then at once, while the run is still finding its place; else a little later than the time before.
        target = min(34, before + draw.randrange(1, 9)) if draw.random() < 0.8 else 0
        while steps_in(metrics) < target and time.monotonic() - began < 20:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.02 if target else 0.1))
        # A fast one may have come to its end by now.
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        assert nursery.end() in (0, signal.SIGKILL)
    nursery.begin("killed")
    assert nursery.end() == 0
    expected, found = outcome(tmp_path / "runs" / "whole"), outcome(tmp_path / "runs" / "killed")
    assert [row["step"] for row in found["metrics"]] == list(range(1, 41))
    for key, value in expected.items():
        assert found[key] == value, key
