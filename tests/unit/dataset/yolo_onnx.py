"""Small real ONNX models with the contracts of detectors and background models, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 160


def write_detector(
    folder: Path,
    colors: tuple[tuple[int, int, int], ...],
    names: tuple[str, ...] = ("head",),
    *,
    side: int | str = SIDE,
    threshold: float | None = None,
    end_to_end: bool = False,
) -> Path:
    """A detector in `folder` that finds the extent of each colour (RGB, 0 to 255): of class 0, with score 0.9.

    As a real one does, it finds each thing twice (the second box 2 pixels larger, score 0.6) and gives boxes of a low
    score (0.1) everywhere else. A colour that is not there has score 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    nodes, weights, boxes = [], {}, []
    for number, color in enumerate(colors):
        nodes += _extent(number, color, weights)
        boxes.append(f"box{number}")
    weights["spread"] = np.array([[[0.0], [0.0], [4.0], [4.0]]], dtype=np.float32)
    weights["less"] = np.array([[[0.667]]], dtype=np.float32)
    junk = np.tile(np.array([80.0, 80.0, 100.0, 100.0], dtype=np.float32)[None, :, None], (1, 1, 3))
    weights["junk"] = junk
    others = len(names) - 1
    weights["junk scores"] = np.full((1, 1 + others, 3), 0.1, dtype=np.float32)
    weights["no class"] = np.zeros((1, max(1, others), 2 * len(colors)), dtype=np.float32)
    nodes.append(helper.make_node("Concat", boxes, ["found"], axis=2))
    nodes.append(helper.make_node("Concat", [f"score{n}" for n in range(len(colors))], ["sure"], axis=2))
    nodes.append(helper.make_node("Add", ["found", "spread"], ["larger"]))
    nodes.append(helper.make_node("Mul", ["sure", "less"], ["unsure"]))
    nodes.append(helper.make_node("Concat", ["sure", "unsure"], ["both"], axis=2))
    scores = ["both", "no class"] if others else ["both"]
    nodes.append(helper.make_node("Concat", scores, ["all scores"], axis=1))
    nodes.append(helper.make_node("Concat", ["all scores", "junk scores"], ["scores"], axis=2))
    nodes.append(helper.make_node("Concat", ["found", "larger", "junk"], ["boxes"], axis=2))
    shape: list[int | str] = [1, 4 + len(names), 2 * len(colors) + 3]
    if end_to_end:
        weights["corner"] = np.array(
            [[1, 0, -0.5, 0], [0, 1, 0, -0.5], [1, 0, 0.5, 0], [0, 1, 0, 0.5]], dtype=np.float32
        )
        weights["class"] = np.zeros((1, 1, 2 * len(colors) + 3), dtype=np.float32)
        nodes.append(helper.make_node("MatMul", ["corner", "boxes"], ["corners"]))
        nodes.append(helper.make_node("Concat", ["corners", "scores", "class"], ["columns"], axis=1))
        nodes.append(helper.make_node("Transpose", ["columns"], ["output0"], perm=[0, 2, 1]))
        shape = [1, 2 * len(colors) + 3, 6]
    else:
        nodes.append(helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1))
    sides = [side, side] if isinstance(side, int) else ["height", "width"]
    graph = helper.make_graph(
        nodes,
        "yolo",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *sides])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {"names": repr(dict(enumerate(names))), "imgsz": f"[{SIDE}, {SIDE}]"})
    onnx.save(model, str(folder / "model.onnx"))
    if threshold is not None:
        (folder / "threshold.json").write_text(json.dumps({"threshold": threshold}), encoding="utf-8")
    return folder


def _extent(number: int, color: tuple[int, int, int], weights: dict[str, np.ndarray]) -> list[onnx.NodeProto]:  # type: ignore[type-arg]
    """Nodes that give `box<number>` [1, 4, 1] (middle and size) and `score<number>` [1, 1, 1] of one colour."""
    n = str(number)
    weights["color" + n] = np.array(color, dtype=np.float32).reshape(1, 3, 1, 1) / 255.0
    weights["limit"] = np.array(0.04, dtype=np.float32)
    weights["half"] = np.array(0.5, dtype=np.float32)
    weights["one"] = np.array([[[1.0]]], dtype=np.float32)
    weights["sureness"] = np.array([[[0.9]]], dtype=np.float32)
    weights["flat"] = np.array([1, 1, 1], dtype=np.int64)
    nodes = [
        helper.make_node("Sub", ["images", "color" + n], ["apart" + n]),
        helper.make_node("Abs", ["apart" + n], ["size" + n]),
        helper.make_node("ReduceMax", ["size" + n], ["most" + n], axes=[1], keepdims=1),
        helper.make_node("Less", ["most" + n, "limit"], ["is" + n]),
        helper.make_node("Cast", ["is" + n], ["mask" + n], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["mask" + n], ["any" + n], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Reshape", ["any" + n, "flat"], ["there" + n]),
        helper.make_node("Mul", ["there" + n, "sureness"], ["score" + n]),
    ]
    for name, axis in (("x", 2), ("y", 3)):
        line = name + n
        nodes += [
            helper.make_node("ReduceMax", ["mask" + n], ["line" + line], axes=[1, axis], keepdims=0),
            helper.make_node("ArgMax", ["line" + line], ["first" + line], axis=1, keepdims=0),
            helper.make_node("ArgMax", ["line" + line], ["last" + line], axis=1, keepdims=0, select_last_index=1),
            helper.make_node("Cast", ["first" + line], ["low" + line], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["last" + line], ["end" + line], to=TensorProto.FLOAT),
            helper.make_node("Reshape", ["low" + line, "flat"], ["low1" + line]),
            helper.make_node("Reshape", ["end" + line, "flat"], ["end1" + line]),
            helper.make_node("Add", ["end1" + line, "one"], ["high" + line]),
            helper.make_node("Sub", ["high" + line, "low1" + line], ["span" + line]),
            helper.make_node("Add", ["high" + line, "low1" + line], ["sum" + line]),
            helper.make_node("Mul", ["sum" + line, "half"], ["middle" + line]),
        ]
    parts = ["middlex" + n, "middley" + n, "spanx" + n, "spany" + n]
    nodes.append(helper.make_node("Concat", parts, ["box" + n], axis=1))
    return nodes


def write_cutter(file: Path, *, side: int = 96) -> Path:
    """A background model in `file`: what is redder than it is green is figure."""
    file.parent.mkdir(parents=True, exist_ok=True)
    weights = np.array([40.0, -40.0, 0.0], dtype=np.float32).reshape(1, 3, 1, 1)
    nodes = [
        helper.make_node("Conv", ["img", "weights", "bias"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["mask"]),
    ]
    graph = helper.make_graph(
        nodes,
        "isnet",
        [helper.make_tensor_value_info("img", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, side, side])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([-10.0], np.float32), "bias")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(file))
    return file
