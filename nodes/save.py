"""The node that saves a LoRA where every loader finds it."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..host.lora import lora_folder
from ..trainer.export import SaveOptions, export
from ..trainer.values import Run
from . import sockets
from .inputs import inputs_of
from .pictures import from_image
from .search import search_words


class SaveLoRA(io.ComfyNode):
    """One epoch of a run as a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnSaveLoRA",
            **search_words("KilnSaveLoRA"),
            display_name="Save LoRA (Kiln)",
            category=sockets.CATEGORY,
            description="Writes one epoch of a run into models/loras, with kohya's keys and metadata: the last, "
            "one by number, or what Epoch Sweep chose.",
            inputs=[
                sockets.Run.Input("run", tooltip="A run, finished or not: what it has saved so far."),
                *inputs_of(SaveOptions),
                io.Image.Input(
                    "cover",
                    optional=True,
                    tooltip="What model browsers show: the first picture. Empty takes the run's last sample, if any.",
                ),
            ],
            outputs=[io.String.Output(display_name="file name", tooltip="As core's LoRA loader lists it.")],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, run: Run, file_name: str, epoch: int, precision: str, cover: Tensor | None = None, strength: float = 1.0
    ) -> io.NodeOutput:
        options = SaveOptions(file_name=file_name, epoch=epoch, precision=precision, strength=strength)
        file = export(run, options, lora_folder(), None if cover is None else from_image(cover)[0])
        name = file.relative_to(lora_folder()).as_posix()
        return io.NodeOutput(name, ui={"text": [f"models/loras/{name}"]})
