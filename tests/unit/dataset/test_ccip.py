"""The CCIP reader, on small real ONNX models with its contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from lora_kiln.dataset.ccip import FEATURES, HUB_MODELS, METRICS, get_ccip, list_ccip
from lora_kiln.dataset.errors import BadModel, ModelMissing

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def write_ccip(folder: Path, *, side: int = 16, pairs: bool = True) -> Path:
    """Features are a picture's mean colours as the model gets them; a difference is the sum of theirs, over 10."""
    folder.mkdir(parents=True)

    def save(name: str, nodes: list[onnx.NodeProto], taken: tuple[object, ...], given: tuple[object, ...]) -> None:
        constants = {"rows": [1], "columns": [0], "last": [2], "picture": [2, 3]}
        graph = helper.make_graph(
            nodes, "ccip",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, taken)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, given)],
            [numpy_helper.from_array(np.array(value, dtype=np.int64), key) for key, value in constants.items()]
            + [numpy_helper.from_array(np.array(10, dtype=np.float32), "ten")],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.save(model, folder / name)

    save(
        FEATURES, [helper.make_node("ReduceMean", ["input", "picture"], ["output"], keepdims=0)],
        ("N", 3, side, side), ("N", 3),
    )  # fmt: skip
    if not pairs:
        save(METRICS, [helper.make_node("Identity", ["input"], ["output"])], ("N", 3), ("N", 3))
        return folder
    save(
        METRICS,
        [
            helper.make_node("Unsqueeze", ["input", "rows"], ["one"]),
            helper.make_node("Unsqueeze", ["input", "columns"], ["other"]),
            helper.make_node("Sub", ["one", "other"], ["apart"]),
            helper.make_node("Abs", ["apart"], ["size"]),
            helper.make_node("ReduceSum", ["size", "last"], ["sum"], keepdims=0),
            helper.make_node("Div", ["sum", "ten"], ["output"]),
        ],
        ("N", 3),
        ("N", "N"),
    )
    return folder


def test_features_see_the_picture_as_it_was_trained_on(tmp_path: Path) -> None:
    write_ccip(tmp_path / "tiny")
    model = get_ccip("tiny", [tmp_path])
    pictures = [Image.new("RGB", (30, 50), color) for color in ((255, 0, 51), (0, 102, 255))]
    expected = [
        [(value / 255 - mean) / std for value, mean, std in zip(color, MEAN, STD, strict=True)]
        for color in ((255, 0, 51), (0, 102, 255))
    ]
    np.testing.assert_allclose(model.features(pictures * 3), expected * 3, atol=1e-5)


def test_similarity_is_one_minus_the_difference_also_of_many(tmp_path: Path) -> None:
    write_ccip(tmp_path / "tiny")
    model = get_ccip("tiny", [tmp_path])
    draws = np.random.default_rng(2)
    a, b = (draws.random((number, 3), dtype=np.float32) for number in (150, 70))
    by_hand = 1 - np.abs(a[:, None] - b[None]).sum(-1) / 10
    np.testing.assert_allclose(model.similarity(a, b), by_hand, atol=1e-6)


def test_what_is_not_there_or_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="There is no CCIP model 'else'"):
        get_ccip("else", [tmp_path])
    write_ccip(tmp_path / "odd", pairs=False)
    with pytest.raises(BadModel, match="must give a difference for each pair"):
        get_ccip("odd", [tmp_path]).similarity(np.zeros((2, 3), dtype=np.float32), np.zeros((2, 3), dtype=np.float32))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / FEATURES).write_bytes(b"")
    with pytest.raises(ModelMissing, match="half"):
        get_ccip("half", [tmp_path])


def test_models_are_listed_by_name_then_those_of_the_hub(tmp_path: Path) -> None:
    write_ccip(tmp_path / "tiny")
    assert list_ccip([tmp_path, tmp_path / "missing"]) == ("tiny", *HUB_MODELS)
