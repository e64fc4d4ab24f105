"""A training run from the first picture to the last file."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..dataset.values import Dataset
from . import objective
from .adapters import Lora
from .batches import Batch, Batches, Update
from .captions import varies, written
from .conditioning import Conditioner
from .errors import KilnError, NotFinite
from .flat import ELEMENTWISE, Flat, gather
from .formats import describe, save_file
from .latents import LatentStore, centred, is_fixed
from .network import Placed, make_adapters
from .noise import sigma_at
from .optim import NEEDS_CUDA, make_optimizer, rates, switch
from .plan import Plan, make_plan
from .ports import Model, Reporter, StepReport
from .preflight import Preflight, check, look_ahead, stop_of_text
from .prior import Prior
from .recipe import Recipe
from .runs import RunFolder
from .schedules import make_schedule
from .spans import parse_span
from .state import Average, load_state, restore, save_state
from .streams import derived, stream
from .validation import validate
from .values import Checkpoint, Run

# A single overflow is skipped; a run of them means that the recipe diverged.
BAD_STEPS_IN_A_ROW = 3
# A loss this many times its own average is told.
EXPLODING = 10.0
STATE_EVERY_SECONDS = 300.0
# In fp16, gradients are scaled up so that small ones do not vanish: as high as holds, doubled after so many good steps.
# Overflows at the least scale are bad steps.
FIRST_SCALE, LEAST_SCALE, SCALE_GROWS_AFTER = 2.0**14, 2.0, 500


@dataclass(slots=True, kw_only=True)
class _Trainer:
    """What one run carries from step to step."""

    model: Model
    recipe: Recipe
    plan: Plan
    batches: Batches
    placed: list[Placed]
    # All that is trained; after `_gather`, the long tensors that the adapters' own are views of.
    parameters: list[Tensor]
    optimizer: torch.optim.Optimizer
    schedule: Any
    conditioner: Conditioner
    folder: RunFolder
    reporter: Reporter
    metadata: dict[str, str]
    average: Average | None
    prior: Prior | None
    stop_text_at: int
    # What the model predicts, as `objective.prediction` says.
    kind: str
    flats: list[Flat] = field(default_factory=list)
    # Tensors that no gradient reaches.
    idle: list[Tensor] = field(default_factory=list)
    step: int = 0
    bad_steps: int = 0
    skipped: int = 0
    # 1 where the forward pass is not in fp16.
    scale: float = 1.0
    good_steps: int = 0
    smooth_loss: float = math.nan
    seconds: float = 0.0
    # False while an update is under way, when the weights and the optimizer's state may not belong together.
    whole: bool = True
    state_saved: float = 0.0


def train(
    model: Model,
    dataset: Dataset,
    recipe: Recipe,
    folder: RunFolder,
    reporter: Reporter,
    *,
    latents: Path,
    start: Mapping[str, Tensor] | None = None,
) -> Run:
    """Train `recipe` on `dataset` and save into `folder`; go on where an earlier try at the same run stopped.

    `latents` is the folder of encoded pictures that all runs share; `start` holds a LoRA to go on from. The model is
    left as it was, also when this raises: `NothingToTrain`, `NotFinite`, or what `reporter` raises to stop. Two runs
    of the same recipe on a CPU save the same tensors, however often they were stopped and started again.
    """
    with _opened(model, dataset, recipe, folder, reporter, latents, start) as trainer:
        found = _look_ahead(trainer, dataset, start)
        reporter.note(found.text())
        _gather(trainer)
        _begin(trainer)
        _encode_captions(trainer)
        found.save(folder.folder)
        switch(trainer.optimizer, "train")
        with _keeping_work(trainer):
            if trainer.step:
                # Stopped between a step and what follows it, perhaps.
                _after(trainer, trainer.step)
            with contextlib.closing(trainer.batches.updates(trainer.step + 1)) as updates:
                for update in updates:
                    _step(trainer, update)
                    _after(trainer, update.step)
    return folder.finish()


def preflight(
    model: Model,
    dataset: Dataset,
    recipe: Recipe,
    folder: RunFolder,
    reporter: Reporter,
    *,
    latents: Path,
    start: Mapping[str, Tensor] | None = None,
) -> Preflight:
    """Everything up to the first update, which is tried and not made; raises what `train` would. Writes no run."""
    with _opened(model, dataset, recipe, folder, reporter, latents, start) as trainer:
        found = _look_ahead(trainer, dataset, start)
    reporter.note(found.text())
    return found


@contextlib.contextmanager
def _opened(
    model: Model,
    dataset: Dataset,
    recipe: Recipe,
    folder: RunFolder,
    reporter: Reporter,
    latents: Path,
    start: Mapping[str, Tensor] | None,
) -> Iterator[_Trainer]:
    """The model open and the adapters on it, for a while."""
    plan = make_plan(dataset, recipe)
    # Before the pictures are encoded, which may take long.
    check(recipe, model, plan)
    store = LatentStore(latents, model.pixel_mark(), model.encode_pixels)
    precision, checkpointing = recipe.compute.precision, recipe.compute.gradient_checkpointing
    try:
        encode_images(plan, recipe, store, reporter)
        with model.open(precision=precision, checkpointing=checkpointing):
            trainer = _prepare(model, dataset, recipe, plan, store, folder, reporter, start)
            with _attached(trainer):
                yield trainer
    except torch.OutOfMemoryError as error:
        raise KilnError(_too_large(recipe, plan, error)) from error


def _too_large(recipe: Recipe, plan: Plan, error: Exception) -> str:
    """What was too much for the GPU, and what takes less."""
    largest = max(plan.images(), key=lambda size: size[0] * size[1])
    ways = [
        "switch gradient_checkpointing on" if not recipe.compute.gradient_checkpointing else "",
        f"lower batch_size from {recipe.amount.batch_size} and raise accumulation"
        if recipe.amount.batch_size > 1
        else "",
        f"lower resolution from {recipe.buckets.resolution}",
        "set text_lr to 0" if recipe.optimizer.text_lr else "",
        "load the model in fp8",
        f"choose AdamW8bit instead of {recipe.optimizer.optimizer_type}"
        if recipe.optimizer.optimizer_type not in NEEDS_CUDA
        else "",
    ]
    return (
        f"The GPU's memory is too small for {recipe.amount.batch_size} x {largest[0]}x{largest[1]} pixels: "
        f"{', or '.join(way for way in ways if way)}. What was saved so far is whole. ({str(error).splitlines()[0]})"
    )


def encode_images(plan: Plan, recipe: Recipe, store: LatentStore, reporter: Reporter) -> None:
    """Every record's latent, on disk before the first step; mirrored ones too where the recipe shows them."""
    flips = (False, True) if recipe.buckets.flip_aug else (False,)
    for index, (record, bucket) in enumerate(zip(plan.records, plan.buckets, strict=True)):
        reporter.stage("encoding images", index, len(plan.records))
        if is_fixed(recipe.buckets) or index in plan.held_out:
            for flipped in flips:
                store.make(record, centred(record, bucket), flipped)


