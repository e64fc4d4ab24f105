"""The node that shows what a dataset holds."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dataset.contact import SheetOptions
from ..dataset.overview import overview
from ..dataset.values import Dataset
from ..host.paths import font_files
from ..host.progress import Progress
from ..trainer.bucket_use import bucket_use
from . import sockets
from .inputs import inputs_of, int_input, settings_from
from .pictures import to_image
from .search import search_words
from .showing import output
from .sizes import bucket_inputs, buckets_from


class DatasetReport(io.ComfyNode):
    """A dataset as pictures and words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnDatasetReport",
            **search_words("KilnDatasetReport"),
            display_name="Dataset Report (Kiln)",
            category=sockets.CATEGORY,
            description="Shows a dataset: contact sheets with captions, tags by frequency, and the sizes that it will "
            "be trained at.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures to look at."),
                *bucket_inputs(),
                int_input("most_tags", default=40, min=1, max=500, tooltip="Tags that the chart shows."),
                *inputs_of(SheetOptions),
            ],
            outputs=[
                io.Image.Output(display_name="sheets", tooltip="Contact sheets, one a page."),
                io.Image.Output(display_name="tags", tooltip="The most frequent tags as bars."),
                io.Image.Output(display_name="buckets", tooltip="The sizes of training, with their pictures."),
                io.String.Output(display_name="report", tooltip="The same in words, and what looks wrong."),
                sockets.Dataset.Output(display_name="dataset", tooltip="The dataset as it came."),
            ],
        )

    @classmethod
    def execute(cls, dataset: Dataset, most_tags: int, **values: Any) -> io.NodeOutput:
        buckets, batch, rest = buckets_from(values)
        options = settings_from(SheetOptions, rest)
        found = overview(
            dataset, bucket_use(dataset, buckets), options, batch=batch, most_tags=most_tags, fonts=font_files(),
            progress=Progress(len(dataset)),
        )  # fmt: skip
        return output(to_image(*found.sheets), to_image(found.tags), to_image(found.buckets), found.report, dataset)
