"""The world's tagger: a small convolutional network with the WD taggers' contract, as ONNX.

Input float32 [N, 128, 128, 3], BGR, 0 to 255; output 0 is the probability of every row of
`selected_tags.csv` (categories 9 rating, 0 general). It knows strangers' hair and garments too.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..world import vocabulary as words
from ..world.draw import SIDE
from ..world.figure import Figure
from .common import Averaged, Stage, cosine, pictures, random_figures, to_unit

STEPS, BATCH, LEARNING_RATE = 4500, 32, 2e-3
STRANGE = 0.5
_POOL, _DECODED = 8000, 4000
# A garment's tag is a look and a kind: `red dress`, `striped shirt`.
LOOKS = (*words.CLOTH_COLORS, *words.STRANGE_PATTERNS)
KINDS = tuple(sorted({kind for outfit in words.OUTFITS for kind in outfit}))
_RATINGS = ("general", "sensitive", "questionable", "explicit")


def vocabulary() -> tuple[str, ...]:
    """Every general tag that a picture of the world or of a stranger can have, sorted."""
    tags = {f"{look} {kind}" for look, kind in itertools.product(LOOKS, KINDS)}
    tags |= {f"{color} hair" for color in (*words.HAIR_COLORS, *words.STRANGE_HAIR_COLORS)}
    tags |= {f"{color} eyes" for color in words.EYE_COLORS}
    for group in (
        words.HAIR_STYLES, words.STRANGE_EXTRAS, words.ACCESSORIES, words.EXPRESSIONS, words.POSES,
        words.FRAMINGS, words.VIEWS[1:], words.BACKGROUNDS, words.STYLES,
    ):  # fmt: skip
        tags |= set(group)
    return ("1girl", "solo", *sorted(tags))


class TaggerNet(nn.Module):
    """NHWC BGR 0..255 -> probabilities [N, tags] in the vocabulary's order.

    Each `red dress` alone is too rare to learn. So P(red dress) = P(a dress is worn) * P(it is red | a dress is worn):
    every picture of a dress teaches the dress, and every red one of them its red.
    """

    def __init__(self) -> None:
        super().__init__()
        tags = vocabulary()
        pairs = [tags.index(f"{look} {kind}") for kind in KINDS for look in LOOKS]
        self.register_buffer("pairs", torch.tensor(pairs), persistent=False)
        rest = [i for i in range(len(tags)) if i not in set(pairs)]
        self.register_buffer("rest", torch.tensor(rest), persistent=False)
        # Where each tag of the vocabulary stands in the concatenation of `rest` and `pairs`.
        self.register_buffer("order", torch.argsort(torch.tensor(rest + pairs)), persistent=False)
        self.body = nn.Sequential(
            _layer(3, 24, 2), _layer(24, 48, 2), _Residual(48), _layer(48, 96, 2), _Residual(96), _Residual(96),
            _layer(96, 160, 2), _Residual(160),
        )  # fmt: skip
        self.squeeze = nn.Sequential(nn.Conv2d(160, 24, 1), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(160 * 2 + 24 * (SIDE // 16) ** 2, len(rest) + len(KINDS) * (1 + len(LOOKS)))

    def forward(self, x: Tensor) -> Tensor:
        single, worn, looks = self.logits(x)
        garments = torch.sigmoid(worn)[:, :, None] * torch.softmax(looks, 2)
        return torch.cat([torch.sigmoid(single), garments.flatten(1)], 1)[:, self.order]

    def logits(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the single tags [N, rest], of the kinds worn [N, kinds], of each kind's looks [N, kinds, looks]."""
        x = self.body(x.permute(0, 3, 1, 2).flip(1) / 127.5 - 1)
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3)), self.squeeze(x)], 1)
        out = self.head(nn.functional.dropout(pooled, 0.1, self.training))
        single, worn, looks = out.split((len(self.rest), len(KINDS), len(KINDS) * len(LOOKS)), 1)
        return single, worn, looks.unflatten(1, (len(KINDS), len(LOOKS)))

    def loss(self, x: Tensor, targets: Tensor) -> Tensor:
        """Binary cross-entropy of what is there, and cross-entropy of the looks of what is worn."""
        single, worn, looks = self.logits(x)
        wanted = targets[:, self.pairs].unflatten(1, (len(KINDS), len(LOOKS)))
        there = wanted.amax(2)
        binary = nn.functional.binary_cross_entropy_with_logits(
            torch.cat([single, worn], 1), torch.cat([targets[:, self.rest], there], 1)
        )
        of_looks = -(wanted * torch.log_softmax(looks, 2)).sum() / there.sum().clamp(min=1)
        return binary + 0.2 * of_looks


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_layer(width, width, 1), _layer(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def _layer(n_in: int, n_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True))


