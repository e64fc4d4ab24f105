"""The three peers: our engine, core's TrainLoraNode, and the loop that diffusers and peft are used in.

Each does a few updates of the same work and calls `on_step` after every one; what it prepares before the first is
timed apart. They are given the same latents and captions: nobody encodes anything inside an update.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from .bench_results import CORE, DIFFUSERS, OURS
from .bench_work import RANK, Work
from .silent import Silent

RATE = 5e-4
# The modules that the usual LoRA script names, with the feed-forward layers and projections that kohya adds.
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out")

OnStep = Callable[[], None]


class Trained(NamedTuple):
    """What a peer puts adapters on."""

    layers: int
    parameters: int


class Peer(Protocol):
    """One way to train a LoRA."""

    name: str

    def train(self, work: Work, batch: int, steps: int, on_step: OnStep) -> Trained:
        """Make `steps` updates on batches of that many pictures."""


@dataclass
class Ours:
    """The pack's engine, as KilnTrainLoRA calls it."""

    name: str = OURS
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the recipe, beside the bench's own."""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    """The last run's LoRA."""

    def train(self, work: Work, batch: int, steps: int, on_step: OnStep) -> Trained:
        """A whole run: preflight, updates, a saved file."""
        from lora_kiln.host.model import HostModel
        from lora_kiln.trainer import loop
        from lora_kiln.trainer.formats import load_file
        from lora_kiln.trainer.runs import RunFolder

        with tempfile.TemporaryDirectory(dir=work.folder) as folder:
            run = loop.train(
                HostModel(*work.loaded),
                work.dataset,
                recipe(work, batch, steps, **self.settings),
                RunFolder(Path(folder) / "run", "bench", "bench", work.dataset),
                _Steps(on_step),
                latents=work.folder / "latents",
            )
            self.tensors = load_file(run.checkpoint(0).file)[0]
        weights = [value for key, value in self.tensors.items() if not key.endswith(".alpha")]
        return Trained(len(self.tensors) - len(weights), sum(value.numel() for value in weights))


def recipe(work: Work, batch: int, steps: int, **settings: Any) -> Any:
    """A U-Net-only LoRA of the bench's rank at a constant rate, without anything that the peers do not do."""
    from lora_kiln.trainer.recipe import Recipe

    chosen: dict[str, Any] = {
        "batch_size": batch, "max_train_steps": steps, "dim": RANK, "alpha": float(RANK), "unet_lr": RATE,
        "text_lr": 0.0, "lr_scheduler": "constant", "resolution": work.side, "min_bucket": work.side,
        "max_bucket": work.side, "shuffle_caption": False, "precision": work.precision, "save_every": "0 epochs",
    }  # fmt: skip
    return Recipe().with_settings(**{**chosen, **settings})


class _Steps(Silent):
    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def step(self, report: Any) -> None:
        self._on_step()


@dataclass
class Core:
    """The host's own TrainLoraNode, which always trains every layer, biases and norms included."""

    name: str = CORE
    rate: float = RATE
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def train(self, work: Work, batch: int, steps: int, on_step: OnStep) -> Trained:
        """One execution of the node, under inference mode as in a prompt."""
        import comfy.utils
        from comfy_extras.nodes_train import TrainLoraNode

        values: dict[str, Any] = {
            "model": work.loaded[0], "batch_size": batch, "grad_accumulation_steps": 1, "steps": steps,
            "learning_rate": self.rate, "rank": RANK, "optimizer": "AdamW", "loss_function": "MSE", "seed": 0,
            "training_dtype": work.precision, "lora_dtype": "fp32", "algorithm": "LoRA",
            "gradient_checkpointing": False, "existing_lora": "[None]",
        }  # fmt: skip
        latents, conditionings = [{"samples": one} for one in work.latents], work.conditionings
        before = comfy.utils.PROGRESS_BAR_HOOK
        # The node moves its bar after every update, and at no other time.
        comfy.utils.set_progress_bar_global_hook(lambda *_, **__: on_step())
        try:
            with torch.inference_mode():
                found = TrainLoraNode.execute(
                    latents=latents, positive=conditionings, **{name: [value] for name, value in values.items()}
                )
        finally:
            comfy.utils.set_progress_bar_global_hook(before)
        self.tensors = found.result[1]
        weights = {name: value for name, value in self.tensors.items() if not name.endswith(".alpha")}
        layers = {re.split(r"\.(?:lora_|diff)", name)[0] for name in weights}
        return Trained(len(layers), sum(value.numel() for value in weights.values()))


