"""Nodes that send pictures out to other nodes, such as upscalers, and take them back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..dataset.images import open_image
from ..dataset.replace import ReplaceOptions, replace_pictures, small_pictures
from ..dataset.values import Dataset
from ..host.paths import cache_folder
from ..host.progress import Progress
from ..trainer.bucket_use import growth_to
from . import sockets
from .inputs import inputs_of, settings_from
from .pictures import from_image, to_image
from .search import search_words
from .showing import output
from .sizes import bucket_inputs, buckets_from


class SmallImages(io.ComfyNode):
    """The pictures that are smaller than they will be trained at."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnSmallImages",
            **search_words("KilnSmallImages"),
            display_name="Small Images (Kiln)",
            category=sockets.CATEGORY,
            description="Hands out the pictures that training would enlarge, for an upscaler of your choice. Replace "
            "Images takes them back.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures to look through."),
                *bucket_inputs(),
                io.Float.Input(
                    "least", default=1.0, min=1.0, max=16.0, step=0.05,
                    tooltip="Pictures that would be enlarged by more than this factor are handed out.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", is_output_list=True, tooltip="The pictures, one by one, for an upscaler."
                ),
                io.Float.Output(
                    display_name="factors", is_output_list=True, tooltip="How much each has to grow at the least."
                ),
                sockets.Dataset.Output(display_name="small", tooltip="Their records, for Replace Images."),
                io.String.Output(display_name="report", tooltip="Which they are, and how much each must grow."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, dataset: Dataset, least: float, **values: Any) -> io.NodeOutput:
        found = small_pictures(dataset, growth_to(buckets_from(values)[0]), least)
        progress, images = Progress(len(found.pictures)), []
        for done, record in enumerate(found.pictures, 1):
            images.append(to_image(open_image(record)))
            progress(done, len(found.pictures))
        # The host calls a node with no values at all for an empty list: a grey square stands in, and is not taken back.
        images = images or [to_image(Image.new("RGB", (64, 64), "grey"))]
        return output(images, list(found.factors) or [1.0], found.pictures, found.report)


class ReplaceImages(io.ComfyNode):
    """Changed pictures back into a dataset."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnReplaceImages",
            **search_words("KilnReplaceImages"),
            display_name="Replace Images (Kiln)",
            category=sockets.CATEGORY,
            description="Puts changed pictures into the places of their originals. Order, captions and repeats stay; "
            "crops, masks and transparency scale along.",
            is_input_list=True,
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The whole dataset."),
                sockets.Dataset.Input(
                    "small",
                    tooltip="The records whose pictures come back: from Small Images, or any part of the dataset.",
                ),
                io.Image.Input(
                    "images", lazy=True, tooltip="Their pictures, one for each record, in the same order and shape."
                ),
                *inputs_of(ReplaceOptions),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The dataset with the new pictures."),
                io.String.Output(display_name="report", tooltip="What was replaced, and its sizes."),
            ],
        )

    @classmethod
    def check_lazy_status(cls, small: Sequence[Dataset], images: Sequence[Tensor | None], **_: Any) -> list[str]:
        """Without a picture to replace, the upscaler does not run."""
        return ["images"] if len(small[0]) and images[0] is None else []

    @classmethod
    def execute(
        cls, dataset: Sequence[Dataset], small: Sequence[Dataset], images: Sequence[Tensor], **settings: Any
    ) -> io.NodeOutput:
        options = settings_from(ReplaceOptions, {name: value[0] for name, value in settings.items()})
        back = (picture for image in images for picture in from_image(image)) if len(small[0]) else ()
        return output(*replace_pictures(dataset[0], small[0], back, options, cache_folder(), Progress(len(small[0]))))
