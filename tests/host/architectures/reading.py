"""One text encoder from random weights to a loaded LoRA, and what was seen on the way. Needs the host importable."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import comfy.lora
import comfy.model_management
import comfy.sd
import comfy.supported_models_base
import torch
from torch import Tensor

from lora_kiln.host.layers import text_layers
from lora_kiln.host.model import HostModel
from lora_kiln.trainer.groups import Blocks, Network
from lora_kiln.trainer.network import Placed, make_adapters
from lora_kiln.trainer.ports import Layer, View

from .table import FAMILIES
from .texts import Text
from .trial import alone, build, changed, fill, forwards, heard, named

STEPS = 20
VIEW = View(original=(64, 64), crop=(0, 0), target=(64, 64))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was seen. Layers go by the file's names."""

    before: float
    """How far the caption's encoding is from the one that it is taught."""
    after: float
    """The same with the saved tensors loaded by core."""
    apart: float
    """The largest difference between core's encoding with them and the one in training, as a share of its size."""
    keys: tuple[str, ...]
    unknown: tuple[str, ...]
    """Those that are not in core's loader map."""
    complaints: tuple[str, ...]
    still: tuple[str, ...]
    """Layers whose trained part is zero."""
    harmed: tuple[str, ...]
    """Modules and weights that are not as they were before training."""


def learn(text: Text) -> Reading:
    """Build, teach what other adapters would give, load into core; under inference mode, as prompts run."""
    with torch.inference_mode(), alone():
        clip = make_clip(text)
        network = clip.cond_stage_model
        model = HostModel(build(FAMILIES["FluxSchnell"]), clip, None)
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        its_forwards = forwards(network)
        with model.open(precision="model's own", checkpointing=False):
            draws = torch.Generator().manual_seed(1)
            placed = make_adapters(model.layers(), Network(dim=4, alpha=4.0), Blocks(), None, ["text"], draws)
            target = _target(model, placed, draws)
            before, taught = _taught(model, placed, target)
        tensors = {key: value for one in placed for key, value in one.adapter.state().items()}
        harmed = [*changed(network, weights), *sorted(forwards(network) ^ its_forwards)]
        keys = tuple(sorted({name.rpartition(".lora_")[0] or name.removesuffix(".alpha") for name in tensors}))
        known = comfy.lora.model_lora_keys_clip(network, {})
        patched = clip.clone()
        with heard() as complaints:
            patched.add_patches(comfy.lora.load_lora(dict(tensors), known), 1.0)
        in_core = _encoded(HostModel(build(FAMILIES["FluxSchnell"]), patched, None))
        comfy.model_management.unload_all_models()
        return Reading(
            before=before,
            after=float((in_core - target).square().mean()),
            apart=float((in_core - taught).abs().max() / taught.std()),
            keys=keys,
            unknown=tuple(key for key in keys if key not in known),
            complaints=tuple(complaints),
            still=tuple(key for key in keys if not tensors[f"{key}.lora_up.weight"].any()),
            harmed=(*harmed, *changed(network, weights)),
        )


def offered(path: str) -> list[str]:
    """The names of `layers_of`."""
    return [layer.key for layer in layers_of(path)]


def layers_of(path: str) -> list[Layer]:
    """The layers that the pack offers of an encoder, the host's class, at its own size and on no device at all."""
    made = named(path)(device="meta", dtype=torch.float16)
    return text_layers(SimpleNamespace(cond_stage_model=made))


def make_clip(text: Text) -> Any:
    """The host's CLIP object around the tiny encoders, fp32, with random weights."""
    target = comfy.supported_models_base.ClipTarget(_made(text.tokenizer, text.tokenizer_given), named(text.model))
    target.params.update(_found(text.given))
    options: dict[str, Any] = {f"{name}_model_config": dict(sizes) for name, sizes in text.sizes.items()}
    clip = comfy.sd.CLIP(target, model_options={**options, "dtype": torch.float32})
    fill(clip.cond_stage_model, torch.Generator().manual_seed(2))
    return clip


def _made(path: str, given: Any) -> Any:
    return partial(named(path), **_found(given))


def _found(given: Any) -> dict[str, Any]:
    return {name: named(value) if "." in value else value for name, value in given.items()}


def _target(model: HostModel, placed: list[Placed], draws: torch.Generator) -> Tensor:
    """The encoding with random adapters, whose trained parts are zero again afterwards."""
    ups = [one.adapter.parameters[1] for one in placed]
    for one in placed:
        one.adapter.attach()
    with torch.no_grad():
        for up in ups:
            up.normal_(0.0, 0.05, generator=draws)
        found = _encoded(model)
        for up in ups:
            up.zero_()
    for one in placed:
        one.adapter.detach()
    return found


def _taught(model: HostModel, placed: list[Placed], target: Tensor) -> tuple[float, Tensor]:
    """The first loss, and the encoding after the last step."""
    optimizer = torch.optim.Adam([p for one in placed for p in one.adapter.parameters], lr=1e-2)
    losses = []
    for one in placed:
        one.adapter.attach()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = (_encoded(model) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    with torch.no_grad():
        found = _encoded(model)
    for one in placed:
        one.adapter.detach()
    return losses[0], found


def _encoded(model: HostModel) -> Tensor:
    """Everything that the families read of a caption, in one row."""
    [[cross, about]] = model.encode_text(["kiln, red (forest)"], [VIEW], clip_skip=1, max_tokens=0)
    pooled = about.get("pooled_output")
    return torch.cat([cross.flatten(), *([] if pooled is None else [pooled.flatten()])])
