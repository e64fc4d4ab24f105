"""One architecture from random weights to a loaded LoRA, and what was seen on the way. Needs the host importable."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import comfy.lora
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from PIL import Image
from torch import Tensor, nn

from demo.silent import Silent
from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.host.layers import unet_layers
from lora_kiln.host.model import HostModel
from lora_kiln.trainer import objective
from lora_kiln.trainer.formats import load_file
from lora_kiln.trainer.groups import Amount, Buckets, Network, Optimizer, Saving
from lora_kiln.trainer.loop import train
from lora_kiln.trainer.noise_groups import Noise
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.runs import RunFolder, read_losses

from .family import Draw, Family

STEPS = 12
# The middle of the schedule, so that one loss can be compared with the next.
LEAST, MOST = 400, 600


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was seen. Weights go by the host's names, layers by the file's."""

    kind: str
    """The host's `ModelType`."""
    prediction: str
    levels: tuple[float, ...]
    """Noise levels, sigma."""
    weights: tuple[float, ...]
    """The trainer's weight on the x0 error at these levels, 1 / b^2."""
    losses: tuple[float, ...]
    """Of each step."""
    before: float
    """The loss on fixed noise, untrained."""
    after: float
    """The same with the saved file loaded by core."""
    keys: tuple[str, ...]
    """Every layer in the file."""
    by_itself: tuple[str, ...]
    """Those that a recipe trains without naming them, and without ranks for convolutions."""
    unknown: tuple[str, ...]
    """Those that are not in core's loader map."""
    complaints: tuple[str, ...]
    """What core's loader logged."""
    still: tuple[str, ...]
    """Layers whose trained part is zero."""
    moved: tuple[str, ...]
    """Layers whose weight core's patching changed."""
    astray: tuple[str, ...]
    """Weights that patching changed and that no layer in the file stands for."""
    harmed: tuple[str, ...]
    """Modules and weights that are not as they were before training."""
    facts: dict[str, str]
    """What the file says of the base."""


class Still(HostModel):
    """The host's model with one latent and one conditioning instead of an autoencoder and a text encoder."""

    def __init__(self, patcher: Any, latent: Tensor, cond: Any) -> None:
        silent = nn.Module()
        cpu = torch.device("cpu")
        text = SimpleNamespace(
            patcher=comfy.model_patcher.ModelPatcher(silent, load_device=cpu, offload_device=cpu),
            cond_stage_model=silent,
        )
        super().__init__(patcher, text, None)
        self.latent, self.cond = latent, cond

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """The latent, whatever the picture."""
        return self.latent.clone()

    def encode_text(
        self, captions: Sequence[str], views: Sequence[Any], *, clip_skip: int, max_tokens: int, **_: Any
    ) -> list[Any]:
        """The conditioning, whatever the caption, with the sizes that the host's encoding gives it."""
        cross, about = self.cond
        sizes = {"width": 64, "height": 64, "crop_w": 0, "crop_h": 0, "target_width": 64, "target_height": 64}
        return [[cross, {**about, **sizes}] for _ in captions]

    def pixel_mark(self) -> str:
        """There is no autoencoder to tell apart."""
        return "one latent"


