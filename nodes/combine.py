"""Nodes that join datasets, weigh their groups, and give them settings of their own."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dataset.balance import BalanceOptions, balance_repeats
from ..dataset.merge import MergeOptions, merge_datasets
from ..dataset.values import Dataset
from ..trainer.errors import KilnError
from ..trainer.own import OwnOptions, parse_own, with_own
from ..trainer.recipe import Recipe
from . import sockets
from .inputs import inputs_of, settings_from
from .search import search_words
from .showing import output

_MOST = 6


class MergeDatasets(io.ComfyNode):
    """Several datasets as one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnMergeDatasets",
            **search_words("KilnMergeDatasets"),
            display_name="Merge Datasets (Kiln)",
            category=sockets.CATEGORY,
            description="Joins datasets in the order of the inputs. For more of them, merge what was merged.",
            inputs=[
                sockets.Dataset.Input("dataset_1", tooltip="The first pictures."),
                *inputs_of(MergeOptions),
                *(
                    sockets.Dataset.Input(f"dataset_{number}", optional=True, tooltip="Further pictures.")
                    for number in range(2, _MOST + 1)
                ),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="All pictures."),
                io.String.Output(display_name="report", tooltip="How many came from where, and what was there twice."),
            ],
        )

    @classmethod
    def execute(cls, dataset_1: Dataset, **values: Any) -> io.NodeOutput:
        further = [values.pop(f"dataset_{number}", None) for number in range(2, _MOST + 1)]
        datasets = [dataset_1, *(dataset for dataset in further if dataset is not None)]
        return output(*merge_datasets(datasets, settings_from(MergeOptions, values)))


class BalanceRepeats(io.ComfyNode):
    """Repeats that make groups count alike, and a run as long as it should be."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnBalanceRepeats",
            **search_words("KilnBalanceRepeats"),
            display_name="Balance Repeats (Kiln)",
            category=sockets.CATEGORY,
            description="Chooses repeats so that each group is seen as often as the others, or that training takes "
            "about so many steps; the report shows the arithmetic.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures, with groups and repeats as loaded."),
                *inputs_of(BalanceOptions),
                sockets.Recipe.Input(
                    "recipe", optional=True, tooltip="Takes epochs and batch size from a recipe, instead of those here."
                ),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The same pictures with new repeats."),
                io.String.Output(
                    display_name="report", tooltip="The repeats of each group, and the steps that follow."
                ),
            ],
        )

    @classmethod
    def execute(cls, dataset: Dataset, recipe: Recipe | None = None, **settings: Any) -> io.NodeOutput:
        if recipe is not None:
            amount = recipe.amount
            settings |= {"epochs": amount.epochs, "batch_size": amount.batch_size * amount.accumulation}
        return output(*balance_repeats(dataset, settings_from(BalanceOptions, settings)))


class OwnSettings(io.ComfyNode):
    """Settings of the recipe that are otherwise for some pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KilnOwnSettings",
            **search_words("KilnOwnSettings"),
            display_name="Own Settings (Kiln)",
            category=sockets.CATEGORY,
            description="Gives pictures settings of their own, as kohya's subsets have them: another resolution, kept "
            "tags, flips, dropout. Merge such datasets, and train on them together.",
            inputs=[
                sockets.Dataset.Input("dataset", tooltip="The pictures."),
                *inputs_of(OwnOptions),
            ],
            outputs=[
                sockets.Dataset.Output(display_name="dataset", tooltip="The same pictures with these settings."),
                io.String.Output(display_name="report", tooltip="How many pictures have which settings."),
            ],
        )

    @classmethod
    def validate_inputs(cls, settings: str | None) -> bool | str:
        """Say what is wrong with a line before anything runs; None comes over a wire and is not known yet."""
        try:
            parse_own(settings_from(OwnOptions, {"settings": settings or ""}).settings)
        except KilnError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, dataset: Dataset, **values: Any) -> io.NodeOutput:
        return output(*with_own(dataset, settings_from(OwnOptions, values)))
