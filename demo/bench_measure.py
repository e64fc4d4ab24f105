"""Measuring: the time of updates, its median, and peaks of memory."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import psutil
import torch

# Updates that a peer makes before the next one's turn; the first of them does not count.
TURN = 5
# Updates at the start that do not count: threads wake, memory is allocated, a GPU chooses its kernels.
WARM = 3
SAMPLE_SECONDS = 0.02


@dataclass
class Clock:
    """Called after every update; `seconds` are the times between updates, the first `warm` of them left out.

    Where a turn is several updates, its first, cold from the wait before it, is left out too.
    """

    warm: int = WARM
    after: Callable[[], None] | None = None
    """Work of the bench's own after a turn, which is in no update's time."""
    turn: int = 1
    """Updates from one `after` to the next."""
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
        cold = self.turn > 1 and self._count % self.turn == 0
        self._count += 1
        if self._count == 1:
            self.first = now
        elif self._count > self.warm + 1 and not cold:
            self.seconds.append(now - self._since)
        if self.after is not None and self._count % self.turn == 0:
            self.after()
        self._since = time.perf_counter()


def computing(work: Callable[[], object]) -> float:
    """Seconds of some work. On a CPU those that this process computes for, on all cores together: a sampler waits for
    nothing, and what other programs take is not counted.
    """
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    started = clock()
    work()
    return clock() - started


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
