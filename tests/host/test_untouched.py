"""The loaded model is bit for bit what it was, whatever happens in training: in this process, as prompts run."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest


def networks(loaded: Any) -> tuple[Any, Any]:
    return loaded.model.model, loaded.clip.cond_stage_model


def weights(loaded: Any) -> list[object]:
    """Name, type, shape and sha256 of every tensor of the model and the text encoder."""
    import torch

    found: list[object] = []
    for network in networks(loaded):
        for name, tensor in network.state_dict().items():
            content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
            found.append((name, tensor.dtype, tensor.shape, hashlib.sha256(content).hexdigest()))
    return found


def state(loaded: Any) -> list[object]:
    """The weights, and all that a training might leave around them: forwards, hooks, flags, other tensors."""
    found = [*weights(loaded), getattr(importlib.import_module("comfy.model_management"), "in_training", None)]
    for network in networks(loaded):
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            found.append((name, id(tensor), tensor.requires_grad, tensor.grad is None, tensor.is_inference()))
        for name, module in network.named_modules():
            hooks = len(module._forward_pre_hooks) + len(module._forward_hooks)
            found.append((name, "forward" in module.__dict__, hooks, module.training))
    return found


def picture(loaded: Any) -> Any:
    """A picture from the host's own sampler."""
    from lora_kiln.host.sampling import Sampling, empty_latent, encode_prompt, sample

    settings = Sampling(steps=2, cfg=4.0, sampler="euler", scheduler="normal")
    positive, negative = (encode_prompt(loaded.clip, text) for text in ("1girl, smile", ""))
    latent = empty_latent(loaded.model, loaded.vae, 64, 64)
    return sample(loaded.model, loaded.vae, positive, negative, latent, settings, seed=3)


@pytest.fixture
def unharmed(world: Any) -> Iterator[Any]:
    """The miniature world, under inference mode; afterwards it paints what it painted before, with the same weights."""
    import torch

    with torch.inference_mode():
        shown, before = picture(world), weights(world)
        yield world
        assert torch.equal(picture(world), shown)
        assert weights(world) == before


def test_after_a_whole_training_whose_result_differs(
    unharmed: Any, run_node: Any, dataset: Any, small_recipe: Any
) -> None:
    import torch

    plain, before = picture(unharmed), state(unharmed)
    model, clip, run, lora, losses, *_ = run_node(unharmed, dataset, small_recipe(epochs=2), "success")
    assert state(unharmed) == before
    assert len(losses["loss"]) == run.checkpoint(0).step
    assert not torch.equal(picture(unharmed._replace(model=model, clip=clip)), plain)
    assert all(tensor.dtype == torch.float32 for tensor in lora.values())


def test_after_an_error_in_the_middle(
    unharmed: Any, run_node: Any, dataset: Any, small_recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calls, before = unharmed.model.model, [], state(unharmed)
    whole = model.apply_model

    def failing(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("CUDA out of memory")
        return whole(*args, **kwargs)

    monkeypatch.setitem(model.__dict__, "apply_model", failing)
    with pytest.raises(RuntimeError, match="out of memory"):
        run_node(unharmed, dataset, small_recipe(epochs=9), "error")
    monkeypatch.undo()
    assert len(calls) == 3
    assert state(unharmed) == before


def test_after_an_error_in_backward(
    unharmed: Any, run_node: Any, dataset: Any, small_recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def failing(*_: Any, **__: Any) -> None:
        raise RuntimeError("no backward here")

    before = state(unharmed)
    monkeypatch.setattr(torch.Tensor, "backward", failing)
    with pytest.raises(RuntimeError, match="no backward here"):
        run_node(unharmed, dataset, small_recipe(), "backward")
    assert state(unharmed) == before


@pytest.mark.parametrize("at", [1, 3])
def test_after_a_cancel(
    unharmed: Any, run_node: Any, dataset: Any, small_recipe: Any, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host's own cancel button, pressed while a step runs."""
    management, utils = importlib.import_module("comfy.model_management"), importlib.import_module("comfy.utils")
    heard: list[int] = []
    before = state(unharmed)

    def hook(value: int, total: int, preview: object = None, node_id: object = None) -> None:
        heard.append(value)
        if value == at:
            management.interrupt_current_processing()

    monkeypatch.setattr(utils, "PROGRESS_BAR_HOOK", hook)
    with pytest.raises(management.InterruptProcessingException):
        run_node(unharmed, dataset, small_recipe(epochs=9), f"cancel at {at}")
    monkeypatch.undo()
    assert heard == list(range(1, at + 1))
    assert state(unharmed) == before


def test_after_training_on_a_model_that_carries_a_lora_already(
    unharmed: Any, run_node: Any, dataset: Any, small_recipe: Any
) -> None:
    """Its patches are in the weights while training runs, and leave them again."""
    model, clip, *_ = run_node(unharmed, dataset, small_recipe(), "first")
    result = run_node(unharmed._replace(model=model, clip=clip), dataset, small_recipe(), "second")
    assert result[2].folder.name == "second"


def test_the_mark_of_a_model_tells_patches_apart_and_nothing_else(
    world: Any, run_node: Any, load_checkpoint: Callable[[str], Any], dataset: Any, small_recipe: Any
) -> None:
    import torch

    from lora_kiln.host.lora import with_lora
    from lora_kiln.host.marks import model_mark

    with torch.inference_mode():
        lora = run_node(world, dataset, small_recipe(), "mark")[3]
        plain = model_mark(world.model, world.clip)
        assert model_mark(*load_checkpoint("kiln-world-sd15.safetensors")[:2]) == plain
        half, full = (with_lora(world.model, world.clip, lora, strength) for strength in (0.5, 1.0))
        other = with_lora(world.model, world.clip, {key: tensor * 2 for key, tensor in lora.items()}, 1.0)
        marks = {model_mark(*pair) for pair in (half, full, other)}
        assert len(marks | {plain}) == 4
        # Now the LoRA stands in the very weights that the plain model shares.
        picture(world._replace(model=full[0], clip=full[1]))
        assert model_mark(world.model, world.clip) == plain
        assert model_mark(*full) in marks
