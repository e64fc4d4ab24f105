"""Nodes between datasets and the pictures of any other node."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..dataset.exchange import (
    PictureOptions,
    dataset_to_pictures,
    memory_needed,
    part_of,
    pictures_to_dataset,
)
from ..dataset.values import Dataset
from ..host.memory import refuse_beyond_memory
from ..host.paths import cache_folder
from ..host.progress import Progress
from . import sockets
from .inputs import inputs_of, int_input, only, settings_from
from .pictures import from_image, from_mask, to_image, to_mask
from .search import search_words
from .showing import output


class ImagesToDataset(io.ComfyNode):
    """Pictures of the graph as a dataset."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnImagesToDataset",
            **search_words("KilnImagesToDataset"),
            display_name="Images to Dataset (Kiln)",
            category=sockets.CATEGORY,
            description="Makes a dataset of any pictures, one by one or in batches and lists, with their captions. "
            "Generated pictures are trained on through this one wire.",
            inputs=[
                io.Image.Input("images", tooltip="Pictures: a batch, a list, or a list of batches of any sizes."),
                io.String.Input(
                    "captions",
                    default="",
                    multiline=True,
                    tooltip="One caption for all pictures, or a list with one for each.",
                ),
                io.String.Input("group", default="generated", tooltip="Their group: one for all, or a list."),
                int_input("repeats", default=1, min=1, max=1000, step=1, tooltip="How often each is seen in an epoch."),
                io.Boolean.Input(
                    "regularization",
                    default=False,
                    tooltip="These are regularisation pictures of the class, not of what is trained: one for all, or "
                    "a list.",
                ),
                *inputs_of(PictureOptions),
                io.Mask.Input(
                    "masks", optional=True, tooltip="Where the loss counts, white fully: one for each picture."
                ),
            ],
            outputs=[sockets.Dataset.Output(display_name="dataset", tooltip="One record for each picture.")],
            is_input_list=True,
        )

    @classmethod
    def execute(
        cls, images: list[Tensor], captions: list[str], group: list[str], repeats: list[int],
        regularization: list[bool], masks: list[Tensor] | None = None, **settings: list[Any],
    ) -> io.NodeOutput:  # fmt: skip
        options = settings_from(PictureOptions, {name: only(name, values) for name, values in settings.items()})
        pictures = [picture for batch in images for picture in from_image(batch)]
        shapes = [mask for batch in masks or () for mask in from_mask(batch)]
        progress = Progress(max(1, len(pictures)))
        dataset = pictures_to_dataset(
            pictures, shapes, captions, repeats, group, cache_folder(), regularization, options, progress
        )  # fmt: skip
        return output(dataset)


class DatasetToImages(io.ComfyNode):
    """A dataset as pictures for any other node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnDatasetToImages",
            **search_words("KilnDatasetToImages"),
            display_name="Dataset to Images (Kiln)",
            category=sockets.CATEGORY,
            description="Gives pictures, masks and captions as lists, so that any image node can work on them one by "
            "one. All are in memory at once: take part of a large dataset.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures, cropped as the dataset says."),
                int_input("first", default=1, min=1, max=1_000_000, step=1, tooltip="Number of the first picture."),
                int_input("count", default=0, min=0, max=1_000_000, step=1, tooltip="How many; 0: all from there on."),
            ],
            outputs=[
                io.Image.Output(display_name="images", is_output_list=True, tooltip="Each picture in its own size."),
                io.Mask.Output(display_name="masks", is_output_list=True, tooltip="Its mask; all white without one."),
                io.String.Output(display_name="captions", is_output_list=True, tooltip="Its caption."),
                io.Int.Output(display_name="repeats", is_output_list=True, tooltip="Its repeats."),
                io.String.Output(display_name="groups", is_output_list=True, tooltip="Its group."),
                io.String.Output(display_name="names", is_output_list=True, tooltip="Its name in the dataset."),
                io.Boolean.Output(
                    display_name="is_reg", is_output_list=True, tooltip="Whether it is a regularisation picture."
                ),
            ],
        )

    @classmethod
    def execute(cls, dataset: Dataset, first: int, count: int) -> io.NodeOutput:
        part = part_of(dataset, first, count)
        refuse_beyond_memory(memory_needed(part), f"{len(part)} pictures", "Give a smaller count")
        shown = list(dataset_to_pictures(part, Progress(len(part))))
        return io.NodeOutput(
            [to_image(one.picture) for one in shown],
            [to_mask(one.mask) for one in shown],
            [one.caption for one in shown],
            [one.repeats for one in shown],
            [one.group for one in shown],
            [one.key for one in shown],
            [one.is_reg for one in shown],
        )
