"""The bench's parts: each measures one thing and returns plain values for the JSON."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .bench_bare import Bare
from .bench_measure import WARM, Clock, Runner, images_per_second, interleaved, medians, memory_peak
from .bench_peers import Core, Diffusers, Ours, Peer, Trained
from .bench_results import CORE, DIFFUSERS, OURS
from .bench_work import Work
from .mount import ROOT

FEW, MANY = 100, 10_000
LYCORIS = ("LoHa", "LoKr")
MEMORY_STEPS = 6


def peer(name: str) -> Peer:
    """A peer by its name."""
    made: Peer = {OURS: Ours, CORE: Core, DIFFUSERS: Diffusers}[name]()
    return made


def speed(work: Work, batches: Sequence[int], *, updates: int, warm: int, together: bool) -> dict[str, Any]:
    """Images a second of each peer at each batch. Raises AssertionError when ours and diffusers train other layers.

    `together` takes turns by the update, each peer on a loaded model of its own; else one peer trains after the other.
    """
    names, rates, trained = (OURS, CORE, DIFFUSERS), {}, dict[str, Trained]()
    works = {name: dataclasses.replace(work) if together else work for name in names}

    def run(name: str, batch: int, clock: Clock, count: int) -> None:
        trained[name] = peer(name).train(works[name], batch, count, clock)

    for batch in batches:
        runners: dict[str, Runner] = {name: partial(run, name, batch) for name in names}
        seconds: dict[str, list[float]] = {}
        for group in [runners] if together else [{name: runner} for name, runner in runners.items()]:
            seconds |= interleaved(group, updates, warm=warm)
        rates[str(batch)] = images_per_second(batch, seconds)
    assert trained[OURS] == trained[DIFFUSERS], f"ours trains {trained[OURS]}, diffusers {trained[DIFFUSERS]}"
    return {
        "images_per_s": rates,
        "updates": updates,
        "trained": {name: one._asdict() for name, one in trained.items()},
    }


def memory(work: Work, batch: int) -> dict[str, Any]:
    """Peak memory of each peer in a process of its own, and the time from a loaded model to its first update."""
    found = {name: apart(work, name, batch) for name in (OURS, CORE, DIFFUSERS)}
    return {
        "batch": batch,
        "peak_bytes": {name: one["peak_bytes"] for name, one in found.items()},
        "seconds_to_first_step": {name: one["seconds_to_first_step"] for name, one in found.items()},
    }


def records(work: Work, batch: int, *, updates: int) -> dict[str, Any]:
    """Our time an update and peak memory with few and with many records."""
    works = {str(count): dataclasses.replace(work, records=count) for count in (FEW, MANY)}

    def run(count: str, clock: Clock, steps: int) -> None:
        Ours().train(works[count], batch, steps, clock)

    seconds = interleaved({count: partial(run, count) for count in works}, updates)
    return {
        "batch": batch,
        "seconds_a_step": medians(seconds),
        "peak_bytes": {count: apart(one, OURS, batch)["peak_bytes"] for count, one in works.items()},
    }


def lycoris(work: Work, batch: int, *, updates: int) -> dict[str, Any]:
    """Seconds an update of LyCORIS's modules in a bare loop, and in the engine."""
    works = {name: dataclasses.replace(work) for name in ("engine", "bare")}

    def run(name: str, kind: str, clock: Clock, steps: int) -> None:
        trainer = Ours(settings={"network_type": kind}) if name == "engine" else Bare(kind)
        trainer.train(works[name], batch, steps, clock)

    return {
        "batch": batch,
        "seconds_a_step": {
            kind: medians(interleaved({name: partial(run, name, kind) for name in works}, updates)) for kind in LYCORIS
        },
    }


def overhead(work: Work, batches: Sequence[int], *, updates: int, warm: int = WARM) -> dict[str, Any]:
    """The share of an update that is not the network's forward and backward pass.

    After every update the network is run once more on the very same inputs, alone.
    """
    return {"share": {str(batch): _share(work, batch, updates, warm) for batch in batches}}


def _share(work: Work, batch: int, updates: int, warm: int) -> float:
    network = work.loaded[0].model.diffusion_model
    seen: list[Any] = []
    alone: list[float] = []

    def watch(_module: Any, args: Any, kwargs: Any) -> None:
        seen[:] = [args, kwargs]

    def again() -> None:
        args, kwargs = seen
        for parameter in _leaves(network(*args, **kwargs)):
            parameter.grad = None
        _settle()
        started = time.perf_counter()
        network(*args, **kwargs).float().square().mean().backward()
        _settle()
        alone.append(time.perf_counter() - started)

    clock = Clock(warm=warm, after=again)
    hook = network.register_forward_pre_hook(watch, with_kwargs=True)
    try:
        Ours().train(work, batch, updates + warm + 1, clock)
    finally:
        hook.remove()
    whole = medians({"update": clock.seconds, "alone": alone[warm + 1 :]})
    return max(0.0, 1 - whole["alone"] / whole["update"])


def _leaves(out: Tensor) -> list[Tensor]:
    """The trainable tensors behind an output."""
    queue, known, found = [out.grad_fn], set(), []
    while queue:
        node = queue.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        queue += [parent for parent, _ in node.next_functions]
    return found


def apart(work: Work, name: str, batch: int) -> dict[str, Any]:
    """`alone` in a fresh process."""
    command = [
        sys.executable, "-m", "demo.bench", "--alone", name, "--model", work.model_name, "--precision", work.precision,
        "--batch", str(batch), "--records", str(work.records),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def alone(work: Work, name: str, batch: int) -> dict[str, Any]:
    """One peer's peak memory, and its time from a loaded model and a folder of pictures to its first update."""
    _ = work.loaded, work.dataset
    clock = Clock()
    with memory_peak() as peak:
        started = time.perf_counter()
        peer(name).train(work, batch, MEMORY_STEPS, clock)
        return {"peak_bytes": peak(), "seconds_to_first_step": clock.first - started}


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
