"""Captions that are read together give what the host gives for each alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WORDS = ("1girl, smile", ", ".join(["striped red dress"] * 40), "", "1girl, smile", "a (b) \\ c")


@pytest.fixture(params=["kiln-world-sd15", "kiln-sdxl", "kiln-sd3"])
def model(request: pytest.FixtureRequest, inside: Path, load_checkpoint: Callable[[str], Any]) -> Iterator[Any]:
    """A loaded checkpoint with one, two and two text encoders."""
    from demo.variants import write_checkpoint
    from lora_kiln.host.model import HostModel

    name = request.param
    if not name.startswith("kiln-world"):
        write_checkpoint(name.removeprefix("kiln-"), inside / "models" / "checkpoints")
    host = HostModel(*load_checkpoint(f"{name}.safetensors"))
    with host.open(precision="model's own", checkpointing=False):
        yield host


@pytest.mark.parametrize(("clip_skip", "max_tokens"), [(1, 0), (2, 150)])
def test_captions_read_together_are_as_each_alone(model: Any, clip_skip: int, max_tokens: int) -> None:
    import torch

    from lora_kiln.trainer.ports import View

    settings, view = (
        {"clip_skip": clip_skip, "max_tokens": max_tokens},
        View(original=(64, 64), crop=(0, 0), target=(64, 64)),
    )
    with torch.no_grad():
        together = model.encode_text(WORDS, [view] * len(WORDS), **settings)
        alone = [model.encode_text([word], [view], **settings)[0] for word in WORDS]
    for (cond, about), (wanted, wanted_about) in zip(together, alone, strict=True):
        torch.testing.assert_close(cond, wanted, rtol=1e-4, atol=1e-4)
        assert about.keys() == wanted_about.keys()
        for name, value in wanted_about.items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(about[name], value, rtol=1e-4, atol=1e-4)
            else:
                assert about[name] == value
    # A long caption takes several sections, and words differ.
    assert together[1][0].shape[1] > together[0][0].shape[1]
    assert not torch.allclose(together[0][0], together[2][0])
    assert torch.equal(together[0][0], together[3][0])


def test_each_encoder_is_asked_once_for_a_batch_and_gets_its_gradients(model: Any, monkeypatch: Any) -> None:
    import torch

    from lora_kiln.trainer.ports import View

    calls: list[int] = []
    encoders = [one for name, one in model._clip.cond_stage_model.named_children() if name in ("clip_l", "clip_g")]
    for encoder in encoders:
        encoder.register_forward_pre_hook(lambda _module, inputs: calls.append(len(inputs[0])))
    weight = next(p for p in encoders[0].parameters() if p.ndim == 2)
    weight.requires_grad_(True)
    view = View(original=(64, 64), crop=(0, 0), target=(64, 64))
    conds = model.encode_text(WORDS, [view] * len(WORDS), clip_skip=1, max_tokens=0)
    assert len(calls) == len(encoders)
    assert min(calls) > len(set(WORDS)) - 1
    torch.stack([cond.square().sum() for cond, _ in conds]).sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    assert all("encode" not in encoder.__dict__ for encoder in encoders)


def test_a_conditioning_can_be_seen_otherwise_without_reading_its_words_again(model: Any) -> None:
    import torch

    from lora_kiln.trainer.ports import View

    whole = View(original=(64, 64), crop=(0, 0), target=(64, 64))
    part = View(original=(200, 100), crop=(30, 10), target=(64, 128))
    settings = {"clip_skip": 1, "max_tokens": 0}
    with torch.no_grad():
        [first], [wanted] = (model.encode_text(["1girl"], [view], **settings) for view in (whole, part))
    seen = model.seen_as(first, part)
    assert seen[0] is first[0]
    assert seen[1]["crop_w"] == 30
    assert first[1]["crop_w"] == 0
    for name, value in wanted[1].items():
        if not isinstance(value, torch.Tensor):
            assert seen[1][name] == value, name


def test_the_model_comes_back_once_after_all_that_was_read(
    inside: Path, load_checkpoint: Callable[[str], Any], monkeypatch: Any
) -> None:
    """On a GPU that is full each time is a trip of the whole text encoder, or of the model."""
    import comfy.model_management
    import torch

    from lora_kiln.host.model import HostModel
    from lora_kiln.trainer.ports import View

    parts = load_checkpoint("kiln-world-sd15.safetensors")
    load, came = comfy.model_management.load_models_gpu, []

    def watched(models: Any, *args: Any, **kwargs: Any) -> Any:
        came.append(parts[0] in models)
        return load(models, *args, **kwargs)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", watched)
    host, view = HostModel(*parts), View(original=(64, 64), crop=(0, 0), target=(64, 64))
    with host.open(precision="model's own", checkpointing=False, text=False):
        came.clear()
        with host.reading(), torch.no_grad():
            for word in WORDS:
                host.encode_text([word], [view], clip_skip=1, max_tokens=0)
            host.encode_pixels(torch.zeros(1, 64, 64, 3))
        assert came.count(True) == 1
        assert came[-1]
        host.encode_text([WORDS[0]], [view], clip_skip=1, max_tokens=0)
        assert came.count(True) == 2
    with host.open(precision="model's own", checkpointing=False, text=True):
        came.clear()
        with host.reading(), torch.no_grad():
            host.encode_text([WORDS[0]], [view], clip_skip=1, max_tokens=0)
        # The text encoder trains too, and is there with the model.
        assert True not in came


@pytest.mark.parametrize("name", ["kiln-world-sd15", "kiln-sdxl", "kiln-sd3"])
def test_checkpointing_reads_again_in_backward_and_changes_no_gradient(
    name: str, inside: Path, load_checkpoint: Callable[[str], Any]
) -> None:
    import torch

    from demo.variants import write_checkpoint
    from lora_kiln.host.model import HostModel
    from lora_kiln.trainer.adapters import Lora
    from lora_kiln.trainer.ports import View

    if not name.startswith("kiln-world"):
        write_checkpoint(name.removeprefix("kiln-"), inside / "models" / "checkpoints")
    view, calls = View(original=(64, 64), crop=(0, 0), target=(64, 64)), list[int]()

    def gradients(*, checkpointing: bool) -> list[torch.Tensor]:
        host = HostModel(*load_checkpoint(f"{name}.safetensors"))
        with host.open(precision="model's own", checkpointing=checkpointing):
            layers = [layer for layer in host.layers() if layer.part == "text"]
            draw = torch.Generator().manual_seed(0)
            adapters = [Lora(layer, 2, 2.0, draw) for layer in layers]
            calls.append(0)
            hook = layers[0].module.register_forward_hook(lambda *_: calls.append(calls.pop() + 1))
            try:
                for adapter in adapters:
                    torch.nn.init.normal_(adapter.up, std=0.1, generator=draw)
                    adapter.attach()
                [cond] = host.encode_text(["1girl, smile"], [view], clip_skip=1, max_tokens=0)
                cond[0].square().sum().backward()
            finally:
                hook.remove()
                for adapter in adapters:
                    adapter.detach()
        return [adapter.up.grad for adapter in adapters if adapter.up.grad is not None]

    kept, again = gradients(checkpointing=False), gradients(checkpointing=True)
    assert calls == [1, 2]
    assert len(kept) == len(again) > 4
    for one, other in zip(kept, again, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)
    assert any(one.any() for one in kept)
