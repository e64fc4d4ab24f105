"""A workflow as the page saves it, turned into the prompt that the server runs.

The page does the same in `app.graphToPrompt()`; a browser test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MUTED, BYPASSED = 2, 4
NOTES = ("Note", "MarkdownNote")
REROUTE = "Reroute"
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")

Json = Mapping[str, Any]
Source = tuple[int, int]
"""A node's id and the number of its output."""


class WorkflowError(ValueError):
    """A workflow that does not fit the server's nodes; the text names the node."""


def to_api(workflow: Json, object_info: Json) -> dict[str, Any]:
    """The API form of a workflow in the page's form 0.4; `object_info` is the server's answer to `/object_info`.

    Notes, muted and bypassed nodes are left out: a wire through a bypassed node or a reroute goes on to what feeds
    it. Raises `WorkflowError` for a node that the server does not have, or whose values do not fit its inputs.
    """
    nodes = {node["id"]: node for node in workflow["nodes"]}
    links = {link[0]: (link[1], link[2]) for link in workflow["links"]}
    prompt = {}
    for node in workflow["nodes"]:
        if node["type"] in (*NOTES, REROUTE) or node.get("mode", 0) in (MUTED, BYPASSED):
            continue
        about = _about(node, object_info)
        inputs = {**_widgets(node, about), **_wires(node, nodes, links)}
        title = node.get("title") or about["display_name"] or node["type"]
        prompt[str(node["id"])] = {"inputs": inputs, "class_type": node["type"], "_meta": {"title": title}}
    return prompt


def find_node(prompt: Json, class_type: str) -> str:
    """The id of the one node of that type. Raises `WorkflowError` when there is none, or more than one."""
    found = [name for name, node in prompt.items() if node["class_type"] == class_type]
    if len(found) != 1:
        raise WorkflowError(f"The workflow has {len(found)} nodes of type {class_type}; it needs exactly one.")
    return found[0]


def set_input(prompt: dict[str, Any], class_type: str, name: str, value: Any) -> None:
    """Give the one node of that type another value, in place. Raises `WorkflowError` for an input that it lacks."""
    inputs = prompt[find_node(prompt, class_type)]["inputs"]
    if name not in inputs:
        raise WorkflowError(f"{class_type} has no input {name!r}; it has {', '.join(inputs)}.")
    inputs[name] = value


def _about(node: Json, object_info: Json) -> Json:
    if node["type"] not in object_info:
        raise WorkflowError(f"{_name(node)} is of a type that this ComfyUI does not have. Is its pack installed?")
    about: Json = object_info[node["type"]]
    return about


def _widgets(node: Json, about: Json) -> dict[str, Any]:
    """The node's values by the names of its inputs."""
    names = list(widget_names(about))
    values: Sequence[Any] = node.get("widgets_values") or []
    if len(values) != len(names):
        raise WorkflowError(
            f"{_name(node)} has {len(values)} values, but its inputs take {len(names)}: "
            f"{', '.join(name or 'one of the page' for name in names) or 'none'}. Save it again from the page."
        )
    return {name: value for name, value in zip(names, values, strict=True) if name}


def widget_names(about: Json) -> Iterator[str]:
    """One name for each saved value, in their order; an empty one for what only the page uses."""
    for group in ("required", "optional"):
        for name in about["input_order"].get(group, ()):
            kind, *rest = about["input"][group][name]
            options: Json = rest[0] if rest else {}
            if options.get("forceInput") or not (isinstance(kind, list) or kind in WIDGET_TYPES):
                continue
            yield name
            seed = kind == "INT" and name in ("seed", "noise_seed")
            if options.get("control_after_generate", seed):
                yield ""  # what becomes of the value after each run: fixed, randomize, ...
            if options.get("image_upload"):
                yield ""  # the button


def _wires(node: Json, nodes: Mapping[int, Json], links: Mapping[int, Source]) -> dict[str, Any]:
    """The node's connected inputs, each with the node and the output that feed it."""
    found: dict[str, Any] = {}
    for slot in node.get("inputs", ()):
        try:
            source = _source(slot, nodes, links)
        except KeyError as error:
            raise WorkflowError(
                f"{_name(node)}: the wire into {slot['name']} comes from {error}, which the workflow does not have. "
                "Save it again from the page."
            ) from None
        if source is not None:
            found[slot["name"]] = [str(source[0]), source[1]]
    return found


def _source(slot: Json | None, nodes: Mapping[int, Json], links: Mapping[int, Source]) -> Source | None:
    """The output that really feeds an input, or None when nothing does: nodes that do not run are looked through."""
    while slot is not None and slot.get("link") is not None:
        origin, output = links[slot["link"]]
        node = nodes[origin]
        mode = node.get("mode", 0)
        if mode == MUTED:
            return None
        if mode != BYPASSED and node["type"] != REROUTE:
            return origin, output
        slot = _instead(node, output, slot["type"])
    return None


def _instead(node: Json, output: int, kind: str) -> Json | None:
    """The input that takes an output's place: the one with its number, else the first of its type."""
    slots = list(node.get("inputs", ()))
    if node["type"] == REROUTE:
        return {**slots[0], "type": kind} if slots else None
    same = slots[output : output + 1]
    if kind == "*":
        return next(iter((*same, *slots)), None)
    fitting = [slot for slot in same if slot["type"] in (kind, "*")]
    fitting += [slot for wanted in (kind, "*") for slot in slots if slot["type"] == wanted]
    return next(iter(fitting), None)


def _name(node: Json) -> str:
    return f"Node {node['id']} ({node['type']})"
