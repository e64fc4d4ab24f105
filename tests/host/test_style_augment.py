"""Style variants by the host's sampler under a ControlNet (untrained here: quality is measured elsewhere)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def control_net(inside: Path, tmp_path: Path) -> Any:
    """A ControlNet for the miniature world as core's loader gives it; its outputs are random, not zero."""
    import torch

    from demo.learn.export import save_controlnet
    from demo.learn.hostmodels import controlnet

    torch.manual_seed(0)
    net = controlnet()
    for name, parameter in net.named_parameters():
        if name.startswith(("zero_convs", "middle_block_out")):
            torch.nn.init.normal_(parameter, std=0.05)
    save_controlnet(net, tmp_path / "canny.safetensors")
    with torch.inference_mode():
        return importlib.import_module("comfy.controlnet").load_controlnet(str(tmp_path / "canny.safetensors"))


def test_variants_are_painted_once_and_follow_the_control(world: Any, dataset: Any, control_net: Any) -> None:
    import torch

    from lora_kiln.nodes.augment import ControlNetStyleAugment

    settings = {
        "styles": "sketch\npastel colors", "variants": 1, "seed": 5, "resolution": 64, "step": 64, "repeats": 1,
        "keep_originals": True, "negative": "", "start_percent": 0.0, "end_percent": 1.0, "denoise": 0.6,
        "canny_low": 0.1, "canny_high": 0.3, "steps": 3, "cfg": 2.0, "sampler_name": "euler", "scheduler": "normal",
    }  # fmt: skip

    def run(**changes: Any) -> Any:
        with torch.inference_mode():
            given = {**settings, "strength": 1.0, **changes}
            return ControlNetStyleAugment.execute(dataset, *world, control_net, **given).result

    result, report = run()
    assert len(result) == 3 * len(dataset)
    assert "8 painted now" in report
    assert {record.size for record in result.records[len(dataset) :]} == {(64, 64)}
    again, report = run()
    assert again == result
    assert "0 painted now, 8 found" in report
    free, report = run(strength=0.0)
    assert "8 painted now" in report
    files = {record.image.read_bytes() for one in (result, free) for record in one.records[len(dataset) :]}
    assert len(files) == 16
