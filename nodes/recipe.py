"""The node that makes a recipe, and those that carry its rarer settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io

from ..trainer.presets import PRESETS, get_preset
from ..trainer.recipe import Recipe, groups
from . import sockets
from .inputs import inputs_of, int_input, parsed
from .search import search_words

NO_PRESET = "none"
# Which groups' details each node carries; their sockets on the main node have these names.
DETAILS: dict[str, tuple[str, ...]] = {
    "network": ("network",),
    "optimizer": ("amount", "optimizer"),
    "noise": ("noise", "loss"),
    "captions": ("captions",),
    "buckets": ("buckets",),
    "blocks": ("blocks",),
    "saving": ("saving",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Some settings of a recipe by their names."""

    values: dict[str, Any]


class MakeRecipe(io.ComfyNode):
    """The common settings of a training run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        preset = io.Combo.Input(
            "preset", options=[NO_PRESET, *PRESETS], default=NO_PRESET,
            tooltip="Fills in the settings below and the details that no node is wired for.\n"
            + "\n".join(f"{one.name}, from {one.article}: {one.note}" for one in PRESETS.values()),
        )  # fmt: skip
        # For `web/preset.js`, which fills them in.
        preset.extra_dict["presets"] = {name: _common(one.make()) for name, one in PRESETS.items()}
        return io.Schema(
            node_id="KilnRecipe",
            **search_words("KilnRecipe"),
            display_name="Recipe (Kiln)",
            category=sockets.CATEGORY,
            description="How a LoRA is trained: amount, network, optimizer, sizes, captions, noise, loss.",
            inputs=[
                preset,
                int_input(
                    "seed", default=0, min=0, max=2**63 - 1, tooltip="Every random choice of the run follows from it."
                ),
                *(each for group in groups().values() for each in inputs_of(group, detail=False)),
                *(
                    sockets.Details.Input(name, optional=True, tooltip=f"From the Recipe node for {name} details.")
                    for name in DETAILS
                ),
            ],
            outputs=[sockets.Recipe.Output(display_name="recipe", tooltip="Wire it into Train LoRA.")],
        )

    @classmethod
    def execute(cls, preset: str, **values: Any) -> io.NodeOutput:
        recipe = get_preset(preset).make() if preset != NO_PRESET else Recipe()
        for name in DETAILS:
            details = values.pop(name, None)
            recipe = recipe.with_settings(**details.values) if details else recipe
        return io.NodeOutput(recipe.with_settings(**parsed(_fields(), values)))


class _DetailsNode(io.ComfyNode):
    """Its settings in, `Details` out."""

    @classmethod
    def execute(cls, **values: Any) -> io.NodeOutput:
        return io.NodeOutput(Details(values=parsed(_fields(), values)))


class NetworkDetails(_DetailsNode):
    """Dropouts, DoRA, layer filters, a LoRA to start from."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnRecipeNetwork", **search_words("KilnRecipeNetwork"),
            display_name="Recipe: Network (Kiln)",
            description="Dropouts, DoRA, LyCORIS's options, layer filters, a LoRA to start from.", **_shared("network"),
        )  # fmt: skip


class OptimizerDetails(_DetailsNode):
    """Accumulation, decay, clipping, the optimizer's own arguments, LoRA+, EMA."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnRecipeOptimizer", **search_words("KilnRecipeOptimizer"),
            display_name="Recipe: Optimizer (Kiln)",
            description="Accumulation, weight decay, clipping, optimizer_args, LoRA+, EMA.", **_shared("optimizer"),
        )  # fmt: skip


class NoiseDetails(_DetailsNode):
    """Pyramid noise, input perturbation, noise levels, Huber losses, masks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnRecipeNoise", **search_words("KilnRecipeNoise"),
            display_name="Recipe: Noise and Loss (Kiln)",
            description="Pyramid noise, input perturbation, noise levels, loss forms, masks.", **_shared("noise"),
        )  # fmt: skip


class CaptionDetails(_DetailsNode):
    """A separator of kept tags, token length, cached variants."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnRecipeCaptions", **search_words("KilnRecipeCaptions"),
            display_name="Recipe: Captions (Kiln)",
            description="A separator of kept tags, token length, cached variants.", **_shared("captions"),
        )  # fmt: skip


class BucketDetails(_DetailsNode):
    """Bucket step, no upscale, flips, random crops, colour augmentation."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnRecipeBuckets", **search_words("KilnRecipeBuckets"),
            display_name="Recipe: Buckets and Augmentation (Kiln)",
            description="Bucket step, no upscale, flips, random crops, colour augmentation.", **_shared("buckets"),
        )  # fmt: skip


class BlockDetails(_DetailsNode):
    """Learning-rate weights and ranks by block of a UNet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnRecipeBlocks", **search_words("KilnRecipeBlocks"),
            display_name="Recipe: Block Weights (Kiln)",
            description="Learning-rate weights and ranks by block of a UNet, in kohya's order.", **_shared("blocks"),
        )  # fmt: skip


class SavingDetails(_DetailsNode):
    """How often a LoRA is saved, tested and painted."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnRecipeSaving", **search_words("KilnRecipeSaving"),
            display_name="Recipe: Saving, Validation, Samples (Kiln)",
            description="How often a LoRA is saved, tested on held-out images, and painted.", **_shared("saving"),
        )  # fmt: skip


def _shared(name: str) -> dict[str, Any]:
    """What the nodes for details have in common: their settings, and one output for the main node's socket."""
    kinds = [groups()[group] for group in DETAILS[name]]
    return {
        "category": f"{sockets.CATEGORY}/recipe",
        "inputs": [each for kind in kinds for each in inputs_of(kind, detail=True)],
        "outputs": [sockets.Details.Output(display_name=name, tooltip=f"Wire it into Recipe's input {name}.")],
    }


def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for kind in groups().values() for field in dataclasses.fields(kind)}


def _common(recipe: Recipe) -> dict[str, Any]:
    """A recipe's common settings by their names."""
    return {
        field.name: getattr(getattr(recipe, name), field.name)
        for name, kind in groups().items()
        for field in dataclasses.fields(kind)
        if not field.metadata["detail"]
    }
