"""The host's progress bar and its cancel button."""

from __future__ import annotations

import comfy.model_management
import comfy.utils


class Progress:
    """A bar in the running node. Every step raises the host's interrupt exception once the user has cancelled."""

    def __init__(self, total: int) -> None:
        self._bar = comfy.utils.ProgressBar(max(1, total))
        self._done = 0
        self._total = max(1, total)

    def step(self, steps: int = 1) -> None:
        """Move on by `steps`."""
        self(self._done + steps, self._total)

    def __call__(self, done: int, total: int) -> None:
        """Stand at `done` of `total`: the form that the engine calls (`dataset.values.Progress`)."""
        check_interrupted()
        self._done, self._total = done, max(1, total)
        self._bar.update_absolute(done, self._total)


def check_interrupted() -> None:
    """Raise the host's interrupt exception when the user has cancelled."""
    comfy.model_management.throw_exception_if_processing_interrupted()
