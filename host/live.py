"""What trains here now: told to the pages that look on, and asked of by them.

The thread that trains and the threads that answer pages meet here and nowhere else. Nothing of it outlives the process;
what lasts stands in the run's folder.
"""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ..trainer.ports import Asked

EVENT = "kiln.training"
"""The message that tells pages that there is more to see."""
SWEEP_EVENT = "kiln.sweep"
"""The message that tells them that a sweep is done."""
PUSH_SECONDS = 0.5
"""Steps are told no oftener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """How far one training is. `run` is its folder's name, empty until all is prepared; `node` its id in the graph."""

    node: str
    name: str
    run: str = ""
    words: str = ""
    """The stage of preparation, of which `done` of `total` are done; empty once steps are made."""
    done: int = 0
    total: int = 0
    step: int = 0
    steps: int = 0
    stopping: bool = False
    sampling: bool = False
    """What was asked for and is not done yet."""


@dataclass(slots=True)
class Desk:
    """The trainings of this process, by a number for each."""

    _open: dict[int, Live] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _count: int = 0

    def add(self, live: Live) -> int:
        """One more; its number."""
        with self._lock:
            self._count += 1
            self._open[self._count] = live
            return self._count

    def change(self, number: int, **values: Any) -> Live:
        """It is further now."""
        with self._lock:
            self._open[number] = replace(self._open[number], **values)
            return self._open[number]

    def remove(self, number: int) -> Live:
        """It has ended, whichever way."""
        with self._lock:
            return self._open.pop(number)

    def all(self) -> list[dict[str, Any]]:
        """What trains, as plain values."""
        with self._lock:
            return [asdict(live) for live in self._open.values()]

    def ask(self, run: str, *, stop: bool = False, sample: bool = False) -> bool:
        """Ask the training in the folder of that name for something after its next update; False when there is none."""
        with self._lock:
            for number, live in self._open.items():
                if live.run == run and run:
                    wanted = replace(live, stopping=live.stopping or stop, sampling=live.sampling or sample)
                    self._open[number] = wanted
                    break
            else:
                return False
        # A long update may be under way; pages say at once what comes after it.
        push(EVENT, {**asdict(wanted), "over": False})
        return True

    def take(self, number: int) -> Asked:
        """What was asked of it since the last time. A stop stays to be seen: nothing comes after it."""
        with self._lock:
            live = self._open[number]
            if live.sampling:
                self._open[number] = replace(live, sampling=False)
            return Asked(stop=live.stopping, sample=live.sampling)


DESK = Desk()


class Teller:
    """One training at the desk for as long as it is open; pages hear of what changes."""

    def __init__(self, name: str, node: str) -> None:
        self._first = Live(name=name, node=node)
        self._number = 0
        self._pushed = 0.0

    def __enter__(self) -> Teller:
        self._number = DESK.add(self._first)
        self._push(self._first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        push(EVENT, {**asdict(DESK.remove(self._number)), "over": True})

    def stage(self, words: str, done: int, total: int) -> None:
        """Preparation goes on."""
        self._tell(done == 0, words=words, done=done, total=total)

    def begun(self, folder: Path, step: int, steps: int) -> None:
        """Steps are made from here on."""
        self._tell(True, run=folder.name, words="", done=0, total=0, step=step, steps=steps)

    def step(self, step: int) -> None:
        """An update is done."""
        self._tell(False, step=step)

    def more(self) -> None:
        """Something new lies in the run's folder."""
        self._tell(True)

    def asked(self) -> Asked:
        """What a page has asked for since the last time."""
        return DESK.take(self._number)

    def _tell(self, at_once: bool, **values: Any) -> None:
        live = DESK.change(self._number, **values)
        if at_once or time.monotonic() - self._pushed > PUSH_SECONDS:
            self._push(live)

    def _push(self, live: Live) -> None:
        self._pushed = time.monotonic()
        push(EVENT, {**asdict(live), "over": False})


def push(event: str, values: dict[str, Any]) -> None:
    """Send to every page that is open; without a server there is none."""
    # Importing it would start to make one where there is none.
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if server is not None:
        server.send_sync(event, values)
