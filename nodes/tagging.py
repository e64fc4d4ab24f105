"""A tagger as an input of nodes that look at what they have made."""

from __future__ import annotations

from collections.abc import Callable

from comfy_api.latest import io

from ..dataset.autotag import TagOptions, auto_tag
from ..dataset.score_cache import LEAST, ScoreCache
from ..dataset.tagger import (
    HUB_TAGGERS,
    TaggerFiles,
    TaggerOnDemand,
    find_tagger,
    get_tagger,
    list_taggers,
    tagger_mark,
    why_missing,
)
from ..dataset.values import Dataset, Progress
from ..host.paths import cache_folder, tagger_folders
from ..host.progress import check_interrupted

NONE = "none"


def tagger_input(tooltip: str) -> io.Input:
    """Which tagger, if any."""
    names = [NONE, *list_taggers(tagger_folders())]
    return io.Combo.Input("tagger", options=names, default=NONE, tooltip=tooltip)


def tagger_inputs(use: str) -> list[io.Input]:
    """Which tagger, if any, and its threshold; `use` says what for."""
    return [
        tagger_input(
            f"{use} A tagger in models/kiln/taggers, or where other packs keep theirs; names with an owner before the "
            "slash are downloaded when first used."
        ),
        io.Float.Input(
            "tag_threshold", default=0.35, min=LEAST, max=1.0, step=0.01,
            tooltip="Tags with at least this probability are taken.",
        ),
    ]  # fmt: skip


def check_tagger(name: str | None) -> bool | str:
    """For a node's `validate_inputs`: True, or why there is no such tagger. None: the name is not known yet."""
    folders = tagger_folders()
    if name is None or name == NONE or name in HUB_TAGGERS or find_tagger(name, folders):
        return True
    return why_missing(name, folders)


def open_tagger(name: str, progress: Progress) -> tuple[TaggerFiles, TaggerOnDemand, ScoreCache]:
    """A tagger's files, the tagger, which is loaded when it is first asked, and what it has said before.

    Raises ModelMissing when it is not there and cannot be fetched; `progress` hears the bytes of a download.
    """
    files = get_tagger(name, tagger_folders(), progress)
    return files, TaggerOnDemand(files=files), ScoreCache(cache_folder() / "tags", tagger_mark(files))


def tag_with(name: str, threshold: float, progress: Progress) -> Callable[[Dataset], Dataset] | None:
    """A function that gives pictures the tagger's tags in place of their captions; None without a tagger.

    Raises what `open_tagger` raises.
    """
    if name == NONE:
        return None
    _, tagger, known = open_tagger(name, progress)
    options = TagOptions(general_threshold=threshold)
    # The bar counts what is made; looking at it can be cancelled too.
    return lambda dataset: auto_tag(dataset, tagger, options, lambda *_: check_interrupted(), known)[0]
