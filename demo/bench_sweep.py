"""What a sweep costs beside the same pictures from core's own nodes, and how that grows with its cells."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .bench_measure import computing, memory_peak
from .bench_results import table
from .bench_work import RANK, Work
from .graphs import CFG, SAMPLER, SCHEDULER, SIDE
from .shots import trait_shots
from .world.characters import characters

EPOCHS, FEW, MANY, ROUNDS = 2, 4, 12, 4
STEPS = 8
"""Of the sampler: few, so that what a sweep adds to each cell shows."""


def measure(work: Work) -> dict[str, Any]:
    """Seconds and peak bytes of sweeps and of the same pictures from core's nodes, taking turns; patches counted."""
    with tempfile.TemporaryDirectory(dir=work.folder) as folder, torch.inference_mode():
        run = _run(work, Path(folder))
        cells = Path(folder) / "cells"
        # Once each before the clock runs: threads wake and memory is taken.
        with _patches() as patches:
            _swept(work, run, cells, FEW, seed=1)
        _plain(work, run, FEW, seed=1)
        rounds = []
        for number in range(ROUNDS):
            seed = 100 + number
            rounds.append(
                {
                    "sweep": computing(lambda s=seed: _swept(work, run, cells, FEW, seed=s)),
                    "plain": computing(lambda s=seed: _plain(work, run, FEW, seed=s)),
                    "many": computing(lambda s=seed: _swept(work, run, cells, MANY, seed=1000 + s)),
                }
            )
        peaks = {}
        for name, prompts in (("few", FEW), ("many", MANY)):
            with memory_peak() as peak:
                _swept(work, run, cells, prompts, seed=5000 + prompts)
                peaks[name] = peak()
    columns = EPOCHS + 1
    return {
        "columns": columns, "few_cells": columns * FEW, "many_cells": columns * MANY, "rounds": rounds,
        "patches": len(patches), "peak_bytes": peaks, "side": SIDE, "steps": STEPS,
    }  # fmt: skip


def ratios(parts: dict[str, Any]) -> dict[str, float]:
    """Against core's nodes, of many cells against few, and patches a column that has a LoRA."""
    rounds = parts["rounds"]
    growth = parts["few_cells"] / parts["many_cells"]
    found = {
        "sweep_vs_plain_sampling": statistics.median(one["sweep"] / one["plain"] for one in rounds),
        "sweep_cell_time_many_vs_few": statistics.median(one["many"] / one["sweep"] for one in rounds) * growth,
        "sweep_peak_memory_many_vs_few": parts["peak_bytes"]["many"] / parts["peak_bytes"]["few"],
        "sweep_patches_a_column": parts["patches"] / (parts["columns"] - 1),
    }
    return {name: round(value, 4) for name, value in found.items()}


