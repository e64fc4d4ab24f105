"""The node that shows a run's epochs side by side, scores them, and says which to save."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comfy_api.latest import io

from ..dataset.values import Dataset
from ..host.blocking import blocked
from ..host.live import SWEEP_EVENT, push
from ..host.paths import cache_folder, font_files
from ..host.progress import Progress, executing_node
from ..host.sweeping import SweepBases, checkpoint_names
from ..sweep.axes import check_epochs, pick_bases, pick_prompts, pick_seeds, pick_strengths
from ..sweep.blocks import pick_presets
from ..sweep.options import NO_CELLS, SweepOptions
from ..sweep.session import Axes, plan_of, sweep
from ..trainer.errors import KilnError
from ..trainer.values import Run
from . import sockets
from .inputs import inputs_of, int_input, settings_from
from .judging import judge_inputs, judges_from
from .pictures import to_image
from .sampling import sampling_from, sampling_inputs
from .search import search_words
from .tagging import check_tagger


def _lines(name: str, text: str) -> tuple[str, ...]:
    """A text of the page as its option holds it."""
    found: tuple[str, ...] = getattr(settings_from(SweepOptions, {name: text}), name)
    return found


class EpochSweep(io.ComfyNode):
    """Epochs x strengths x prompts, with a column without the LoRA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnEpochSweep",
            **search_words("KilnEpochSweep"),
            display_name="Epoch Sweep (Kiln)",
            category=sockets.CATEGORY,
            description="Paints every prompt with every chosen epoch and strength, and without the LoRA; scores them "
            "and says which epoch to save.",
            inputs=[
                io.Model.Input("model", tooltip="The model as loaded, without the LoRA."),
                io.Clip.Input("clip", tooltip="Its text encoder, without the LoRA."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                sockets.Run.Input("run", tooltip="The run whose epochs are compared."),
                io.String.Input(
                    "prompts", multiline=True, default="", tooltip="One prompt a line; name = prompt gives it a name."
                ),
                io.String.Input("negative", multiline=True, default="", tooltip="Negative prompt of all cells."),
                io.String.Input("epochs", default="all", tooltip="all, last 5, or numbers like 2,4-8."),
                io.String.Input("strengths", default="1.0", tooltip="LoRA strengths, such as 0.6, 0.8, 1.0."),
                int_input("seed", default=0, min=0, max=2**63 - 1, tooltip="The seed of every cell; seeds names more."),
                *sampling_inputs(steps=20, cfg=6.0),
                io.Int.Input("width", default=1024, min=64, max=8192, step=8, tooltip="Pixels."),
                io.Int.Input("height", default=1024, min=64, max=8192, step=8, tooltip="Pixels."),
                *inputs_of(SweepOptions),
                *judge_inputs(),
            ],
            outputs=[
                io.Image.Output(display_name="grid", tooltip="The labelled grid, one a base model."),
                io.Image.Output(
                    display_name="cells", is_output_list=True, tooltip="Every cell, row by row, as a list."
                ),
                io.String.Output(display_name="report", tooltip="What was compared, and what looks wrong."),
                io.Int.Output(display_name="best_epoch", tooltip="For Save LoRA's epoch."),
                io.Float.Output(display_name="best_strength", tooltip="For Save LoRA's strength."),
                io.String.Output(display_name="reason", tooltip="Why this epoch and strength."),
                io.Image.Output(display_name="plot", tooltip="Flexibility against trait recall, epochs as points."),
                io.String.Output(display_name="table", tooltip="The scores of every column."),
                io.String.Output(display_name="page", tooltip="The contact page's file, for any browser."),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, tagger: str | None = None, prompts: str | None = None, epochs: str | None = None,
        strengths: str | None = None, seeds: str | None = None, base_models: str | None = None,
        block_presets: str | None = None,
    ) -> bool | str:  # fmt: skip
        """What can be read wrong is told before hours of training; None comes by wire and is not known yet."""
        checks: tuple[tuple[str | None, Callable[[str], object]], ...] = (
            (prompts, pick_prompts),
            (epochs, check_epochs),
            (strengths, pick_strengths),
            (seeds, lambda text: pick_seeds(0, text)),
            (base_models, lambda text: pick_bases(_lines("base_models", text), checkpoint_names())),
            (block_presets, lambda text: pick_presets(_lines("block_presets", text))),
        )
        try:
            for text, check in checks:
                if text is not None:
                    check(text)
        except KilnError as error:
            return str(error)
        return check_tagger(tagger)

    @classmethod
    def execute(
        cls, model: Any, clip: Any, vae: Any, run: Run, prompts: str, negative: str, epochs: str, strengths: str,
        seed: int, steps: int, cfg: float, sampler_name: str, scheduler: str, width: int, height: int, tagger: str,
        ccip: str, dataset: Dataset | None = None, clip_vision: Any = None, **settings: Any,
    ) -> io.NodeOutput:  # fmt: skip
        options = settings_from(SweepOptions, settings)
        sampling, progress = sampling_from(steps, cfg, sampler_name, scheduler), Progress(1)
        bases = SweepBases(
            model, clip, vae, negative=negative, sampling=sampling, size=(width, height), watch=progress.watch
        )  # fmt: skip
        axes = Axes(prompts=prompts, epochs=epochs, strengths=strengths, seed=seed)
        plan = plan_of(run, axes, options, bases)
        found = sweep(
            run, plan, bases, judges_from(tagger, ccip, clip_vision, options.threshold, progress), options,
            dataset=dataset, cache=cache_folder() / "cells", progress=progress, fonts=font_files(),
        )  # fmt: skip
        cells = blocked() if options.cells == NO_CELLS else [to_image(picture) for picture in found.pictures()]
        choice = found.choice
        push(SWEEP_EVENT, {"node": executing_node(), "run": run.folder.name, "sweep": found.page.stem})
        return io.NodeOutput(
            to_image(*found.sheets), cells, found.report, choice.epoch, choice.strength, choice.reason,
            to_image(found.plot), found.table, str(found.page),
        )  # fmt: skip
