"""The pack's own types on the wires."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "LoRA Kiln"

Dataset = io.Custom("KILN_DATASET")
Recipe = io.Custom("KILN_RECIPE")
Run = io.Custom("KILN_RUN")
Details = io.Custom("KILN_DETAILS")
FigureModels = io.Custom("KILN_FIGURE_MODELS")