@dataclass
class Diffusers:
    """diffusers' U-Net with peft's LoRA in the loop of its text-to-image LoRA script, embeddings cached."""

    name: str = DIFFUSERS

    def train(self, work: Work, batch: int, steps: int, on_step: OnStep) -> Trained:
        """The U-Net with fresh adapters, then updates."""
        import peft
        from diffusers import DDPMScheduler

        device = work.loaded[0].load_device
        unet = diffusers_unet(work).to(device)
        unet.requires_grad_(False)
        unet.add_adapter(
            peft.LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=list(TARGETS))
        )
        parameters = [p for p in unet.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=1e-2)
        scheduler = DDPMScheduler(
            num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
        )
        order = torch.Generator().manual_seed(0)
        latents, contexts, extras = self._inputs(work, device)
        dtype = torch.bfloat16
        for rows in itertools.islice(_batches(len(latents), batch, order), steps):
            x0 = latents[rows]
            noise = torch.randn_like(x0)
            t = torch.randint(0, 1000, (len(rows),), device=device)
            noisy = scheduler.add_noise(x0, noise, t)
            more = {"added_cond_kwargs": {k: v[rows] for k, v in extras.items()}} if extras else {}
            with torch.autocast(device.type, dtype=dtype, enabled=work.precision == "bf16"):
                out = unet(noisy, t, contexts[rows], return_dict=False, **more)[0]
            loss = nn.functional.mse_loss(out.float(), noise.float(), reduction="mean")
            # The script reads it for its progress bar.
            float(loss.detach())
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            on_step()
        adapters = [module for module in unet.modules() if isinstance(module, peft.tuners.lora.LoraLayer)]
        return Trained(len(adapters), sum(p.numel() for p in parameters))

    def _inputs(self, work: Work, device: torch.device) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Latents as the sampler sees them, embeddings, and SDXL's pooled ones with the sizes."""
        model = work.loaded[0].model
        latents = model.process_latent_in(torch.cat(work.latents)).clone().to(device)
        contexts = torch.cat([one[0][0] for one in work.conditionings]).clone().to(device)
        extras = {}
        if model.model_config.unet_config.get("adm_in_channels"):
            pooled = torch.cat([one[0][1]["pooled_output"] for one in work.conditionings]).clone()
            ids = torch.tensor([work.side, work.side, 0, 0, work.side, work.side]).expand(len(pooled), -1)
            extras = {"text_embeds": pooled.to(device), "time_ids": ids.to(device)}
        return latents, contexts, extras


def _batches(count: int, batch: int, draws: torch.Generator) -> Iterator[list[int]]:
    """Endless batches, a shuffled pass after the other."""
    queue: list[int] = []
    while True:
        while len(queue) < batch:
            queue += torch.randperm(count, generator=draws).tolist()
        yield queue[:batch]
        del queue[:batch]


class _NoAttention(nn.Module):
    """Stands where the miniature's U-Net has a residual block without a transformer behind it."""

    def forward(self, hidden: Tensor, **_: Any) -> tuple[Tensor]:
        return (hidden,)


def diffusers_unet(work: Work) -> Any:
    """diffusers' U-Net of the loaded model's shape, with a copy of its weights in the host's own order of names."""
    import comfy.utils
    from diffusers import UNet2DConditionModel

    model = work.loaded[0].model
    shape = model.model_config.unet_config
    with _quiet():
        unet = UNet2DConditionModel(**diffusers_config(shape))
    _leave_out(unet, shape)
    state, names = model.diffusion_model.state_dict(), comfy.utils.unet_to_diffusers(shape)
    wanted = unet.state_dict()
    unet.load_state_dict({name: state[names[name]].clone() for name in wanted})
    return unet.float().train()


def diffusers_config(shape: dict[str, Any]) -> dict[str, Any]:
    """UNet2DConditionModel's arguments for a host's U-Net configuration."""
    levels, blocks = len(shape["channel_mult"]), shape["num_res_blocks"][0]
    depths = [shape["transformer_depth"][i * blocks] for i in range(levels)]
    # The host takes them from the end, the deepest level first.
    ups = [
        max(shape["transformer_depth_output"][::-1][i * (blocks + 1) : (i + 1) * (blocks + 1)]) for i in range(levels)
    ]
    channels = [shape["model_channels"] * factor for factor in shape["channel_mult"]]
    heads = (
        shape["num_heads"] if shape.get("num_heads", -1) > 0 else [c // shape["num_head_channels"] for c in channels]
    )
    config: dict[str, Any] = {
        "block_out_channels": channels,
        "layers_per_block": blocks,
        "down_block_types": [f"{'CrossAttn' if depth else ''}DownBlock2D" for depth in depths],
        "up_block_types": [f"{'CrossAttn' if depth else ''}UpBlock2D" for depth in ups],
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
        "attention_head_dim": heads,
        "cross_attention_dim": shape["context_dim"],
        "use_linear_projection": shape["use_linear_in_transformer"],
    }
    if shape.get("adm_in_channels"):
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": shape["adm_in_channels"],
        }
    return config


def _leave_out(unet: Any, shape: dict[str, Any]) -> None:
    """Take transformers out that the configuration has for the whole block and the host's U-Net has not."""
    depths, blocks = shape["transformer_depth_output"][::-1], shape["num_res_blocks"][0] + 1
    for number, depth in enumerate(depths):
        level, place = divmod(number, blocks)
        if not depth and hasattr(unet.up_blocks[level], "attentions"):
            unet.up_blocks[level].attentions[place] = _NoAttention()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """diffusers warns of the name of an argument that its own configurations use."""
    from diffusers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
