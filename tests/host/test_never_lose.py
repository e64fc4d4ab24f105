"""A run on the real miniature world is never lost: killed, cancelled, without room, changed, brought back."""

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
from safetensors import safe_open
from safetensors.numpy import load_file

from demo.hosting import Host, HostError, HostInterrupted, Message

Workflow = dict[str, Any]
Node = Callable[..., dict[str, Any]]

# With the two of a running server these are twenty.
KILLS = 18
TIMES = ("seconds", "it_s", "memory")


def rows(file: Path) -> list[dict[str, Any]]:
    """A log's lines, without what differs from time to time."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def outcome(folder: Path) -> dict[str, Any]:
    """All that a finished run left behind: every LoRA's bytes after the header, every number, every picture."""
    about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert about["finished"]
    names = [row["file"] for row in about["checkpoints"]]
    assert sorted(names) == sorted(file.name for file in folder.glob("*.safetensors"))
    loras = []
    for name in names:
        content = (folder / name).read_bytes()
        with safe_open(folder / name, framework="pt") as opened:
            assert opened.metadata()["ss_output_name"] == about["name"]
            loras.append((opened.metadata()["ss_steps"], sorted(opened.keys())))
        loras.append(content[8 + int.from_bytes(content[:8], "little") :])
    assert not [file for kind in ("*.partial", "state.pt") for file in folder.rglob(kind)]
    return {
        "loras": loras,
        "metrics": rows(folder / "metrics.jsonl"),
        "validation": rows(folder / "validation.jsonl"),
        "samples": {file.name: file.read_bytes() for file in folder.glob("samples/*")},
    }


# --- a process that is killed again and again ----------------------------------------------------

# Loads the host and the model once, then forks a process for each run that is asked for.
NURSERY = """
import contextlib, importlib, json, os, resource, sys
from pathlib import Path

root, comfy, base, pictures, recipe_file = map(Path, sys.argv[1:])
sys.path.append(str(root))
from demo.mount import mount

mount()
sys.path.insert(0, str(comfy))
import torch

torch.set_num_threads(1)
args = importlib.import_module("comfy.cli_args").args
args.cpu, args.base_directory = True, str(base)
importlib.import_module("demo.hostpack")
from lora_kiln.dataset.load import load_dataset
from lora_kiln.nodes.train import NEW_RUN, TrainLoRA
from lora_kiln.trainer.recipe import Recipe

# What a run imports when it first needs it, some seconds of each process otherwise.
import torch._dynamo
import transformers.optimization
with contextlib.suppress(ImportError):
    import tensorboard.compat.proto.event_pb2
    import tensorboard.summary.writer.record_writer

dataset = load_dataset(pictures)[0]
recipe = Recipe.from_dict(json.loads(recipe_file.read_text()))
with torch.inference_mode():
    loader = importlib.import_module("nodes").CheckpointLoaderSimple()
    loaded = loader.load_checkpoint("kiln-world-sd15.safetensors")[:3]
print("ready", flush=True)
for line in sys.stdin:
    name, limit = line.rsplit(maxsplit=1)
    child = os.fork()
    if child:
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)
        continue
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        with torch.inference_mode():
            TrainLoRA.execute(*loaded, dataset, recipe, name, preflight_only=False, when_changed=NEW_RUN)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}".encode())
        os._exit(3)
    os._exit(0)
"""