def _prepare(
    model: Model,
    dataset: Dataset,
    recipe: Recipe,
    plan: Plan,
    store: LatentStore,
    folder: RunFolder,
    reporter: Reporter,
    start: Mapping[str, Tensor] | None,
) -> _Trainer:
    parts = [part for part, rate in (("unet", recipe.optimizer.unet_lr), ("text", recipe.optimizer.text_lr)) if rate]
    draws = stream(recipe.seed, "adapters")
    layers = [layer for layer in model.layers() if recipe.optimizer.train_t5xxl or not layer.t5]
    placed = make_adapters(layers, recipe.network, recipe.blocks, model.blocks(), parts, draws, start)
    optimizer = make_optimizer(recipe.optimizer, placed)
    schedule = make_schedule(recipe.optimizer, optimizer, plan.steps, plan.steps_an_epoch)
    average = Average(placed, recipe.optimizer.ema_decay) if recipe.optimizer.ema_decay else None
    return _Trainer(
        model=model,
        recipe=recipe,
        plan=plan,
        batches=Batches(plan, recipe, store),
        placed=placed,
        parameters=[p for one in placed for p in one.adapter.parameters],
        optimizer=optimizer,
        schedule=schedule,
        conditioner=Conditioner(model, recipe, frozen=not any(one.part == "text" for one in placed)),
        folder=folder,
        reporter=reporter,
        metadata=describe(recipe, dataset, plan, model.facts()),
        average=average,
        prior=Prior(model, recipe, placed) if recipe.loss.prior_preservation else None,
        stop_text_at=stop_of_text(recipe, plan),
        kind=objective.prediction(model.schedule),
        scale=FIRST_SCALE if model.traits().half else 1.0,
    )


