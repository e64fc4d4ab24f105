"""The node that paints regularisation pictures."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dataset.regularize import CAPTIONS, RegularizationOptions, Workshop, caption_lines, regularization_set
from ..dataset.values import Dataset
from ..dataset.wildcards import Wildcards
from ..host.marks import options_mark, training_mark
from ..host.painting import PromptPainter
from ..host.paths import cache_folder, wildcard_folders
from ..host.progress import Progress
from ..trainer.buckets import assign, bucket_sizes
from ..trainer.groups import Buckets
from ..trainer.own import bucket_for
from ..trainer.recipe import Recipe
from . import sockets
from .inputs import inputs_of, settings_from, values_of
from .sampling import sampling_inputs, take_sampling
from .search import search_words
from .sheets import sheet_images, sheet_note
from .showing import output
from .tagging import check_tagger, tag_with, tagger_inputs


class RegularizationSet(io.ComfyNode):
    """Pictures of the class by the model as it is."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnRegularizationSet",
            **search_words("KilnRegularizationSet"),
            display_name="Regularization Set (Kiln)",
            category=sockets.CATEGORY,
            description="Paints pictures of the class from prompts with wildcards, rejects those that a tagger or you "
            "do not want, and captions the rest: regularisation pictures for the recipe.",
            inputs=[
                io.Model.Input("model", tooltip="The model that is trained on, without a LoRA of the character."),
                io.Clip.Input("clip", tooltip="Its text encoder."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                *inputs_of(RegularizationOptions),
                io.String.Input("negative", multiline=True, default="", tooltip="Negative prompt."),
                *sampling_inputs(steps=25, cfg=6.0),
                *tagger_inputs("Captions the pictures, and sees what require and forbid ask for."),
                sockets.Dataset.Input(
                    "dataset", optional=True,
                    tooltip=f"The pictures that are trained on: their sizes, and their captions for __{CAPTIONS}__.",
                ),
                sockets.Recipe.Input(
                    "recipe", optional=True,
                    tooltip="Its buckets are those of the pictures: the wired dataset's, or that of a square.",
                ),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The regularisation pictures alone."),
                io.String.Output(display_name="report", tooltip="What was painted and rejected, and why."),
                sockets.Dataset.Output(display_name="rejected", tooltip="Rejected pictures."),
                io.Image.Output(display_name="sheets", tooltip="Every picture with its number, to reject by."),
            ],
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, tagger: str | None) -> bool | str:
        """Answer in the host's place, whose own check says only that the name is not in the list."""
        return check_tagger(tagger)

    @classmethod
    def fingerprint_inputs(cls, prompts: str | None, **_: Any) -> str:
        """Edited wildcard files make another result."""
        return Wildcards(wildcard_folders()).mark() if not prompts or "__" in prompts else ""

    @classmethod
    def execute(
        cls, model: Any, clip: Any, vae: Any, negative: str, tagger: str, tag_threshold: float,
        dataset: Dataset | None = None, recipe: Recipe | None = None, **values: Any,
    ) -> io.NodeOutput:  # fmt: skip
        options = settings_from(RegularizationOptions, values_of(RegularizationOptions, values))
        progress, lists = Progress(options.count), {CAPTIONS: caption_lines(dataset)} if dataset else {}
        workshop = Workshop(
            painter=PromptPainter(model, clip, vae, negative, take_sampling(values), progress.watch(model)),
            cache=cache_folder(), sizes=_sizes(dataset, recipe, options),
            mark=f"{training_mark(model, clip, vae)} {options_mark(model)}",
            wildcards=Wildcards(wildcard_folders(), lists), tag=tag_with(tagger, tag_threshold, progress),
        )  # fmt: skip
        done = regularization_set(options, workshop, progress)
        return output(done.dataset, done.report + sheet_note(done.shown), done.rejected, sheet_images(done.shown))


def _sizes(dataset: Dataset | None, recipe: Recipe | None, options: RegularizationOptions) -> list[tuple[int, int]]:
    """The buckets of a dataset's views, in its order and as often; one square where there is none."""
    side = options.resolution
    buckets = recipe.buckets if recipe else Buckets(resolution=side, min_bucket=64, max_bucket=2 * side)
    found = [bucket_for(buckets, record) for record in dataset or () if not record.is_reg]
    return found or [assign((side, side), buckets, bucket_sizes(buckets))]