class Nursery:
    """Processes that run the training node, each under a run's name; those of one name go on with one run."""

    def __init__(self, root: Path, comfy: Path, base: Path, pictures: Path, recipe: Any) -> None:
        self.runs, self.errors = base / "output" / "kiln", base / "errors"
        (base / "recipe.json").write_text(json.dumps(recipe.to_dict()))
        words = [sys.executable, "-c", NURSERY, str(root), str(comfy), str(base), str(pictures)]
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*words, str(base / "recipe.json")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                text=True,
            )  # fmt: skip
        # The host says a few things while it is imported.
        while (line := self._line()) != "ready":
            assert line or self._process.poll() is None, self.errors.read_text()

    def begin(self, name: str, limit: int = 0) -> int:
        """Start a process that may write files of `limit` bytes at most; 0 is no limit. Returns its number."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {limit}\n")
        self._process.stdin.flush()
        while not (line := self._line()).isdecimal():
            assert self._process.poll() is None, self.errors.read_text()
        return int(line)

    def end(self) -> int:
        """Waits for the process: 0 when it was done, else the number of the signal that ended it, or 256 times 3."""
        while not (line := self._line()).isdecimal():
            assert self._process.poll() is None, self.errors.read_text()
        return int(line)

    def run(self, name: str, limit: int = 0) -> int:
        self.begin(name, limit)
        return self.end()

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="module")
def nursery(
    root: Path, comfy: Path, tmp_path_factory: pytest.TempPathFactory, draw_pictures: Any, small_recipe: Any
) -> Iterator[Nursery]:
    from demo.base import prepare_base

    if not hasattr(os, "fork"):
        pytest.skip("needs fork: starting ComfyUI anew takes seconds")
    base = prepare_base(tmp_path_factory.mktemp("nursery"))
    # Everything that is written: LoRAs, states, validation, the host's own samples.
    recipe = small_recipe(epochs=6).with_settings(
        ema_decay=0.9, shuffle_caption=True, save_every="3 steps", keep_last=2, validation_share=0.25,
        validate_every="4 steps", sample_prompts=("mirelva",), sample_every="10 steps", sample_steps=2,
        network_dropout=0.1, only_layers=("attn1", "self_attn", "resnets_0_conv1"),
    )  # fmt: skip
    made = Nursery(root, comfy, base, draw_pictures(base / "input" / "pictures"), recipe)
    yield made
    made.close()


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery) -> tuple[dict[str, Any], float]:
    """What the run leaves behind when nothing happens to it, and how many seconds it takes."""
    began = time.monotonic()
    assert nursery.run("whole") == 0, nursery.errors.read_text()
    found = outcome(nursery.runs / "whole")
    assert len(found["metrics"]) == 12
    assert len(found["samples"]) == 2
    assert len(found["validation"]) == 3
    return found, time.monotonic() - began


def test_training_killed_at_random_moments_ends_as_if_nothing_had_happened(
    nursery: Nursery, undisturbed: tuple[dict[str, Any], float]
) -> None:
    expected, seconds = undisturbed
    draw, kills, number = random.Random(), 0, 0
    reached: list[int] = []
    while kills < KILLS:
        name = f"killed {number}"
        child = nursery.begin(name)
        time.sleep(draw.uniform(0, 0.5 * seconds))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        status = nursery.end()
        assert status in (0, signal.SIGKILL), nursery.errors.read_text()
        kills += status == signal.SIGKILL
        reached.append(len(rows(nursery.runs / name / "metrics.jsonl")))
        if status == 0:
            assert outcome(nursery.runs / name) == expected
            number += 1
    assert nursery.run(f"killed {number}") == 0, nursery.errors.read_text()
    assert outcome(nursery.runs / f"killed {number}") == expected
    # Moments of all kinds: some before the first step, some in the middle.
    assert len(set(reached)) > 3


def test_without_room_a_run_stops_with_a_clear_error_and_loses_nothing(
    nursery: Nursery, undisturbed: tuple[dict[str, Any], float]
) -> None:
    """A limit on the size of files: first no LoRA fits, then one does, and the larger state does not."""
    expected, _ = undisturbed
    folder = nursery.runs / "no room"
    size = max((nursery.runs / "whole" / row["file"]).stat().st_size for row in checkpoints(nursery.runs / "whole"))
    for limit, what in ((size // 2, "no room-step00000003.safetensors"), (size + 4096, "state.pt")):
        before = len(nursery.errors.read_text())
        assert nursery.run("no room", limit) == 3 * 256
        said = nursery.errors.read_text()[before:]
        assert "KilnError" in said
        assert f"{folder / what} could not be written" in said
        assert "File too large" in said
        assert "Free space" in said
        assert not list(folder.rglob("*.partial"))
        for row in checkpoints(folder):
            with safe_open(folder / row["file"], framework="pt") as opened:
                assert opened.metadata()["ss_steps"] == str(row["step"])
    assert [row["step"] for row in checkpoints(folder)] == [3]
    assert nursery.run("no room") == 0, nursery.errors.read_text()
    # Without a state there is nothing to go on from, and the LoRA that is there is not thrown away.
    assert outcome(nursery.runs / "no room-2") == expected
    assert (folder / checkpoints(folder)[0]["file"]).is_file()


def checkpoints(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "run.json").read_text())["checkpoints"]
    return found


def tensors(file: Path) -> dict[str, Any]:
    return {key: value.tolist() for key, value in load_file(file).items()}


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    assert [key for key in one if one[key] != other[key]] == []


# --- the running server --------------------------------------------------------------------------

STEPS = 20


def graph_of(workflow: Workflow, node: Node, name: str) -> Workflow:
    """Train and save, `STEPS` epochs of one update, a LoRA each, under a run's name."""
    graph = {key: workflow[key] for key in ("checkpoint", "load", "prune", "recipe", "train", "save")}
    graph["recipe"]["inputs"].update(epochs=STEPS, batch_size=4, text_lr=1e-3)
    graph["network"] = node("KilnRecipeNetwork", only_layers="attn1\nself_attn")
    graph["recipe"]["inputs"]["network"] = ["network", 0]
    graph["train"]["inputs"].update(name=name, dataset=["prune", 0])
    graph["save"]["inputs"]["file_name"] = name
    return graph


