"""The host's models and sampler as a sweep's painters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import folder_paths
import torch
from PIL import Image
from torch import Tensor

from nodes import CheckpointLoaderSimple

from ..dataset.values import identity
from ..sweep.values import TEXT, WIRED, Painting, Places
from .layers import block_counts, text_layers, unet_layers
from .lora import unmatched_keys, with_lora
from .marks import options_mark, training_mark
from .sampling import Sampling, Watch, empty_latent, encode_prompt, sample

Loaded = tuple[Any, Any, Any]


def checkpoint_names() -> list[str]:
    """Checkpoints as their loader lists them."""
    found: list[str] = folder_paths.get_filename_list("checkpoints")
    return found


class SweepBases:
    """The wired model and every checkpoint that the host lists, all sampled alike."""

    def __init__(
        self,
        model: Any,
        clip: Any,
        vae: Any,
        *,
        negative: str,
        sampling: Sampling,
        size: tuple[int, int],
        watch: Callable[[Any], Watch] | None = None,
    ) -> None:
        """`size` is (width, height) in pixels; `watch` gives, for a model, what is called after each sampling step."""
        self._wired, self._watch = (model, clip, vae), watch
        self._negative, self._sampling, self._size = negative, sampling, size

    def names(self) -> Sequence[str]:
        """Checkpoints as their loader lists them."""
        return checkpoint_names()

    def open(self, base: str) -> SweepPainter:
        """The painter of a base model; a checkpoint is loaded when its first picture is painted."""
        look = repr((self._negative, self._sampling, self._size))
        if base == WIRED:
            mark = f"{training_mark(*self._wired)} {options_mark(self._wired[0])}"
            return SweepPainter(lambda: self._wired, f"{mark} {look}", self)
        file = Path(folder_paths.get_full_path_or_raise("checkpoints", base))
        layer = self._wired[1].layer_idx
        mark = f"checkpoint {identity(file)} layer {layer}"
        return SweepPainter(lambda: _load(base, layer), f"{mark} {look}", self)

    def settings(self) -> Mapping[str, Any]:
        """How pictures are sampled."""
        one = self._sampling
        return {
            "negative": self._negative, "steps": one.steps, "cfg": one.cfg, "sampler": one.sampler,
            "scheduler": one.scheduler, "width": self._size[0], "height": self._size[1],
        }  # fmt: skip

    def paint(self, loaded: Loaded, positive: Any, negative: Any, seed: int, unmatched: tuple[str, ...]) -> Painting:
        """One picture; `unmatched` goes with it."""
        model, _, vae = loaded
        latent = empty_latent(model, vae, *self._size)
        watch = self._watch(model) if self._watch else None
        pixels = sample(model, vae, positive, negative, latent, self._sampling, seed=seed, watch=watch)
        sound = pixels.isfinite()
        broken = 1.0 - float(sound.float().mean())
        whole = pixels.nan_to_num(0.0) if broken else pixels
        picture = Image.fromarray((whole * 255).round().to(torch.uint8).numpy())
        return Painting(picture=picture, broken=broken, unmatched=unmatched)

    @property
    def negative(self) -> str:
        """The negative prompt of every cell."""
        return self._negative


class SweepPainter:
    """One base model, loaded when it is first needed."""

    def __init__(self, load: Callable[[], Loaded], mark: str, bases: SweepBases) -> None:
        self._load, self._mark, self._bases = load, mark, bases
        self._held: Loaded | None = None

    def mark(self) -> str:
        """Stands for the model's weights and for how it samples."""
        return self._mark

    def places(self) -> Places:
        """Where the layers of a LoRA are in this model."""
        model, clip, _ = self._loaded()
        of: dict[str, tuple[str, int] | None] = {layer.key: layer.place for layer in unet_layers(model.model)}
        return Places(
            of={**of, **{layer.key: (TEXT, 0) for layer in text_layers(clip)}}, counts=block_counts(model.model)
        )

    def column(
        self, parts: Sequence[tuple[dict[str, Tensor], float]], strength: float, prompts: Sequence[str]
    ) -> Callable[[str, int], Painting]:
        """A function from one of the prompts and a seed to the picture. The LoRA is patched in once. All prompts are
        read before the first picture: where memory is short, text encoder and model would drive each other out.
        """
        model, clip, vae = self._loaded()
        unmatched = tuple(name for tensors, _ in parts for name in unmatched_keys(model, clip, tensors))
        for tensors, factor in parts:
            model, clip = with_lora(model, clip, tensors, strength * factor)
        negative = encode_prompt(clip, self._bases.negative)
        read = {prompt: encode_prompt(clip, prompt) for prompt in dict.fromkeys(prompts)}

        def paint(prompt: str, seed: int) -> Painting:
            return self._bases.paint((model, clip, vae), read[prompt], negative, seed, unmatched)

        return paint

    def _loaded(self) -> Loaded:
        if self._held is None:
            self._held = self._load()
        return self._held


def _load(name: str, layer: int | None) -> Loaded:
    """A checkpoint by core's loader; the layer that the wired CLIP is read at holds for it too."""
    model, clip, vae = CheckpointLoaderSimple().load_checkpoint(name)[:3]
    if layer is not None:
        clip = clip.clone()
        clip.clip_layer(layer)
    return model, clip, vae