def write(parts: dict[str, Any], folder: Path, machine: str) -> None:
    """`sweep.json` and the page beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = ratios(parts)
    (folder / "sweep.json").write_text(json.dumps({**found, **parts, "machine": machine}, indent=2) + "\n", "utf-8")
    medians = {name: statistics.median(one[name] for one in parts["rounds"]) for name in ("sweep", "plain", "many")}
    few, many = parts["few_cells"], parts["many_cells"]
    peaks = {name: f"{peak / 2**20:,.0f} MiB" for name, peak in parts["peak_bytes"].items()}
    rows = [
        ["core's KSampler, VAEDecode, LoraLoader, CLIPTextEncode", f"{few}", f"{medians['plain'] / few:.3f} s", ""],
        ["Epoch Sweep", f"{few}", f"{medians['sweep'] / few:.3f} s", peaks["few"]],
        ["Epoch Sweep", f"{many}", f"{medians['many'] / many:.3f} s", peaks["many"]],
    ]
    lines = [
        "# What a sweep costs", "",
        f"{machine}; the miniature model, {parts['side']} pixels, {parts['steps']} steps, {parts['columns']} columns. "
        "Written by `python dev.py bench --parts sweep`; both take turns, and a sweep also writes its cells to disk. "
        "On a CPU the seconds are those that the process computes for, on all cores together.",
        "", *table(["", "cells", "a cell", "peak"], rows), "",
        *table(["ratio", "measured"], [[name, f"{value:.3f}"] for name, value in found.items()]), "",
    ]  # fmt: skip
    (folder / "sweep.md").write_text("\n".join(lines), encoding="utf-8")


def _prompts(count: int) -> list[str]:
    return [shot.prompt for shot in trait_shots(characters()["mirelva"], count)]


def _run(work: Work, folder: Path) -> Any:
    """Epochs of random weights on every layer that is trained: what they paint does not matter here."""
    from lora_kiln.host.layers import text_layers, unet_layers
    from lora_kiln.trainer.formats import save_file
    from lora_kiln.trainer.values import Checkpoint, Run

    layers = [*unet_layers(work.loaded[0].model), *text_layers(work.loaded[1])]
    checkpoints = []
    for epoch in range(1, EPOCHS + 1):
        draws, tensors = torch.Generator().manual_seed(epoch), {}
        for layer in layers:
            high, wide, *kernel = layer.module.weight.shape
            tensors[f"{layer.key}.lora_down.weight"] = torch.randn(RANK, wide, *kernel, generator=draws) * 0.02
            tensors[f"{layer.key}.lora_up.weight"] = torch.randn(high, RANK, *[1] * len(kernel), generator=draws) * 0.02
            tensors[f"{layer.key}.alpha"] = torch.tensor(float(RANK))
        file = folder / f"bench-{epoch:06d}.safetensors"
        save_file(tensors, {}, file)
        checkpoints.append(Checkpoint(epoch=epoch, step=epoch, file=file))
    return Run(folder=folder, name="bench", checkpoints=tuple(checkpoints))


def _swept(work: Work, run: Any, cells: Path, prompts: int, *, seed: int) -> None:
    """The pack's painting of a whole grid; a new seed has no cell on disk yet."""
    from lora_kiln.host.sampling import Sampling
    from lora_kiln.host.sweeping import SweepBases
    from lora_kiln.sweep.options import SweepOptions
    from lora_kiln.sweep.render import render
    from lora_kiln.sweep.session import Axes, plan_of
    from lora_kiln.sweep.store import CellStore

    sampling = Sampling(steps=STEPS, cfg=CFG, sampler=SAMPLER, scheduler=SCHEDULER)
    bases = SweepBases(*work.loaded, negative="", sampling=sampling, size=(SIDE, SIDE))
    axes = Axes(prompts="\n".join(_prompts(prompts)), epochs="all", strengths="1", seed=seed)
    render(run, plan_of(run, axes, SweepOptions(), bases), bases.open, CellStore(cells), lambda *_: None)


def _plain(work: Work, run: Any, prompts: int, *, seed: int) -> None:
    """The same pictures as a graph of core's nodes makes them."""
    import comfy.sd
    import comfy.utils

    import nodes

    model, clip, vae = work.loaded
    empty = {"samples": torch.zeros(1, 4, SIDE // 8, SIDE // 8)}
    for file in (None, *(one.file for one in run.checkpoints)):
        on, reading = model, clip
        if file is not None:
            on, reading = comfy.sd.load_lora_for_models(model, clip, comfy.utils.load_torch_file(str(file)), 1.0, 1.0)
        [negative] = nodes.CLIPTextEncode().encode(reading, "")
        for prompt in _prompts(prompts):
            [positive] = nodes.CLIPTextEncode().encode(reading, prompt)
            [latent] = nodes.KSampler().sample(
                on, seed, STEPS, CFG, SAMPLER, SCHEDULER, positive, negative, empty, denoise=1.0
            )
            nodes.VAEDecode().decode(vae, latent)


@contextmanager
def _patches() -> Iterator[list[float]]:
    """The strengths that LoRAs are put on at, each time that one is."""
    from lora_kiln.host import sweeping

    seen: list[float] = []
    original = sweeping.with_lora

    def counted(model: Any, clip: Any, lora: Any, strength: float) -> Any:
        seen.append(strength)
        return original(model, clip, lora, strength)

    sweeping.with_lora = counted
    try:
        yield seen
    finally:
        sweeping.with_lora = original