def _look_ahead(trainer: _Trainer, dataset: Dataset, start: Mapping[str, Tensor] | None) -> Preflight:
    """Try one forward and backward on the largest size: its time, and whether it fits."""
    model, recipe, plan = trainer.model, trainer.recipe, trainer.plan
    largest = max(plan.images(), key=lambda size: size[0] * size[1])
    rows = [i for i, (bucket, n) in enumerate(zip(plan.buckets, plan.repeats, strict=True)) if bucket == largest and n]
    batch = trainer.batches.trial((rows * plan.batch)[: min(plan.batch, plan.images()[largest])])
    seconds = 0.0
    # On a GPU the first time compiles and allocates.
    for _ in range(2 if model.traits().device == "cuda" else 1):
        started = time.perf_counter()
        with _seeded(trainer, 0):
            _backward(_losses(trainer, batch).mean())
        trainer.idle = [p for p in trainer.parameters if p.grad is None]
        trainer.optimizer.zero_grad(set_to_none=True)
        model.memory()
        seconds = (time.perf_counter() - started) * plan.accumulation
    return look_ahead(model, dataset, recipe, plan, trainer.placed, seconds, start)


def _gather(trainer: _Trainer) -> None:
    """Let clipping and the optimizer see the tensors as few long ones, where that changes nothing they do."""
    plain = all(isinstance(one.adapter, Lora) for one in trainer.placed)
    # A module that is left out of a step must not be moved in it.
    if plain and not trainer.recipe.network.module_dropout and type(trainer.optimizer) in ELEMENTWISE:
        trainer.flats = gather(trainer.optimizer, trainer.idle)
        trainer.parameters = [*(flat.whole for flat in trainer.flats), *trainer.idle]


def _encode_captions(trainer: _Trainer) -> None:
    """Every caption that stays the same and is kept, before the first step rather than in it."""
    recipe, plan = trainer.recipe, trainer.plan
    if varies(recipe.captions) or not is_fixed(recipe.buckets):
        return
    rows = [row for row, repeats in enumerate(plan.repeats) if repeats]
    captions = [written(plan.records[row], recipe.captions) for row in rows]
    views = [centred(plan.records[row], plan.buckets[row]) for row in rows]
    for done in trainer.conditioner.prepare(captions, views):
        trainer.reporter.stage("encoding captions", done - 1, len(rows))


def _begin(trainer: _Trainer) -> None:
    """Start the run's folder, or go on with what an earlier try left there."""
    folder, plan = trainer.folder, trainer.plan
    state = load_state(folder.folder) if folder.may_go_on() else None
    if state:
        restore(state, trainer.placed, trainer.optimizer, trainer.schedule, trainer.average)
        trainer.step, counts = state["step"], state["counts"]
        trainer.skipped, trainer.bad_steps = counts["skipped"], counts["bad_steps"]
        trainer.scale, trainer.good_steps = counts["scale"], counts["good_steps"]
        trainer.reporter.note(f"Going on after step {trainer.step} of {plan.steps}.")
    elif folder.has_state():
        trainer.reporter.note(f"What {folder.folder} holds of an unfinished run cannot be read; beginning again.")
    folder.start(trainer.recipe, trainer.step)
    trainer.metadata["ss_training_started_at"] = folder.started_at
    trainer.state_saved = time.monotonic()


@contextlib.contextmanager
def _attached(trainer: _Trainer) -> Iterator[None]:
    """The adapters on their layers, for a while."""
    attached: list[Placed] = []
    try:
        for one in trainer.placed:
            one.adapter.attach()
            attached.append(one)
        yield
    finally:
        for one in reversed(attached):
            one.adapter.detach()


