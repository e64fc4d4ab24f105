"""A canny ControlNet for the base model: edges of the picture in, the frozen UNet steered."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..world.draw import draw
from . import hostmodels
from .base import Base, Pool, alphas_cumprod, level_weight, noised
from .captions import Captioner, thinned
from .common import Averaged, Stage, cosine

STEPS, BATCH, LEARNING_RATE = 800, 12, 1e-3
_FIGURES = 2000


def edges(image: np.ndarray, low: float = 0.1, high: float = 0.3) -> Tensor:
    """uint8 [H, W, 3] -> canny edges as the host's own node finds them, [3, H, W] in 0..1."""
    from kornia.filters import canny

    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    return canny(x, low, high)[1][0].expand(3, -1, -1)


def train(folder: Path, data: Pool, base: Base, *, steps: int = STEPS) -> nn.Module:
    """Train, or go on training; `base` stays as it is."""
    net = hostmodels.controlnet()
    # As published ControlNets do: the copied encoder starts as the base's own.
    net.load_state_dict(base.unet.state_dict(), strict=False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    averaged = Averaged((net,), 0.995)
    stage = Stage("control", folder, steps, {"net": net, "optimizer": optimizer}, averaged)
    stage.resume()
    captioner, alphas = Captioner(), alphas_cumprod()
    figures = data.figures[:_FIGURES]
    hints = torch.stack([edges(np.asarray(draw(figure).image))[:1].bool() for figure in figures])
    for parameter in (*base.unet.parameters(), *base.text.parameters()):
        parameter.requires_grad_(False)

    def one_step(step: int) -> float:
        rng = np.random.default_rng((13, step))
        rows = rng.integers(len(figures), size=BATCH)
        hint = hints[torch.from_numpy(rows)].float().expand(-1, 3, -1, -1)
        # Half of the captions are blank: what the words do not say, the edges must.
        tokens = captioner.tokens([thinned(figures[r].tags(), rng, drop=0.3, blank=0.5) for r in rows])
        generator = torch.Generator().manual_seed(random.Random(f"control {step}").getrandbits(60))
        x0 = data.latents[torch.from_numpy(rows)].float()
        t = torch.randint(0, 1000, (BATCH,), generator=generator)
        noise = torch.randn(x0.shape, generator=generator)
        x_t = noised(x0, t, noise, alphas)
        with torch.no_grad():
            context = hostmodels.encode(base.text, base.local(tokens))
        out = net(x_t, hint, t.float(), context)
        predicted = base.unet(x_t, t.float(), context=context, control=out)
        loss = ((predicted - noise).square().mean((1, 2, 3)) * level_weight(t, alphas)).mean()
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * cosine(step, steps, warmup=50)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    stage.run(one_step)
    averaged.swap()
    return net
