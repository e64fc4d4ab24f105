"""Up to three ControlNets as a node's inputs, each with what it looks at, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io
from PIL import Image

from ..dataset.lines import line_art
from ..dataset.regions import picture_mark
from ..host.painting import Guide, canny_hint
from ..host.sampling import Control
from .inputs import only
from .pictures import from_image

_ENDS = ("", "_2", "_3")
"""What the names of the inputs of each ControlNet end in."""
CANNY, LINES, PICTURE, HINT = "canny", "line art", "picture", "hint"
_SHARE = {"min": 0.0, "max": 1.0, "step": 0.01}
_SHARED = ("canny_low", "canny_high", "line_width", "line_threshold")


def control_inputs() -> list[io.Input]:
    """Every ControlNet with its preprocessor, strength and span, then the settings of the preprocessors."""
    found: list[io.Input] = []
    for end, usual in zip(_ENDS, (CANNY, LINES, HINT), strict=True):
        found += [
            io.ControlNet.Input(
                f"control_net{end}",
                optional=True,
                tooltip="A ControlNet for this model. Without any, nothing but the denoise holds the lines.",
            ),
            io.Combo.Input(
                f"preprocessor{end}",
                options=[CANNY, LINES, PICTURE, HINT],
                default=usual,
                tooltip="What it looks at. canny: core's Canny; line art: white lines on black, drawn without a model; "
                "picture: the source itself (tile, blur); hint: the pictures wired into its hint.",
            ),
            io.Float.Input(
                f"strength{end}", default=1.0, min=0.0, max=10.0, step=0.01, tooltip="Its strength; 0 leaves it out."
            ),
            io.Float.Input(
                f"start_percent{end}", default=0.05, tooltip="Share of the steps before it starts.", **_SHARE
            ),
            io.Float.Input(
                f"end_percent{end}",
                default=0.45,
                tooltip="Share of the steps after which it stops: the rest is left to the style.",
                **_SHARE,
            ),
            io.Image.Input(
                f"hint{end}",
                optional=True,
                tooltip="Hints of any preprocessor (depth, pose, ...): one for each picture in the dataset's order, as "
                "a batch or a list, or one for all.",
            ),
        ]
    return [
        *found,
        io.Float.Input("canny_low", default=0.1, tooltip="Canny: weakest edge that continues a line.", **_SHARE),
        io.Float.Input("canny_high", default=0.3, tooltip="Canny: weakest edge that starts a line.", **_SHARE),
        io.Float.Input(
            "line_width", default=1.0, min=0.2, max=5.0, step=0.1, tooltip="Line art: thicker lines are found above 1."
        ),
        io.Float.Input(
            "line_threshold", default=0.03, min=0.005, max=0.5, step=0.005,
            tooltip="Line art: the least contrast that draws; lower draws more.",
        ),
    ]  # fmt: skip


def guides_from(values: dict[str, list[Any]], count: int) -> tuple[tuple[Guide, ...], dict[str, list[Any]]]:
    """The wired ControlNets for a dataset of `count` pictures, and the values that are left.

    Values come as lists. Raises ValueError for an input that fits no picture or no ControlNet.
    """
    own = {f"{name}{end}" for end in _ENDS for name in ("control_net", "preprocessor", "strength", "hint")}
    own |= {f"{name}{end}" for end in _ENDS for name in ("start_percent", "end_percent")} | {*_SHARED}
    given = {name: value for name, value in values.items() if name in own}
    guides = [_guide(given, end, count) for end in _ENDS]
    return tuple(guide for guide in guides if guide), {n: value for n, value in values.items() if n not in own}


def _guide(given: dict[str, list[Any]], end: str, count: int) -> Guide | None:
    def one(name: str) -> Any:
        return only(f"{name}{end}", given[f"{name}{end}"])

    hints = [picture for batch in given.get(f"hint{end}") or () for picture in from_image(batch)]
    if f"control_net{end}" not in given or given[f"control_net{end}"] in (None, [None]):
        if hints:
            raise ValueError(f"hint{end} is wired, but no control_net{end}; wire in the ControlNet that looks at it")
        return None
    kind, strength, start, stop = (one(name) for name in ("preprocessor", "strength", "start_percent", "end_percent"))
    if start >= stop:
        raise ValueError(f"start_percent{end} is {start:g} and end_percent{end} {stop:g}; the first must be less")
    if strength == 0:
        return None
    control = Control(net=one("control_net"), strength=strength, start=start, end=stop)
    low, high, width, threshold = (only(name, given[name]) for name in _SHARED)
    if kind == CANNY:
        return Guide(control=control, hint=canny_hint(low, high), mark=lambda _: f"canny {low} {high}")
    if kind == LINES:
        return Guide(
            control=control,
            hint=lambda source, _: line_art(source, width=width, threshold=threshold),
            mark=lambda _: f"line art {width} {threshold}",
        )
    if kind == PICTURE:
        return Guide(control=control, hint=lambda source, _: source, mark=lambda _: "picture")
    return _wired(control, hints, end, count)


def _wired(control: Control, hints: Sequence[Image.Image], end: str, count: int) -> Guide:
    """A ControlNet that looks at pictures of the graph."""
    if len(hints) not in (1, count) or not hints:
        raise ValueError(
            f"preprocessor{end} is {HINT!r}, and hint{end} brings {len(hints)} pictures for {count} in the dataset; "
            "wire in one for each (Dataset to Images gives them in order), or one for all"
        )
    marks = [picture_mark(hint) for hint in hints]
    return Guide(
        control=control,
        hint=lambda _, number: hints[number % len(hints)],
        mark=lambda number: f"hint {marks[number % len(hints)]}",
    )