@contextlib.contextmanager
def _keeping_work(trainer: _Trainer) -> Iterator[None]:
    """Whatever stops the run, the last whole step is kept; a divergence goes back to the last saved one."""
    begun = trainer.step
    try:
        yield
    except NotFinite:
        raise
    except BaseException:
        if trainer.whole and trainer.step > begun:
            with contextlib.suppress(KilnError):
                _save_state(trainer)
        raise


def _step(trainer: _Trainer, update: Update) -> None:
    """Forward and backward of every batch, and one update."""
    started = time.perf_counter()
    _stop_text(trainer, update.step)
    if not trainer.flats:
        trainer.optimizer.zero_grad(set_to_none=True)
    for flat in trainer.flats:
        flat.clear()
    images = sum(len(batch.x0) for batch in update.batches)
    total: Tensor | float = 0.0
    with _seeded(trainer, update.step):
        for batch in update.batches:
            loss = _losses(trainer, batch).sum() / images
            _backward(loss * trainer.scale)
            total = total + loss.detach()
    if trainer.scale != 1 and (grads := [p.grad for p in trainer.parameters if p.grad is not None]):
        torch._foreach_mul_(grads, 1 / trainer.scale)
    limit = trainer.recipe.optimizer.max_grad_norm or math.inf
    norm = torch.nn.utils.clip_grad_norm_(trainer.parameters, limit)
    used = rates(trainer.optimizer)
    # The one time a step that the host waits for the device.
    loss_value, norm_value = torch.stack([torch.as_tensor(total), norm.to(torch.as_tensor(total).device)]).tolist()
    trainer.whole = False
    if math.isfinite(loss_value) and math.isfinite(norm_value):
        trainer.optimizer.step()
        _limit_norms(trainer)
        if trainer.average:
            trainer.average.update(update.step)
        trainer.bad_steps = 0
    else:
        trainer.skipped += 1
        # An overflow of scaled gradients says nothing of the recipe, as long as there is a lower scale.
        trainer.bad_steps += trainer.scale <= LEAST_SCALE or not math.isfinite(loss_value)
    _rescale(trainer, math.isfinite(norm_value))
    trainer.schedule.step()
    trainer.step = update.step
    _report(trainer, update, loss_value, norm_value, used, time.perf_counter() - started)
    if trainer.bad_steps >= BAD_STEPS_IN_A_ROW:
        raise NotFinite(
            f"Loss or gradients were not finite {BAD_STEPS_IN_A_ROW} steps in a row (loss {loss_value}, step "
            f"{update.step}); what was saved so far is whole. Lower unet_lr and text_lr, or train in bf16 or fp32 "
            "instead of fp16; the same recipe would diverge again."
        )


def _backward(loss: Tensor) -> None:
    """Where module dropout has left out every adapter, there is nothing to go back to."""
    if loss.requires_grad:
        loss.backward()


def _rescale(trainer: _Trainer, good: bool) -> None:
    """Halve fp16's gradient scale after an overflow, double it after a long time without one."""
    if trainer.scale == 1:
        return
    trainer.good_steps = trainer.good_steps + 1 if good else 0
    if not good:
        trainer.scale = max(LEAST_SCALE, trainer.scale / 2)
    elif trainer.good_steps % SCALE_GROWS_AFTER == 0:
        trainer.scale *= 2


def _losses(trainer: _Trainer, batch: Batch) -> Tensor:
    """The weighted loss of each image, [B]."""
    model, recipe, schedule = trainer.model, trainer.recipe, trainer.model.schedule
    sigma = sigma_at(batch.levels, schedule, recipe.noise)
    x0, noise = batch.x0.to(sigma.device), batch.noise.to(sigma.device)
    conds = trainer.conditioner.encode(batch.captions, batch.views)
    x_t, target = schedule.noised(x0, noise, sigma), x0
    if batch.more_noise is not None:
        # The target of the unperturbed pair, seen from the perturbed input: x0 + a(s) (x_t' - x_t).
        more = noise + recipe.noise.ip_noise_gamma * batch.more_noise.to(sigma.device)
        perturbed = schedule.noised(x0, more, sigma)
        slope = objective.input_slope(schedule, sigma).view(-1, *(1,) * (x0.ndim - 1))
        x_t, target = perturbed, x0 + slope * (perturbed - x_t)
    if trainer.prior:
        target = trainer.prior.targets(batch, x_t, sigma, target)
    settings = recipe.loss
    losses = objective.loss_per_image(
        model.denoise(x_t, sigma, conds),
        target,
        objective.native_weight(schedule, sigma),
        kind=settings.loss_type,
        c=objective.huber_c(schedule, sigma, batch.levels.to(sigma.device), settings),
        mask=batch.mask.to(sigma.device) if batch.mask is not None else None,
    )
    return losses * objective.level_weight(schedule, sigma, settings, trainer.kind) * batch.weights.to(sigma.device)


