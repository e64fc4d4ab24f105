"""The node that trains."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dataset.values import Dataset
from ..host.lora import model_mark, run_root, with_lora
from ..host.model import HostModel
from ..host.reporting import NodeReporter
from ..sweep.plot import loss_plot
from ..trainer.formats import load_file
from ..trainer.loop import train
from ..trainer.recipe import Recipe
from ..trainer.runs import RunFolder, find_folder, fingerprint, is_finished, load_run, read_losses
from . import sockets
from .pictures import to_image


class TrainLoRA(io.ComfyNode):
    """Training on the model that the graph has loaded."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnTrainLoRA",
            display_name="Train LoRA (Kiln)",
            category=sockets.CATEGORY,
            description="Trains a LoRA on the loaded model. A finished run is found again, not trained twice.",
            inputs=[
                io.Model.Input("model", tooltip="The model to train on. It is left exactly as it is."),
                io.Clip.Input("clip", tooltip="Its text encoder; trained too when the recipe's text_lr is above 0."),
                io.Vae.Input("vae", tooltip="Its VAE."),
                sockets.Dataset.Input("dataset", tooltip="What to learn."),
                sockets.Recipe.Input("recipe", tooltip="How to learn it."),
                io.String.Input("name", default="my_lora", tooltip="The run's folder is output/kiln/<name>."),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with the finished LoRA at strength 1."),
                io.Clip.Output(display_name="clip", tooltip="The text encoder with the finished LoRA."),
                sockets.Run.Output(display_name="run", tooltip="For Save LoRA and Epoch Sweep."),
                io.LoraModel.Output(display_name="lora", tooltip="The last epoch, for core's LoRA nodes."),
                io.LossMap.Output(display_name="losses", tooltip="The loss of each step, for core's loss graph."),
                io.Image.Output(display_name="loss plot", tooltip="The loss, raw and smoothed."),
            ],
        )

    @classmethod
    def execute(cls, model: Any, clip: Any, vae: Any, dataset: Dataset, recipe: Recipe, name: str) -> io.NodeOutput:
        mark = fingerprint(recipe, dataset, model_mark(model, clip))
        folder = find_folder(run_root(), name, mark)
        if is_finished(folder):
            run = load_run(folder)
        else:
            target = RunFolder(folder, name, mark, dataset)
            run = train(HostModel(model, clip, vae), dataset, recipe, target, NodeReporter())
        tensors, _ = load_file(run.checkpoint(0).file)
        losses = read_losses(run.folder)
        trained = with_lora(model, clip, tensors, 1.0)
        return io.NodeOutput(*trained, run, tensors, {"loss": losses}, to_image(loss_plot(losses)))
