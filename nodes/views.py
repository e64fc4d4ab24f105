"""Nodes that cut pictures into views."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..dataset.sheets import crop_sheet
from ..dataset.values import Dataset
from ..dataset.views import ViewOptions, crop_views
from ..host.progress import Progress
from . import sockets
from .inputs import inputs_of, settings_from


class CropViews(io.ComfyNode):
    """Full figures into portraits, faces and the views between."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnCropViews",
            display_name="Crop Views (Kiln)",
            category=sockets.CATEGORY,
            description="Adds views of each figure (upper body, portrait, face, ...) with their camera tags. "
            "Works on plain backgrounds and on pictures with transparency; others pass unchanged.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="Pictures of single figures."),
                *inputs_of(ViewOptions),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The pictures and their views."),
                io.String.Output(display_name="report", tooltip="What was cropped, and what was left out and why."),
                io.Image.Output(display_name="preview", tooltip="The first pictures with the boxes of their views."),
            ],
        )

    @classmethod
    def execute(cls, dataset: Dataset, **settings: Any) -> io.NodeOutput:
        options = settings_from(ViewOptions, settings)
        result, report, done = crop_views(dataset, options, Progress(len(dataset)))
        sheet_HWC = np.asarray(crop_sheet(done), dtype=np.float32) / 255.0
        return io.NodeOutput(result, report, torch.from_numpy(sheet_HWC).unsqueeze(0))
