"""The node that shows a run's epochs side by side."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..host.painting import SweepPainter
from ..host.progress import Progress
from ..sweep.axes import columns, pick_prompts
from ..sweep.grid import labelled_grid
from ..sweep.render import render, report
from ..trainer.values import Run
from . import sockets
from .inputs import int_input
from .pictures import to_image
from .sampling import sampling_from, sampling_inputs


class EpochSweep(io.ComfyNode):
    """Epochs x strengths x prompts, with a column without the LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnEpochSweep",
            display_name="Epoch Sweep (Kiln)",
            category=sockets.CATEGORY,
            description="Paints every prompt with every chosen epoch and strength, and without the LoRA.",
            inputs=[
                io.Model.Input("model", tooltip="The model as loaded, without the LoRA."),
                io.Clip.Input("clip", tooltip="Its text encoder, without the LoRA."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                sockets.Run.Input("run", tooltip="The run whose epochs are compared."),
                io.String.Input("prompts", multiline=True, default="", tooltip="One prompt a line."),
                io.String.Input("negative", multiline=True, default="", tooltip="Negative prompt of all cells."),
                io.String.Input("epochs", default="all", tooltip="all, last 5, or numbers like 2,4-8."),
                io.String.Input("strengths", default="1.0", tooltip="LoRA strengths, such as 0.6, 0.8, 1.0."),
                int_input("seed", default=0, min=0, max=2**63 - 1, tooltip="The same seed in every cell."),
                *sampling_inputs(steps=20, cfg=6.0),
                io.Int.Input("width", default=1024, min=64, max=8192, step=8, tooltip="Pixels."),
                io.Int.Input("height", default=1024, min=64, max=8192, step=8, tooltip="Pixels."),
            ],
            outputs=[
                io.Image.Output(display_name="grid", tooltip="The labelled grid."),
                io.Image.Output(display_name="cells", tooltip="Every cell, row by row."),
                io.String.Output(display_name="report", tooltip="What was compared, and what looks wrong."),
            ],
        )

    @classmethod
    def execute(
        cls, model: Any, clip: Any, vae: Any, run: Run, prompts: str, negative: str, epochs: str, strengths: str,
        seed: int, width: int, height: int, **sampling: Any,
    ) -> io.NodeOutput:  # fmt: skip
        across, down = columns(run, epochs, strengths), pick_prompts(prompts)
        painter = SweepPainter(model, clip, vae, negative, sampling_from(**sampling), (width, height), seed)
        progress = Progress(len(across) * len(down))
        rows = render(run, across, down, painter, progress)
        grid = labelled_grid(rows, [column.label for column in across], down)
        cells = [cell for row in rows for cell in row]
        return io.NodeOutput(to_image(grid), to_image(*cells), report(run, across, down, rows, painter.unmatched))
