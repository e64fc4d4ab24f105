"""The run's numbers once more for TensorBoard, where that is installed.

Each step is written at once and in one piece, as `metrics.jsonl` is, and not by TensorBoard's own writer: its thread
would lose up to two minutes with a killed process, and has to be closed.
"""

from __future__ import annotations

import io
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .files import Log

log = logging.getLogger(__name__)
Encode = Callable[[float, int, Mapping[str, float]], bytes]
"""A record of an event file from the time in seconds since 1970, the step, and values by tag; none: its head."""
Row = tuple[str, Mapping[str, Any]]
"""A line of a run's `<kind>.jsonl`, after its kind."""


class Board:
    """An event file in a run's folder, with all that is to be shown of the tries before in it."""

    def __init__(self, folder: Path, encode: Encode, began: float, rows: Iterable[Row]) -> None:
        self._encode, self._time = encode, began
        # TensorBoard follows files to their end: one that became shorter would confuse it, a new name does not.
        self._log = Log(folder / f"events.out.tfevents.{time.time_ns() // 1_000_000}.kiln")
        self._log.add(encode(began, 0, {}) + b"".join(self._record(kind, row) for kind, row in rows))

    def add(self, kind: str, row: Mapping[str, Any]) -> None:
        """One line of a run's `<kind>.jsonl`."""
        self._log.add(self._record(kind, row))

    def close(self) -> None:
        """Let go of the file."""
        self._log.close()

    def _record(self, kind: str, row: Mapping[str, Any]) -> bytes:
        # Only the time that was spent on training counts: a run that was stopped for a night shows no gap.
        self._time += row.get("seconds", 0.0)
        values = {key: value for key, value in row.items() if key not in ("step", "seconds")}
        return self._encode(self._time, row["step"], dict(flat(values, f"{kind}/")))


def open_board(folder: Path, began: float, rows: Iterable[Row]) -> Board | None:
    """The run's event file in place of older ones; None where there is no TensorBoard.

    `began` is in seconds since 1970; `rows` are the lines of earlier tries. Raises `KilnError` when the disk refuses.
    """
    for old in folder.glob("events.out.tfevents.*"):
        old.unlink()
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        return None
    except TypeError as error:
        # What protobuf raises for modules that were made for another version of it.
        log.warning("LoRA Kiln: no TensorBoard events, its package cannot be loaded: %s", error)
        return None

    def encode(at: float, step: int, values: Mapping[str, float]) -> bytes:
        written = io.BytesIO()
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        event = Event(wall_time=at, step=step, summary=Summary(value=scalars))
        if not values:
            event = Event(wall_time=at, file_version="brain.Event:2")
        RecordWriter(written).write(event.SerializeToString())
        return written.getvalue()

    return Board(folder, encode, began, rows)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every finite number in nested values, by its path."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}/")
        elif isinstance(value, list | tuple):
            yield from flat({str(number): one for number, one in enumerate(value)}, f"{prefix}{key}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield f"{prefix}{key}", float(value)
