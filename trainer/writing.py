"""What is written after an update whose turn has come: LoRAs, the state to go on from, tests and pictures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch

from .captions import written
from .conditioning import Conditioner
from .errors import KilnError
from .formats import save_file
from .optim import switch
from .own import recipe_for
from .plan import Plan
from .ports import Asked
from .prompts import SamplePrompt, parse_prompt
from .session import Session
from .spans import parse_span
from .state import save_state
from .streams import derived
from .validation import validate
from .values import Checkpoint

STATE_EVERY_SECONDS = 300.0


def write(session: Session, step: int, asked: Asked) -> None:
    """Saving, validation and samples, where they are asked for, or their turn has come and an earlier try has not done
    them. A run that is to stop saves what it goes on from, whatever was saved before."""
    saving, plan, folder = session.recipe.saving, session.plan, session.folder
    last = step == plan.steps
    saves = (last or asked.stop or _due(saving.save_every, step, plan)) and not folder.has_checkpoint(step)
    validates = bool(plan.held_out) and (last or _due(saving.validate_every, step, plan))
    validates = validates and not folder.has_validation(step)
    paints = bool(saving.sample_prompts) and (last or _due(saving.sample_every, step, plan))
    paints = paints or asked.sample
    if saves or asked.stop or time.monotonic() - session.state_saved > STATE_EVERY_SECONDS:
        try:
            save_progress(session)
        except KilnError:
            # A LoRA takes less room than what training goes on from.
            if saves:
                with _to_be_saved(session):
                    _save(session, -(-step // plan.steps_an_epoch))
            raise
    if saves or validates or paints:
        with _to_be_saved(session):
            if saves:
                _save(session, -(-step // plan.steps_an_epoch))
            if validates:
                found = validate(session.model, plan, session.recipe, session.batches.store, _judging(session))
                folder.log_validation(step=step, loss=found.loss, bands=found.bands, images=found.images)
            if paints:
                _paint(session)


@contextlib.contextmanager
def _to_be_saved(session: Session) -> Iterator[None]:
    """The weights that are saved and judged: the averaged ones, and a schedule-free optimizer's resting ones."""
    session.whole = False
    everything = [p for one in session.placed for p in one.adapter.parameters]
    live = [p.detach().clone() for p in everything]
    switch(session.optimizer, "eval")
    if session.average:
        session.average.swap()
    for one in session.placed:
        one.adapter.learn(False)
    try:
        yield
    finally:
        for one in session.placed:
            one.adapter.learn(True)
        if session.average:
            session.average.swap()
        switch(session.optimizer, "train")
        # A schedule-free optimizer rounds on its way there and back, and saving must not change what is learned.
        with torch.no_grad():
            torch._foreach_copy_(everything, live)
        session.whole = True


def _judging(session: Session) -> Conditioner:
    """Encodes for validation: what the saved weights of a text encoder answer, not what was kept of the live ones."""
    if all(one.part != "text" for one in session.placed):
        return session.conditioner
    return Conditioner(session.model, session.recipe, frozen=False)


def _save(session: Session, epoch: int) -> None:
    tensors = {key: value for one in session.placed for key, value in one.adapter.state().items()}
    ends_epoch = session.step % session.plan.steps_an_epoch == 0 or session.step == session.plan.steps
    file = session.folder.checkpoint_file(epoch, None if ends_epoch else session.step)
    title = {"ss_output_name": session.folder.name, "modelspec.title": session.folder.name}
    at = {"ss_epoch": str(epoch), "ss_steps": str(session.step), "ss_training_finished_at": str(time.time())}
    save_file(tensors, {**session.metadata, **title, **at}, file)
    session.folder.add(Checkpoint(epoch=epoch, step=session.step, file=file), keep_last=session.recipe.saving.keep_last)
    session.reporter.saved(epoch, file)


def save_progress(session: Session) -> None:
    """Write what a stopped run goes on from."""
    counts = {
        "skipped": session.skipped,
        "bad_steps": session.bad_steps,
        "scale": session.scale,
        "good_steps": session.good_steps,
    }
    save_state(
        session.folder.folder,
        step=session.step,
        placed=session.placed,
        optimizer=session.optimizer,
        schedule=session.schedule,
        average=session.average,
        counts=counts,
    )
    session.state_saved = time.monotonic()


@torch.no_grad()
def _paint(session: Session) -> None:
    saving, files = session.recipe.saving, []
    side = session.recipe.buckets.resolution
    lines = map(parse_prompt, saving.sample_prompts) if saving.sample_prompts else [_plain_prompt(session)]
    for number, line in enumerate(lines):
        files.append(session.folder.sample_file(session.step, number))
        if files[-1].is_file():
            continue
        usual = {
            "width": side,
            "height": side,
            "steps": saving.sample_steps,
            "cfg": saving.sample_cfg,
            "seed": derived(session.recipe.seed, "samples", number),
        }
        clip_skip = session.recipe.captions.clip_skip
        picture = session.model.sample(
            line.prompt, negative=line.negative, clip_skip=clip_skip, **{**usual, **line.given}
        )
        session.folder.keep_sample(picture, session.step, number)
    session.reporter.painted(session.step, files)


def _plain_prompt(session: Session) -> SamplePrompt:
    """What is painted on demand by a recipe without prompts: the trigger, else the first caption, without emphasis."""
    first = session.plan.records[0]
    words = str(session.folder.about["trigger"]) or written(first, recipe_for(session.recipe, first).captions)
    return SamplePrompt(prompt=words.replace("(", "\\(").replace(")", "\\)"))


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
