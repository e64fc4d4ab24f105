"""A training run from the first picture to the last file."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..dataset.images import open_image
from ..dataset.values import Dataset, Record
from . import objective
from .adapters import Lora, make_loras
from .buckets import Size, cover
from .captions import draw_caption
from .errors import NotFinite
from .formats import describe, save_file
from .optim import make_optimizer, make_schedule
from .plan import Plan, make_plan
from .ports import Model, Reporter, StepReport
from .recipe import Recipe
from .runs import RunFolder
from .values import Checkpoint, Run

# A single overflow is skipped; a run of them means that the recipe diverged.
BAD_STEPS_IN_A_ROW = 3
# Shuffled captions are nearly all different; only so many conditionings are kept.
KEPT_CONDITIONINGS = 256


@dataclass(slots=True, kw_only=True)
class _State:
    """What one run carries from step to step."""

    model: Model
    recipe: Recipe
    plan: Plan
    latents: list[Tensor]
    loras: list[Lora]
    optimizer: torch.optim.Optimizer
    schedule: Any
    trains_text: bool
    streams: dict[str, torch.Generator]
    conds: dict[tuple[str, Size], Any] = field(default_factory=dict)
    bad_steps: int = 0


def train(model: Model, dataset: Dataset, recipe: Recipe, folder: RunFolder, reporter: Reporter) -> Run:
    """Train `recipe` on `dataset` and save every epoch into `folder`.

    The model is left as it was, also when this raises: `NothingToTrain`, `NotFinite`, or what `reporter` raises to
    stop. Two runs of the same recipe on a CPU save the same tensors.
    """
    plan = make_plan(dataset, recipe)
    latents = encode_images(model, plan, reporter)
    folder.start(recipe)
    metadata = describe(recipe, dataset, plan, model.facts())
    metadata["ss_training_started_at"] = str(time.time())
    with model.open():
        state = _prepare(model, recipe, plan, latents)
        try:
            for lora in state.loras:
                lora.attach()
            for epoch in range(1, plan.epochs + 1):
                _epoch(state, epoch, folder, reporter)
                _save(state, epoch, folder, metadata, reporter)
        finally:
            for lora in state.loras:
                lora.detach()
    return folder.finish()


def encode_images(model: Model, plan: Plan, reporter: Reporter) -> list[Tensor]:
    """Every record's latent x0 [C, h, w] on the CPU, once."""
    latents = []
    for index, (record, bucket) in enumerate(zip(plan.records, plan.buckets, strict=True)):
        reporter.stage("encoding images", index, len(plan.records))
        with torch.no_grad():
            latents.append(model.encode_pixels(load_pixels(record, bucket)[None])[0].float().cpu())
    return latents


def load_pixels(record: Record, bucket: Size) -> Tensor:
    """The record's view, scaled to cover `bucket` (width, height) and cropped to its centre: [H, W, 3] in 0..1."""
    image = open_image(record)
    scaled, (left, top) = cover(image.size, bucket)
    filter = Image.Resampling.LANCZOS if scaled[0] < image.size[0] else Image.Resampling.BICUBIC
    image = image.resize(scaled, filter).crop((left, top, left + bucket[0], top + bucket[1]))
    return torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)


