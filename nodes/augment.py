"""The node that paints the dataset again in other styles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

from ..dataset.augment import Augmented, augment
from ..dataset.choice import ChoiceOptions, HandOptions
from ..dataset.errors import DatasetError
from ..dataset.select import read_selection
from ..dataset.style_captions import CaptionOptions
from ..dataset.styles import HoldOptions, Plan, Studio, StyleOptions
from ..dataset.values import Dataset, Record, Size
from ..dataset.wildcards import Wildcards
from ..host.marks import options_mark, training_mark
from ..host.painting import StylePainter
from ..host.paths import cache_folder, wildcard_folders
from ..host.progress import Progress
from ..trainer.groups import Buckets
from ..trainer.own import bucket_for
from . import sockets
from .controls import control_inputs, guides_from
from .inputs import inputs_of, only, settings_from, values_of
from .pictures import from_mask
from .sampling import sampling_inputs, take_sampling
from .search import search_words
from .sheets import sheet_images, sheet_note
from .showing import output, shown
from .tagging import NONE, check_tagger, tag_with, tagger_inputs

_GROUPS = {
    "styles": StyleOptions, "hold": HoldOptions, "choice": ChoiceOptions, "captions": CaptionOptions,
    "hand": HandOptions,
}  # fmt: skip


class ControlNetStyleAugment(io.ComfyNode):
    """img2img variants of every picture, steered by ControlNets, chosen by colours and lines."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnControlNetStyleAugment",
            **search_words("KilnControlNetStyleAugment"),
            display_name="ControlNet Style Augment (Kiln)",
            category=sockets.CATEGORY,
            description="Paints each picture again in other styles; ControlNets hold the lines, parts keep their "
            "colours, and variants that drift are rejected.",
            is_input_list=True,
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures to vary; their captions say what is shown."),
                io.Model.Input("model", tooltip="The model that paints."),
                io.Clip.Input("clip", tooltip="Its text encoder."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                *inputs_of(StyleOptions),
                io.String.Input("negative", multiline=True, default="", tooltip="Negative prompt."),
                *control_inputs(),
                *sampling_inputs(steps=25, cfg=6.0),
                *(each for group in (HoldOptions, ChoiceOptions, CaptionOptions) for each in inputs_of(group)),
                *tagger_inputs("Looks at the variants, for captions that say how they differ."),
                *inputs_of(HandOptions),
                sockets.Recipe.Input("recipe", optional=True, tooltip="Its bucket sizes are those of the variants."),
                sockets.FigureModels.Input(
                    "figure_models", optional=True, tooltip="Detectors that tell hair, face and body apart."
                ),
                io.Mask.Input(
                    "masks", optional=True, tooltip="One for each picture, in the dataset's order: white is figure."
                ),
                io.Mask.Input(
                    "hold_masks", optional=True,
                    tooltip="One for each picture: the part whose colours hold_mask holds is white.",
                ),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The pictures and the variants that are kept."),
                io.String.Output(display_name="report", tooltip="What was painted, kept and rejected, and why."),
                sockets.Dataset.Output(display_name="rejected", tooltip="Rejected variants, to merge back by hand."),
                io.Image.Output(display_name="sheets", tooltip="Each source beside all of its variants."),
                io.String.Output(display_name="scores", tooltip="Colours and lines of every variant, as CSV."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, tagger: list[str | None], by_hand: list[str | None]) -> bool | str:
        """Answer in the host's place, whose own check says only that the name is not in the list."""
        try:
            read_selection(only("by_hand", by_hand) or "")
        except DatasetError as error:
            return str(error)
        return check_tagger(only("tagger", tagger))

    @classmethod
    def fingerprint_inputs(cls, styles: list[str | None], **_: Any) -> str:
        """Edited wildcard files make another result."""
        wired = not any(styles)
        return Wildcards(wildcard_folders()).mark() if wired or any("__" in (line or "") for line in styles) else ""

    @classmethod
    def execute(cls, dataset: list[Dataset], **values: list[Any]) -> io.NodeOutput:
        pictures = only("dataset", dataset)
        guides, rest = guides_from(values, len(pictures))
        masks = {
            name: [m for b in rest.pop(name, None) or () for m in from_mask(b)] for name in ("masks", "hold_masks")
        }
        one = {name: only(name, value) for name, value in rest.items()}
        progress, models = Progress(1), (one["model"], one["clip"], one["vae"])
        sampling, watch = take_sampling(one), progress.watch(one["model"])
        studio = Studio(
            painter=StylePainter(*models, guides, one["negative"], sampling, watch),
            cache=cache_folder(), bucket=_bucket(one), mark=f"{training_mark(*models)} {options_mark(one['model'])}",
            wildcards=Wildcards(wildcard_folders()), models=one.get("figure_models"), **masks,
            tag=tag_with(one["tagger"], one["tag_threshold"], progress),
        )  # fmt: skip
        done = augment(pictures, _plan(one), studio, progress)
        report = done.report + sheet_note(done.shown)
        return output(done.dataset, report, done.rejected, sheet_images(done.shown), done.table, ui=_picks(done))


def _picks(done: Augmented) -> dict[str, Any]:
    """What the page shows to choose from: every variant after its source, with its scores."""
    every = Dataset(records=tuple(record for record, _ in done.shown))
    rows = [
        {"why": each.fault, "score": round(each.scores.total, 3), "lines": round(each.scores.structure, 3),
         "drift": {name: round(value, 1) for name, value in each.scores.drift.items()}} if each else None
        for each in done.judged
    ]  # fmt: skip
    return {**shown("kiln_pick", {0: every}), "kiln_judged": rows}


def _plan(values: dict[str, Any]) -> Plan:
    """The settings of every group, out of a node's values."""
    groups: dict[str, Any] = {name: settings_from(group, values_of(group, values)) for name, group in _GROUPS.items()}
    return Plan(**groups, tagger=values["tagger"] != NONE)


def _bucket(values: dict[str, Any]) -> Callable[[Record], Size]:
    """From a record to the size that it is trained at: by the wired recipe, else by resolution and step."""
    recipe, side, step = values.get("recipe"), values["resolution"], values["step"]
    buckets = recipe.buckets if recipe else Buckets(
        resolution=side, bucket_step=step, min_bucket=step, max_bucket=2 * side
    )  # fmt: skip
    return lambda record: bucket_for(buckets, record)
