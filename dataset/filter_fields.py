"""What a filter can look at in a record."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from .keys import source_name
from .values import Record

Test = Callable[[Record], bool]

_TOKEN = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")

TEXTS: Mapping[str, tuple[str, Callable[[Record], tuple[str, ...]]]] = {
    "tag": ("a tag of the caption", lambda r: r.tags),
    "pruned": ("a tag that pruning took away", lambda r: r.pruned),
    "group": ("the group", lambda r: (r.group,)),
    "name": ("the file's name, with or without its ending", lambda r: (source_name(r), _stem(source_name(r)))),
    "size": ("width x height, such as 832x1216", lambda r: ("{}x{}".format(*r.view_size),)),
    "caption": ("anywhere in the caption", lambda r: (r.caption,)),
    "origin": ("anywhere in a step that made the record", lambda r: r.origin),
    "path": ("anywhere in the file's path", lambda r: (r.image.as_posix(),)),
}
"""Fields of text: what they mean, and what is looked at. Those of `PARTS` may be met in part, the others whole."""
PARTS = ("caption", "origin", "path")
TAGS = ("tag", "pruned")

NUMBERS: Mapping[str, tuple[str, Callable[[Record], float]]] = {
    "width": ("pixels, of the crop where there is one", lambda r: r.view_size[0]),
    "height": ("pixels", lambda r: r.view_size[1]),
    "short": ("pixels of the shorter side", lambda r: min(r.view_size)),
    "long": ("pixels of the longer side", lambda r: max(r.view_size)),
    "area": ("width times height, in pixels", lambda r: r.view_size[0] * r.view_size[1]),
    "aspect": ("width divided by height", lambda r: r.view_size[0] / r.view_size[1]),
    "repeats": ("how often an epoch sees it", lambda r: r.repeats),
    "weight": ("its weight in the loss", lambda r: r.weight),
    "tags": ("how many tags the caption has", lambda r: len(r.tags)),
    "chars": ("characters of the caption", lambda r: len(r.caption)),
}
"""Fields of numbers; `tokens` is one more, and is counted by whoever compiles the filter."""

STATES: Mapping[str, tuple[str, Test]] = {
    "reg": ("a regularisation picture", lambda r: r.is_reg),
    "captioned": ("with a caption", lambda r: bool(r.caption)),
    "prose": ("captioned in sentences", lambda r: bool(r.prose)),
    "crop": ("part of a picture", lambda r: r.crop is not None),
    "masked": ("with a mask", lambda r: r.mask is not None),
    "derived": ("made by a node of the graph", lambda r: bool(r.origin)),
    "pruned": ("pruning took tags away", lambda r: bool(r.pruned)),
    "portrait": ("higher than wide", lambda r: r.view_size[0] < r.view_size[1]),
    "landscape": ("wider than high", lambda r: r.view_size[0] > r.view_size[1]),
    "square": ("as wide as high", lambda r: r.view_size[0] == r.view_size[1]),
}
"""What may follow `is:`."""

FIELDS = (*TEXTS, *NUMBERS, "tokens", "is")


def about_tokens(text: str) -> int:
    """About how many tokens CLIP reads: signs and digits singly, words in pieces of up to eight letters.

    Prose and common tags come within 2 % of CLIP's own count; names and rare words are up to a sixth too few.
    """
    return sum(math.ceil(len(piece) / 8) for piece in _TOKEN.findall(text))


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name
