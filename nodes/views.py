"""Nodes that split pictures into figures and cut figures into views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..dataset.cutout import get_cutter, list_cutters
from ..dataset.detect import KINDS, NONE, get_detector, list_detectors
from ..dataset.finding import FigureModels
from ..dataset.sheets import crop_sheets, split_sheets
from ..dataset.split import SplitOptions, split_figures
from ..dataset.values import Dataset
from ..dataset.view_options import ViewOptions
from ..dataset.views import crop_views
from ..host.paths import background_folders, cache_folder, detector_folders
from ..host.progress import Progress
from . import sockets
from .inputs import inputs_of, only, settings_from
from .pictures import from_mask, to_image
from .search import search_words
from .showing import output

_MODELS_TIP = "Detectors and a background model (Figure Models): used in place of, or with, the figure's outline."
_MASKS_TIP = (
    "One mask for each picture, in the dataset's order: white is figure. Taken before every other way to find her."
)


class PickFigureModels(io.ComfyNode):
    """Which models help to find figures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        folders = detector_folders()
        return io.Schema(
            node_id="KilnFigureModels",
            **search_words("KilnFigureModels"),
            display_name="Figure Models (Kiln)",
            category=sockets.CATEGORY,
            description="Detectors of persons, half bodies, heads, faces, eyes, and a model that cuts out backgrounds, "
            "for pictures whose background is not plain.",
            inputs=[
                *(
                    io.Combo.Input(
                        name,
                        options=(options := list(list_detectors(name, folders))),
                        default=options[0] if kind.usual or options[0] not in kind.hub else NONE,
                        tooltip=f"{kind.help} Local ones lie in models/kiln/detectors/<name>; names with an owner "
                        "before the slash are downloaded there when first used.",
                    )
                    for name, kind in KINDS.items()
                ),
                io.Combo.Input(
                    "background",
                    options=list(list_cutters(background_folders())),
                    default=NONE,
                    tooltip="Tells figures from any background: local ones in models/kiln/backgrounds/<name>.onnx, "
                    "isnetis from the Hugging Face hub (176 MB) when first used.",
                ),
            ],
            outputs=[
                sockets.FigureModels.Output(
                    display_name="figure_models", tooltip="For Split Figures and Crop Views; opened when first needed."
                )
            ],
        )

    @classmethod
    def execute(cls, background: str, **names: str) -> io.NodeOutput:
        progress = Progress(1)
        chosen = [(kind, names[kind]) for kind in KINDS if names[kind] != NONE]
        detectors = tuple(get_detector(kind, name, detector_folders(), progress) for kind, name in chosen)
        cutter = None if background == NONE else get_cutter(background, background_folders(), progress)
        return io.NodeOutput(FigureModels(detectors=detectors, cutter=cutter))


class SplitFigures(io.ComfyNode):
    """Turnaround sheets and groups into single figures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnSplitFigures",
            **search_words("KilnSplitFigures"),
            display_name="Split Figures (Kiln)",
            category=sockets.CATEGORY,
            description="Makes one picture of each figure of a turnaround sheet or a group, tagged from side and from "
            "behind where she is seen so. Works on plain backgrounds and transparency, elsewhere with a detector.",
            is_input_list=True,
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="Sheets and groups; pictures of one figure pass unchanged."),
                *inputs_of(SplitOptions),
                *_help_inputs(),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="A picture for each figure."),
                io.String.Output(display_name="report", tooltip="What was split, and what was left out and why."),
                io.Image.Output(display_name="preview", tooltip="The pictures with the boxes of their figures."),
            ],
        )

    @classmethod
    def execute(cls, **inputs: list[Any]) -> io.NodeOutput:
        result, report, done = _cut(split_figures, SplitOptions, **inputs)
        return output(result, report, to_image(*split_sheets(done)))


class CropViews(io.ComfyNode):
    """Full figures into portraits, faces and the views between."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnCropViews",
            **search_words("KilnCropViews"),
            display_name="Crop Views (Kiln)",
            category=sockets.CATEGORY,
            description="Adds views of each figure (upper body, portrait, face, ...) with their camera tags. "
            "Works on plain backgrounds and on pictures with transparency, elsewhere with models or masks; others pass "
            "unchanged.",
            is_input_list=True,
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="Pictures of single figures."),
                *inputs_of(ViewOptions),
                *_help_inputs(),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The pictures and their views."),
                io.String.Output(display_name="report", tooltip="What was cropped, and what was left out and why."),
                io.Image.Output(
                    display_name="preview",
                    tooltip="The pictures with what was found in each (grey) and the boxes of their views, 24 a sheet.",
                ),
            ],
        )

    @classmethod
    def execute(cls, **inputs: list[Any]) -> io.NodeOutput:
        result, report, done = _cut(crop_views, ViewOptions, **inputs)
        return output(result, report, to_image(*crop_sheets(done)))


def _help_inputs() -> list[io.Input]:
    """What helps to find figures where their outline does not do."""
    return [
        sockets.FigureModels.Input("figure_models", optional=True, tooltip=_MODELS_TIP),
        io.Mask.Input("masks", optional=True, tooltip=_MASKS_TIP),
    ]


def _cut(
    engine: Callable[..., Any],
    kind: type[Any],
    dataset: list[Dataset],
    figure_models: list[FigureModels] | None = None,
    masks: list[Tensor] | None = None,
    **settings: list[Any],
) -> Any:
    """What the engine makes of the node's inputs, each of which comes as a list; `kind` holds its settings."""
    pictures = only("dataset", dataset)
    return engine(
        pictures,
        settings_from(kind, {name: only(name, values) for name, values in settings.items()}),
        Progress(len(pictures)),
        models=only("figure_models", figure_models) if figure_models else None,
        masks=[picture for batch in masks or () for picture in from_mask(batch)],
        folder=cache_folder(),
    )
