"""The tests' own host runner, against a real ComfyUI with nothing of ours in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.base import prepare_base
from demo.hosting import Host, HostError, HostInterrupted, Message


def picture(size: int = 64, *, save: str = "SaveImage") -> dict[str, Any]:
    """A workflow with core nodes only: one grey picture, saved."""
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": size, "height": 32, "batch_size": 1, "color": 8421504},
        },
        "2": {"class_type": save, "inputs": {"images": ["1", 0], "filename_prefix": "grey"}},
    }


@pytest.fixture(scope="module")
def bare(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    base = prepare_base(tmp_path_factory.mktemp("bare"))
    with Host(base, extra=["--disable-all-custom-nodes"]) as running:
        yield running


def test_runs_a_workflow_and_hears_its_progress(bare: Host) -> None:
    heard: list[Message] = []
    result = bare.run(picture(), heard.append, timeout=60)
    (image,) = result["outputs"]["2"]["images"]
    assert (bare.base / "output" / image["filename"]).read_bytes() == bare.view(image)
    assert "SaveImage" in bare.object_info()
    assert {message.data.get("node") for message in heard if message.kind == "executing"} >= {"1", "2"}
    assert heard[-1].kind == "execution_success"


def test_a_workflow_run_again_is_answered_from_the_cache(bare: Host) -> None:
    assert bare.run(picture(48), timeout=60)["status"]["completed"]
    assert bare.run(picture(48), timeout=60)["status"]["completed"]


def test_a_bad_value_names_the_node_and_the_input(bare: Host) -> None:
    with pytest.raises(HostError, match="width") as caught:
        bare.run(picture(-5), timeout=60)
    assert (caught.value.node_id, caught.value.node_type) == ("1", "EmptyImage")


def test_an_unknown_node_is_named(bare: Host) -> None:
    with pytest.raises(HostError, match="NoSuchNode"):
        bare.run(picture(save="NoSuchNode"), timeout=60)


def test_a_failing_node_gives_its_own_words(bare: Host) -> None:
    broken = bare.base / "models" / "checkpoints" / "broken.safetensors"
    broken.write_bytes(b"this is no checkpoint")
    load = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": broken.name}}
    decode = {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["1", 2]}}
    latent = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    save = {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}}
    with pytest.raises(HostError) as caught:
        bare.run({"1": load, "2": decode, "3": latent, "4": save}, timeout=60)
    error = caught.value
    assert (error.node_id, error.node_type) == ("1", "CheckpointLoaderSimple")
    assert error.exception_type
    assert error.exception_message
    assert error.traceback


def test_interrupting_ends_a_long_workflow(bare: Host) -> None:
    """Many blurs of one large picture: each is a node, and the host looks for an interrupt before each."""
    prompt = picture(2048)
    for number in range(100, 200):
        blur = {"image": [str(number - 1) if number > 100 else "1", 0], "blur_radius": 31, "sigma": 5.0}
        prompt[str(number)] = {"class_type": "ImageBlur", "inputs": blur}
    prompt["2"]["inputs"]["images"] = ["199", 0]
    begun = threading.Event()

    def watch(message: Message) -> None:
        if message.kind == "executing" and message.data.get("node") == "101":
            begun.set()

    def stop() -> None:
        assert begun.wait(60)
        bare.interrupt()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(HostInterrupted):
        bare.run(prompt, watch, timeout=120)
    stopper.join()
    assert bare.run(picture(40), timeout=60)["status"]["completed"]


def test_a_server_that_cannot_start_shows_its_log(comfy: Path, base: Path) -> None:
    broken = Host(base, extra=["--no-such-option"])
    with pytest.raises(HostError, match="no-such-option"):
        broken.start()
    assert not broken.running


def test_stopping_ends_the_process_and_is_safe_twice(comfy: Path, base: Path) -> None:
    host = Host(base, extra=["--disable-all-custom-nodes"])
    host.start()
    begun = time.monotonic()
    host.stop()
    host.stop()
    assert not host.running
    assert time.monotonic() - begun < 12
    with pytest.raises(OSError, match=r"refused|reset"):
        host.object_info()
