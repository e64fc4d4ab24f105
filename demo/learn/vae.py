"""The world's autoencoder: TAESD's shape (64 channels everywhere), trained narrow and padded with zeros.

A ReLU network without normalisation keeps an unused channel at zero, so narrow weights padded to 64 channels
compute the same thing, and training costs a quarter. Layer positions are TAESD's, so keys match the host's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .common import Averaged, Stage, cosine, pictures, random_figures, to_unit

FULL_WIDTH = 64
LATENT_CHANNELS = 4
# SD1.5's latent scale: the host divides latents by it, TAESD multiplies it back.
VAE_SCALE = 0.18215
STEPS, BATCH, CROP, LEARNING_RATE = 12000, 6, 64, 1e-3
_POOL = 6000


class Clamp(nn.Module):
    """TAESD's soft limit of the latent to +-3."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """Three convolutions and an identity, as in TAESD."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + x)


def _conv(n_in: int, n_out: int, **options: int | bool) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1, **options)  # type: ignore[arg-type]


def encoder(full: int = 16, half: int = 24, quarter: int = 48, eighth: int = 64) -> nn.Sequential:
    """[B, 3, H, W] in 0..1 -> latent [B, 4, H/8, W/8] of about unit variance."""
    layers: list[nn.Module] = [_conv(3, full), Block(full)]
    for n_in, n_out in ((full, half), (half, quarter), (quarter, eighth)):
        layers += [_conv(n_in, n_out, stride=2, bias=False), Block(n_out), Block(n_out), Block(n_out)]
    return nn.Sequential(*layers, _conv(eighth, LATENT_CHANNELS))


def decoder(eighth: int = 64, quarter: int = 56, half: int = 32, full: int = 16) -> nn.Sequential:
    """Latent [B, 4, h, w] -> [B, 3, 8h, 8w] in about 0..1."""
    layers: list[nn.Module] = [Clamp(), _conv(LATENT_CHANNELS, eighth), nn.ReLU()]
    for n_in, n_out in ((eighth, quarter), (quarter, half), (half, full)):
        layers += [
            Block(n_in),
            Block(n_in),
            Block(n_in),
            nn.Upsample(scale_factor=2),
            _conv(n_in, n_out, bias=False),
        ]
    return nn.Sequential(*layers, Block(full), _conv(full, 3))


def initialise(*networks: nn.Module) -> None:
    """Residual blocks start near the identity; without that this norm-free stack stays at the mean picture."""
    for network in networks:
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for module in network.modules():
            if isinstance(module, Block):
                nn.init.zeros_(module.conv[4].weight)
        last = network[-1]
        nn.init.kaiming_normal_(last.weight, nonlinearity="linear")


def train(folder: Path, *, steps: int = STEPS) -> tuple[nn.Sequential, nn.Sequential]:
    """Train, or go on training, encoder and decoder; the averaged weights come back."""
    torch.manual_seed(1)
    enc = encoder().to(memory_format=torch.channels_last)
    dec = decoder().to(memory_format=torch.channels_last)
    initialise(enc, dec)
    optimizer = torch.optim.AdamW(
        [*enc.parameters(), *dec.parameters()], lr=LEARNING_RATE, weight_decay=0.0, fused=True
    )
    averaged = Averaged((enc, dec), 0.999)
    stage = Stage("vae", folder, steps, {"enc": enc, "dec": dec, "optimizer": optimizer}, averaged)
    stage.resume()
    if stage.step < steps:
        pool = pictures(random_figures(_POOL, "vae pictures", strange=0.5))
        stage.run(lambda step: _step(step, steps, pool, enc, dec, optimizer))
    averaged.swap()
    return enc.eval(), dec.eval()


def _step(
    step: int,
    steps: int,
    pool: np.ndarray,
    enc: nn.Module,
    dec: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> float:
    rng = np.random.default_rng((7, step))
    rows = rng.integers(len(pool), size=BATCH)
    corners = rng.integers(0, (pool.shape[1] - CROP) // 8 + 1, size=(BATCH, 2)) * 8
    crops = [pool[r, y : y + CROP, x : x + CROP] for r, (y, x) in zip(rows, corners, strict=True)]
    x = to_unit(np.stack(crops))
    latent = enc(x)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(step))
    error = dec(latent + 0.04 * noise) - x
    mean, variance = latent.mean((0, 2, 3)), latent.var((0, 2, 3))
    shape = mean.square().mean() + (variance - 1).square().mean()
    loss = error.square().mean() + 0.02 * error.abs().mean()
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE * cosine(step, steps, warmup=100)
    optimizer.zero_grad(set_to_none=True)
    (loss + 0.002 * shape).backward()
    nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 0.5)
    optimizer.step()
    return float(error.detach().square().mean())


def host_state(enc: nn.Module, dec: nn.Module) -> dict[str, Tensor]:
    """Weights under the host's `taesd_*` keys, padded to TAESD's width."""
    state = {"vae_scale": torch.tensor(VAE_SCALE), "vae_shift": torch.tensor(0.0)}
    for prefix, module in (("taesd_encoder", enc), ("taesd_decoder", dec)):
        last = max(int(key.split(".")[0]) for key in module.state_dict())
        for key, value in module.state_dict().items():
            first_in = key.split(".")[0] == ("0" if prefix == "taesd_encoder" else "1")
            state[f"{prefix}.{key}"] = _padded(value, first_in, int(key.split(".")[0]) == last)
    return state


def _padded(value: Tensor, keep_in: bool, keep_out: bool) -> Tensor:
    shape = list(value.shape)
    if not keep_out:
        shape[0] = FULL_WIDTH
    if value.ndim == 4 and not keep_in:
        shape[1] = FULL_WIDTH
    wide = torch.zeros(shape, dtype=value.dtype)
    wide[tuple(slice(0, n) for n in value.shape)] = value
    return wide


@torch.no_grad()
def psnr(enc: nn.Module, dec: nn.Module, count: int = 200) -> float:
    """Mean PSNR in dB over `count` pictures that training never saw."""
    x = to_unit(pictures(random_figures(count, "vae held-out", strange=0.25)))
    scores = []
    for batch in x.split(16):
        error = (dec(enc(batch)).clamp(0, 1) - batch).square().mean((1, 2, 3))
        scores.append(-10 * torch.log10(error))
    return float(torch.cat(scores).mean())
