"""What goes wrong, in the words that a user can act on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from demo.hosting import Host, HostError

Workflow = dict[str, Any]
Node = Callable[..., dict[str, Any]]


def failure(host: Host, workflow: Workflow) -> HostError:
    with pytest.raises(HostError) as caught:
        host.run(workflow, timeout=300)
    return caught.value


def test_a_checkpoint_of_garbage_fails_in_cores_loader_with_cores_own_words(host: Host, workflow: Workflow) -> None:
    broken = host.base / "models" / "checkpoints" / "garbage.safetensors"
    broken.write_bytes(b"garbage" * 100)
    workflow["checkpoint"]["inputs"]["ckpt_name"] = broken.name
    error = failure(host, workflow)
    assert error.node_type == "CheckpointLoaderSimple"
    assert "header" in error.exception_message.lower()
    assert "lora-kiln" not in "".join(error.traceback)


def test_a_checkpoint_of_no_known_family_is_named_by_core(host: Host, workflow: Workflow) -> None:
    strange = host.base / "models" / "checkpoints" / "strange.safetensors"
    save_file({"some.weight": torch.zeros(3)}, strange)
    workflow["checkpoint"]["inputs"]["ckpt_name"] = strange.name
    error = failure(host, workflow)
    assert error.node_type == "CheckpointLoaderSimple"
    assert strange.name in error.exception_message
    assert "lora-kiln" not in "".join(error.traceback)


def test_an_empty_folder_is_named_with_what_was_looked_for(host: Host, workflow: Workflow) -> None:
    folder = host.base / "input" / "nothing here"
    folder.mkdir()
    workflow["load"]["inputs"]["folder"] = folder.name
    error = failure(host, workflow)
    assert error.node_type == "KilnLoadDataset"
    assert str(folder) in error.exception_message
    assert ".png" in error.exception_message


@pytest.mark.parametrize("folder", ["", "no such folder"])
def test_a_folder_that_is_not_there_is_named(host: Host, workflow: Workflow, folder: str) -> None:
    workflow["load"]["inputs"]["folder"] = folder
    error = failure(host, workflow)
    assert error.node_type == "KilnLoadDataset"
    assert str(host.base / "input" / folder) in error.exception_message


def test_a_corrupt_picture_is_named_in_the_report_and_the_others_are_trained_on(
    host: Host, workflow: Workflow, pictures: Path
) -> None:
    cut = pictures / "1.png"
    cut.write_bytes(cut.read_bytes()[:500])
    workflow["recipe"]["inputs"]["epochs"] = 1
    result = host.run(workflow, timeout=300)
    report = result["outputs"]["problems"]["text"][0]
    assert str(cut) in report
    assert "cut off" in report
    assert "3 pictures" in report
    assert (host.base / "output" / "kiln" / pictures.name / f"{pictures.name}-000001.safetensors").is_file()


def test_a_picture_whose_pixels_are_damaged_is_named_when_it_is_first_opened(
    host: Host, workflow: Workflow, pictures: Path
) -> None:
    bad = pictures / "2.png"
    content = bytearray(bad.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    bad.write_bytes(content)
    error = failure(host, workflow)
    assert error.node_type.startswith("Kiln")
    assert str(bad) in error.exception_message
    assert "damaged" in error.exception_message


def test_a_tagger_that_is_not_there_is_refused_with_the_folder_and_the_mend(
    host: Host, workflow: Workflow, node: Node
) -> None:
    # The server runs every output that is valid; this one does not need the tagger.
    del workflow["problems"]
    workflow["tag"] = node("KilnAutoTag", dataset=["load", 0], model="no-such-tagger")
    workflow["prune"]["inputs"]["dataset"] = ["tag", 0]
    error = failure(host, workflow)
    assert error.node_type == "KilnAutoTag"
    for words in ("no-such-tagger", str(host.base / "models" / "kiln" / "taggers"), "model.onnx", "Put the two files"):
        assert words in error.exception_message


@pytest.mark.parametrize(
    ("name", "key", "value", "words"),
    [
        ("sweep", "epochs", "1,seven", "'seven' is no epoch"),
        ("sweep", "epochs", "1,5-9", "5-9 is not among them"),
        ("sweep", "strengths", "strong", "strengths is 'strong'"),
        ("sweep", "prompts", " ", "prompts is empty"),
        ("save", "file_name", "../../out", "file_name is '../../out'"),
        ("save", "epoch", 7, "no epoch 7; saved are 1"),
        ("train", "name", "a/b", "run's name is 'a/b'"),
        ("recipe", "lr_scheduler", "zigzag", "zigzag"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    host: Host, workflow: Workflow, name: str, key: str, value: object, words: str
) -> None:
    workflow["recipe"]["inputs"]["epochs"] = 1
    kind = workflow[name]["class_type"]
    workflow[name]["inputs"][key] = value
    if name == "recipe":
        del workflow["problems"]
    error = failure(host, workflow)
    assert error.node_type == kind
    assert words in error.exception_message


def test_a_failed_node_leaves_the_server_fit_for_the_next_prompt(host: Host, workflow: Workflow) -> None:
    workflow["recipe"]["inputs"].update(epochs=1, unet_lr=0, text_lr=0)
    error = failure(host, workflow)
    assert error.node_type == "KilnTrainLoRA"
    assert "unet_lr or text_lr" in error.exception_message
    workflow["recipe"]["inputs"]["unet_lr"] = 1e-3
    assert host.run(workflow, timeout=300)["status"]["completed"]