def stream(seed: int, name: str) -> torch.Generator:
    """An independent random stream of the run: the same seed and name give the same numbers."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _prepare(model: Model, recipe: Recipe, plan: Plan, latents: list[Tensor]) -> _State:
    rates = {"unet": recipe.optimizer.unet_lr, "text": recipe.optimizer.text_lr}
    parts = [part for part, rate in rates.items() if rate > 0]
    loras = make_loras(model.layers(), recipe.network, parts, stream(recipe.seed, "adapters"))
    optimizer = make_optimizer(recipe.optimizer, loras)
    return _State(
        model=model,
        recipe=recipe,
        plan=plan,
        latents=latents,
        loras=loras,
        optimizer=optimizer,
        schedule=make_schedule(recipe.optimizer, optimizer, plan.steps),
        trains_text="text" in parts,
        streams={name: stream(recipe.seed, name) for name in ("order", "captions", "noise", "timesteps")},
    )


def _epoch(state: _State, epoch: int, folder: RunFolder, reporter: Reporter) -> None:
    first = (epoch - 1) * state.plan.steps_an_epoch
    for number, batch in enumerate(state.plan.epoch(state.streams["order"]), first + 1):
        started = time.perf_counter()
        loss = _step(state, batch)
        rates = {group["part"]: float(group["lr"]) for group in state.optimizer.param_groups}
        state.schedule.step()
        seconds = time.perf_counter() - started
        folder.log(step=number, epoch=epoch, loss=loss, lr=rates, seconds=round(seconds, 4))
        reporter.step(
            StepReport(step=number, steps=state.plan.steps, epoch=epoch, loss=loss, lr=rates, seconds_a_step=seconds)
        )


def _step(state: _State, batch: Sequence[int]) -> float:
    """Forward, backward and one update on the records of `batch`; returns the loss."""
    loss = _loss(state, batch)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for lora in state.loras for p in lora.parameters]
    limit = state.recipe.optimizer.max_grad_norm or math.inf
    norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
    value = float(loss.detach())
    if math.isfinite(value) and bool(torch.isfinite(norm)):
        state.optimizer.step()
        state.bad_steps = 0
    else:
        state.bad_steps += 1
        if state.bad_steps >= BAD_STEPS_IN_A_ROW:
            raise NotFinite(
                f"Loss or gradients were not finite {BAD_STEPS_IN_A_ROW} steps in a row (loss {value}); the epochs "
                "saved so far are whole. Lower unet_lr and text_lr, or train in bf16 or fp32 instead of fp16."
            )
    return value


def _loss(state: _State, batch: Sequence[int]) -> Tensor:
    model, recipe = state.model, state.recipe
    noise_stream, time_stream = state.streams["noise"], state.streams["timesteps"]
    x0 = torch.stack([state.latents[i] for i in batch])
    noise = torch.randn(x0.shape, generator=noise_stream)
    table = model.schedule.sigmas()
    sigma = table.cpu()[torch.randint(len(table), (len(batch),), generator=time_stream)]
    conds = _conds(state, batch)
    device = table.device
    x0, noise, sigma = x0.to(device), noise.to(device), sigma.to(device)
    x_t = model.schedule.noised(x0, noise, sigma)
    weight = objective.native_weight(model.schedule, sigma)
    if recipe.loss.min_snr_gamma:
        ratio = objective.snr(model.schedule, sigma)
        weight = weight * objective.min_snr_weight(ratio, weight, recipe.loss.min_snr_gamma)
    if recipe.loss.debiased_estimation:
        weight = weight * objective.debiased_weight(objective.snr(model.schedule, sigma), weight)
    losses = objective.loss_per_image(model.denoise(x_t, sigma, conds), x0, weight)
    return (losses * _weights(state, batch).to(device)).mean()


def _weights(state: _State, batch: Sequence[int]) -> Tensor:
    records = [state.plan.records[i] for i in batch]
    prior = state.recipe.loss.prior_loss_weight
    return torch.tensor([record.weight * (prior if record.is_reg else 1.0) for record in records])


def _conds(state: _State, batch: Sequence[int]) -> list[Any]:
    """One conditioning a record. While the text encoder stands still, a caption is encoded once a run."""
    width, height = state.plan.buckets[batch[0]]
    captions = [draw_caption(state.plan.records[i], state.recipe.captions, state.streams["captions"]) for i in batch]
    if state.trains_text:
        return state.model.encode_text(captions, width=width, height=height)
    for caption in captions:
        if (caption, (width, height)) not in state.conds:
            with torch.no_grad():
                made = state.model.encode_text([caption], width=width, height=height)
            state.conds[caption, (width, height)] = made[0]
    found = [state.conds[caption, (width, height)] for caption in captions]
    while len(state.conds) > KEPT_CONDITIONINGS:
        state.conds.pop(next(iter(state.conds)))
    return found


def _save(state: _State, epoch: int, folder: RunFolder, metadata: dict[str, str], reporter: Reporter) -> None:
    tensors = {key: value for lora in state.loras for key, value in lora.state().items()}
    step = epoch * state.plan.steps_an_epoch
    file = folder.checkpoint_file(epoch)
    title = {"ss_output_name": folder.name, "modelspec.title": folder.name}
    at = {"ss_epoch": str(epoch), "ss_steps": str(step), "ss_training_finished_at": str(time.time())}
    save_file(tensors, {**metadata, **title, **at}, file)
    folder.add(Checkpoint(epoch=epoch, step=step, file=file))
    reporter.saved(epoch, file)