def run(family: Family, folder: Path) -> Outcome:
    """Build, train, save, load; under inference mode, as prompts run."""
    with torch.inference_mode(), alone():
        latent, cond = conditioning(family)
        patcher = build(family)
        model = patcher.model
        still = Still(patcher, latent, cond)
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        its_forwards = forwards(model)
        before = loss(still)
        saved = _trained(still, recipe(family), folder)
        harmed = [*changed(model, weights), *sorted(forwards(model) ^ its_forwards)]
        tensors, _ = load_file(saved)
        keys = tuple(sorted({name.rpartition(".lora_")[0] or name.removesuffix(".alpha") for name in tensors}))
        known = comfy.lora.model_lora_keys_unet(model, {})
        patched = patcher.clone()
        with heard() as complaints:
            patched.add_patches(comfy.lora.load_lora(dict(tensors), known), 1.0)
        after = loss(Still(patched, latent, cond))
        patched_weights = set(changed(model, weights))
        comfy.model_management.unload_all_models()
        levels = still.schedule.sigmas()
        levels = levels[[len(levels) // 4, len(levels) // 2, 3 * len(levels) // 4]]
        return Outcome(
            kind=model.model_type.name,
            prediction=objective.prediction(still.schedule),
            levels=tuple(levels.tolist()),
            weights=tuple(objective.native_weight(still.schedule, levels).tolist()),
            losses=tuple(read_losses(saved.parent)),
            before=before,
            after=after,
            keys=keys,
            by_itself=tuple(layer.key for layer in unet_layers(model) if layer.share == "base"),
            unknown=tuple(key for key in keys if key not in known),
            complaints=tuple(complaints),
            still=tuple(key for key in keys if not tensors[f"{key}.lora_up.weight"].any()),
            moved=tuple(key for key in keys if known.get(key) in patched_weights),
            astray=tuple(sorted(patched_weights - {known[key] for key in keys if key in known})),
            harmed=(*harmed, *changed(model, weights)),
            facts=still.facts(),
        )


def build(family: Family) -> Any:
    """A patcher around the tiny network, fp32 on the CPU, with random weights."""
    sizes = _network(family)
    config = getattr(comfy.supported_models, family.host)(dict(sizes))
    # The host puts some sizes of its own over those of a checkpoint.
    config.unet_config.update({name: value for name, value in sizes.items() if name in config.unet_extra_config})
    config.set_inference_dtype(torch.float32, None)
    with _narrowed(family):
        model = config.get_model(family.markers(Draw(1)), device=None)
    fill(model.diffusion_model, torch.Generator().manual_seed(2))
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def conditioning(family: Family, seed: int = 3) -> tuple[Tensor, Any]:
    """A latent x0 [1, ...], and a conditioning as the host's text encoding nodes give it."""
    with torch.inference_mode(False):
        draw = Draw(seed)
        pooled = draw.normal(1, family.pooled) if family.pooled else None
        about = {"pooled_output": pooled, **family.extra(draw)}
        return draw.normal(1, *family.latent), [draw.normal(1, *family.text), about]


def loss(model: Still) -> float:
    """The native loss on noise that is always the same, at two levels of the trained range."""
    draw, total = torch.Generator().manual_seed(4), 0.0
    with model.open(precision="model's own", checkpointing=False), torch.no_grad():
        table = model.schedule.sigmas()
        conds = model.encode_text([""], [None], clip_skip=1, max_tokens=0)
        for level in (0.45, 0.55):
            sigma = table[[int(level * len(table))]]
            noise = torch.randn(model.latent.shape, generator=draw)
            found = model.denoise(model.schedule.noised(model.latent, noise, sigma), sigma, conds)
            total += float(
                objective.loss_per_image(found, model.latent, objective.native_weight(model.schedule, sigma))
            )
    return total / 2


def recipe(family: Family) -> Recipe:
    """A few steps at a constant rate, convolutions included."""
    return Recipe(
        amount=Amount(epochs=STEPS),
        seed=1,
        # What lies outside of a transformer's blocks too, which is trained where it is named.
        network=Network(dim=4, alpha=4.0, conv_dim=4, conv_alpha=4.0, only_layers=("lora_unet",)),
        optimizer=Optimizer(unet_lr=family.rate, text_lr=0.0, lr_scheduler="constant"),
        buckets=Buckets(resolution=64, bucket_step=64, min_bucket=64, max_bucket=64),
        noise=Noise(min_timestep=LEAST, max_timestep=MOST),
        saving=Saving(save_every=f"{STEPS} steps"),
    )


def _trained(model: Still, settings: Recipe, folder: Path) -> Path:
    """The file that the real loop saves."""
    picture = folder / "picture.png"
    Image.new("RGB", (64, 64), "red").save(picture)
    dataset = Dataset(records=(Record(image=picture, size=(64, 64), tags=("kiln",)),), trigger="kiln")
    lies = RunFolder(folder / "run", "tiny", "mark", dataset)
    return train(model, dataset, settings, lies, Silent(), latents=folder / "latents").checkpoints[-1].file


def _network(family: Family) -> dict[str, Any]:
    """What this host reads of the family's sizes."""
    if not family.newer:
        return dict(family.network)
    known = {one.name for one in dataclasses.fields(named(family.parameters))}
    return {**family.network, **{name: value for name, value in family.newer.items() if name in known}}


@contextlib.contextmanager
def _narrowed(family: Family) -> Iterator[None]:
    """The host's own classes, built with sizes of ours where it would leave them at their defaults."""
    with contextlib.ExitStack() as stack:
        for path, sizes in family.narrowed.items():
            module, _, name = path.rpartition(".")
            stack.enter_context(patch.object(importlib.import_module(module), name, partial(named(path), **sizes)))
        yield


def named(path: str) -> Any:
    """What the host calls so; the text is a module and a name in it."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def fill(network: nn.Module, generator: torch.Generator) -> None:
    """Random weights; the host's classes leave their memory as it was, and so do two of its buffers."""
    tables = [
        *network.named_parameters(),
        *((name, t) for name, t in network.named_buffers() if name.endswith(("pos_embed", "inv_freq"))),
    ]
    for name, tensor in tables:
        if tensor.ndim <= 1:
            tensor.normal_(0.0 if name.endswith(("bias", "beta")) else 1.0, 0.02, generator=generator)
        else:
            tensor.normal_(0.0, 1 / math.sqrt(math.prod(tensor.shape[1:])), generator=generator)


def forwards(model: nn.Module) -> set[str]:
    """Modules with a forward of their own, with hooks, or in training mode."""
    return {
        name
        for name, module in model.named_modules()
        if "forward" in module.__dict__ or module._forward_hooks or module._forward_pre_hooks or module.training
    }


def changed(model: nn.Module, weights: dict[str, Tensor]) -> list[str]:
    """Weights that are not what they were."""
    return [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, weights[name])]


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """On one thread, as more wait for each other longer than such small networks take; nothing stays loaded."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        comfy.model_management.unload_all_models()


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
    """What is logged as a warning or worse, meanwhile."""
    found: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    ear = Ear(logging.WARNING)
    logging.getLogger().addHandler(ear)
    try:
        yield found
    finally:
        logging.getLogger().removeHandler(ear)
