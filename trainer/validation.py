"""Loss on held-out images at fixed noise, by band of the schedule and by image: comparable from step to step."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import objective
from .captions import written
from .conditioning import Conditioner
from .latents import LatentStore, centred
from .noise import sigma_at
from .own import recipe_for
from .plan import Plan
from .ports import Model
from .recipe import Recipe
from .streams import stream

BANDS = (0.125, 0.375, 0.625, 0.875)
"""Shares of the schedule that are tested, the middles of four equal bands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Mean native losses: of everything, of each band (least noise first), of each image by its file name."""

    loss: float
    bands: tuple[float, ...]
    images: dict[str, float]


@torch.no_grad()
def validate(model: Model, plan: Plan, recipe: Recipe, store: LatentStore, conditioner: Conditioner) -> Validation:
    """Test every held-out record at every band, with captions in their written order."""
    rows: dict[str, list[float]] = {}
    levels, flow = torch.tensor(BANDS), objective.is_flow(model.schedule)
    for index in plan.held_out:
        record, bucket = plan.records[index], plan.buckets[index]
        view = centred(record, bucket)
        x0 = torch.stack([store.get(record, view, False)] * len(BANDS))
        noise = torch.randn(x0.shape, generator=stream(recipe.seed, "validation noise", index))
        sigma = sigma_at(levels, model.schedule, recipe.noise, flow=flow)
        x0, noise = x0.to(sigma.device), noise.to(sigma.device)
        conds = conditioner.encode([written(record, recipe_for(recipe, record).captions)], [view]) * len(BANDS)
        found = model.denoise(model.schedule.noised(x0, noise, sigma), sigma, conds)
        losses = objective.loss_per_image(found, x0, objective.native_weight(model.schedule, sigma))
        rows[f"{index} {record.image.name}"] = losses.tolist()
    bands = tuple(sum(row[i] for row in rows.values()) / len(rows) for i in range(len(BANDS)))
    return Validation(
        loss=sum(bands) / len(bands),
        bands=bands,
        images={name: sum(row) / len(row) for name, row in rows.items()},
    )
