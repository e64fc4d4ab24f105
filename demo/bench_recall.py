"""How much of an unseen character is learned from the same number of images, by our engine and by core's node."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .bench_peers import Core, Ours
from .bench_results import CORE, OURS
from .bench_work import CHARACTER, Work
from .graphs import CFG, SIDE, STEPS
from .marking import recall
from .shots import Shot, trait_shots
from .world.characters import characters

IMAGES, BATCH, SHOTS = 2000, 4, 48
CORE_RATES = (5e-4, 2e-3)
# The pack's example at the bench's rank, with LoRA+ and a faster text encoder for so short a run.
SETTINGS: dict[str, Any] = {
    "unet_lr": 2e-3, "text_lr": 4e-3, "loraplus_unet_lr_ratio": 4.0, "conv_dim": 8, "conv_alpha": 8.0,
    "lr_scheduler": "cosine", "debiased_estimation": True,
}  # fmt: skip


def trait_recall(work: Work) -> dict[str, Any]:
    """Share of her traits that the world's tagger finds in pictures that only her name asks for, by who trained."""
    found = {"without a LoRA": _marked(work, {})}
    for name, peer in {
        OURS: Ours(settings=SETTINGS),
        **{f"{CORE} at {rate:g}": Core(rate=rate) for rate in CORE_RATES},
    }.items():
        peer.train(work, BATCH, IMAGES // BATCH, lambda: None)
        found[name] = _marked(work, peer.tensors)
    return {"images": IMAGES, "batch": BATCH, "shots": SHOTS, "trait_recall": found}


def _marked(work: Work, lora: dict[str, Tensor]) -> float:
    shots = trait_shots(characters()[CHARACTER], SHOTS)
    return round(recall(shots, painted(work, lora, shots)), 4)


def painted(work: Work, lora: dict[str, Tensor], shots: Sequence[Shot], steps: int = STEPS) -> list[Image.Image]:
    """The shots, all together: Euler's method on the host's `normal` schedule, as its KSampler does it one by one."""
    import comfy.samplers

    from lora_kiln.host.lora import with_lora
    from lora_kiln.host.model import HostModel
    from lora_kiln.trainer.ports import View

    with torch.inference_mode():
        model, clip = with_lora(work.loaded[0], work.loaded[1], lora, 1.0 if lora else 0.0)
    host, vae = HostModel(model, clip, work.loaded[2]), work.loaded[2]
    view = View(original=(SIDE, SIDE), crop=(0, 0), target=(SIDE, SIDE))
    sampling = model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", steps).to(model.load_device)
    with host.open(precision="model's own", checkpointing=False), torch.no_grad():
        conds = host.encode_text([shot.prompt for shot in shots], [view] * len(shots), clip_skip=1, max_tokens=0)
        [nothing] = host.encode_text([""], [view], clip_skip=1, max_tokens=0)
        noise = torch.cat([torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=_seeded(shot.seed)) for shot in shots])
        x = (noise * (1 + sigmas[0].cpu() ** 2).sqrt()).to(sigmas.device)
        for now, after in itertools.pairwise(sigmas):
            with_words = host.denoise(x, now.expand(len(x)), conds)
            without = host.denoise(x, now.expand(len(x)), [nothing] * len(x))
            x0 = without + (with_words - without) * CFG
            x = x + (x - x0) / now * (after - now)
        with torch.inference_mode():
            pictures = vae.decode(model.model.process_latent_out(x))
    pixels = (pictures.cpu().clamp(0, 1).numpy() * 255).round().astype(np.uint8)
    return [Image.fromarray(one) for one in pixels]


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
