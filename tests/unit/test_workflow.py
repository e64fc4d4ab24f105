"""From the page's workflow form to the server's prompt."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from demo.workflow import WorkflowError, find_node, set_input, to_api

INFO: dict[str, Any] = {
    "Load": {
        "display_name": "Load Things",
        "input_order": {"required": ["name"]},
        "input": {"required": {"name": [["a.safetensors", "b.safetensors"], {}]}},
    },
    "Change": {
        "display_name": "Change",
        "input_order": {"required": ["thing", "seed", "steps", "mode"], "optional": ["text", "extra"]},
        "input": {
            "required": {
                "thing": ["THING", {}],
                "seed": ["INT", {"default": 0}],
                "steps": ["INT", {"default": 20}],
                "mode": ["COMBO", {"options": ["x", "y"]}],
            },
            "optional": {"text": ["STRING", {"multiline": True}], "extra": ["STRING", {"forceInput": True}]},
        },
    },
    "Calm": {
        "display_name": "Calm",
        "input_order": {"required": ["seed", "on"]},
        "input": {"required": {"seed": ["INT", {"control_after_generate": False}], "on": ["BOOLEAN", {}]}},
    },
    "Picture": {
        "display_name": "Picture",
        "input_order": {"required": ["image"]},
        "input": {"required": {"image": [["a.png"], {"image_upload": True}]}},
    },
    "Show": {
        "display_name": "Show",
        "input_order": {"required": ["thing"]},
        "input": {"required": {"thing": ["*"]}},
    },
}


def node(number: int, kind: str, values: list[Any] | None = None, mode: int = 0, **links: int | None) -> dict[str, Any]:
    """A saved node; `links` are its inputs in order, all of type THING."""
    slots = [{"name": name, "type": "THING", "link": link} for name, link in links.items()]
    made: dict[str, Any] = {"id": number, "type": kind, "mode": mode, "inputs": slots}
    return made if values is None else {**made, "widgets_values": values}


def example() -> dict[str, Any]:
    """Load -> Change -> Show, and a note."""
    return {
        "nodes": [
            node(1, "Load", ["b.safetensors"]),
            node(2, "Change", [7, "randomize", 30, "y", "two\nlines"], thing=1),
            {**node(3, "Show", [], thing=2), "title": "The result"},
            node(4, "MarkdownNote", ["Read me"]),
        ],
        "links": [[1, 1, 0, 2, 0, "THING"], [2, 2, 0, 3, 0, "THING"]],
    }


def test_values_and_wires_get_the_names_of_their_inputs() -> None:
    assert to_api(example(), INFO) == {
        "1": {"inputs": {"name": "b.safetensors"}, "class_type": "Load", "_meta": {"title": "Load Things"}},
        "2": {
            "inputs": {"seed": 7, "steps": 30, "mode": "y", "text": "two\nlines", "thing": ["1", 0]},
            "class_type": "Change",
            "_meta": {"title": "Change"},
        },
        "3": {"inputs": {"thing": ["2", 0]}, "class_type": "Show", "_meta": {"title": "The result"}},
    }


def test_only_seeds_with_a_dice_have_a_value_more() -> None:
    workflow = {"nodes": [node(1, "Calm", [7, True]), node(2, "Picture", ["a.png", "image"])], "links": []}
    prompt = to_api(workflow, INFO)
    assert prompt["1"]["inputs"] == {"seed": 7, "on": True}
    assert prompt["2"]["inputs"] == {"image": "a.png"}


def test_a_wire_wins_over_the_value_of_the_same_input() -> None:
    workflow = example()
    workflow["nodes"][1]["inputs"].append({"name": "text", "type": "STRING", "link": 3})
    workflow["links"].append([3, 1, 0, 2, 1, "STRING"])
    assert to_api(workflow, INFO)["2"]["inputs"]["text"] == ["1", 0]


def test_a_muted_node_and_its_wires_are_left_out() -> None:
    workflow = example()
    workflow["nodes"][1]["mode"] = 2
    prompt = to_api(workflow, INFO)
    assert set(prompt) == {"1", "3"}
    assert prompt["3"]["inputs"] == {}


def test_wires_go_through_bypassed_nodes_and_reroutes() -> None:
    workflow = example()
    workflow["nodes"][1]["mode"] = 4
    workflow["nodes"].append(node(5, "Reroute", thing=2))
    workflow["links"] = [[1, 1, 0, 2, 0, "THING"], [2, 2, 0, 5, 0, "THING"], [3, 5, 0, 3, 0, "THING"]]
    workflow["nodes"][2]["inputs"][0]["link"] = 3
    prompt = to_api(workflow, INFO)
    assert set(prompt) == {"1", "3"}
    assert prompt["3"]["inputs"] == {"thing": ["1", 0]}


def test_a_bypassed_node_passes_on_nothing_of_another_type() -> None:
    workflow = example()
    workflow["nodes"][1]["mode"] = 4
    workflow["nodes"][2]["inputs"][0]["type"] = "OTHER"
    assert to_api(workflow, INFO)["3"]["inputs"] == {}


def test_the_workflow_is_not_changed() -> None:
    workflow = example()
    before = copy.deepcopy(workflow)
    set_input(to_api(workflow, INFO), "Change", "steps", 5)
    assert workflow == before


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        (0, {"type": "Gone"}, r"Node 1 \(Gone\) is of a type that this ComfyUI does not have"),
        (
            1,
            {"widgets_values": [7, "fixed", 30]},
            r"Node 2 \(Change\) has 3 values, but its inputs take 5: seed, one of",
        ),
        (0, {"widgets_values": None}, r"Node 1 \(Load\) has 0 values, but its inputs take 1: name"),
    ],
)
def test_errors_name_the_node(place: int, change: dict[str, Any], words: str) -> None:
    workflow = example()
    workflow["nodes"][place].update(change)
    with pytest.raises(WorkflowError, match=words):
        to_api(workflow, INFO)


def test_a_wire_that_is_nowhere_is_an_error() -> None:
    workflow = {**example(), "links": []}
    with pytest.raises(WorkflowError, match=r"Node 2 \(Change\): the wire into thing comes from 1"):
        to_api(workflow, INFO)


def test_an_input_is_set_in_place() -> None:
    prompt = to_api(example(), INFO)
    set_input(prompt, "Load", "name", "a.safetensors")
    assert prompt[find_node(prompt, "Load")]["inputs"] == {"name": "a.safetensors"}


def test_setting_what_is_not_there_is_an_error() -> None:
    prompt = to_api(example(), INFO)
    with pytest.raises(WorkflowError, match="Load has no input 'folder'; it has name"):
        set_input(prompt, "Load", "folder", "here")
    with pytest.raises(WorkflowError, match="0 nodes of type Train"):
        set_input(prompt, "Train", "name", "me")
    prompt["9"] = prompt["1"]
    with pytest.raises(WorkflowError, match="2 nodes of type Load"):
        set_input(prompt, "Load", "name", "a.safetensors")
