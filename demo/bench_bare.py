"""LyCORIS's modules in the barest loop that trains them: what our engine's own cost is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import nn

from .bench_peers import RATE, OnStep, Trained
from .bench_work import RANK, Work

_MODULES = {"LoHa": ("loha", "LohaModule"), "LoKr": ("lokr", "LokrModule")}


@dataclass
class Bare:
    """One kind of LyCORIS's modules on the layers that our engine trains."""

    kind: str

    def train(self, work: Work, batch: int, steps: int, on_step: OnStep) -> Trained:
        """Updates on inputs that were all made beforehand."""
        from lora_kiln.host.model import HostModel

        model = HostModel(*work.loaded)
        with model.open(precision=work.precision, checkpointing=False):
            modules = self._modules(model)
            for module in modules:
                module.apply_to()
            try:
                parameters = [p for module in modules for p in module.parameters()]
                self._loop(work, batch, steps, on_step, parameters)
            finally:
                for module in modules:
                    module.restore()
        return Trained(len(modules), sum(p.numel() for p in parameters))

    def _modules(self, model: Any) -> list[Any]:
        name, kind = _MODULES[self.kind]
        make = getattr(import_module(f"lycoris.modules.{name}"), kind)
        layers = [layer for layer in model.layers() if layer.part == "unet" and layer.share == "base"]
        made = [make(layer.key, layer.module, 1.0, RANK, float(RANK)) for layer in layers]
        return [one.to(layer.module.weight.device).train() for one, layer in zip(made, layers, strict=True)]

    def _loop(self, work: Work, batch: int, steps: int, on_step: OnStep, parameters: list[Any]) -> None:
        model = work.loaded[0].model
        sampling, device = model.model_sampling, work.loaded[0].load_device
        x0 = model.process_latent_in(torch.cat([one.clone() for one in work.latents[:batch]])).to(device)
        context = torch.cat([one[0][0].clone() for one in work.conditionings[:batch]]).to(device)
        table = sampling.sigmas.clone().to(device)
        optimizer = torch.optim.AdamW(parameters, lr=RATE, fused=True)
        for _ in range(steps):
            sigma = table[torch.randint(0, len(table), (batch,), device=device)]
            scale = sigma.view(-1, 1, 1, 1)
            x_t = x0 + scale * torch.randn_like(x0)
            error = (model.apply_model(x_t, sigma, c_crossattn=context) - x0) / scale
            loss = error.square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            float(loss.detach())
            optimizer.step()
            on_step()
