"""Measuring: updates in which every peer has its turn, medians of them, and peaks of memory."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import psutil
import torch

# Updates at the start that do not count: threads wake, memory is allocated, a GPU chooses its kernels.
WARM = 3
SAMPLE_SECONDS = 0.01


@dataclass
class Clock:
    """Called after every update; `seconds` are the times between updates, the first `warm` of them left out."""

    warm: int = WARM
    after: Callable[[], None] | None = None
    """Work of the bench's own after an update, which is in no update's time."""
    seconds: list[float] = field(default_factory=list)
    first: float = 0.0
    """When the first update was done, on `time.perf_counter`'s scale."""
    _count: int = 0
    _since: float = 0.0

    def __call__(self) -> None:
        """An update is done, as far as the program is concerned; a GPU may still be at it."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._count += 1
        if self._count == 1:
            self.first = now
        elif self._count > self.warm + 1:
            self.seconds.append(now - self._since)
        if self.after is not None:
            self.after()
        self._since = time.perf_counter()


Runner = Callable[[Clock, int], Any]
"""Makes that many updates and calls the clock after each."""


def interleaved(runners: Mapping[str, Runner], updates: int, *, warm: int = WARM) -> dict[str, list[float]]:
    """Seconds of each of `updates`, by name: an update of one is followed by one of the next, and so on around.

    A machine that slows down for a while then slows all of them down. Every runner has a thread of its own, of which
    one moves at a time; they must not share what they change. `warm` more updates before these do not count. Raises
    the first error of a runner, after which the others are stopped at their next update.
    """
    baton = _Baton(list(runners))
    clocks = {name: Clock(warm=warm, after=partial(baton.pass_on, name)) for name in runners}
    threads = [
        threading.Thread(target=baton.run, args=(name, partial(runner, clocks[name], updates + warm + 1)))
        for name, runner in runners.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if baton.errors:
        raise baton.errors[0]
    return {name: clock.seconds for name, clock in clocks.items()}


class _Stopped(Exception):
    """Another runner has failed."""


class _Baton:
    """Whose turn it is."""

    def __init__(self, names: list[str]) -> None:
        self._waiting, self._turn = names, threading.Condition()
        self.errors: list[BaseException] = []

    def run(self, name: str, work: Callable[[], Any]) -> None:
        """In a thread of its own: wait for the first turn, work, and leave the round."""
        try:
            self._wait(name)
            work()
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that asked
            self.errors.append(error)
        finally:
            with self._turn:
                self._waiting.remove(name)
                self._turn.notify_all()

    def pass_on(self, name: str) -> None:
        """An update is done: let the next one have its turn, and wait for this one's."""
        with self._turn:
            self._waiting.append(self._waiting.pop(0))
            self._turn.notify_all()
        self._wait(name)

    def _wait(self, name: str) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._waiting[0] == name or self.errors)
        if self.errors:
            raise _Stopped


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each list."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def images_per_second(batch: int, seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """From seconds an update of `batch` images."""
    return {name: batch / value for name, value in medians(seconds).items()}


@contextlib.contextmanager
def memory_peak() -> Iterator[Callable[[], int]]:
    """Bytes at the highest while it is open: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        yield torch.cuda.max_memory_allocated
        return
    process, done, highest = psutil.Process(), threading.Event(), [psutil.Process().memory_info().rss]

    def watch() -> None:
        while not done.wait(SAMPLE_SECONDS):
            highest[0] = max(highest[0], process.memory_info().rss)

    thread = threading.Thread(target=watch, name="kiln-bench-memory", daemon=True)
    thread.start()
    try:
        yield lambda: highest[0]
    finally:
        done.set()
        thread.join()
