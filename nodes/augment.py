"""The node that paints the dataset again in other styles."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dataset.augment import StyleOptions, augment
from ..dataset.values import Dataset
from ..host.marks import model_mark
from ..host.painting import StylePainter
from ..host.paths import cache_folder
from ..host.progress import Progress
from ..host.sampling import Control
from . import sockets
from .inputs import inputs_of, settings_from
from .sampling import sampling_from, sampling_inputs


class ControlNetStyleAugment(io.ComfyNode):
    """img2img variants of every picture, steered by a ControlNet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        share = {"min": 0.0, "max": 1.0, "step": 0.01}
        return io.Schema(
            node_id="KilnControlNetStyleAugment",
            display_name="ControlNet Style Augment (Kiln)",
            category=sockets.CATEGORY,
            description="Paints each picture again in other styles; a ControlNet holds the lines.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures to vary; their captions say what is shown."),
                io.Model.Input("model", tooltip="The model that paints."),
                io.Clip.Input("clip", tooltip="Its text encoder."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                io.ControlNet.Input("control_net", tooltip="A canny ControlNet for this model."),
                *inputs_of(StyleOptions),
                io.String.Input("negative", multiline=True, default="", tooltip="Negative prompt."),
                io.Float.Input(
                    "strength", default=1.0, min=0.0, max=10.0, step=0.01, tooltip="The ControlNet's strength."
                ),
                io.Float.Input("start_percent", default=0.05, tooltip="Share of the steps before it starts.", **share),
                io.Float.Input(
                    "end_percent", default=0.45, tooltip="Share of the steps after which it stops.", **share
                ),
                io.Float.Input("denoise", default=0.6, tooltip="Lower keeps more of the colours.", **share),
                io.Float.Input("canny_low", default=0.1, tooltip="Weakest edge that continues a line.", **share),
                io.Float.Input("canny_high", default=0.3, tooltip="Weakest edge that starts a line.", **share),
                *sampling_inputs(steps=25, cfg=6.0),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The pictures and their variants."),
                io.String.Output(display_name="report", tooltip="What was painted."),
            ],
        )

    @classmethod
    def execute(
        cls, dataset: Dataset, model: Any, clip: Any, vae: Any, control_net: Any, negative: str, strength: float,
        start_percent: float, end_percent: float, denoise: float, canny_low: float, canny_high: float,
        steps: int, cfg: float, sampler_name: str, scheduler: str, **styles: Any,
    ) -> io.NodeOutput:  # fmt: skip
        options = settings_from(StyleOptions, styles)
        control = Control(net=control_net, strength=strength, start=start_percent, end=end_percent)
        painter = StylePainter(
            model=model, clip=clip, vae=vae, control=control, negative=negative, denoise=denoise,
            settings=sampling_from(steps, cfg, sampler_name, scheduler), canny_low=canny_low, canny_high=canny_high,
        )  # fmt: skip
        mark = f"{model_mark(model, clip)} {painter.mark()}"
        total = len(dataset) * len(options.styles) * options.variants
        return io.NodeOutput(*augment(dataset, options, painter, cache_folder(), mark, Progress(total)))
