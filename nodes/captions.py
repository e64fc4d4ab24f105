"""Nodes that write and change captions."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dataset.align import AlignOptions, align_tags
from ..dataset.autotag import TagOptions, auto_tag, caption_with
from ..dataset.edits import apply_edits, edit_report, edits_json, parse_edits, undo_edits
from ..dataset.errors import DatasetError
from ..dataset.lint import Lexicon
from ..dataset.prune import PruneRules, prune_tags
from ..dataset.score_cache import ScoreCache
from ..dataset.tagger import (
    HUB_TAGGERS,
    TaggerOnDemand,
    find_tagger,
    get_tagger,
    known_tags,
    list_taggers,
    tagger_mark,
    why_missing,
)
from ..dataset.values import Dataset
from ..host.paths import cache_folder, tagger_folders
from ..host.progress import Progress
from ..host.tokens import count_tokens
from ..host.words import pieces_of
from . import sockets
from .inputs import inputs_of, only, settings_from
from .search import search_words
from .showing import output


class AutoTag(io.ComfyNode):
    """Captions from a tagger model, or from another captioner."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnAutoTag",
            **search_words("KilnAutoTag"),
            display_name="Auto Tag (Kiln)",
            category=sockets.CATEGORY,
            description="Writes booru tags for each picture with a tagger, or takes another captioner's texts.",
            is_input_list=True,
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures to tag; a crop is tagged for what it shows."),
                io.Combo.Input(
                    "model",
                    options=list(list_taggers(tagger_folders())),
                    tooltip="A tagger in models/kiln/taggers, or where other packs keep theirs. Names with an owner "
                    "before the slash come from the Hugging Face hub: they are downloaded when first used.",
                ),
                *inputs_of(TagOptions),
                io.String.Input(
                    "captions",
                    optional=True,
                    force_input=True,
                    tooltip="Texts of another captioner, one for each picture in the dataset's order: taken in place "
                    "of a tagger's tags.",
                ),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The same pictures with captions."),
                io.String.Output(display_name="report", tooltip="How many were tagged, and the tags by frequency."),
            ],
        )

    @classmethod
    def validate_inputs(cls, model: list[str | None], captions: Any = None) -> bool | str:
        """Answer in the host's place, whose own check says only that the name is not in the list."""
        name, folders = only("model", model), tagger_folders()
        # None: the name comes over a wire and is not known yet. With captions no tagger is used.
        if name is None or captions is not None or name in HUB_TAGGERS or find_tagger(name, folders):
            return True
        return why_missing(name, folders)

    @classmethod
    def execute(
        cls, dataset: list[Dataset], model: list[str], captions: list[str] | None = None, **settings: list[Any]
    ) -> io.NodeOutput:
        pictures = only("dataset", dataset)
        options = settings_from(TagOptions, {name: only(name, values) for name, values in settings.items()})
        if captions is not None:
            return output(*caption_with(pictures, captions, options))
        progress = Progress(len(pictures))
        files = get_tagger(only("model", model), tagger_folders(), progress)
        cache = ScoreCache(cache_folder() / "tags", tagger_mark(files))
        return output(*auto_tag(pictures, TaggerOnDemand(files=files), options, progress, cache))


class PruneTags(io.ComfyNode):
    """Captions without what the trigger should absorb."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnPruneTags",
            **search_words("KilnPruneTags"),
            display_name="Prune Tags (Kiln)",
            category=sockets.CATEGORY,
            description="Takes away the tags that the trigger word should stand for, and puts the trigger first.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures with their captions."),
                *inputs_of(PruneRules),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder that will be trained: the report then says which words of the trigger "
                    "it knows already.",
                ),
            ],
            outputs=[
                sockets.Dataset.Output(
                    display_name="dataset", tooltip="The same pictures; each remembers the tags that it lost."
                ),
                io.String.Output(display_name="report", tooltip="What was pruned and why, and what else might be."),
            ],
        )

    @classmethod
    def execute(cls, dataset: Dataset, clip: Any = None, **settings: Any) -> io.NodeOutput:
        lexicon = Lexicon(pieces=pieces_of(clip) if clip is not None else None, tags=known_tags(tagger_folders()))
        return output(*prune_tags(dataset, settings_from(PruneRules, settings), lexicon))


class AlignTags(io.ComfyNode):
    """The same words for the same clothes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnAlignTags",
            **search_words("KilnAlignTags"),
            display_name="Align Tags (Kiln)",
            category=sockets.CATEGORY,
            description="Gives the pictures of an outfit one list of tags, minus what each picture does not show.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="Tagged pictures, outfits in groups of their own."),
                *inputs_of(AlignOptions),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The same pictures, outfits in the same words."),
                io.String.Output(
                    display_name="report", tooltip="What changed, and lists for groups that have no outfit yet."
                ),
            ],
        )

    @classmethod
    def execute(cls, dataset: Dataset, **settings: Any) -> io.NodeOutput:
        return output(*align_tags(dataset, settings_from(AlignOptions, settings)))


class EditTags(io.ComfyNode):
    """Captions edited by a list that the workflow keeps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnEditTags",
            **search_words("KilnEditTags"),
            display_name="Edit Tags (Kiln)",
            category=sockets.CATEGORY,
            description="Adds, removes, replaces and reorders tags in the pictures that a filter means, or by hand.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures with their captions."),
                io.String.Input(
                    "edits",
                    multiline=True,
                    default="[]",
                    tooltip='A JSON list: [{"do": "remove", "tags": "blurry, *background", "where": "group:kie*"}]. '
                    "do is add, remove, replace, regex, reorder or set; the help page has each.",
                ),
                io.Boolean.Input(
                    "preview", default=False, tooltip="Only report what would change; the dataset passes as it is."
                ),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The pictures with edited captions."),
                io.String.Output(display_name="report", tooltip="What each edit did, captions before and after."),
                io.String.Output(display_name="undo", tooltip="Edits that take all of it back, for a further node."),
            ],
        )

    @classmethod
    def validate_inputs(cls, edits: str | None) -> bool | str:
        """Say what is wrong with a list before anything runs; None comes over a wire and is not known yet."""
        try:
            parse_edits(edits or "")
        except DatasetError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, dataset: Dataset, edits: str, preview: bool) -> io.NodeOutput:
        edited, done = apply_edits(dataset, parse_edits(edits), count_tokens)
        report = edit_report(dataset, edited, done, preview=preview)
        return output(dataset if preview else edited, report, edits_json(undo_edits(dataset, edited)))
