"""Small real ONNX taggers with the WD contract, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
TAGS = (
    ("general", 9),
    ("sensitive", 9),
    ("red_background", 0),
    ("green_background", 0),
    ("blue_background", 0),
    ("^_^", 0),
    ("kie_rose_(oc)", 4),
)


def write_tagger(
    folder: Path, *, batch: int | str = "N", rows: int = len(TAGS), outputs: int = len(TAGS), sigmoid: bool = True
) -> Path:
    """A tagger in `folder` that knows the mean colour of a picture: score = sigmoid(weights @ mean BGR + bias).

    red, green and blue backgrounds are sure when their channel is bright; the rest has fixed scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = np.zeros((3, outputs), dtype=np.float32)
    bias = np.full(outputs, -20.0, dtype=np.float32)
    # The third channel is red: the contract is BGR.
    for channel, place in ((2, 2), (1, 3), (0, 4)):
        if place < outputs:
            weights[channel, place], bias[place] = 0.2, -40.0 + place * 0.1
    for place, value in ((0, 2.0), (5, 0.0), (6, 3.0)):
        if place < outputs:
            bias[place] = value
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights", "bias"], ["logits"]),
        helper.make_node("Sigmoid" if sigmoid else "Identity", ["logits"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "wd",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, outputs])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    lines = ["tag_id,name,category,count"]
    lines += [f"{i},{name},{category},100" for i, (name, category) in enumerate(TAGS[:rows])]
    (folder / "selected_tags.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
