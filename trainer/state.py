"""What a run needs to go on after a stop, in one file that is whole or not there."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import KilnError
from .files import refused, whole
from .network import Placed

FILE = "state.pt"
_CONTENT = {"step", "weights", "optimizer", "schedule", "average", "counts"}


def save_state(
    folder: Path,
    *,
    step: int,
    placed: Sequence[Placed],
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    average: Average | None,
    counts: dict[str, float],
) -> None:
    """Write everything that changes from step to step. Random streams need no place: they follow from the step.

    Raises `KilnError` when the disk refuses; the older state stays.
    """
    content = {
        "step": step,
        "weights": [p.detach().cpu() for one in placed for p in one.adapter.parameters],
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "average": average.shadow if average else None,
        "counts": counts,
    }
    file = folder / FILE
    with whole(file) as partial, partial.open("wb") as opened:
        try:
            torch.save(content, opened)
        except RuntimeError as error:
            # PyTorch's writer hides what the disk said.
            raise refused(file, error.__context__ or error) from error


def has_state(folder: Path) -> bool:
    """Whether there is a state that can be read; its tensors are only mapped, which takes no time."""
    return load_state(folder, mapped=True) is not None


def load_state(folder: Path, *, mapped: bool = False) -> dict[str, Any] | None:
    """The last whole state, or None when there is none that can be read; `mapped` leaves its tensors on the disk."""
    try:
        found: dict[str, Any] = torch.load(folder / FILE, weights_only=True, map_location="cpu", mmap=mapped)
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError):
        return None
    return found if isinstance(found, dict) and found.keys() == _CONTENT else None


@torch.no_grad()
def restore(
    state: dict[str, Any],
    placed: Sequence[Placed],
    optimizer: torch.optim.Optimizer,
    schedule: Any,
    average: Average | None,
) -> None:
    """Put a state back into freshly made parts of the same recipe.

    Raises `KilnError` when it does not fit, as after an update of a package that changed its optimizer's state.
    """
    parameters = [p for one in placed for p in one.adapter.parameters]
    try:
        for parameter, value in zip(parameters, state["weights"], strict=True):
            parameter.copy_(value)
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
    except (ValueError, RuntimeError, LookupError, TypeError) as error:
        raise KilnError(
            f"What this run left to go on from does not fit any more ({error}): this pack or a package was updated. "
            f"Put the versions back that it began with, or give the run another name to begin anew; its LoRAs stay as "
            f"they are."
        ) from error
    if average is not None:
        for mine, saved in zip(average.shadow, state["average"], strict=True):
            mine.copy_(saved)


class Average:
    """Exponential moving average of the adapters' weights; what is saved when the recipe asks for it."""

    def __init__(self, placed: Sequence[Placed], decay: float) -> None:
        self._parameters: list[Tensor] = [p for one in placed for p in one.adapter.parameters]
        self.shadow = [p.detach().clone() for p in self._parameters]
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After update number `step`; the first steps count more, as in the usual warmup (1 + n) / (10 + n)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self._parameters], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averaged and the live weights; a second call undoes the first."""
        for parameter, shadow in zip(self._parameters, self.shadow, strict=True):
            live = parameter.detach().clone()
            parameter.copy_(shadow)
            shadow.copy_(live)
