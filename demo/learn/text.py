"""The text encoder's head start: at each tag's last token, say which tag it was.

Learned with the pictures alone, words come in but do not bind: `red` and `dress` are seen, `red dress` is not. Naming
tags needs no pictures, costs little, and makes the encoder carry a tag's words together before the UNet listens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import hostmodels
from .captions import COMMA, END, Captioner, thinned
from .common import Stage, cosine

STEPS, BATCH, LEARNING_RATE = 1000, 32, 1e-3


def learn_tags(
    folder: Path, text: nn.Module, rows: Tensor, captioner: Captioner, captions: Sequence[Sequence[str]]
) -> float:
    """Train `text` in place, or go on; `rows` are its small table's token ids. Returns the last steps' accuracy."""
    names = {tag: i for i, tag in enumerate(sorted({tag for tags in captions for tag in tags}))}
    torch.manual_seed(6)
    head = nn.Linear(text.text_model.final_layer_norm.weight.shape[0], len(names))
    parameters = [*(p for p in text.parameters() if p.requires_grad), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    stage = Stage("text", folder, STEPS, {"text": text, "head": head, "optimizer": optimizer}, None)
    stage.resume()
    right: list[float] = []

    def one_step(step: int) -> float:
        rng = np.random.default_rng((17, step))
        chosen = [captions[i] for i in rng.integers(len(captions), size=BATCH)]
        shown = [thinned(tags, rng, drop=0.1, blank=0.0) or ["solo"] for tags in chosen]
        tokens = captioner.tokens(shown)
        after = (tokens[:, 1:] == COMMA) | (tokens[:, 1:] == END)
        last = after & (tokens[:, :-1] != COMMA) & (tokens[:, :-1] != END)
        last[:, 0] = False
        wanted = torch.tensor([names[tag] for tags in shown for tag in tags])
        found = head(hostmodels.encode(text, torch.searchsorted(rows, tokens))[:, :-1][last])
        loss = nn.functional.cross_entropy(found, wanted)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * cosine(step, STEPS, warmup=100, floor=0.1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        right.append(float((found.argmax(1) == wanted).float().mean()))
        return float(loss.detach())

    stage.run(one_step)
    return float(np.mean(right[-50:])) if right else 1.0
