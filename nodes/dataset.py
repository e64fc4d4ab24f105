"""Nodes that read datasets from the disk and write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..dataset.load import LoadOptions, folder_fingerprint, load_dataset
from ..dataset.report import dataset_report
from ..dataset.save import SaveOptions, save_dataset
from ..dataset.toml_file import load_toml, toml_fingerprint
from ..dataset.values import Dataset
from ..host.datasets import check_path, dataset_choices, dataset_path, saved_folder
from ..host.progress import Progress
from . import sockets
from .inputs import inputs_of, settings_from
from .search import search_words
from .showing import output


class LoadDataset(io.ComfyNode):
    """A folder of pictures and captions, or a dataset's TOML, as a dataset."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnLoadDataset",
            **search_words("KilnLoadDataset"),
            display_name="Load Dataset (Kiln)",
            category=sockets.CATEGORY,
            description="Loads training pictures with their captions: a flat folder, kohya folders such as 9_name, or "
            "the TOML of a dataset.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=["", *dataset_choices()],
                    tooltip="A folder in ComfyUI's input folder, one of Save Dataset, or a dataset's TOML there. Empty "
                    "where path says it.",
                ),
                *inputs_of(LoadOptions),
                io.String.Input(
                    "path",
                    default="",
                    optional=True,
                    tooltip="Any folder or TOML, instead of the choice above; only where the server is for this "
                    "machine alone, else below its own folders.",
                ),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The pictures, captions and repeats."),
                io.String.Output(
                    display_name="report", tooltip="What is in the folder, and every file with a problem."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str | None, path: str | None = "") -> bool | str:
        """Answer in the host's place, whose own check would refuse a folder that came after the page was loaded."""
        # None: it comes over a wire and is not known yet.
        if folder is None or path is None:
            return True
        try:
            dataset_path(folder, path)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, folder: str, path: str = "", **settings: Any) -> str:
        """Run again when the content of a picture or a caption changes, or one comes or goes."""
        try:
            place, options = dataset_path(folder, path), settings_from(LoadOptions, settings)
        except ValueError as error:
            return str(error)
        return toml_fingerprint(place, options, check_path) if _is_toml(place) else folder_fingerprint(place, options)

    @classmethod
    def execute(cls, folder: str, path: str = "", **settings: Any) -> io.NodeOutput:
        place, options, progress = dataset_path(folder, path), settings_from(LoadOptions, settings), Progress(1)
        if _is_toml(place):
            dataset, problems = load_toml(place, options, progress, check_path)
        else:
            dataset, problems = load_dataset(place, options, progress)
        return output(dataset, dataset_report(dataset, problems))


class SaveDataset(io.ComfyNode):
    """A dataset as a folder for this and other trainers."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnSaveDataset",
            **search_words("KilnSaveDataset"),
            display_name="Save Dataset (Kiln)",
            category=sockets.CATEGORY,
            description="Writes pictures (crops baked), captions, masks and repeats below output/kiln/datasets. Load "
            "Dataset gives the same dataset back.",
            inputs=[sockets.Dataset.Input("dataset", tooltip="What to write."), *inputs_of(SaveOptions)],
            outputs=[
                io.String.Output(display_name="folder", tooltip="The folder's path."),
                io.String.Output(display_name="report", tooltip="What was written, and where."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, dataset: Dataset, **settings: Any) -> io.NodeOutput:
        options = settings_from(SaveOptions, settings)
        folder, report = save_dataset(dataset, saved_folder(), options, Progress(max(1, len(dataset))))
        return io.NodeOutput(str(folder), report, ui={"text": [report]})


def _is_toml(path: Path) -> bool:
    return path.suffix.lower() == ".toml" and not path.is_dir()
