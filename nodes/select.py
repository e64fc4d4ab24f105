"""Nodes that choose among the pictures of a dataset."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dataset.contact import SheetOptions, contact_pages
from ..dataset.duplicates import DuplicateOptions, remove_duplicates
from ..dataset.errors import DatasetError
from ..dataset.filters import compile_filter
from ..dataset.lettering import Lettering
from ..dataset.select import SelectOptions, read_selection, select
from ..dataset.values import Dataset
from ..host.paths import font_files
from ..host.progress import Progress
from ..host.tokens import count_tokens
from . import sockets
from .inputs import inputs_of, settings_from
from .pictures import to_image
from .search import search_words
from .showing import output, shown

_PAIRS = SheetOptions(columns=4, rows=6, caption_lines=2)


class SelectImages(io.ComfyNode):
    """Part of a dataset, by a filter and by hand."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnSelectImages",
            **search_words("KilnSelectImages"),
            display_name="Select Images (Kiln)",
            category=sockets.CATEGORY,
            description="Selects pictures by tags, groups, sizes and more, and by hand. Nothing is lost: what is not "
            "selected goes to the rest.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures to choose from."),
                *inputs_of(SelectOptions),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="selected", tooltip="What the filter or your hand has chosen."),
                sockets.Dataset.Output(display_name="rest", tooltip="Everything else, in the same order."),
                io.String.Output(display_name="report", tooltip="How many, and what each part of the filter found."),
                io.String.Output(
                    display_name="names",
                    tooltip="The names of the selected pictures, a line each with + before it, as by_hand takes them.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, filter: str | None, by_hand: str | None) -> bool | str:
        """Say what is wrong with a filter before anything runs; None comes over a wire and is not known yet."""
        try:
            compile_filter(filter or "")
            read_selection(by_hand or "")
        except DatasetError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, dataset: Dataset, **settings: Any) -> io.NodeOutput:
        found = select(dataset, settings_from(SelectOptions, settings), count_tokens)
        names = "\n".join(f"+ {name}" for name in found.names)
        return output(found.selected, found.rest, found.report, names, ui=shown("kiln_pick", {0: dataset}))


class RemoveDuplicates(io.ComfyNode):
    """Every picture once, the largest."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnRemoveDuplicates",
            **search_words("KilnRemoveDuplicates"),
            display_name="Remove Duplicates (Kiln)",
            category=sockets.CATEGORY,
            description="Finds pictures that look alike, also in other sizes and qualities, and keeps the largest with "
            "its caption and mask. Files are left alone.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures to look through."),
                *inputs_of(DuplicateOptions),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="Every picture once."),
                sockets.Dataset.Output(display_name="removed", tooltip="The duplicates, with captions and masks."),
                io.Image.Output(display_name="pairs", tooltip="Each pair side by side: what stays, then what goes."),
                io.String.Output(display_name="report", tooltip="Every pair by name, with its distance."),
            ],
        )

    @classmethod
    def execute(cls, dataset: Dataset, **settings: Any) -> io.NodeOutput:
        found = remove_duplicates(dataset, settings_from(DuplicateOptions, settings), Progress(len(dataset)))
        pages, _ = contact_pages(
            found.pairs.records, found.names, _PAIRS, Lettering(12, font_files()), Progress(len(found.pairs))
        )
        return output(found.dataset, found.removed, to_image(*pages), found.report)
