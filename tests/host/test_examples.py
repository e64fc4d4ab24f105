"""The example workflows: built from the nodes as they are, with twins that say the same, and they run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from demo.examples.build import BUILT, FOLDER, TWINS
from demo.examples.parts import CHARACTER
from demo.examples.world import LOADERS, SMALLER, in_world, write_inputs
from demo.hosting import Host
from demo.workflow import to_api

EXAMPLES = sorted(file.stem for file in FOLDER.glob("*.json"))
# These begin where another one has ended.
LATER = ("loopback", "epoch_choice")
FIRST = "one_image_character"


def read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def outputs_of(host: Host, name: str) -> dict[str, Any]:
    """Run an example's twin in the miniature world; the outputs by node."""
    write_inputs(host.base / "input")
    entry = host.run(in_world(read(FOLDER / TWINS / f"{name}.json")), timeout=180)
    found: dict[str, Any] = entry["outputs"]
    return found


@pytest.fixture(scope="module")
def first_lora(host: Host) -> Path:
    """The file that the first example saves, for those that begin with a LoRA."""
    outputs_of(host, FIRST)
    return host.base / "models" / "loras" / f"{CHARACTER}.safetensors"


@pytest.mark.parametrize("name", sorted(BUILT))
def test_an_example_is_what_its_builder_makes(host: Host, name: str) -> None:
    assert read(FOLDER / f"{name}.json") == BUILT[name](host.object_info()), "run: python dev.py workflows"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_a_twin_that_says_the_same(host: Host, name: str) -> None:
    twin = to_api(read(FOLDER / f"{name}.json"), host.object_info())
    assert read(FOLDER / TWINS / f"{name}.json") == twin, "run: python dev.py workflows"


def test_no_twin_is_left_over() -> None:
    assert sorted(file.stem for file in (FOLDER / TWINS).glob("*.json")) == EXAMPLES
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("name", sorted(BUILT))
def test_the_world_changes_models_and_sizes_only(host: Host, name: str) -> None:
    prompt = read(FOLDER / TWINS / f"{name}.json")
    changed = in_world(prompt, small=False)
    for node, before in prompt.items():
        after = changed[node]
        assert (after["class_type"], after["inputs"].keys()) == (before["class_type"], before["inputs"].keys())
        differing = {key for key, value in before["inputs"].items() if after["inputs"][key] != value}
        assert differing <= set(LOADERS)
    info = host.object_info()
    for kind, values in SMALLER.items():
        known = {key for group in info[kind]["input"].values() for key in group}
        assert set(values) <= known, kind


@pytest.mark.parametrize("name", sorted(set(BUILT) - set(LATER) - {FIRST}))
def test_an_example_runs(host: Host, name: str) -> None:
    check_pictures(host, outputs_of(host, name))


def test_the_first_example_saves_a_lora(host: Host, first_lora: Path) -> None:
    assert first_lora.is_file()
    assert f"{CHARACTER}.safetensors" in host.object_info()["LoraLoader"]["input"]["required"]["lora_name"][0]


@pytest.mark.parametrize("name", LATER)
def test_an_example_that_goes_on_from_a_lora_runs(host: Host, first_lora: Path, name: str) -> None:
    assert first_lora.is_file()
    check_pictures(host, outputs_of(host, name))


def check_pictures(host: Host, outputs: dict[str, Any]) -> None:
    """Every picture that an example shows is one, and every text says something."""
    pictures = [image for output in outputs.values() for image in output.get("images", ())]
    assert pictures
    for picture in pictures:
        with Image.open(io.BytesIO(host.view(picture))) as opened:
            assert opened.width >= 64
            assert len(set(opened.convert("L").resize((16, 16)).tobytes())) > 1
    texts = [text for output in outputs.values() for text in output.get("text", ())]
    assert texts
    assert all(str(text).strip() for text in texts)
