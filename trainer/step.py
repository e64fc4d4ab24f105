"""One update: forward and backward of its batches, the optimizer, and what is told of it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from . import objective
from .batches import Batch, Update
from .conditioning import Conditioner
from .errors import NotFinite
from .noise import sigma_at
from .optim import rates
from .ports import StepReport
from .session import Session, tell
from .streams import derived

# A single overflow is skipped; a run of them means that the recipe diverged.
BAD_STEPS_IN_A_ROW = 3
# A loss this many times its own average is told.
EXPLODING = 10.0
ENOUGH = 20
"""Losses that an average must be of before one is called too high: those of single images differ tenfold."""
# In fp16, gradients are scaled up so that small ones do not vanish: as high as holds, doubled after so many good steps.
# Overflows at the least scale are bad steps.
FIRST_SCALE, LEAST_SCALE, SCALE_GROWS_AFTER = 2.0**14, 2.0, 500


def make_update(session: Session, update: Update) -> None:
    """Forward and backward of every batch, and one update."""
    _stop_text(session, update.step)
    if not session.flats:
        session.optimizer.zero_grad(set_to_none=True)
    for flat in session.flats:
        flat.clear()
        # One that nothing reached when it was tried may be reached later, by a rare word perhaps.
        for parameter in session.idle:
            parameter.grad = None
    images = sum(len(batch.x0) for batch in update.batches)
    total: Tensor | float = 0.0
    with seeded(session, update.step):
        for batch in update.batches:
            loss = losses(session, batch).sum() / images
            backward(loss * session.scale)
            total = total + loss.detach()
    grads = [parameter.grad for parameter in session.parameters if parameter.grad is not None]
    if session.scale != 1 and grads:
        torch._foreach_mul_(grads, 1 / session.scale)
    norm = total_norm(grads)
    used = rates(session.optimizer)
    # The one time a step that the host waits for the device.
    loss_value, norm_value = torch.stack([torch.as_tensor(total), norm.to(torch.as_tensor(total).device)]).tolist()
    session.whole = False
    if math.isfinite(loss_value) and math.isfinite(norm_value):
        limit = session.recipe.optimizer.max_grad_norm or math.inf
        if norm_value > limit:
            torch._foreach_mul_(grads, limit / (norm_value + 1e-6))
        session.optimizer.step()
        _limit_norms(session)
        if session.average:
            session.average.update(update.step)
        session.bad_steps = 0
    else:
        session.skipped += 1
        # An overflow of scaled gradients says nothing of the recipe, as long as there is a lower scale.
        session.bad_steps += session.scale <= LEAST_SCALE or not math.isfinite(loss_value)
    _rescale(session, math.isfinite(norm_value))
    session.schedule.step()
    session.step = update.step
    _report(session, update, loss_value, norm_value, used, time.perf_counter() - session.ready_at)
    if session.bad_steps >= BAD_STEPS_IN_A_ROW:
        raise NotFinite(
            f"Loss or gradients were not finite {BAD_STEPS_IN_A_ROW} steps in a row (loss {loss_value}, step "
            f"{update.step}); what was saved so far is whole. Lower unet_lr and text_lr, or train in bf16 or fp32 "
            "instead of fp16; the same recipe would diverge again."
        )


def total_norm(grads: Sequence[Tensor]) -> Tensor:
    """The norm of all gradients together, fp32 [], as `torch.nn.utils.clip_grad_norm_` takes it."""
    if not grads:
        return torch.zeros(())
    norms = torch._foreach_norm(list(grads))
    total: Tensor = torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))
    return total


def backward(loss: Tensor) -> None:
    """Where module dropout has left out every adapter, there is nothing to go back to."""
    if loss.requires_grad:
        loss.backward()


def _rescale(session: Session, good: bool) -> None:
    """Halve fp16's gradient scale after an overflow, double it after a long time without one."""
    if session.scale == 1:
        return
    session.good_steps = session.good_steps + 1 if good else 0
    if not good:
        session.scale = max(LEAST_SCALE, session.scale / 2)
    elif session.good_steps % SCALE_GROWS_AFTER == 0:
        session.scale *= 2


