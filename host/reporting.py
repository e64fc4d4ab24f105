"""Training's progress on the host's page and in its log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ..trainer.ports import Asked, StepReport
from .live import Teller
from .progress import Progress, check_interrupted, executing_node, show_text

log = logging.getLogger(__name__)


class NodeReporter:
    """Moves the running node's progress bar, shows what is noted in the node, tells the pages that look on, and stops
    when the user cancels. It is open for as long as the node trains; `name` is the run's."""

    def __init__(self, name: str) -> None:
        self._teller = Teller(name, executing_node())
        self._bar: Progress | None = None
        self._log_every = 1
        self._notes: list[str] = []

    def __enter__(self) -> NodeReporter:
        self._teller.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._teller.__exit__(kind, error, traceback)

    def begun(self, folder: Path, step: int, steps: int) -> None:
        """All is prepared."""
        self._teller.begun(folder, step, steps)

    def asked(self) -> Asked:
        """What the user has asked for on a page."""
        return self._teller.asked()

    def stage(self, words: str, done: int, total: int) -> None:
        """Preparation, such as encoding images."""
        check_interrupted()
        self._teller.stage(words, done, total)
        if done == 0:
            log.info("LoRA Kiln: %s (%d)", words, total)

    def note(self, words: str) -> None:
        """Something that the user should read."""
        for line in words.splitlines():
            log.info("LoRA Kiln: %s", line)
        self._notes.append(words)
        show_text("\n\n".join(self._notes))

    def step(self, report: StepReport) -> None:
        """A step is done."""
        if self._bar is None:
            self._bar = Progress(report.steps)
            self._log_every = max(1, report.steps // 20)
        self._teller.step(report.step)
        self._bar(report.step, report.steps)
        if report.step % self._log_every == 0 or report.step == report.steps:
            rates = ", ".join(f"{part} {rate:.3g}" for part, rate in report.lr.items())
            left = (report.steps - report.step) * report.seconds_a_step
            log.info(
                "LoRA Kiln: step %d/%d, epoch %d, loss %.4f, lr %s, %.0f s left",
                report.step, report.steps, report.epoch, report.loss, rates, left,
            )  # fmt: skip

    def saved(self, epoch: int, file: Path) -> None:
        """An epoch's file is on disk."""
        log.info("LoRA Kiln: epoch %d saved as %s", epoch, file.name)
        self._teller.more()

    def painted(self, step: int, files: Sequence[Path]) -> None:
        """Sample pictures are on disk."""
        log.info("LoRA Kiln: step %d painted in %s", step, files[0].parent)
        self._teller.more()
