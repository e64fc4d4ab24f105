"""The node that brings a run back without training."""

from __future__ import annotations

from comfy_api.latest import io

from ..host.lora import run_root
from ..trainer.runs import load_run, run_names, stamp
from . import sockets
from .search import search_words


class LoadRun(io.ComfyNode):
    """A run from its folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnLoadRun",
            **search_words("KilnLoadRun"),
            display_name="Load Run (Kiln)",
            category=sockets.CATEGORY,
            description="Brings back any run below output/kiln, finished or not, without training.",
            inputs=[
                io.Combo.Input("run", options=run_names(run_root()), tooltip="A folder below output/kiln."),
            ],
            outputs=[sockets.Run.Output(display_name="run", tooltip="For Save LoRA and Epoch Sweep.")],
        )

    @classmethod
    def fingerprint_inputs(cls, run: str) -> str:
        return stamp(run_root() / run)

    @classmethod
    def execute(cls, run: str) -> io.NodeOutput:
        return io.NodeOutput(load_run(run_root() / run))
