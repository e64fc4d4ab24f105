"""Nodes that bring datasets into the graph."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dataset.load import LoadOptions, folder_fingerprint, load_dataset
from ..dataset.report import dataset_report
from ..host import paths
from ..host.progress import Progress
from . import sockets
from .inputs import inputs_of, settings_from


class LoadDataset(io.ComfyNode):
    """A folder of pictures and captions as a dataset."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnLoadDataset",
            display_name="Load Dataset (Kiln)",
            category=sockets.CATEGORY,
            description="Loads training pictures with their captions: a flat folder, or kohya folders such as 9_name.",
            inputs=[
                io.String.Input(
                    "folder",
                    default="",
                    tooltip="The folder of the pictures: a path, or a folder's name inside ComfyUI's input folder.",
                ),
                *inputs_of(LoadOptions),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The pictures, captions and repeats."),
                io.String.Output(
                    display_name="report", tooltip="What is in the folder, and every file with a problem."
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str, **settings: Any) -> str:
        """Run again when a picture or a caption of the folder changes."""
        return folder_fingerprint(paths.dataset_folder(folder or ""), settings_from(LoadOptions, settings))

    @classmethod
    def execute(cls, folder: str, **settings: Any) -> io.NodeOutput:
        dataset, problems = load_dataset(
            paths.dataset_folder(folder), settings_from(LoadOptions, settings), Progress(1)
        )
        return io.NodeOutput(dataset, dataset_report(dataset, problems))
