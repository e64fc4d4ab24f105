"""One peer in a process of its own, and several of them that take turns.

Threads would do for turns, but each brings a pool of workers along, and more workers than cores go to sleep at every
operation. A process that waits for its turn costs the others nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from .bench_measure import WARM, Clock, memory_peak
from .bench_results import CORE, DIFFUSERS, OURS
from .bench_work import Work, start_host
from .mount import ROOT

BARE = "bare LyCORIS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process does: so many counted updates, after `warm` ones that do not count."""

    peer: str
    model: str
    precision: str
    batch: int
    updates: int
    warm: int = WARM
    turn: int = 1
    """Updates from one pause to the next; of several the first does not count."""
    records: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    """Of our recipe; `network_type` for LyCORIS's modules."""


def take_turns(jobs: Mapping[str, Job], *, kept: Path) -> dict[str, dict[str, Any]]:
    """What each job found, by name: a turn of one is followed by one of the next, and so on around.

    A machine that slows down for a while then slows all of them down. Raises `RuntimeError` when a process fails, whose
    words are on stderr by then; the others are ended.
    """
    children = {name: _start(job, kept) for name, job in jobs.items()}
    found: dict[str, dict[str, Any]] = {}
    try:
        while len(found) < len(children):
            for name in [name for name in children if name not in found]:
                line = _turn(children[name])
                if not line:
                    raise RuntimeError(f"{name} ended with exit code {children[name].wait()}; see above")
                if line != "updated":
                    found[name] = json.loads(line)
    finally:
        for child in children.values():
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe:
                    pipe.close()
    return found


def _start(job: Job, kept: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "demo.bench", "--job", json.dumps(dataclasses.asdict(job)), "--kept", str(kept)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _turn(child: subprocess.Popen[str]) -> str:
    assert child.stdin
    assert child.stdout
    try:
        child.stdin.write("go\n")
        child.stdin.flush()
    except BrokenPipeError:
        return ""
    return child.stdout.readline().strip()


def serve(job: Job, kept: Path) -> None:
    """In the child: load, then work whenever it is this one's turn, and say what was found."""
    answers, sys.stdout = _stdout(), sys.stderr
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as folder:
        start_host(Path(folder) / "base")
        # Pictures and latents of its own: what others have encoded must not help it.
        work = Work(model_name=job.model, folder=Path(folder), precision=job.precision, records=job.records, kept=kept)
        _ = work.loaded, work.dataset
        sys.stdin.readline()
        found = measure(job, work, lambda: _pause(answers))
    answers.write(json.dumps(found) + "\n")
    answers.flush()


def measure(job: Job, work: Work, pause: Any) -> dict[str, Any]:
    """One peer's updates, from a loaded model and a folder of pictures on; `pause` is called after each turn."""
    clock = Clock(warm=job.warm, after=pause, turn=job.turn)
    with memory_peak() as peak:
        started = time.perf_counter()
        trained = _peer(job).train(work, job.batch, job.updates + job.warm + 1, clock)
        highest = peak()
    return {
        "seconds": clock.seconds,
        "seconds_to_first_step": clock.first - started,
        "peak_bytes": highest,
        "trained": trained._asdict(),
    }


def _peer(job: Job) -> Any:
    from .bench_bare import Bare
    from .bench_peers import Core, Diffusers, Ours

    if job.peer == OURS:
        return Ours(settings=job.settings)
    if job.peer == BARE:
        return Bare(**job.settings)
    return {CORE: Core, DIFFUSERS: Diffusers}[job.peer]()


def _pause(answers: TextIO) -> None:
    answers.write("updated\n")
    answers.flush()
    sys.stdin.readline()


def _stdout() -> TextIO:
    """The pipe to the parent; whatever else is printed here goes to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers
