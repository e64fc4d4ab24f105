"""The nodes as the running server shows them."""

from __future__ import annotations

from typing import Any

import pytest

from demo.hosting import Host

IDS = (
    "KilnLoadDataset",
    "KilnImagesToDataset",
    "KilnDatasetToImages",
    "KilnMergeDatasets",
    "KilnBalanceRepeats",
    "KilnOwnSettings",
    "KilnSaveDataset",
    "KilnAutoTag",
    "KilnPruneTags",
    "KilnAlignTags",
    "KilnEditTags",
    "KilnSplitFigures",
    "KilnCropViews",
    "KilnFigureModels",
    "KilnRemoveDuplicates",
    "KilnSelectImages",
    "KilnDatasetReport",
    "KilnSmallImages",
    "KilnReplaceImages",
    "KilnControlNetStyleAugment",
    "KilnRegularizationSet",
    "KilnRecipe",
    "KilnTrainLoRA",
    "KilnLoadRun",
    "KilnSaveLoRA",
    "KilnResizeLoRA",
    "KilnEpochSweep",
)


@pytest.fixture(scope="module")
def info(host: Host) -> dict[str, Any]:
    return host.object_info()


def inputs(about: dict[str, Any]) -> dict[str, list[Any]]:
    """Every input of a node by its name: [type, options]."""
    return {**about["input"].get("required", {}), **about["input"].get("optional", {})}


@pytest.mark.parametrize("name", IDS)
def test_the_node_is_there_under_its_public_id(info: dict[str, Any], name: str) -> None:
    about = info[name]
    assert about["display_name"].endswith("(Kiln)")
    assert about["category"] == "LoRA Kiln"
    assert about["description"]
    assert "lora-kiln" in about["python_module"]


@pytest.mark.parametrize("name", IDS)
def test_every_input_and_output_says_what_it_is(info: dict[str, Any], name: str) -> None:
    silent = [key for key, (_, *options) in inputs(info[name]).items() if not (options and options[0].get("tooltip"))]
    assert silent == []
    assert all(info[name]["output_tooltips"])
    assert len(info[name]["output_tooltips"]) == len(info[name]["output"])


def test_no_other_node_of_ours_has_slipped_in(info: dict[str, Any]) -> None:
    ours = {name for name, about in info.items() if "lora-kiln" in about["python_module"]}
    assert ours >= set(IDS)
    assert all(name.startswith("Kiln") for name in ours)


def test_the_wires_fit_each_other_and_cores_own_nodes(info: dict[str, Any]) -> None:
    def kind(name: str, key: str) -> str:
        return str(inputs(info[name])[key][0])

    train = info["KilnTrainLoRA"]["output"]
    assert train == ["MODEL", "CLIP", "KILN_RUN", "LORA_MODEL", "LOSS_MAP", "IMAGE", "STRING"]
    assert kind("KilnSaveLoRA", "run") == kind("KilnEpochSweep", "run") == "KILN_RUN"
    assert kind("KilnTrainLoRA", "recipe") == info["KilnRecipe"]["output"][0] == "KILN_RECIPE"
    for name in (
        "KilnAutoTag",
        "KilnPruneTags",
        "KilnAlignTags",
        "KilnEditTags",
        "KilnCropViews",
        "KilnControlNetStyleAugment",
        "KilnTrainLoRA",
    ):
        assert kind(name, "dataset") == info["KilnLoadDataset"]["output"][0] == "KILN_DATASET"
    assert kind("LoraModelLoader", "lora") == "LORA_MODEL"
    assert kind("LossGraphNode", "loss") == "LOSS_MAP"
