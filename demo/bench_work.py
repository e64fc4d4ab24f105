"""The work that every peer of the bench does: one checkpoint, the same pictures, captions and precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from .base import prepare_base
from .learn import hostmodels
from .mount import ROOT, mount
from .pictures import write_dataset
from .world.characters import Character, characters
from .world.draw import draw

CHARACTER = "mirelva"
RANK = 8
MINIATURE, FULL, LARGE = "miniature", "sd15", "sdxl"
# Pixels: what each model is trained at.
SIDES = {MINIATURE: 128, FULL: 256, LARGE: 1024}
MINIATURE_FILE = ROOT / "demo" / "models" / "checkpoints" / "kiln-world-sd15.safetensors"
# What the host's loader reads a full model's shape from is its own table; these are the published shapes.
_FULL_UNETS: dict[str, dict[str, Any]] = {
    FULL: {
        "num_res_blocks": [2, 2, 2, 2],
        "channel_mult": [1, 2, 4, 4],
        "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
        "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        "transformer_depth_middle": 1,
        "context_dim": 768,
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "num_heads": 8,
        "num_head_channels": -1,
    },
    LARGE: {
        "num_res_blocks": [2, 2, 2],
        "channel_mult": [1, 2, 4],
        "transformer_depth": [0, 0, 2, 2, 10, 10],
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
        "transformer_depth_middle": 10,
        "context_dim": 2048,
        "use_linear_in_transformer": True,
        "adm_in_channels": 2816,
        "num_classes": "sequential",
        "num_head_channels": 64,
    },
}
_SHARED_UNET: dict[str, Any] = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "use_spatial_transformer": True,
    "use_temporal_attention": False,
    "legacy": False,
}


def start_host(base: Path) -> None:
    """Import the host into this process with a base directory of its own, as prompts of the demo see it."""
    hostmodels.import_host()
    from comfy.cli_args import args

    args.base_directory = str(prepare_base(base))
    mount()
    import demo.hostpack  # noqa: F401 - it registers the miniature family


@dataclass(frozen=True, kw_only=True)
class Work:
    """One model and what is trained on it; made inside a process that has the host."""

    model_name: str
    folder: Path
    """For pictures, latents and runs."""
    precision: str
    """`fp32` or `bf16`."""
    records: int = 0
    """How many records the dataset has; 0 is one for each picture."""
    kept: Path
    """For checkpoints of random weights, which are made once."""

    @property
    def side(self) -> int:
        """In pixels."""
        return SIDES[self.model_name]

    @cached_property
    def dataset(self) -> Any:
        """Pictures of one stranger with their tags; several records share a picture where there are more of them."""
        from lora_kiln.dataset.values import Dataset, Record

        character = characters()[CHARACTER]
        folder = self.folder / "pictures"
        written = sorted(write_dataset(character, folder).glob("*.png"))
        captions = [_caption(character, i) for i in range(len(written))]
        size = draw(character.picture(0)).image.size
        rows = [i % len(written) for i in range(self.records or len(written))]
        return Dataset(
            records=tuple(Record(image=written[i], size=size, tags=captions[i]) for i in rows),
            trigger=character.trigger,
        )

    @cached_property
    def checkpoint(self) -> Path:
        """The miniature's file, or a full-size one with random weights."""
        if self.model_name == MINIATURE:
            return MINIATURE_FILE
        return write_random(self.model_name, self.kept / f"{self.model_name}.safetensors")

    @cached_property
    def loaded(self) -> tuple[Any, Any, Any]:
        """MODEL, CLIP and VAE by the host's loader, under inference mode, as in a prompt."""
        import comfy.sd

        with torch.inference_mode():
            found = comfy.sd.load_checkpoint_guess_config(str(self.checkpoint), output_vae=True, output_clip=True)
        return found[0], found[1], found[2]

    @cached_property
    def latents(self) -> list[Tensor]:
        """Each picture as the host's VAE encodes it, [1, 4, h, w], unscaled as LATENTs are."""
        from lora_kiln.trainer.buckets import assign, bucket_sizes
        from lora_kiln.trainer.groups import Buckets
        from lora_kiln.trainer.latents import centred, load_pixels

        settings = Buckets(resolution=self.side, min_bucket=self.side, max_bucket=self.side)
        found, sizes = [], bucket_sizes(settings)
        for record in self.dataset:
            bucket = assign(record.view_size, settings, sizes)
            pixels = load_pixels(record, centred(record, bucket))
            with torch.inference_mode():
                found.append(self.loaded[2].encode(pixels[None]).cpu())
        return found

    @cached_property
    def conditionings(self) -> list[Any]:
        """Each caption as core's CLIPTextEncode makes it."""
        clip = self.loaded[1]
        with torch.inference_mode():
            return [clip.encode_from_tokens_scheduled(clip.tokenize(record.caption)) for record in self.dataset]


def _caption(character: Character, number: int) -> tuple[str, ...]:
    """The scene's words, and those of other clothes than hers; who she is, the trigger has to say."""
    figure = character.picture(number)
    others = () if figure.outfit == character.figure.outfit else figure.shown_outfit
    return (character.trigger, "1girl", "solo", *(garment.tag for garment in others), *figure.scene_tags())


def write_random(name: str, file: Path) -> Path:
    """A checkpoint of a real model's shape and random weights, fp16, in the layout of the family's files."""
    if file.is_file():
        return file
    import comfy.sd1_clip
    import comfy.sdxl_clip
    import comfy.supported_models as supported
    import comfy.taesd.taesd

    kind, text_kind = {
        FULL: (supported.SD15, comfy.sd1_clip.SD1ClipModel),
        LARGE: (supported.SDXL, comfy.sdxl_clip.SDXLClipModel),
    }[name]
    family = kind({**_SHARED_UNET, **_FULL_UNETS[name]})
    # On the meta device first: only one copy of the weights is ever in memory, and in half precision.
    family.set_inference_dtype(torch.float16, None)
    model = family.get_model({}, device="cpu")
    text, autoencoder = text_kind(dtype=torch.float16), comfy.taesd.taesd.TAESD(latent_channels=4)
    draws = torch.Generator().manual_seed(0)
    for module in (model.diffusion_model, text, autoencoder):
        fill(module, draws)
    state = model.state_dict_for_saving(text.state_dict(), autoencoder.state_dict())
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    save_file({key: _half(value) for key, value in state.items()}, partial)
    partial.replace(file)
    return file


def fill(module: torch.nn.Module, draws: torch.Generator) -> None:
    """Random weights of unit gain; the host's classes leave their memory as it was."""
    for name, tensor in module.state_dict().items():
        if tensor.ndim == 1:
            tensor.fill_(0.0 if name.endswith("bias") else 1.0)
        elif tensor.ndim > 1 and tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=draws) / math.sqrt(math.prod(tensor.shape[1:])))


def _half(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float16 if tensor.is_floating_point() else tensor.dtype).contiguous()
