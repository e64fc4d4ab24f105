"""A training run from the first picture to the last file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..dataset.values import Dataset
from . import objective
from .adapters import Lora
from .batches import Batches
from .checks import check, stop_of_text
from .conditioning import Conditioner
from .errors import KilnError, NotFinite
from .flat import ELEMENTWISE, gather
from .formats import describe
from .groups import Optimizer
from .latents import LatentStore, centred, is_fixed
from .network import Placed, make_adapters, ranks
from .optim import NEEDS_CUDA, make_optimizer, switch
from .own import recipe_for
from .plan import Plan, make_plan
from .ports import Asked, Layer, Model, Reporter
from .preflight import Preflight, look_ahead
from .prior import Prior
from .recipe import Recipe
from .runs import RunFolder
from .schedules import make_schedule
from .session import Session, tell
from .state import Average, load_state, restore
from .step import FIRST_SCALE, backward, losses, make_update, seeded
from .streams import stream
from .values import Run
from .writing import save_progress, write


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
    left as it was, also when this raises: `NothingToTrain`, `NotFinite`, or what `reporter` raises to stop. A run that
    the user stops and keeps is saved at that step, and returned although it is not finished. Two runs
    of the same recipe on a CPU save the same tensors, however often they were stopped and started again.
    """
    with contextlib.closing(folder), _opened(model, dataset, recipe, folder, reporter, latents, start) as session:
        found = _look_ahead(session, dataset, start)
        reporter.note(found.text())
        _gather(session)
        _begin(session)
        _encode_captions(session)
        found.save(folder.folder)
        switch(session.optimizer, "train")
        reporter.begun(folder.folder, session.step, session.plan.steps)
        with _keeping_work(session):
            if session.step:
                # Stopped between a step and what follows it, perhaps.
                write(session, session.step, Asked())
            with contextlib.closing(session.batches.updates(session.step + 1)) as updates:
                session.ready_at = time.perf_counter()
                for update in updates:
                    make_update(session, update)
                    asked = reporter.asked()
                    write(session, update.step, asked)
                    session.ready_at = time.perf_counter()
                    if asked.stop and update.step < session.plan.steps:
                        tell(session, f"Stopped and kept after step {update.step} of {session.plan.steps}.")
                        return folder.stop(update.step)
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
    with _opened(model, dataset, recipe, folder, reporter, latents, start) as session:
        found = _look_ahead(session, dataset, start)
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
) -> Iterator[Session]:
    """The model open and the adapters on it, for a while."""
    plan = make_plan(dataset, recipe)
    # Before the pictures are encoded, which may take long.
    check(recipe, model, plan)
    store = LatentStore(latents, model.pixel_mark(), model.encode_pixels, model.reading)
    precision, checkpointing = recipe.compute.precision, recipe.compute.gradient_checkpointing
    try:
        encode_images(plan, recipe, store, reporter)
        layers = _offered(model, recipe.optimizer)
        text = recipe.optimizer.learns_text and any(layer.part == "text" for layer in layers)
        with model.open(precision=precision, checkpointing=checkpointing, text=text):
            session = _prepare(model, layers, dataset, recipe, plan, store, folder, reporter, start)
            with _attached(session):
                yield session
    except torch.OutOfMemoryError as error:
        raise KilnError(_too_large(recipe, plan, error)) from error


def _offered(model: Model, settings: Optimizer) -> list[Layer]:
    """The model's layers but for those of text encoders that are left alone beside others that learn."""
    return [
        layer
        for layer in model.layers()
        if (settings.train_t5xxl or not layer.t5)
        and (layer.part != "text" or not settings.learns_text or settings.rate("text", layer.encoder))
    ]


