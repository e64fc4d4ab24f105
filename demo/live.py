"""Progress of a queued graph as one line with the time left."""

from __future__ import annotations

import sys
import time

from .hosting import Message


class Live:
    """An `on_progress` for `Host.run`. Shows the node that counts highest, or finished `show` nodes out of `total`."""

    def __init__(self, words: str, *, total: int = 0) -> None:
        self._words, self._total = words, total
        self._started = self._shown = time.monotonic()
        self._done_nodes: set[str] = set()
        self._first: tuple[str, float, int] | None = None

    def __call__(self, message: Message) -> None:
        """Take one pushed message."""
        if message.kind == "executed" and self._total and str(message.data.get("node")).startswith("show"):
            self._done_nodes.add(str(message.data.get("node")))
            self._show(len(self._done_nodes), self._total, "", self._started, 0)
        elif message.kind == "progress_state" and not self._total:
            running = [n for n in message.data.get("nodes", {}).values() if n.get("state") == "running"]
            for node in running:
                self._node(str(node.get("node_id")), int(node.get("value", 0)), int(node.get("max", 1)))

    def _node(self, name: str, value: int, maximum: int) -> None:
        if maximum <= 1:
            return
        if self._first is None or self._first[0] != name:
            self._first = (name, time.monotonic(), value)
        self._show(value, maximum, f" node {name}", self._first[1], self._first[2])

    def _show(self, done: int, total: int, where: str, since: float, first: int) -> None:
        now, seconds = time.monotonic(), 0.5 if sys.stderr.isatty() else 5.0
        if now - self._shown < seconds and done != total:
            return
        self._shown = now
        left = (now - since) / max(1, done - first) * (total - done)
        line = f"{self._words}:{where} {done}/{total}, about {left:.0f} s left"
        end = "\n" if done == total or not sys.stderr.isatty() else ""
        sys.stderr.write(f"\r{line}   {end}" if sys.stderr.isatty() else f"{line}\n")
        sys.stderr.flush()