def train(folder: Path, enc: nn.Module, dec: nn.Module, *, steps: int = STEPS) -> TaggerNet:
    """Train, or go on training, on drawn pictures and on what the autoencoder makes of some of them."""
    torch.manual_seed(4)
    net = TaggerNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=0.02, fused=True)
    averaged = Averaged((net,), 0.998)
    stage = Stage("tagger", folder, steps, {"net": net, "optimizer": optimizer}, averaged)
    stage.resume()
    if stage.step < steps:
        images, targets = _pool(enc, dec)
        net.train()
        stage.run(lambda step: _step(step, steps, images, targets, net, optimizer))
    averaged.swap()
    return net.eval()


@torch.no_grad()
def settle(net: TaggerNet, enc: nn.Module, dec: nn.Module, count: int = 1600) -> None:
    """Measure the batch norms' statistics anew: training measured those of weights that were not averaged."""
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
    images = _drawn(random_figures(count, "tagger statistics", strange=STRANGE), count // 2, enc, dec)
    net.train()
    for start in range(0, count, 50):
        net(torch.from_numpy(images[start : start + 50]).float().flip(3))
    net.eval()


def _pool(enc: nn.Module, dec: nn.Module) -> tuple[np.ndarray, Tensor]:
    figures = random_figures(_POOL, "tagger", strange=STRANGE)
    return _drawn(figures, _DECODED, enc, dec), targets_of(figures)


def _drawn(figures: list[Figure], through: int, enc: nn.Module, dec: nn.Module) -> np.ndarray:
    """Pictures, the first `through` of them as the autoencoder makes them."""
    images = pictures(figures)
    for start in range(0, through, 50):
        images[start : start + 50] = decoded(images[start : start + 50], enc, dec, seed=start)
    return images


@torch.no_grad()
def decoded(images: np.ndarray, enc: nn.Module, dec: nn.Module, *, seed: int) -> np.ndarray:
    """uint8 pictures through the autoencoder, with a little noise on the latent, as a sampler leaves it."""
    latent = enc(to_unit(images))
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(seed))
    out = dec(latent + 0.1 * noise).clamp(0, 1).permute(0, 2, 3, 1)
    return (out * 255).round().to(torch.uint8).numpy()


def targets_of(figures: list[Figure]) -> Tensor:
    """0/1 [N, tags]."""
    index = {tag: i for i, tag in enumerate(vocabulary())}
    targets = torch.zeros(len(figures), len(index))
    for row, figure in enumerate(figures):
        targets[row, [index[tag] for tag in figure.tags()]] = 1
    return targets


def _step(
    step: int, steps: int, images: np.ndarray, targets: Tensor, net: TaggerNet, optimizer: torch.optim.Optimizer
) -> float:
    rng = np.random.default_rng((5, step))
    rows = rng.integers(len(images), size=BATCH)
    x = torch.from_numpy(images[rows]).float()
    shift = tuple(int(v) for v in rng.integers(-4, 5, size=2))
    if rng.random() < 0.5:
        x = x.flip(2)
    x = torch.roll(x, shift, (1, 2)).flip(3) * float(rng.uniform(0.96, 1.04))
    x = (x + torch.from_numpy(rng.normal(0, 4, x.shape).astype(np.float32))).clamp(0, 255)
    loss = net.loss(x, targets[torch.from_numpy(rows)])
    for group in optimizer.param_groups:
        group["lr"] = LEARNING_RATE * cosine(step, steps, warmup=100)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


class _Exported(nn.Module):
    """Adds the WD contract's rating rows."""

    def __init__(self, net: TaggerNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        found = self.net(x)
        rating = torch.cat([torch.full_like(found[:, :1], 0.99), torch.full_like(found[:, :3], 0.003)], 1)
        return torch.cat([rating, found], 1)


def export(net: TaggerNet, folder: Path) -> None:
    """Write `model.onnx` and `selected_tags.csv` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = torch.zeros(1, SIDE, SIDE, 3)
    torch.onnx.export(
        _Exported(net).eval(),
        (sample,),
        str(folder / "model.onnx"),
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "N"}, "output": {0: "N"}},
        dynamo=False,
    )
    with (folder / "selected_tags.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["tag_id", "name", "category", "count"])
        for i, tag in enumerate((*_RATINGS, *vocabulary())):
            writer.writerow([i, tag.replace(" ", "_"), 9 if i < len(_RATINGS) else 0, 1])


@torch.no_grad()
def f1(net: TaggerNet, count: int = 600, threshold: float = 0.35) -> float:
    """Micro F1 over held-out pictures at the WD taggers' usual threshold."""
    figures = random_figures(count, "tagger held-out", strange=STRANGE)
    wanted, images = targets_of(figures).bool(), pictures(figures)
    batches = (torch.from_numpy(images[i : i + 50]).float().flip(3) for i in range(0, count, 50))
    found = torch.cat([net(x) for x in batches]) > threshold
    hits = float((found & wanted).sum())
    return 2 * hits / float(found.sum() + wanted.sum())
