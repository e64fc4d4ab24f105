"""Before the first step: what will happen, and what it will take."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..dataset.values import Dataset
from . import objective
from .checks import check, check_placed
from .files import write_text
from .network import Placed
from .optim import NEEDS_CUDA
from .plan import Plan
from .ports import Model
from .recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What a run will do. `notes` say what contradicting settings were resolved to, and what looks wrong."""

    images: int
    regularisation_images: int
    held_out_images: int
    seen_an_epoch: int
    buckets: dict[str, int]
    """Repeated images by size, as `832x1216`."""
    epochs: int
    steps_an_epoch: int
    steps: int
    parameters: int
    layers: int
    prediction: str
    missing_captions: tuple[str, ...]
    memory_bytes: int
    """Weights, adapters and optimizer; and what one step really took, where it was tried."""
    seconds_a_step: float
    """Of a step that was tried on the largest size; 0 when none was."""
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """The whole run's, 0 when no step was tried."""
        return self.seconds_a_step * self.steps

    def text(self) -> str:
        """A page of words for the log and the node."""
        sizes = ", ".join(f"{size}: {count}" for size, count in self.buckets.items())
        lines = [
            f"{self.images} images, {self.regularisation_images} for regularisation, {self.held_out_images} held out; "
            f"{self.seen_an_epoch} seen an epoch ({sizes})",
            f"{self.steps} updates: {self.epochs} epochs of {self.steps_an_epoch}",
            f"{self.parameters:,} trainable parameters on {self.layers} layers; the model predicts {self.prediction}",
            f"about {self.memory_bytes / 2**30:.2f} GiB"
            + (f", {self.seconds:.0f} s ({self.seconds_a_step:.2f} s a step)" if self.seconds_a_step else ""),
        ]
        if self.missing_captions:
            some = ", ".join(self.missing_captions[:5])
            lines.append(f"{len(self.missing_captions)} images have no caption: {some}")
        return "\n".join([*lines, *self.notes])

    def save(self, folder: Path) -> None:
        """Write `preflight.json`."""
        content = {**dataclasses.asdict(self), "seconds": self.seconds, "text": self.text()}
        write_text(folder / "preflight.json", json.dumps(content, indent=2, ensure_ascii=False))


def look_ahead(
    model: Model,
    dataset: Dataset,
    recipe: Recipe,
    plan: Plan,
    placed: Sequence[Placed],
    seconds_a_step: float,
    start: Iterable[str] | None = None,
) -> Preflight:
    """Everything that is known before the first step; `start` are the keys of the LoRA that the run goes on from."""
    parameters = sum(p.numel() for one in placed for p in one.adapter.parameters)
    regular = sum(record.is_reg for record in plan.records)
    # fp32 weights, their gradients, and two moments in fp32 or in 8 bits.
    a_parameter = 10 if recipe.optimizer.optimizer_type in NEEDS_CUDA else 16
    estimate = model.traits().weight_bytes + parameters * a_parameter
    return Preflight(
        images=len(plan.records) - regular - len(plan.held_out),
        regularisation_images=regular,
        held_out_images=len(plan.held_out),
        seen_an_epoch=sum(plan.repeats),
        buckets={f"{size[0]}x{size[1]}": count for size, count in sorted(plan.images().items())},
        epochs=plan.epochs,
        steps_an_epoch=plan.steps_an_epoch,
        steps=plan.steps,
        parameters=parameters,
        layers=len(placed),
        prediction=objective.prediction(model.schedule),
        missing_captions=tuple(record.image.name for record in dataset if not record.caption and not record.is_reg),
        memory_bytes=max(estimate, model.memory() if seconds_a_step else 0),
        seconds_a_step=seconds_a_step,
        notes=(*check(recipe, model, plan), *check_placed(recipe, model, plan, placed, start or ())),
    )


def report_of(folder: Path) -> str:
    """The words that a run's preflight left in its folder; empty for a run without."""
    try:
        found: str = json.loads((folder / "preflight.json").read_text(encoding="utf-8"))["text"]
    except (OSError, ValueError, KeyError):
        return ""
    return found
