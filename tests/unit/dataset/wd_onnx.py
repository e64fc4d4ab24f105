"""Small real ONNX taggers with the contracts of each kind, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

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
KINDS = {9: "rating", 0: "general", 4: "character"}


class Contract(NamedTuple):
    """What tells one kind's model from another's: where the colours are, how large their values, what comes out."""

    first: bool
    bgr: bool
    slope: float
    """Of the logit, by a channel's mean."""
    middle: float
    """A channel's mean, as the model gets it, at which a colour is as likely as not."""
    outputs: tuple[str, ...]
    model: str = "model.onnx"
    logits: bool = False


CONTRACTS = {
    "wd": Contract(first=False, bgr=True, slope=0.2, middle=200.0, outputs=("output",)),
    "pixai": Contract(
        first=True, bgr=False, slope=20.0, middle=0.5, outputs=("embedding", "logits", "prediction")
    ),
    "camie": Contract(
        first=True, bgr=False, slope=10.0, middle=1.0, logits=True, model="camie-tagger-v2.onnx",
        outputs=("initial_predictions", "refined_predictions"),
    ),
    "cl": Contract(first=True, bgr=True, slope=20.0, middle=0.5, outputs=("output",), logits=True),
}  # fmt: skip


def write_tagger(
    folder: Path,
    *,
    kind: str = "wd",
    batch: int | str = "N",
    rows: int = len(TAGS),
    outputs: int = len(TAGS),
    sigmoid: bool = True,
    half: bool = False,
) -> Path:
    """A tagger in `folder` that knows the mean colour of a picture: score = sigmoid(slope * (mean - middle)).

    red, green and blue backgrounds are sure when their channel is bright; the rest has fixed scores.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = CONTRACTS[kind]
    number = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    weights = np.zeros((3, outputs), dtype=np.float32)
    bias = np.full(outputs, -20.0, dtype=np.float32)
    for channel, place in zip((2, 1, 0) if about.bgr else (0, 1, 2), (2, 3, 4), strict=True):
        if place < outputs:
            weights[channel, place], bias[place] = about.slope, -about.slope * about.middle
    for place, value in ((0, 2.0), (5, 0.0), (6, 3.0)):
        if place < outputs:
            bias[place] = value
    nodes = [
        helper.make_node("Cast", ["input"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["wide"], ["mean"], axes=[2, 3] if about.first else [1, 2], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights", "bias"], ["scores"]),
        helper.make_node("Identity", ["mean"], ["embedding"]),
        helper.make_node("Identity", ["scores"], ["logits"]),
        helper.make_node("Neg", ["scores"], ["initial_predictions"]),
        helper.make_node("Identity", ["scores"], ["refined_predictions"]),
        helper.make_node("Sigmoid" if sigmoid and not about.logits else "Identity", ["scores"], ["output"]),
        helper.make_node("Identity", ["output"], ["prediction"]),
    ]
    shape = [batch, 3, SIDE, SIDE] if about.first else [batch, SIDE, SIDE, 3]
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("input", number, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3 if name == "embedding" else outputs])
            for name in about.outputs
        ],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(folder / about.model))
    _write_list(folder, kind, TAGS[:rows])
    return folder


def _write_list(folder: Path, kind: str, tags: tuple[tuple[str, int], ...]) -> None:
    if kind in ("wd", "pixai"):
        lines = ["tag_id,name,category,count" + (",ips" if kind == "pixai" else "")]
        lines += [f"{i},{name},{category},100" + (",[]" * (kind == "pixai")) for i, (name, category) in enumerate(tags)]
        (folder / "selected_tags.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return
    # camie writes its ratings' kind into their names.
    names = [f"rating_{name}" if kind == "camie" and category == 9 else name for name, category in tags]
    kinds = {name: KINDS[category] for name, (_, category) in zip(names, tags, strict=True)}
    if kind == "camie":
        # In any order, as the numbers say.
        mapping = {"idx_to_tag": dict(reversed([*enumerate(names)])), "tag_to_category": kinds}
        text, file = json.dumps({"dataset_info": {"tag_mapping": mapping}}), "camie-tagger-v2-metadata.json"
    else:
        text = json.dumps({i: {"tag": name, "category": kinds[name].title()} for i, name in enumerate(names)})
        file = "tag_mapping.json"
    (folder / file).write_text(text, encoding="utf-8")
