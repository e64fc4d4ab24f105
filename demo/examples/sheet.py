"""A workflow in the page's form 0.4, laid out from left to right: groups of columns of nodes.

Values that are not given are those of the schema, so a node that gets an input needs no change here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..workflow import BYPASSED, WIDGET_TYPES

Json = dict[str, Any]

WIDTH, NOTE_WIDTH, WIDE = 320, 380, 400
TITLE, SLOT, WIDGET, LINES, MARGIN = 30, 20, 29, 90, 30
"""Pixels of a node's title, of a socket, of a widget in one line, of one with several lines, and around all: as Nodes
2.0 needs them, where the classic canvas takes less."""
GAP, BELOW, BETWEEN, HEAD = 40, 60, 80, 90
"""Pixels between columns, between nodes of a column, between groups, and above a group's first nodes."""
COLORS = {"model": "#3f789e", "data": "#5f8a5f", "paint": "#88497e", "train": "#b58b2a", "result": "#8a6f9e"}
SEEDS = ("seed", "noise_seed")
ROOM = {
    "KilnTrainLoRA": 420, "KilnSelectImages": 320, "KilnControlNetStyleAugment": 320, "KilnEpochSweep": 40,
    "PreviewImage": 320, "SaveImage": 320, "PreviewAny": 260, "LoadImage": 320,
}  # fmt: skip
"""Pixels for what the page draws inside a node, beside its widgets."""


class Wire(NamedTuple):
    """An output of a node that is on the sheet."""

    node: int
    output: int
    kind: str


class Placed:
    """A node on the sheet; `placed["run"]` is its output of that name."""

    def __init__(self, node: Json) -> None:
        self._node = node

    def __getitem__(self, output: str) -> Wire:
        for number, slot in enumerate(self._node["outputs"]):
            if slot["name"] == output:
                return Wire(self._node["id"], number, slot["type"])
        raise KeyError(f"{self._node['type']} has no output {output!r}")

    def loaded(self) -> dict[str, Wire]:
        """MODEL, CLIP and VAE of a checkpoint loader, by the names of a node's inputs."""
        return {"model": self["MODEL"], "clip": self["CLIP"], "vae": self["VAE"]}


