"""Sizes of training as a node's inputs: the common ones by themselves, or all of a recipe's."""

from __future__ import annotations

import dataclasses
from typing import Any

from comfy_api.latest import io

from ..trainer.groups import Buckets
from . import sockets
from .inputs import inputs_of


def bucket_inputs() -> list[io.Input]:
    """The sizes, and a recipe that goes before them."""
    recipe = sockets.Recipe.Input(
        "recipe", optional=True, tooltip="Takes all sizes and the batch size from a recipe, instead of those here."
    )
    return [*inputs_of(Buckets), recipe]


def buckets_from(values: dict[str, Any]) -> tuple[Buckets, int, dict[str, Any]]:
    """The sizes, the batch size (1 without a recipe), and the values that are left, from a node's values."""
    names = {field.name for field in dataclasses.fields(Buckets)}
    rest = {name: value for name, value in values.items() if name not in names and name != "recipe"}
    recipe = values.get("recipe")
    if recipe is not None:
        return recipe.buckets, recipe.amount.batch_size, rest
    return Buckets(**{name: value for name, value in values.items() if name in names}), 1, rest
