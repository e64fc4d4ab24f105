"""The base model: UNet and text encoder learn the world from its pictures' latents and tags.

Noise prediction on SD1.5's schedule, the loss weighted as for v prediction with Min-SNR's limit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..world.figure import Figure
from . import hostmodels, text
from .captions import Captioner, thinned
from .common import Averaged, Stage, cosine, pictures, progress, random_figures, to_unit

STEPS, BATCH, LEARNING_RATE = 7000, 16, 1e-3
POOL, _CHUNK = 16000, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Figures of the world and their latents, fp16 [N, 4, 16, 16]."""

    figures: list[Figure]
    latents: Tensor


def pool(folder: Path, enc: nn.Module, *, count: int = POOL) -> Pool:
    """Draw and encode `count` figures, a chunk at a time; finished chunks are kept in `folder`."""
    folder = folder / "latents"
    folder.mkdir(parents=True, exist_ok=True)
    figures, latents = [], []
    for chunk in range(count // _CHUNK):
        some = random_figures(_CHUNK, f"base {chunk}", strange=0.0)
        file = folder / f"{chunk:03d}.pt"
        if not file.is_file():
            with torch.no_grad():
                parts = [enc(to_unit(pictures(some[i : i + 50]))) for i in range(0, _CHUNK, 50)]
            torch.save(torch.cat(parts).half(), file)
            progress("latents", (chunk + 1) * _CHUNK, count, 0.0)
        figures += some
        latents.append(torch.load(file, weights_only=True))
    return Pool(figures=figures, latents=torch.cat(latents))


def alphas_cumprod() -> Tensor:
    """SD1.5's schedule: betas linear in their square roots from 0.00085 to 0.012, 1000 steps."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, 0).float()


def noised(x0: Tensor, t: Tensor, noise: Tensor, alphas: Tensor) -> Tensor:
    """Latents [B, 4, h, w] at time steps `t` [B]."""
    a = alphas[t].view(-1, 1, 1, 1)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def level_weight(t: Tensor, alphas: Tensor, gamma: float = 5.0) -> Tensor:
    """Weight of the noise error at `t` [B]: (min(SNR, gamma) + 1) / SNR, v prediction's weights with Min-SNR's limit.

    A plain noise error hardly counts where there is nearly only noise, and there words decide what will be drawn.
    """
    snr = alphas[t] / (1 - alphas[t])
    return (snr.clamp(max=gamma) + 1) / snr


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The two networks. `rows` are the token ids whose embeddings the small table holds, in order."""

    unet: nn.Module
    text: nn.Module
    rows: Tensor

    def local(self, tokens: Tensor) -> Tensor:
        """Token ids to rows of the small table."""
        return torch.searchsorted(self.rows, tokens)

    def text_state(self) -> dict[str, Tensor]:
        """The text encoder's weights with the table at full size; words never seen keep their first values."""
        state = {key: value.detach().clone() for key, value in self.text.state_dict().items()}
        key = "text_model.embeddings.token_embedding.weight"
        small = state[key]
        whole = torch.randn((49408, small.shape[1]), generator=torch.Generator().manual_seed(3)) * 0.02
        whole[self.rows] = small
        state[key] = whole
        return state


def fresh(captioner: Captioner, tags: set[str]) -> Base:
    """Untrained networks; the token table is cut to what `tags` can need."""
    import comfy.ops

    torch.manual_seed(2)
    unet, text = hostmodels.unet(), hostmodels.text_model()
    rows = torch.unique(captioner.tokens([[tag] for tag in sorted(tags)] + [["a", "b"]]))
    embeddings = text.text_model.embeddings
    table = comfy.ops.disable_weight_init.Embedding(len(rows), embeddings.token_embedding.weight.shape[1])
    nn.init.normal_(table.weight, std=0.02)
    embeddings.token_embedding = table
    return Base(unet=unet, text=text, rows=rows)


def train(folder: Path, data: Pool, *, steps: int = STEPS) -> Base:
    """Train, or go on training; the averaged weights come back."""
    captioner = Captioner()
    captions = [figure.tags() for figure in data.figures]
    base = fresh(captioner, {tag for tags in captions for tag in tags})
    text.learn_tags(folder, base.text, base.rows, captioner, captions)
    parameters = [*base.unet.parameters(), *(p for p in base.text.parameters() if p.requires_grad)]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    averaged = Averaged((base.unet, base.text), 0.999)
    state = {"unet": base.unet, "text": base.text, "optimizer": optimizer}
    stage = Stage("base", folder, steps, state, averaged)
    stage.resume()
    alphas = alphas_cumprod()

    def one_step(step: int) -> float:
        rng = np.random.default_rng((11, step))
        rows = rng.integers(len(data.figures), size=BATCH)
        tokens = captioner.tokens([thinned(captions[r], rng, drop=0.1, blank=0.1) for r in rows])
        generator = torch.Generator().manual_seed(random.Random(f"base {step}").getrandbits(60))
        x0 = data.latents[torch.from_numpy(rows)].float()
        t = torch.randint(0, 1000, (BATCH,), generator=generator)
        noise = torch.randn(x0.shape, generator=generator)
        context = hostmodels.encode(base.text, base.local(tokens))
        out = base.unet(noised(x0, t, noise, alphas), t.float(), context=context)
        loss = ((out - noise).square().mean((1, 2, 3)) * level_weight(t, alphas)).mean()
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * cosine(step, steps, warmup=200)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return float(loss.detach())

    stage.run(one_step)
    averaged.swap()
    return base


@torch.no_grad()
def held_out_loss(base: Base, enc: nn.Module, count: int = 200) -> float:
    """Mean unweighted noise error on figures that training never saw, at fixed noise and evenly spread steps."""
    figures = random_figures(count, "base held-out", strange=0.0)
    captioner, alphas, total = Captioner(), alphas_cumprod(), 0.0
    generator = torch.Generator().manual_seed(5)
    for start in range(0, count, 20):
        some = figures[start : start + 20]
        x0 = enc(to_unit(pictures(some)))
        t = torch.arange(20) * 50 + 25
        noise = torch.randn(x0.shape, generator=generator)
        context = hostmodels.encode(base.text, base.local(captioner.tokens([f.tags() for f in some])))
        out = base.unet(noised(x0, t, noise, alphas), t.float(), context=context)
        total += float((out - noise).square().mean()) * len(some)
    return total / count
