"""What one run carries from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .batches import Batches
from .conditioning import Conditioner
from .flat import Flat
from .network import Placed
from .plan import Plan
from .ports import Model, Reporter
from .prior import Prior
from .recipe import Recipe
from .runs import RunFolder
from .state import Average


@dataclass(slots=True, kw_only=True)
class Session:
    """The parts of an open run and how far it is."""

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
    # The mean of the last losses, and how many it is of.
    smooth_loss: float = 0.0
    averaged: int = 0
    seconds: float = 0.0
    # When the last step was done with: what a step takes includes the wait for its pictures.
    ready_at: float = 0.0
    # False while an update is under way, when the weights and the optimizer's state may not belong together.
    whole: bool = True
    state_saved: float = 0.0


def tell(session: Session, words: str) -> None:
    """Something that the user should read, now and when the run is looked at later."""
    session.reporter.note(words)
    session.folder.log_note(step=session.step, words=words)
