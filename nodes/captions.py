"""Nodes that write and change captions."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dataset.autotag import TagOptions, auto_tag
from ..dataset.prune import PruneRules, prune_tags
from ..dataset.tagger import HUB_TAGGERS, find_tagger, get_tagger, list_taggers, open_tagger, why_missing
from ..dataset.values import Dataset
from ..host.paths import tagger_folders
from ..host.progress import Progress
from . import sockets
from .inputs import inputs_of, settings_from


class AutoTag(io.ComfyNode):
    """Captions from a tagger model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnAutoTag",
            display_name="Auto Tag (Kiln)",
            category=sockets.CATEGORY,
            description="Writes booru tags for each picture with a WD tagger.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures to tag; a crop is tagged for what it shows."),
                io.Combo.Input(
                    "model",
                    options=list(list_taggers(tagger_folders())),
                    tooltip="A tagger in models/kiln/taggers/<name>. Names with an owner before the slash "
                    "come from the Hugging Face hub: they are downloaded there when first used.",
                ),
                *inputs_of(TagOptions),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The same pictures with captions."),
                io.String.Output(display_name="report", tooltip="How many were tagged, and the tags by frequency."),
            ],
        )

    @classmethod
    def validate_inputs(cls, model: str | None) -> bool | str:
        """Answer in the host's place, whose own check says only that the name is not in the list."""
        folders = tagger_folders()
        # None: the name comes over a wire and is not known yet.
        if model is None or model in HUB_TAGGERS or find_tagger(model, folders):
            return True
        return why_missing(model, folders)

    @classmethod
    def execute(cls, dataset: Dataset, model: str, **settings: Any) -> io.NodeOutput:
        options = settings_from(TagOptions, settings)
        tagger = open_tagger(get_tagger(model, tagger_folders()))
        return io.NodeOutput(*auto_tag(dataset, tagger, options, Progress(len(dataset))))


class PruneTags(io.ComfyNode):
    """Captions without what the trigger should absorb."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnPruneTags",
            display_name="Prune Tags (Kiln)",
            category=sockets.CATEGORY,
            description="Takes away the tags that the trigger word should stand for, and puts the trigger first.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures with their captions."),
                *inputs_of(PruneRules),
            ],
            outputs=[
                sockets.Dataset.Output(
                    display_name="dataset", tooltip="The same pictures; each remembers the tags that it lost."
                ),
                io.String.Output(display_name="report", tooltip="What was pruned and why, and what else might be."),
            ],
        )

    @classmethod
    def execute(cls, dataset: Dataset, **settings: Any) -> io.NodeOutput:
        return io.NodeOutput(*prune_tags(dataset, settings_from(PruneRules, settings)))
