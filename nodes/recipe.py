"""The node that makes a recipe."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

from ..trainer.recipe import Amount, Buckets, Captions, Loss, Network, Optimizer, Recipe
from . import sockets
from .inputs import inputs_of, int_input, settings_from

# Field names are unique across the groups, as kohya's are, so that one node can show them all.
GROUPS: dict[str, type[Any]] = {
    "amount": Amount,
    "network": Network,
    "optimizer": Optimizer,
    "buckets": Buckets,
    "captions": Captions,
    "loss": Loss,
}


class MakeRecipe(io.ComfyNode):
    """The common settings of a training run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnRecipe",
            display_name="Recipe (Kiln)",
            category=sockets.CATEGORY,
            description="How a LoRA is trained: amount, network, optimizer, sizes, captions, loss.",
            inputs=[
                int_input(
                    "seed", default=0, min=0, max=2**63 - 1, tooltip="Every random choice of the run follows from it."
                ),
                *(each for group in GROUPS.values() for each in inputs_of(group)),
            ],
            outputs=[sockets.Recipe.Output(display_name="recipe", tooltip="Wire it into Train LoRA.")],
        )

    @classmethod
    def execute(cls, seed: int, **values: Any) -> io.NodeOutput:
        groups: dict[str, Any] = {
            name: settings_from(kind, {field.name: values[field.name] for field in dataclasses.fields(kind)})
            for name, kind in GROUPS.items()
        }
        return io.NodeOutput(Recipe(seed=seed, **groups))