@contextlib.contextmanager
def _seeded(trainer: _Trainer, step: int) -> Iterator[None]:
    """Dropouts inside adapters draw from PyTorch's own generators: seed them by the step, give them back after."""
    network = trainer.recipe.network
    dropouts = network.network_dropout or network.rank_dropout or network.module_dropout
    if not dropouts and network.network_type != "DyLoRA":
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(derived(trainer.recipe.seed, "dropout", step))
        yield


def _stop_text(trainer: _Trainer, step: int) -> None:
    """From here on the text encoder stands still, and its answers can be kept."""
    if not trainer.stop_text_at or step <= trainer.stop_text_at or trainer.conditioner.frozen:
        return
    for one in trainer.placed:
        if one.part == "text":
            for parameter in one.adapter.parameters:
                parameter.requires_grad_(False)
    for flat in trainer.flats:
        if flat.part == "text":
            flat.rest()
    trainer.flats = [flat for flat in trainer.flats if flat.part != "text"]
    # Without gradients an optimizer leaves parameters alone.
    trainer.parameters = [p for p in trainer.parameters if p.requires_grad]
    trainer.conditioner = Conditioner(trainer.model, trainer.recipe, frozen=True)


def _limit_norms(trainer: _Trainer) -> None:
    limit = trainer.recipe.network.scale_weight_norms
    if limit:
        for one in trainer.placed:
            one.adapter.limit_norm(limit)


def _report(
    trainer: _Trainer, update: Update, loss: float, norm: float, used: dict[str, float], seconds: float
) -> None:
    trainer.seconds = seconds if not trainer.seconds else 0.9 * trainer.seconds + 0.1 * seconds
    if math.isfinite(loss):
        if loss > EXPLODING * trainer.smooth_loss:
            trainer.reporter.note(
                f"The loss of step {update.step} is {loss:.3g}, {EXPLODING:g} times what it was before "
                f"({trainer.smooth_loss:.3g}); if it stays so, lower the learning rates."
            )
        before = trainer.smooth_loss if math.isfinite(trainer.smooth_loss) else loss
        trainer.smooth_loss = 0.98 * before + 0.02 * loss
    trainer.folder.log(
        step=update.step,
        epoch=update.epoch,
        loss=loss,
        grad_norm=norm,
        lr=used,
        seconds=round(seconds, 4),
        it_s=round(1 / seconds, 3),
        memory=trainer.model.memory(),
        skipped=trainer.skipped,
    )
    trainer.whole = True
    trainer.reporter.step(
        StepReport(
            step=update.step,
            steps=trainer.plan.steps,
            epoch=update.epoch,
            loss=loss,
            lr=used,
            grad_norm=norm,
            seconds_a_step=trainer.seconds,
        )
    )


