"""The nodes that read and write kohya's configuration files."""

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io

from ..dataset.report import dataset_report
from ..dataset.subsets import load_subsets, subsets_mark
from ..dataset.toml_file import find_path
from ..dataset.values import Dataset
from ..host.datasets import check_path
from ..host.lora import run_root
from ..host.paths import input_folder
from ..host.progress import Progress
from ..trainer.errors import KilnError
from ..trainer.kohya import Reading, read_config
from ..trainer.kohya_write import save_config
from ..trainer.recipe import Recipe
from . import sockets
from .search import search_words
from .showing import output


class LoadKohyaConfig(io.ComfyNode):
    """A kohya_ss or sd-scripts file as a recipe, with the pictures that it names."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnLoadKohyaConfig",
            **search_words("KilnLoadKohyaConfig"),
            display_name="Load Kohya Config (Kiln)",
            category=sockets.CATEGORY,
            description="Reads a kohya_ss JSON or an sd-scripts TOML, and tells of each setting what became of it.",
            inputs=[
                io.String.Input(
                    "file",
                    default="",
                    tooltip="A kohya_ss JSON, an sd-scripts TOML, or a dataset's TOML: a path, or a name in input.",
                ),
                io.String.Input(
                    "dataset_file",
                    default="",
                    optional=True,
                    tooltip="The TOML of the dataset ([[datasets]]), where the file does not name it; else empty.",
                ),
            ],
            outputs=[
                sockets.Recipe.Output(display_name="recipe", tooltip="Wire it into Train LoRA."),
                sockets.Dataset.Output(
                    display_name="dataset", tooltip="The pictures it names; empty if none are here."
                ),
                io.String.Output(display_name="report", tooltip="Every setting of the file, and what became of it."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, file: str, dataset_file: str = "") -> str:
        """Run again when the files change, or a picture or caption of the folders that they name."""
        try:
            reading = _read(file, dataset_file)
        except ValueError as error:
            return str(error)
        return f"{reading}\n{subsets_mark(reading.subsets)}"

    @classmethod
    def execute(cls, file: str, dataset_file: str = "") -> io.NodeOutput:
        reading = _read(file, dataset_file)
        dataset, problems = load_subsets(reading.subsets, None, Progress(max(1, len(reading.subsets))))
        pictures = f"\n\n{dataset_report(dataset, problems)}" if reading.subsets else ""
        return output(reading.recipe, dataset, reading.report + pictures)


class SaveKohyaConfig(io.ComfyNode):
    """A recipe and a dataset's folders as sd-scripts' files."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnSaveKohyaConfig",
            **search_words("KilnSaveKohyaConfig"),
            display_name="Save Kohya Config (Kiln)",
            category=sockets.CATEGORY,
            description="Writes a recipe, and the folders of a dataset, as TOML files for kohya's sd-scripts.",
            inputs=[
                sockets.Recipe.Input("recipe", tooltip="The settings."),
                io.String.Input("name", default="my_lora", tooltip="The files are output/kiln/kohya/<name>.toml, ..."),
                sockets.Dataset.Input("dataset", optional=True, tooltip="Its folders and repeats are written too."),
            ],
            outputs=[io.String.Output(display_name="file", tooltip="The path of the settings' TOML.")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, recipe: Recipe, name: str, dataset: Dataset | None = None) -> io.NodeOutput:
        file = save_config(run_root() / "kohya", name, recipe, dataset)
        return io.NodeOutput(str(file), ui={"text": [str(file)]})


def _read(file: str, dataset_file: str) -> Reading:
    """The configuration, if the server may read it and what it names."""
    reading = read_config(_path(file, "file"), _optional(dataset_file), check_path)
    for path in (path for subset in reading.subsets for path in subset.paths):
        check_path(path)
    return reading


def _path(text: str, what: str) -> Path:
    """The file that a user names: absolute, or below the host's input folder."""
    text = (text or "").strip().strip("\"'")
    if not text:
        raise KilnError(f"{what} is empty; give a path, absolute or below {input_folder()}.")
    return find_path(text, input_folder(), check_path)


def _optional(text: str) -> Path | None:
    return _path(text, "dataset_file") if text and text.strip() else None
