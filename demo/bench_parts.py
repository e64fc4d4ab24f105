"""The bench's parts: each measures one thing and returns plain values for the JSON."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .bench_jobs import BARE, Job, take_turns
from .bench_measure import TURN, WARM, Clock, images_per_second, medians
from .bench_peers import Ours
from .bench_results import CORE, DIFFUSERS, OURS
from .bench_work import Work

PEERS = (OURS, CORE, DIFFUSERS)
FEW, MANY = 100, 10_000
LYCORIS = ("LoHa", "LoKr")


def job(work: Work, peer: str, batch: int, updates: int, **more: Any) -> Job:
    """A job on this work."""
    return Job(
        peer=peer, model=work.model_name, precision=work.precision, batch=batch, updates=updates, records=work.records,
        **more,
    )  # fmt: skip


def speed(work: Work, batches: Sequence[int], *, updates: int, warm: int, together: bool) -> dict[str, Any]:
    """Images a second of each peer at each batch. Raises AssertionError when ours and diffusers train other layers.

    `together` takes turns; else one peer trains after the other, which needs memory for one model only.
    """
    rates, trained = {}, dict[str, Any]()
    for batch in batches:
        turn = TURN if together else 1
        jobs = {name: job(work, name, batch, updates, warm=warm, turn=turn) for name in PEERS}
        found: dict[str, dict[str, Any]] = {}
        for group in [jobs] if together else [{name: one} for name, one in jobs.items()]:
            found |= take_turns(group, kept=work.kept)
        rates[str(batch)] = images_per_second(batch, {name: one["seconds"] for name, one in found.items()})
        trained |= {name: one["trained"] for name, one in found.items()}
    assert trained[OURS] == trained[DIFFUSERS], f"ours trains {trained[OURS]}, diffusers {trained[DIFFUSERS]}"
    return {"images_per_s": rates, "updates": updates, "trained": trained}


def memory(work: Work, batch: int, *, updates: int) -> dict[str, Any]:
    """Peak memory of each peer by itself, and the time from a loaded model to its first update."""
    found = {name: take_turns({name: job(work, name, batch, updates, warm=0)}, kept=work.kept)[name] for name in PEERS}
    return {
        "batch": batch,
        "peak_bytes": {name: one["peak_bytes"] for name, one in found.items()},
        "seconds_to_first_step": {name: one["seconds_to_first_step"] for name, one in found.items()},
    }


def records(work: Work, batch: int, *, updates: int) -> dict[str, Any]:
    """Our time an update and peak memory with few and with many records."""
    jobs = {
        str(count): job(dataclasses.replace(work, records=count), OURS, batch, updates, turn=TURN)
        for count in (FEW, MANY)
    }
    found = take_turns(jobs, kept=work.kept)
    return {
        "batch": batch,
        "seconds_a_step": medians({count: one["seconds"] for count, one in found.items()}),
        "peak_bytes": {count: one["peak_bytes"] for count, one in found.items()},
    }


def lycoris(work: Work, batch: int, *, updates: int) -> dict[str, Any]:
    """Seconds an update of LyCORIS's modules in a bare loop, and in the engine."""
    rows = {}
    for kind in LYCORIS:
        jobs = {
            "bare": job(work, BARE, batch, updates, turn=TURN, settings={"kind": kind}),
            "engine": job(work, OURS, batch, updates, turn=TURN, settings={"network_type": kind}),
        }
        found = take_turns(jobs, kept=work.kept)
        assert found["bare"]["trained"]["layers"] == found["engine"]["trained"]["layers"], f"{kind}: {found}"
        rows[kind] = medians({name: one["seconds"] for name, one in found.items()})
    return {"batch": batch, "seconds_a_step": rows}


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
        _settle()
        started = time.perf_counter()
        out = network(*args, **kwargs)
        torch.autograd.grad(out.float().square().mean(), leaves)
        # What the passes leave behind is taken down in an update too.
        del out
        _settle()
        alone.append(time.perf_counter() - started)

    leaves: list[Tensor] = []

    def after() -> None:
        if not leaves:
            args, kwargs = seen
            leaves.extend(_leaves(network(*args, **kwargs)))
        again()

    clock = Clock(warm=warm, after=after)
    hook = network.register_forward_pre_hook(watch, with_kwargs=True)
    try:
        Ours().train(work, batch, updates + warm + 1, clock)
    finally:
        hook.remove()
    # Side by side, so that a slow moment of the machine is in both.
    pairs = zip(clock.seconds, alone[warm + 1 :], strict=True)
    shares = sorted(1 - short / whole for whole, short in pairs)
    return max(0.0, shares[len(shares) // 2])


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


def _settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
