"""The node that trains."""

from __future__ import annotations

from collections import Counter
from typing import Any

from comfy_api.latest import io

from ..dataset.values import Dataset
from ..host.base_file import base_file
from ..host.blocking import blocked
from ..host.lora import lora_file, run_root, with_lora
from ..host.marks import training_mark
from ..host.model import HostModel
from ..host.progress import executing_node
from ..host.reporting import NodeReporter
from ..sweep.plot import loss_plot
from ..trainer.formats import load_file
from ..trainer.preflight import report_of
from ..trainer.recipe import Recipe
from ..trainer.runs import read_losses, times_gone_on
from ..trainer.task import Task
from ..trainer.values import Run
from . import sockets
from .pictures import to_image
from .search import search_words

NEW_RUN, FORK = "new run", "fork the last run"


_MADE: dict[str, Run] = {}
"""By name, what the node gave last in this process."""
_LOST: Counter[str] = Counter()
"""How often files of it were gone when the graph was queued again."""


class TrainLoRA(io.ComfyNode):
    """Training on the model that the graph has loaded."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnTrainLoRA",
            **search_words("KilnTrainLoRA"),
            display_name="Train LoRA (Kiln)",
            category=sockets.CATEGORY,
            description="Trains a LoRA on the loaded model. A finished run is found again, an unfinished one goes on.",
            inputs=[
                io.Model.Input("model", tooltip="The model to train on. It is left exactly as it is."),
                io.Clip.Input("clip", tooltip="Its text encoder; trained too when the recipe's text_lr is above 0."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                sockets.Dataset.Input("dataset", tooltip="What to learn."),
                sockets.Recipe.Input("recipe", tooltip="How to learn it."),
                io.String.Input("name", default="my_lora", tooltip="The run's folder is output/kiln/<name>."),
                io.Boolean.Input(
                    "preflight_only", default=False, tooltip="Only say what would happen: steps, memory, time, doubts."
                ),
                io.Combo.Input(
                    "when_changed",
                    options=[NEW_RUN, FORK],
                    default=NEW_RUN,
                    tooltip="When the last run of this name differs: begin, or go on from its LoRA.",
                ),
                io.LoraModel.Input(
                    "start", optional=True, tooltip="A LoRA to go on from; the recipe's start_from comes first."
                ),
            ],
            hidden=[io.Hidden.prompt],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with the finished LoRA at strength 1."),
                io.Clip.Output(display_name="clip", tooltip="The text encoder with the finished LoRA."),
                sockets.Run.Output(display_name="run", tooltip="For Save LoRA and Epoch Sweep."),
                io.LoraModel.Output(display_name="lora", tooltip="The last epoch, for core's LoRA nodes."),
                io.LossMap.Output(display_name="losses", tooltip="The loss of each step, for core's loss graph."),
                io.Image.Output(display_name="loss plot", tooltip="The loss, raw and smoothed."),
                io.String.Output(display_name="report", tooltip="What was known before the first step."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, name: str = "", **_: Any) -> int:
        """What the host would not run again: a run that was stopped and kept is gone on with by the same graph, and one
        whose files were deleted since is trained anew.
        """
        made = _MADE.get(name)
        if made and not all(one.file.is_file() for one in made.checkpoints):
            del _MADE[name]
            _LOST[name] += 1
        return times_gone_on(run_root(), name) + _LOST[name]

    @classmethod
    def execute(
        cls, model: Any, clip: Any, vae: Any, dataset: Dataset, recipe: Recipe, name: str, preflight_only: bool,
        when_changed: str, start: Any = None,
    ) -> io.NodeOutput:  # fmt: skip
        from_file = recipe.network.start_from.strip()
        base = base_file(getattr(cls.hidden, "prompt", None), executing_node())
        task = Task(
            model=HostModel(model, clip, vae, file=base), mark=training_mark(model, clip, vae), dataset=dataset,
            recipe=recipe, root=run_root(), name=name, start=load_file(lora_file(from_file))[0] if from_file else start,
        )  # fmt: skip
        with NodeReporter(name) as reporter:
            if preflight_only:
                found = task.look_ahead(reporter)
                return io.NodeOutput(*[blocked()] * 6, found.text(), ui={"text": [found.text()]})
            run = task.run(reporter, fork=when_changed == FORK)
        _MADE[name] = run
        tensors, _ = load_file(run.checkpoint(0).file)
        losses = read_losses(run.folder)
        trained = with_lora(model, clip, tensors, 1.0)
        report = report_of(run.folder)
        return io.NodeOutput(
            *trained, run, tensors, {"loss": losses}, to_image(loss_plot(losses)), report, ui={"text": [report]}
        )
