"""The node that makes a LoRA smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ..host.lora import lora_file, lora_folder, lora_names
from ..trainer.export import refuse_to_replace, target_file
from ..trainer.formats import cast, load_file, save_file
from ..trainer.resize import ResizeOptions, resize
from . import sockets
from .inputs import inputs_of
from .search import search_words


class ResizeLoRA(io.ComfyNode):
    """A LoRA file at a lower rank."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnResizeLoRA",
            **search_words("KilnResizeLoRA"),
            display_name="Resize LoRA (Kiln)",
            category=sockets.CATEGORY,
            description="Makes a LoRA file smaller: to a rank, or to what a share of each layer needs.",
            inputs=[
                io.Combo.Input("lora_name", options=lora_names(), tooltip="A plain LoRA or LoCon in models/loras."),
                *inputs_of(ResizeOptions),
                io.String.Input("file_name", default="", tooltip="The new file; empty adds the new rank to the name."),
                io.Combo.Input("precision", options=["fp16", "bf16", "fp32"], tooltip="Of the saved weights."),
            ],
            outputs=[
                io.String.Output(display_name="file name", tooltip="As core's LoRA loader lists it."),
                io.String.Output(display_name="report", tooltip="Ranks, and how much of each layer is left."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, lora_name: str, file_name: str, precision: str, **settings: Any) -> io.NodeOutput:
        options = ResizeOptions(**settings)
        fallback = f"{Path(lora_name).with_suffix('').as_posix()}-dim{options.new_dim}"
        file = target_file(file_name or fallback, lora_folder())
        refuse_to_replace(file)
        made = resize(*load_file(lora_file(lora_name)), options)
        save_file(cast(made.tensors, precision), {**made.metadata, "ss_output_name": file.stem}, file)
        name = file.relative_to(lora_folder()).as_posix()
        return io.NodeOutput(name, made.report(), ui={"text": [f"models/loras/{name}", made.report()]})
