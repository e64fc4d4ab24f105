"""What style augmentation costs beside the same pictures from core's own nodes, and how it grows with the variants."""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from .bench_measure import computing, memory_peak
from .bench_results import table
from .bench_work import Work
from .graphs import CFG, CONTROLNET, SAMPLER, SCHEDULER, SIDE
from .mount import ROOT

SOURCES, FEW, MANY, ROUNDS = 2, 2, 8, 4
STEPS, DENOISE, START, END = 25, 0.6, 0.05, 0.45
"""As the node's page shows them."""
STYLE = "sketch"
LOW, HIGH = 0.1, 0.3


def measure(work: Work) -> dict[str, Any]:
    """Seconds and peak bytes of augmentations and of the same pictures from core's nodes, taking turns."""
    with tempfile.TemporaryDirectory(dir=work.folder) as folder, torch.inference_mode():
        net, cache = _control_net(), Path(folder) / "cache"
        # Once each before the clock runs: threads wake and memory is taken.
        _augmented(work, net, cache, FEW, seed=1)
        _plain(work, net, FEW, seed=1)
        rounds = []
        for number in range(1, ROUNDS + 1):
            seed = 10_000 * number
            rounds.append(
                {
                    "augment": computing(lambda s=seed: _augmented(work, net, cache, FEW, seed=s)),
                    "plain": computing(lambda s=seed: _plain(work, net, FEW, seed=s)),
                }
            )
        peaks, seconds = {}, {}
        for name, variants in (("few", FEW), ("many", MANY)):
            with memory_peak() as peak:
                seconds[name] = computing(lambda v=variants: _augmented(work, net, cache, v, seed=90_000 + v))
                peaks[name] = peak()
    return {
        "few_pictures": SOURCES * FEW, "many_pictures": SOURCES * MANY, "rounds": rounds, "peak_bytes": peaks,
        "seconds": seconds, "side": SIDE, "steps": STEPS, "denoise": DENOISE,
    }  # fmt: skip


def ratios(parts: dict[str, Any]) -> dict[str, float]:
    """Against core's nodes, and of many variants against few."""
    seconds, growth = parts["seconds"], parts["few_pictures"] / parts["many_pictures"]
    found = {
        "augment_vs_plain_sampling": statistics.median(one["augment"] / one["plain"] for one in parts["rounds"]),
        "augment_picture_time_many_vs_few": seconds["many"] / seconds["few"] * growth,
        "augment_peak_memory_many_vs_few": parts["peak_bytes"]["many"] / parts["peak_bytes"]["few"],
    }
    return {name: round(value, 4) for name, value in found.items()}


def write(parts: dict[str, Any], folder: Path, machine: str) -> None:
    """`augment.json` and the page beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = ratios(parts)
    (folder / "augment.json").write_text(json.dumps({**found, **parts, "machine": machine}, indent=2) + "\n", "utf-8")
    medians = {name: statistics.median(one[name] for one in parts["rounds"]) for name in ("augment", "plain")}
    few, many = parts["few_pictures"], parts["many_pictures"]
    peaks = {name: f"{peak / 2**20:,.0f} MiB" for name, peak in parts["peak_bytes"].items()}
    nodes = "core's VAEEncode, Canny, CLIPTextEncode, ControlNetApplyAdvanced, KSampler, VAEDecode"
    rows = [
        [nodes, f"{few}", f"{medians['plain'] / few:.3f} s", ""],
        ["ControlNet Style Augment", f"{few}", f"{medians['augment'] / few:.3f} s", peaks["few"]],
        ["ControlNet Style Augment", f"{many}", f"{parts['seconds']['many'] / many:.3f} s", peaks["many"]],
    ]
    lines = [
        "# What style augmentation costs", "",
        f"{machine}; the miniature model and its ControlNet, {parts['side']} pixels, {parts['steps']} steps, denoise "
        f"{parts['denoise']:g}. Written by `python dev.py bench --parts augment`; both take turns, and the "
        "augmentation also finds the parts of the body, measures and writes its pictures. On a CPU the seconds are "
        "those that the process computes for, on all cores together.",
        "", *table(["", "pictures", "a picture", "peak"], rows), "",
        *table(["ratio", "measured"], [[name, f"{value:.3f}"] for name, value in found.items()]), "",
    ]  # fmt: skip
    (folder / "augment.md").write_text("\n".join(lines), encoding="utf-8")


def _control_net() -> Any:
    import comfy.controlnet

    return comfy.controlnet.load_controlnet(str(ROOT / "demo" / "models" / "controlnet" / CONTROLNET))


def _settings() -> Any:
    from lora_kiln.host.sampling import Sampling

    return Sampling(steps=STEPS, cfg=CFG, sampler=SAMPLER, scheduler=SCHEDULER)


def _sources(work: Work) -> Any:
    return work.dataset.replace_records(work.dataset.records[:SOURCES])


def _augmented(work: Work, net: Any, cache: Path, variants: int, *, seed: int) -> None:
    """The pack's own; a new seed has no picture on disk yet."""
    from lora_kiln.dataset.augment import augment
    from lora_kiln.dataset.styles import Plan, Studio, StyleOptions
    from lora_kiln.host.painting import Guide, StylePainter, canny_hint
    from lora_kiln.host.sampling import Control

    control = Control(net=net, strength=1.0, start=START, end=END)
    guide = Guide(control=control, hint=canny_hint(LOW, HIGH), mark=lambda _: "canny")
    painter = StylePainter(*work.loaded, [guide], "", _settings())
    studio = Studio(painter=painter, cache=cache, bucket=lambda _: (SIDE, SIDE))
    options = StyleOptions(styles=(STYLE,), variants=variants, seed=seed, denoise=DENOISE)
    augment(_sources(work), Plan(styles=options), studio, lambda *_: None)


def _plain(work: Work, net: Any, variants: int, *, seed: int) -> None:
    """The same pictures as a graph of core's nodes makes them."""
    from comfy_extras.nodes_canny import Canny

    import nodes
    from lora_kiln.dataset.images import open_image
    from lora_kiln.dataset.regions import fitted
    from lora_kiln.host.spans import share_of_schedule, step_noise
    from lora_kiln.nodes.pictures import to_image

    model, clip, vae = work.loaded
    noise = step_noise(model, _settings(), DENOISE)
    span = [share_of_schedule(model, noise, share) for share in (START, END)]
    for record in _sources(work):
        pixels = to_image(fitted(open_image(record), (SIDE, SIDE)))
        [latent] = nodes.VAEEncode().encode(vae, pixels)
        edges = Canny.execute(pixels, LOW, HIGH).result[0]
        # The trigger is not told to the painter.
        words = [tag for tag in record.tags if tag != work.dataset.trigger]
        conds = [nodes.CLIPTextEncode().encode(clip, text)[0] for text in (", ".join([STYLE, *words]), "")]
        conds = nodes.ControlNetApplyAdvanced().apply_controlnet(*conds, net, edges, 1.0, *span, vae=vae)
        for variant in range(variants):
            [found] = nodes.KSampler().sample(
                model, seed + variant, STEPS, CFG, SAMPLER, SCHEDULER, *conds, latent, denoise=DENOISE
            )
            nodes.VAEDecode().decode(vae, found)