class Sheet:
    """Nodes are placed one below the other into the column that was begun last."""

    def __init__(self, object_info: Mapping[str, Any], name: str) -> None:
        self._info, self._name = object_info, name
        self._nodes: list[Json] = []
        self._links: list[list[Any]] = []
        self._groups: list[Json] = []
        self._left = self._top = self._widest = 0

    def group(self, title: str, color: str) -> None:
        """Begin a group, and its first column."""
        if self._groups:
            self._left += self._widest + BETWEEN
        self._widest = 0
        self._groups.append({
            "id": len(self._groups) + 1, "title": title, "bounding": [], "color": COLORS[color], "font_size": 24,
            "flags": {}, "nodes": [],
        })  # fmt: skip
        self._top = 0

    def column(self) -> None:
        """Begin the next column of the group."""
        self._left += self._widest + GAP
        self._top = self._widest = 0

    def note(self, text: str, *, title: str = "What to do", wide: int = NOTE_WIDTH) -> None:
        """A note, as high as its text."""
        lines = sum(1 + len(line) // (wide // 8) for line in text.strip().splitlines())
        self._place("MarkdownNote", title, (wide, 60 + 21 * lines), [], [], [text.strip() + "\n"], color="#432")

    def add(self, kind: str, title: str = "", *, bypassed: bool = False, wide: int = WIDTH, **values: Any) -> Placed:
        """A node with these values and wires. Raises `KeyError` for an input or a type that does not exist."""
        about = self._info[kind]
        inputs, widgets, lines = [], [], 0
        for name, spec, optional in _inputs(about):
            kind_of, options = spec[0], spec[1] if len(spec) > 1 else {}
            combo = isinstance(kind_of, list)
            slot: Json = {"name": name, "type": "COMBO" if combo else kind_of, "link": None}
            given = values.pop(name, None)
            if (combo or kind_of in WIDGET_TYPES) and not options.get("forceInput"):
                choices = kind_of if combo else options.get("options") or [""]
                default = options.get("default", choices[0] if choices else "")
                widgets.append(default if given is None or isinstance(given, Wire) else given)
                slot["widget"] = {"name": name}
                lines += LINES if options.get("multiline") else WIDGET
                if options.get("control_after_generate", kind_of == "INT" and name in SEEDS):
                    widgets.append("fixed")
                    lines += WIDGET
                if options.get("image_upload"):
                    widgets.append("image")
                    lines += WIDGET
            elif optional:
                slot["shape"] = 7
            if isinstance(given, Wire):
                slot["link"] = self._link(given, len(inputs), slot["type"])
            inputs.append(slot)
        if values:
            raise KeyError(f"{kind} has no inputs {', '.join(values)}")
        outputs = [
            {"name": name, "type": of, "links": []}
            for name, of in zip(about["output_name"], about["output"], strict=True)
        ]
        slots = max(sum("widget" not in slot for slot in inputs), len(outputs))
        size = (wide, SLOT * slots + lines + MARGIN + ROOM.get(kind, 0))
        node = self._place(kind, title, size, inputs, outputs, widgets)
        if bypassed:
            node["mode"] = BYPASSED
        return Placed(node)

    def workflow(self) -> Json:
        """The whole, as the page saves it."""
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"lora-kiln {self._name}")), "revision": 0,
            "last_node_id": len(self._nodes), "last_link_id": len(self._links), "nodes": self._nodes,
            "links": self._links, "groups": [_closed(group) for group in self._groups], "config": {}, "extra": {},
            "version": 0.4,
        }  # fmt: skip

    def _properties(self, kind: str) -> Json:
        if kind not in self._info:
            return {}
        core = str(self._info[kind].get("python_module", "")).partition(".")[0] in ("nodes", "comfy_extras")
        return {"Node name for S&R": kind, **({"cnr_id": "comfy-core"} if core else {})}

    def _link(self, wire: Wire, slot: int, kind: str) -> int:
        number = len(self._links) + 1
        self._links.append([number, wire.node, wire.output, len(self._nodes) + 1, slot, wire.kind])
        self._nodes[wire.node - 1]["outputs"][wire.output]["links"].append(number)
        return number

    def _place(
        self, kind: str, title: str, size: tuple[int, int], inputs: list[Json], outputs: list[Json], widgets: list[Any],
        color: str = "",
    ) -> Json:  # fmt: skip
        node: Json = {
            "id": len(self._nodes) + 1, "type": kind, "pos": [self._left, self._top], "size": list(size), "flags": {},
            "order": len(self._nodes), "mode": 0, "inputs": inputs, "outputs": outputs,
            "properties": self._properties(kind), "widgets_values": widgets,
        }  # fmt: skip
        if title:
            node["title"] = title
        if color:
            node["color"], node["bgcolor"] = color, "#653"
        self._nodes.append(node)
        self._groups[-1]["nodes"].append(node)
        self._top += size[1] + BELOW
        self._widest = max(self._widest, size[0])
        return node


def _inputs(about: Json) -> Iterator[tuple[str, list[Any], bool]]:
    """Every input in the order in which the page shows and saves it, and whether it is optional."""
    for group in ("required", "optional"):
        for name in about["input_order"].get(group, ()):
            yield name, about["input"][group][name], group == "optional"


def _closed(group: Json) -> Json:
    """A group around its nodes."""
    nodes = group.pop("nodes")
    left = min(node["pos"][0] for node in nodes) - MARGIN
    right = max(node["pos"][0] + node["size"][0] for node in nodes) + MARGIN
    bottom = max(node["pos"][1] + node["size"][1] for node in nodes) + MARGIN
    group["bounding"] = [left, -HEAD, right - left, bottom + HEAD]
    return group
