"""The host's progress bar and its cancel button."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.utils
import latent_preview
from comfy_execution.utils import get_executing_context


class Progress:
    """A bar in the running node. Every step raises the host's interrupt exception once the user has cancelled."""

    def __init__(self, total: int) -> None:
        self._bar = comfy.utils.ProgressBar(max(1, total))
        self._done = 0
        self._place: float = 0
        self._total = max(1, total)

    def step(self, steps: int = 1) -> None:
        """Move on by `steps`."""
        self(self._done + steps, self._total)

    def __call__(self, done: int, total: int) -> None:
        """Stand at `done` of `total`: the form that the engine calls (`dataset.values.Progress`)."""
        check_interrupted()
        self._done, self._place, self._total = done, done, max(1, total)
        self._bar.update_absolute(done, self._total)

    def watch(self, model: Any) -> Callable[[int, Any, Any, int], None]:
        """What the sampler calls after each step of the next picture: the bar moves on by parts of one, and the page
        shows the host's own live preview."""
        previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)

        def step(number: int, x0: Any, x: Any, steps: int) -> None:
            preview = previewer.decode_latent_to_preview_image("JPEG", x0) if previewer else None
            # Some pictures take the sampler twice; the bar does not go back for the second time.
            self._place = max(self._place, self._done + (number + 1) / max(1, steps + 1))
            self._bar.update_absolute(self._place, self._total, preview)

        return step


def show_text(words: str) -> None:
    """Write into the running node on the page; without a prompt and a server there is none."""
    node = executing_node()
    # Importing it would start to make one where there is none.
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if node and server is not None:
        server.send_progress_text(words, node)


def executing_node() -> str:
    """The id of the node that runs now; empty outside a prompt."""
    context = get_executing_context()
    return "" if context is None else str(context.node_id)


def check_interrupted() -> None:
    """Raise the host's interrupt exception when the user has cancelled."""
    comfy.model_management.throw_exception_if_processing_interrupted()
