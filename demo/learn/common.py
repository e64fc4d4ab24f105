"""What every stage of the world's training shares: a resumable loop, schedules, averages, pictures."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..world.draw import draw
from ..world.figure import Figure, random_figure

SAVE_EVERY_SECONDS = 60.0


class Averaged:
    """Exponential moving average of the parameters of `modules`; its share warms up with the steps seen."""

    def __init__(self, modules: Iterable[nn.Module], decay: float) -> None:
        self.parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        self.shadow = [p.detach().clone() for p in self.parameters]
        self.decay, self.steps = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        self.steps += 1
        keep = min(self.decay, self.steps / (self.steps + 10))
        torch._foreach_lerp_(self.shadow, self.parameters, 1 - keep)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averaged and the live values; a second call undoes the first."""
        for parameter, shadow in zip(self.parameters, self.shadow, strict=True):
            live = parameter.detach().clone()
            parameter.copy_(shadow)
            shadow.copy_(live)


def cosine(step: int, steps: int, *, warmup: int, floor: float = 0.01) -> float:
    """Learning-rate factor: linear warmup, then a cosine from 1 to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


class Stage:
    """A resumable training loop. `state` objects have state_dict/load_state_dict, saved together in one file."""

    def __init__(self, name: str, folder: Path, steps: int, state: dict[str, Any], averaged: Averaged | None) -> None:
        self.name, self.steps, self.state, self.averaged = name, steps, state, averaged
        self.file = folder / f"{name}.state.pt"
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)

    def resume(self) -> None:
        """Go on where the last session of this stage stopped, if there was one."""
        if not self.file.is_file():
            return
        saved = torch.load(self.file, weights_only=True)
        for name, part in self.state.items():
            part.load_state_dict(saved[name])
        if self.averaged:
            self.averaged.shadow, self.averaged.steps = saved["shadow"], saved["step"]
        self.step = saved["step"]

    def save(self) -> None:
        """Write the state whole or not at all."""
        content = {name: part.state_dict() for name, part in self.state.items()}
        content["step"] = self.step
        if self.averaged:
            content["shadow"] = self.averaged.shadow
        partial = self.file.with_suffix(".partial")
        torch.save(content, partial)
        partial.replace(self.file)

    def run(self, one_step: Callable[[int], float]) -> None:
        """Call `one_step(step) -> loss` until done, with a progress line and a save a minute."""
        started, first, saved, smooth = time.monotonic(), self.step, time.monotonic(), None
        while self.step < self.steps:
            loss = one_step(self.step)
            smooth = loss if smooth is None else smooth + (loss - smooth) * 0.02
            if self.averaged:
                self.averaged.update()
            self.step += 1
            now = time.monotonic()
            if self.step % 10 == 0 or self.step == self.steps:
                pace = (now - started) / (self.step - first)
                progress(self.name, self.step, self.steps, pace * (self.steps - self.step), f"loss {smooth:.5f}")
            if now - saved > SAVE_EVERY_SECONDS or self.step == self.steps:
                self.save()
                saved = now


def progress(name: str, done: int, total: int, seconds_left: float, note: str = "") -> None:
    """One line that rewrites itself on a terminal, and comes a hundred times at most in a log."""
    line = f"{name}: {done}/{total} ({100 * done // total} %), {seconds_left / 60:.1f} min left  {note}"
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{line}   " + ("\n" if done == total else ""))
    elif done == total or done % max(10, total // 1000 * 10) == 0:
        sys.stderr.write(line + "\n")
    sys.stderr.flush()


def random_figures(count: int, seed: str, *, strange: float) -> list[Figure]:
    """`count` figures; the same seed gives the same figures."""
    rng = random.Random(seed)
    return [random_figure(rng, strange=strange) for _ in range(count)]


def pictures(figures: Iterable[Figure]) -> np.ndarray:
    """Drawn figures as uint8 [N, H, W, 3]."""
    return np.stack([np.asarray(draw(figure).image) for figure in figures])


def to_unit(images: np.ndarray) -> torch.Tensor:
    """uint8 [N, H, W, 3] to float [N, 3, H, W] in 0..1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