def losses(session: Session, batch: Batch) -> Tensor:
    """The weighted loss of each image, [B]."""
    model, recipe, schedule = session.model, session.recipe, session.model.schedule
    sigma = sigma_at(batch.levels, schedule, recipe.noise, flow=session.kind == "flow")
    x0, noise = batch.x0.to(sigma.device), batch.noise.to(sigma.device)
    conds = session.conditioner.encode(batch.captions, batch.views)
    x_t, target = schedule.noised(x0, noise, sigma), x0
    if batch.more_noise is not None:
        # The target of the unperturbed pair, seen from the perturbed input: x0 + a(s) (x_t' - x_t).
        more = noise + recipe.noise.ip_noise_gamma * batch.more_noise.to(sigma.device)
        perturbed = schedule.noised(x0, more, sigma)
        slope = objective.input_slope(schedule, sigma).view(-1, *(1,) * (x0.ndim - 1))
        x_t, target = perturbed, x0 + slope * (perturbed - x_t)
    if session.prior:
        target = session.prior.targets(batch, x_t, sigma, target)
    settings = recipe.loss
    found = objective.loss_per_image(
        model.denoise(x_t, sigma, conds),
        target,
        objective.native_weight(schedule, sigma),
        kind=settings.loss_type,
        c=objective.huber_c(schedule, sigma, batch.levels.to(sigma.device), settings)
        if settings.loss_type in objective.HUBER
        else None,
        mask=batch.mask.to(sigma.device) if batch.mask is not None else None,
    )
    return found * objective.level_weight(schedule, sigma, settings, session.kind) * batch.weights.to(sigma.device)


@contextlib.contextmanager
def seeded(session: Session, step: int) -> Iterator[None]:
    """Dropouts inside adapters draw from PyTorch's own generators: seed them by the step, give them back after."""
    network = session.recipe.network
    dropouts = network.network_dropout or network.rank_dropout or network.module_dropout
    if not dropouts and network.network_type != "DyLoRA":
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(derived(session.recipe.seed, "dropout", step))
        yield


def _stop_text(session: Session, step: int) -> None:
    """From here on the text encoder stands still, and its answers can be kept."""
    if not session.stop_text_at or step <= session.stop_text_at or session.conditioner.frozen:
        return
    for one in session.placed:
        if one.part == "text":
            for parameter in one.adapter.parameters:
                parameter.requires_grad_(False)
    for flat in session.flats:
        if flat.part == "text":
            flat.rest()
    session.flats = [flat for flat in session.flats if flat.part != "text"]
    # Without gradients an optimizer leaves parameters alone.
    session.parameters = [p for p in session.parameters if p.requires_grad]
    session.conditioner = Conditioner(session.model, session.recipe, frozen=True)


def _limit_norms(session: Session) -> None:
    limit = session.recipe.network.scale_weight_norms
    if limit:
        for one in session.placed:
            one.adapter.limit_norm(limit)


def _report(session: Session, update: Update, loss: float, norm: float, used: dict[str, float], seconds: float) -> None:
    session.seconds = seconds if not session.seconds else 0.9 * session.seconds + 0.1 * seconds
    if math.isfinite(loss):
        if session.averaged >= ENOUGH and loss > EXPLODING * session.smooth_loss:
            tell(
                session,
                f"The loss of step {update.step} is {loss:.3g}, {EXPLODING:g} times what it was before "
                f"({session.smooth_loss:.3g}); if it stays so, lower the learning rates.",
            )
            # What comes is measured by the new level, once that is known: the same words do not come at every step.
            session.averaged = 0
        session.averaged += 1
        session.smooth_loss += max(1 / session.averaged, 0.02) * (loss - session.smooth_loss)
    session.folder.log(
        step=update.step,
        epoch=update.epoch,
        loss=loss,
        grad_norm=norm,
        lr=used,
        seconds=round(seconds, 4),
        it_s=round(1 / seconds, 3),
        memory=session.model.memory(),
        skipped=session.skipped,
    )
    session.whole = True
    session.reporter.step(
        StepReport(
            step=update.step,
            steps=session.plan.steps,
            epoch=update.epoch,
            loss=loss,
            lr=used,
            grad_norm=norm,
            seconds_a_step=session.seconds,
        )
    )
