"""The models that score a sweep, from a node's inputs."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dataset.ccip import get_ccip, list_ccip
from ..dataset.tagger_formats import read_labels
from ..dataset.tags import tag_key
from ..dataset.values import Progress
from ..host.alike import ClipVisionAlike
from ..host.paths import ccip_folders
from ..sweep.judging import JUDGED, Judges
from . import sockets
from .tagging import NONE, open_tagger, tagger_input


def judge_inputs() -> list[io.Input]:
    """Inputs for what scores; with none of them a sweep only looks for spoiled pictures."""
    return [
        tagger_input("Scores trait recall, flexibility and bleed. The one that tagged the dataset is the fairest."),
        io.Combo.Input(
            "ccip",
            options=[NONE, *list_ccip(ccip_folders())],
            default=NONE,
            tooltip="Scores likeness of anime characters against the dataset. Names with a slash are downloaded.",
        ),
        sockets.Dataset.Input(
            "dataset", optional=True, tooltip="The training pictures: likeness, memorisation and bleed read them."
        ),
        io.ClipVision.Input(
            "clip_vision", optional=True, tooltip="Scores memorisation, and likeness where no CCIP is chosen."
        ),
    ]


def judges_from(tagger: str, ccip: str, clip_vision: Any, threshold: float, progress: Progress) -> Judges:
    """The judges of a sweep, fetched where they are not there yet; `progress` hears the bytes of a download."""
    vision = None if clip_vision is None else ClipVisionAlike(clip_vision)
    character = None if ccip == NONE else get_ccip(ccip, ccip_folders(), progress)
    alike, near = character or vision, vision or character
    if tagger == NONE:
        return Judges(alike=alike, near=near)
    files, on_demand, scores = open_tagger(tagger, progress)
    # A sweep counts these kinds alone.
    known = frozenset(tag_key(row[0]) for row in read_labels(files.tags).rows if row and row[1] in JUDGED)
    return Judges(tagger=on_demand, known=known, scores=scores, threshold=threshold, alike=alike, near=near)