def steps_of(heard: list[Message]) -> list[int]:
    """The training node's progress."""
    return [one.data["value"] for one in heard if one.kind == "progress" and one.data.get("node") == "train"]


def stopping(step: int, heard: list[Message], stop: Callable[[], None]) -> Callable[[Message], None]:
    """Hears messages, and stops the run once it is at that step."""

    def hear(message: Message) -> None:
        heard.append(message)
        if steps_of([message]) and steps_of([message])[0] >= step:
            stop()

    return hear


@pytest.fixture
def uninterrupted(host: Host, workflow: Workflow, node: Node, pictures: Path) -> dict[str, Any]:
    """What the graph leaves behind on a server that nothing happens to."""
    host.run(graph_of(workflow, node, pictures.name), timeout=300)
    return outcome(host.base / "output" / "kiln" / pictures.name)


def test_a_server_that_is_killed_twice_goes_on_with_the_same_graph(
    uninterrupted: dict[str, Any], host: Host, workflow: Workflow, node: Node, pictures: Path, tmp_path: Path
) -> None:
    """The server of the other tests shares the output folder with the killed one, and brings the run to its end."""
    killed = Host(tmp_path / "base", extra=["--output-directory", str(host.base / "output")])
    graph = graph_of(workflow, node, f"{pictures.name} killed")
    graph["load"]["inputs"]["folder"] = str(pictures)
    draw, heard, reached = random.Random(), list[Message](), 0
    for step in (draw.randrange(2, 6), draw.randrange(8, 13)):
        heard.clear()
        with killed, pytest.raises(HostError, match="has stopped"):
            killed.run(graph, stopping(step, heard, killing(killed)), timeout=120)
        # The state is written with every LoRA, here after every step.
        assert reached < steps_of(heard)[0] <= reached + 3
        reached = steps_of(heard)[-1] - 1
    heard.clear()
    host.run(graph, heard.append, timeout=120)
    assert reached < steps_of(heard)[0] <= reached + 3
    assert outcome(host.base / "output" / "kiln" / f"{pictures.name} killed") == uninterrupted


def killing(host: Host) -> Callable[[], None]:
    """Ends the server at once, as the system does when it runs out of memory."""

    def kill() -> None:
        assert host._process is not None
        host._process.kill()

    return kill


def test_a_cancelled_run_goes_on_where_it_was_and_a_changed_one_says_what_changed(
    uninterrupted: dict[str, Any],
    host: Host,
    workflow: Workflow,
    node: Node,
    pictures: Path,
) -> None:
    runs, name = host.base / "output" / "kiln", f"{pictures.name} cancelled"
    graph, heard = graph_of(workflow, node, name), list[Message]()
    with pytest.raises(HostInterrupted):
        host.run(graph, stopping(5, heard, host.interrupt), timeout=120)
    at = steps_of(heard)[-1]
    assert at < STEPS
    heard.clear()
    host.run(graph, heard.append, timeout=120)
    # The button is seen between steps: at most one more was made after the last that was told.
    assert at < steps_of(heard)[0] <= at + 2
    assert outcome(runs / name) == uninterrupted

    # Forked, at a rate that moves nothing: the last run's LoRA comes out.
    graph["recipe"]["inputs"].update(epochs=1, unet_lr=1e-30, text_lr=1e-30)
    graph["train"]["inputs"]["when_changed"] = "fork the last run"
    written = len(host.log.read_text(errors="replace"))
    host.run(graph, timeout=120)
    said = host.log.read_text(errors="replace")[written:]
    assert f"Not the run in {name}. Different: epochs was {STEPS}, is 1" in said
    assert "unet_lr was 0.001, is 1e-30" in said
    assert f"Going on from {name}, step {STEPS}." in said
    fork = runs / f"{name}-2"
    assert json.loads((fork / "run.json").read_text())["origin"] == f"{name}, step {STEPS}"
    last = tensors(runs / name / f"{name}-{STEPS:06d}.safetensors")
    for file in (fork / "start.safetensors", fork / f"{name}-000001.safetensors"):
        assert_equal(tensors(file), last)

    # Brought back without training, another epoch than the last.
    metrics = (runs / name / "metrics.jsonl").stat().st_mtime_ns
    heard.clear()
    back = {
        "run": node("KilnLoadRun", run=name),
        "save": node("KilnSaveLoRA", run=["run", 0], file_name="back", epoch=3, precision="fp32"),
    }
    result = host.run(back, heard.append, timeout=60)
    assert result["outputs"]["save"]["text"] == ["models/loras/back.safetensors"]
    saved = tensors(host.base / "models" / "loras" / "back.safetensors")
    assert_equal(saved, tensors(runs / name / f"{name}-000003.safetensors"))
    assert steps_of(heard) == []
    assert (runs / name / "metrics.jsonl").stat().st_mtime_ns == metrics
    assert name in host.object_info()["KilnLoadRun"]["input"]["required"]["run"][1]["options"]