def _too_large(recipe: Recipe, plan: Plan, error: Exception) -> str:
    """What was too much for the GPU, and what takes less."""
    largest = max(plan.images(), key=lambda size: size[0] * size[1])
    ways = [
        "switch gradient_checkpointing on" if not recipe.compute.gradient_checkpointing else "",
        f"lower batch_size from {recipe.amount.batch_size} and raise accumulation"
        if recipe.amount.batch_size > 1
        else "",
        f"lower resolution from {recipe.buckets.resolution}",
        "set text_lr to 0" if recipe.optimizer.learns_text else "",
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
    for index, (record, bucket) in enumerate(zip(plan.records, plan.buckets, strict=True)):
        reporter.stage("encoding images", index, len(plan.records))
        settings = recipe_for(recipe, record).buckets
        if is_fixed(settings) or index in plan.held_out:
            for flipped in (False, True) if settings.flip_aug else (False,):
                store.make(record, centred(record, bucket), flipped)


def _prepare(
    model: Model,
    layers: Sequence[Layer],
    dataset: Dataset,
    recipe: Recipe,
    plan: Plan,
    store: LatentStore,
    folder: RunFolder,
    reporter: Reporter,
    start: Mapping[str, Tensor] | None,
) -> Session:
    parts = [part for part, on in (("unet", recipe.optimizer.unet_lr), ("text", recipe.optimizer.learns_text)) if on]
    draws = stream(recipe.seed, "adapters")
    placed = make_adapters(layers, recipe.network, recipe.blocks, model.blocks(), parts, draws, start)
    optimizer = make_optimizer(recipe.optimizer, placed)
    schedule = make_schedule(recipe.optimizer, optimizer, plan.steps, plan.steps_an_epoch)
    metadata = describe(recipe, dataset, plan, model.facts())
    if start is not None:
        metadata |= ranks(placed)
    average = Average(placed, recipe.optimizer.ema_decay) if recipe.optimizer.ema_decay else None
    return Session(
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
        metadata=metadata,
        average=average,
        prior=Prior(model, recipe, placed) if recipe.loss.prior_preservation else None,
        stop_text_at=stop_of_text(recipe, plan),
        kind=objective.prediction(model.schedule),
        scale=FIRST_SCALE if model.traits().half else 1.0,
    )


def _look_ahead(session: Session, dataset: Dataset, start: Mapping[str, Tensor] | None) -> Preflight:
    """Try one forward and backward on the largest size: its time, and whether it fits."""
    model, recipe, plan = session.model, session.recipe, session.plan
    largest = max(plan.images(), key=lambda size: size[0] * size[1])
    rows = [i for i, (bucket, n) in enumerate(zip(plan.buckets, plan.repeats, strict=True)) if bucket == largest and n]
    batch = session.batches.trial((rows * plan.batch)[: min(plan.batch, plan.images()[largest])])
    seconds = 0.0
    # On a GPU the first time compiles and allocates.
    for _ in range(2 if model.traits().device == "cuda" else 1):
        started = time.perf_counter()
        with seeded(session, 0):
            backward(losses(session, batch).mean())
        session.idle = [p for p in session.parameters if p.grad is None]
        session.optimizer.zero_grad(set_to_none=True)
        model.memory()
        seconds = (time.perf_counter() - started) * plan.accumulation
    return look_ahead(model, dataset, recipe, plan, session.placed, seconds, start)


def _gather(session: Session) -> None:
    """Let clipping and the optimizer see the tensors as few long ones, where that changes nothing they do."""
    plain = all(isinstance(one.adapter, Lora) for one in session.placed)
    # A module that is left out of a step must not be moved in it.
    if plain and not session.recipe.network.module_dropout and type(session.optimizer) in ELEMENTWISE:
        session.flats = gather(session.optimizer, session.idle)
        session.parameters = [*(flat.whole for flat in session.flats), *session.idle]


def _encode_captions(session: Session) -> None:
    """Every caption that is known and kept, before the first step rather than in it."""
    known = session.batches.captions(session.step + 1)
    captions, views = [caption for caption, _ in known], [view for _, view in known]
    with contextlib.closing(session.conditioner.prepare(captions, views)) as progress:
        for done in progress:
            session.reporter.stage("encoding captions", done - 1, len(known))


def _begin(session: Session) -> None:
    """Start the run's folder, or go on with what an earlier try left there."""
    folder, plan = session.folder, session.plan
    state = load_state(folder.folder) if folder.may_go_on() else None
    if state:
        restore(state, session.placed, session.optimizer, session.schedule, session.average)
        session.step, counts = state["step"], state["counts"]
        session.skipped, session.bad_steps = counts["skipped"], counts["bad_steps"]
        session.scale, session.good_steps = counts["scale"], counts["good_steps"]
        words = f"Going on after step {session.step} of {plan.steps}."
    elif folder.has_state():
        words = f"What {folder.folder} holds of an unfinished run cannot be read; beginning again."
    else:
        words = ""
    # It also drops what a later step told.
    folder.start(session.recipe, session.step)
    if words:
        tell(session, words)
    session.metadata["ss_training_started_at"] = folder.started_at
    session.state_saved = time.monotonic()


@contextlib.contextmanager
def _attached(session: Session) -> Iterator[None]:
    """The adapters on their layers, for a while."""
    attached: list[Placed] = []
    try:
        for one in session.placed:
            one.adapter.attach()
            attached.append(one)
        yield
    finally:
        for one in reversed(attached):
            one.adapter.detach()


@contextlib.contextmanager
def _keeping_work(session: Session) -> Iterator[None]:
    """Whatever stops the run, the last whole step is kept; a divergence goes back to the last saved one."""
    begun = session.step
    try:
        yield
    except NotFinite:
        raise
    except BaseException:
        if session.whole and session.step > begun:
            with contextlib.suppress(KilnError):
                save_progress(session)
        raise
