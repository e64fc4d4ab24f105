"""Telling the page which datasets a node has given."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io

from ..dataset.registry import Registry
from ..dataset.values import Dataset
from ..host.paths import shown_folder

log = logging.getLogger(__name__)


def registry() -> Registry:
    """The datasets that the page may look at."""
    return Registry(folder=shown_folder())


def output(*values: Any, ui: dict[str, Any] | None = None) -> io.NodeOutput:
    """A node's outputs. The page is told the ids of the datasets among them, by which it may look at their pictures."""
    datasets = {slot: value for slot, value in enumerate(values) if isinstance(value, Dataset)}
    return io.NodeOutput(*values, ui={**(ui or {}), **shown("kiln_datasets", datasets)})


def shown(name: str, datasets: dict[int, Dataset]) -> dict[str, Any]:
    """What a node's `ui` tells of datasets by the number of their output: each with its id and number of pictures."""
    try:
        rows = [{"slot": slot, "id": registry().add(each), "pictures": len(each)} for slot, each in datasets.items()]
    except OSError as error:
        # The run goes on: its result does not depend on who looks.
        log.warning("LoRA Kiln: the page cannot show this dataset: %s", error)
        return {}
    return {name: rows}