def _after(trainer: _Trainer, step: int) -> None:
    """Saving, validation and samples, where their turn has come and an earlier try has not done them."""
    saving, plan, folder = trainer.recipe.saving, trainer.plan, trainer.folder
    last = step == plan.steps
    saves = (last or _due(saving.save_every, step, plan)) and not folder.has_checkpoint(step)
    validates = bool(plan.held_out) and (last or _due(saving.validate_every, step, plan))
    validates = validates and not folder.has_validation(step)
    paints = bool(saving.sample_prompts) and (last or _due(saving.sample_every, step, plan))
    if saves or time.monotonic() - trainer.state_saved > STATE_EVERY_SECONDS:
        try:
            _save_state(trainer)
        except KilnError:
            # A LoRA takes less room than what training goes on from.
            if saves:
                with _to_be_saved(trainer):
                    _save(trainer, -(-step // plan.steps_an_epoch))
            raise
    if saves or validates or paints:
        with _to_be_saved(trainer):
            if saves:
                _save(trainer, -(-step // plan.steps_an_epoch))
            if validates:
                found = validate(trainer.model, plan, trainer.recipe, trainer.batches.store, _judging(trainer))
                folder.log_validation(step=step, loss=found.loss, bands=found.bands, images=found.images)
            if paints:
                _paint(trainer)


@contextlib.contextmanager
def _to_be_saved(trainer: _Trainer) -> Iterator[None]:
    """The weights that are saved and judged: the averaged ones, and a schedule-free optimizer's resting ones."""
    trainer.whole = False
    everything = [p for one in trainer.placed for p in one.adapter.parameters]
    live = [p.detach().clone() for p in everything]
    switch(trainer.optimizer, "eval")
    if trainer.average:
        trainer.average.swap()
    for one in trainer.placed:
        one.adapter.learn(False)
    try:
        yield
    finally:
        for one in trainer.placed:
            one.adapter.learn(True)
        if trainer.average:
            trainer.average.swap()
        switch(trainer.optimizer, "train")
        # A schedule-free optimizer rounds on its way there and back, and saving must not change what is learned.
        with torch.no_grad():
            torch._foreach_copy_(everything, live)
        trainer.whole = True


def _judging(trainer: _Trainer) -> Conditioner:
    """Encodes for validation: what the saved weights of a text encoder answer, not what was kept of the live ones."""
    if all(one.part != "text" for one in trainer.placed):
        return trainer.conditioner
    return Conditioner(trainer.model, trainer.recipe, frozen=False)


def _save(trainer: _Trainer, epoch: int) -> None:
    tensors = {key: value for one in trainer.placed for key, value in one.adapter.state().items()}
    ends_epoch = trainer.step % trainer.plan.steps_an_epoch == 0 or trainer.step == trainer.plan.steps
    file = trainer.folder.checkpoint_file(epoch, None if ends_epoch else trainer.step)
    title = {"ss_output_name": trainer.folder.name, "modelspec.title": trainer.folder.name}
    at = {"ss_epoch": str(epoch), "ss_steps": str(trainer.step), "ss_training_finished_at": str(time.time())}
    save_file(tensors, {**trainer.metadata, **title, **at}, file)
    trainer.folder.add(Checkpoint(epoch=epoch, step=trainer.step, file=file), keep_last=trainer.recipe.saving.keep_last)
    trainer.reporter.saved(epoch, file)


def _save_state(trainer: _Trainer) -> None:
    counts = {
        "skipped": trainer.skipped,
        "bad_steps": trainer.bad_steps,
        "scale": trainer.scale,
        "good_steps": trainer.good_steps,
    }
    save_state(
        trainer.folder.folder,
        step=trainer.step,
        placed=trainer.placed,
        optimizer=trainer.optimizer,
        schedule=trainer.schedule,
        average=trainer.average,
        counts=counts,
    )
    trainer.state_saved = time.monotonic()


@torch.no_grad()
def _paint(trainer: _Trainer) -> None:
    saving, files = trainer.recipe.saving, []
    side = trainer.recipe.buckets.resolution
    for number, prompt in enumerate(saving.sample_prompts):
        files.append(trainer.folder.sample_file(trainer.step, number))
        if files[-1].is_file():
            continue
        seed = derived(trainer.recipe.seed, "samples", number)
        picture = trainer.model.sample(
            prompt,
            width=side,
            height=side,
            steps=saving.sample_steps,
            cfg=saving.sample_cfg,
            seed=seed,
            clip_skip=trainer.recipe.captions.clip_skip,
        )
        trainer.folder.keep_sample(picture, trainer.step, number)
    trainer.reporter.painted(trainer.step, files)


def _due(span: str, step: int, plan: Plan) -> bool:
    """Whether something that happens every `span` happens after this step; every epoch means at its end.

    0 is never: what ends the run has its turn there all the same.
    """
    every = parse_span(span)
    if not every.amount:
        return False
    if every.unit == "epochs":
        return step % max(1, round(every.amount * plan.steps_an_epoch)) == 0
    return step % max(1, every.steps(steps=plan.steps, steps_an_epoch=plan.steps_an_epoch)) == 0
