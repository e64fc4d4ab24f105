"""The host's loaded model, open for training: what `trainer/ports.py` asks for, on ComfyUI's own parts."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import comfy.clip_model
import comfy.model_management
import comfy.model_sampling
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.sd1_clip import SDClipModel
from torch import Tensor, nn

from ..trainer.ports import BlockCounts, Layer, ModelTraits, View
from .attention import OVERRIDE, trainable
from .base_file import base_facts
from .kernels import differentiable
from .layers import block_counts, text_layers, unet_layers
from .marks import pixel_mark
from .memory import forget_peak, in_use, keep_what_is_freed, weight_bytes
from .precision import at_precision, in_full_precision, recomputed
from .sampling import Sampling, empty_latent, encode_prompt, sample
from .together import read_together
from .unlocked import no_in_place, ordinary_tensors, training_flag, usable
from .words import escape

# Networks that mix a batch, as they take it for guidance's two halves or for the parts of one song.
_ONE_BY_ONE = ("ACEStep15", "Hunyuan3Dv2_1")
_STABILITY = "https://github.com/Stability-AI/generative-models"
_FLUX = "https://github.com/black-forest-labs/flux"
_HOST = "https://github.com/comfyanonymous/ComfyUI"
# `ss_base_model_version`, `modelspec.architecture` and `modelspec.implementation`, whose way of naming layers the file
# follows, as sd-scripts writes them; by the host's class or one that it stands on.
_BASES = {
    "SD15": ("sd_v1", "stable-diffusion-v1", "diffusers"),
    "SD20": ("sd_v2", "stable-diffusion-v2-512", "diffusers"),
    "SDXL": ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base", _STABILITY),
    "SD3": ("sd3", "stable-diffusion-3", "diffusers"),
    "FluxSchnell": ("flux1", "flux-1-schnell", _FLUX),
    "Chroma": ("chroma", "chroma", "https://huggingface.co/lodestones/Chroma"),
    "Flux2": ("flux2", "flux-2", _HOST),
    "Flux": ("flux1", "flux-1-dev", _FLUX),
    "ZImage": ("zimage", "z-image", _HOST),
    "Lumina2": ("lumina2", "lumina-2", "https://github.com/Alpha-VLLM/Lumina-Image-2.0"),
    "HunyuanImage21": ("hunyuan-image-2.1", "hunyuan-image-2.1", "diffusers"),
    "QwenImage": ("qwen-image", "qwen-image", _HOST),
}
# `modelspec.prediction_type`, by the host's kind of model.
_PREDICTIONS = {"EPS": "epsilon", "V_PREDICTION": "v", "FLUX": "flow"}


class HostSchedule:
    """The noise of the model's family, through the host's `model_sampling`."""

    def __init__(self, sampling: Any, device: torch.device) -> None:
        self._sampling, self._device = sampling, device

    def sigmas(self) -> Tensor:
        """The training noise levels, ascending, fp32 [N], on the device that the model is trained on."""
        return usable(self._sampling.sigmas).float().to(self._device)

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        """x_t from clean latents and unit noise."""
        # The host scales the noise in place for some families.
        out: Tensor = self._sampling.noise_scaling(_each(sigma, x0), noise.clone(), x0, False)
        return out

    def denoised_from(self, sigma: Tensor, output: Tensor, x_t: Tensor) -> Tensor:
        """x0 from the network's raw output."""
        out: Tensor = self._sampling.calculate_denoised(sigma, output, x_t)
        return out


class HostModel:
    """MODEL, CLIP and VAE of the graph as one trainable thing.

    Prompts run under `torch.inference_mode()`, and tensors made there cannot be saved for backward. While `open`,
    every such weight is replaced by an ordinary tensor over the same memory; nothing is copied, nothing is written.
    """

    def __init__(self, model: Any, clip: Any, vae: Any, *, file: Path | None = None) -> None:
        """`file` is the checkpoint that `model` was loaded from, for the metadata.

        Raises ValueError for weights that another pack keeps in a form of its own.
        """
        for weight in model.model.diffusion_model.parameters():
            if type(weight) not in (Tensor, nn.Parameter) and not hasattr(weight, "__tensor_flatten__"):
                raise ValueError(
                    f"The model's weights are {type(weight).__name__}s, as GGUF files have them, and nothing can be "
                    "trained on these; load the model in 16 bits or in fp8."
                )
        self._patcher, self._clip, self._vae, self._file = model, clip, vae, file
        # All only while open.
        self._is_open = self._text_learns = self._has_stepped = False
        # How many are reading, one inside the other, and whether that has loaded anything.
        self._readers, self._others = 0, False
        self._reading = threading.RLock()
        self.schedule = HostSchedule(model.get_model_object("model_sampling"), model.load_device)

    @contextlib.contextmanager
    def open(self, *, precision: str, checkpointing: bool, text: bool = True) -> Iterator[None]:
        """Load the model wholly, and the text encoder where it learns, and make them fit for backward.

        A text encoder that only reads is the host's business, which loads it for as long as there is room: T5 is
        larger than many models that read with it.
        """
        learning = [self._patcher.model, *([self._clip.cond_stage_model] if text else [])]
        self._text_learns = text
        self._load()
        forget_peak(self._patcher.load_device)
        keep_what_is_freed(self._patcher.load_device)
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            stack.enter_context(training_flag())
            stack.enter_context(differentiable())
            for network in learning:
                stack.enter_context(ordinary_tensors(network))
                stack.enter_context(no_in_place(network))
                stack.enter_context(in_full_precision(network))
            stack.enter_context(at_precision(self._patcher.model, precision))
            for network in learning if checkpointing else ():
                stack.enter_context(recomputed(network))
            stack.callback(_forget, self._patcher.model.diffusion_model)
            self._is_open = True
            try:
                yield
            finally:
                self._is_open = self._text_learns = self._has_stepped = False

    def _load(self) -> None:
        """Everything that trains onto its device, wholly."""
        learning = [self._patcher, *([self._clip.patcher] if self._text_learns else [])]
        comfy.model_management.load_models_gpu(learning, memory_required=self._room(), force_full_load=True)

    def _room(self) -> float:
        """Bytes that must be free beside the weights: backward needs room that the host does not know of.

        On a GPU nothing else stays at first, as with core's own trainer; later twice what the steps have taken.
        """
        device = self._patcher.load_device
        if device.type == "cpu":
            return 0
        # What other kinds of devices hold is not known.
        if not self._has_stepped or device.type != "cuda":
            return 1e20
        weights = weight_bytes(self._patcher.model)
        return 2 * max(0, in_use(device) - weights)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Around all that may load something else while open: what trains comes back at the end of it.

        One thread at a time: a picture whose latent is gone is encoded anew beside the steps.
        """
        with self._reading:
            self._readers += 1
            try:
                yield
            finally:
                self._readers -= 1
                if self._others and not self._readers:
                    self._others = False
                    if self._is_open:
                        self._load()

    @contextlib.contextmanager
    def _beside(self) -> Iterator[None]:
        """For what else the host loads: it may push the model off a GPU that is full."""
        with self.reading():
            self._others = True
            yield

    def layers(self) -> Sequence[Layer]:
        """Every layer of the diffusion model and the text encoders that the host would load a LoRA into."""
        return [*unet_layers(self._patcher.model), *text_layers(self._clip)]

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """[B, H, W, 3] in 0..1 -> x0 [B, C, h, w] as the sampler sees it."""
        with torch.inference_mode(False), torch.no_grad(), self._beside():
            latent: Tensor = self._patcher.model.process_latent_in(self._vae.encode(pixels.clone()))
            return latent.clone()

    def encode_text(
        self,
        captions: Sequence[str],
        views: Sequence[View],
        *,
        clip_skip: int,
        max_tokens: int,
        guidance: float = 0,
        weighted: bool = False,
    ) -> list[Any]:
        """One host conditioning a caption, with the size ids of how its picture is seen."""
        clip, conds = self._at_layer(clip_skip), []
        tokens = [clip.tokenize(escape(caption, weighted)) for caption in captions]
        if max_tokens:
            # The host encodes in sections of 75 tokens and joins them.
            tokens = [{name: sections[: max_tokens // 75] for name, sections in one.items()} for one in tokens]
        with contextlib.ExitStack() as stack:
            if not self._text_learns:
                stack.enter_context(self._beside())
                stack.enter_context(torch.inference_mode())
            stack.enter_context(read_together(clip, tokens))
            for one, view in zip(tokens, views, strict=True):
                [[cond, about]] = clip.encode_from_tokens_scheduled(one)
                about = {key: usable(value) if isinstance(value, Tensor) else value for key, value in about.items()}
                if guidance:
                    about["guidance"] = guidance
                conds.append([usable(cond), {**about, **_sizes(view)}])
        return conds

    def seen_as(self, cond: Any, view: View) -> Any:
        """The conditioning with the size ids of another view."""
        words, about = cond
        return [words, {**about, **_sizes(view)}]

    def denoise(self, x_t: Tensor, sigma: Tensor, conds: Sequence[Any]) -> Tensor:
        """x0_pred, fp32, as the host's sampler would get it for these conditionings."""
        options = self._patcher.model_options.get("transformer_options", {}).copy()
        options[OVERRIDE] = trainable(options.get(OVERRIDE))
        rows = [self._model_conds(cond, x_t[i : i + 1]) for i, cond in enumerate(conds)]
        model = self._patcher.model
        together = None if type(model).__name__ in _ONE_BY_ONE else _joined(rows)
        _forget(model.diffusion_model)
        if together is not None:
            out: Tensor = model.apply_model(x_t, sigma, transformer_options=options, **together)
            return out
        singles = [
            model.apply_model(x_t[i : i + 1], sigma[i : i + 1], transformer_options=options, **(_joined([row]) or {}))
            for i, row in enumerate(rows)
        ]
        return torch.cat(singles)

    def facts(self) -> dict[str, str]:
        """Metadata about the base: architecture and prediction type as modelspec and kohya name them."""
        model = self._patcher.model
        kind, predicts = type(model).__name__, model.model_type.name
        if predicts in ("EPS", "V_PREDICTION"):
            # A node of the graph may have changed it, and nothing else.
            sampling = self._patcher.get_model_object("model_sampling")
            predicts = "V_PREDICTION" if isinstance(sampling, comfy.model_sampling.V_PREDICTION) else "EPS"
        classes = [one.__name__ for one in type(model.model_config).__mro__]
        known = (_BASES[name] for name in classes if name in _BASES)
        version, architecture, implementation = next(known, (kind, kind.lower(), _HOST))
        if version == "sd_v2" and predicts == "V_PREDICTION":
            architecture = "stable-diffusion-v2-768-v"
        return {
            "ss_base_model_version": version,
            "modelspec.architecture": f"{architecture}/lora",
            "modelspec.implementation": implementation,
            "modelspec.prediction_type": _PREDICTIONS.get(predicts, predicts.lower()),
            **base_facts(self._file),
        }

    def blocks(self) -> BlockCounts | None:
        """The UNet's blocks as kohya counts them; None for other kinds of model."""
        return block_counts(self._patcher.model)

    def pixel_mark(self) -> str:
        """Tells autoencoders, and the scale of their latents, apart."""
        return pixel_mark(self._vae, self._patcher.model)

    def traits(self) -> ModelTraits:
        """What a recipe can be wrong about."""
        readers = [m.transformer for m in self._clip.cond_stage_model.modules() if isinstance(m, SDClipModel)]
        # The host hands clip skip on to every encoder, and in T5 it would read a layer that nobody trained with.
        all_clip = all(isinstance(reader, comfy.clip_model.CLIPTextModel) for reader in readers)
        layers = [reader.num_layers for reader in readers] if all_clip else []
        model = self._patcher.model
        return ModelTraits(
            half=(model.manual_cast_dtype or model.get_dtype()) == torch.float16,
            device=self._patcher.load_device.type,
            clip_layers=max(layers, default=0),
            weight_bytes=weight_bytes(self._patcher.model) + weight_bytes(self._clip.cond_stage_model),
        )

    def memory(self) -> int:
        """Bytes in use: the GPU's peak, or this process's. Asked after each step."""
        self._has_stepped = self._is_open
        return in_use(self._patcher.load_device)

    def sample(
        self,
        prompt: str,
        *,
        negative: str,
        width: int,
        height: int,
        steps: int,
        cfg: float,
        seed: int,
        clip_skip: int,
    ) -> Tensor:
        """A picture [H, W, 3] in 0..1 by the host's sampler, as it is to the words a user would type."""
        settings = Sampling(steps=steps, cfg=cfg, sampler="euler", scheduler="normal")
        latent = empty_latent(self._patcher, self._vae, width, height)
        clip = self._at_layer(clip_skip)
        # The host's noise comes from the global generator, which is not ours to move.
        with torch.random.fork_rng(), self._beside():
            wanted, unwanted = encode_prompt(clip, prompt), encode_prompt(clip, negative)
            return sample(self._patcher, self._vae, wanted, unwanted, latent, settings, seed=seed)

    def _at_layer(self, clip_skip: int) -> Any:
        """The text encoder, read at the layer that the recipe says; 1 leaves it as the graph has it."""
        if clip_skip <= 1:
            return self._clip
        clip = self._clip.clone()
        clip.clip_layer(-clip_skip)
        return clip

    def _model_conds(self, cond: Any, noise: Tensor) -> dict[str, Any]:
        converted = comfy.sampler_helpers.convert_cond([cond])
        model = self._patcher.model
        # What the sampler gives beside these when nothing is inpainted; some families ask for it.
        rest = {
            "latent_image": torch.zeros_like(noise),
            "denoise_mask": None,
            "seed": 0,
            "latent_shapes": [noise.shape],
        }
        comfy.samplers.encode_model_conds(model.extra_conds, converted, noise, noise.device, "positive", **rest)
        found: dict[str, Any] = converted[0]["model_conds"]
        return {key: value.process_cond(batch_size=1, area=None) for key, value in found.items()}


def _sizes(view: View) -> dict[str, int]:
    """SDXL's size conditioning, under the names of the host's own encoding node."""
    return {
        "width": view.original[0],
        "height": view.original[1],
        "crop_w": view.crop[0],
        "crop_h": view.crop[1],
        "target_width": view.target[0],
        "target_height": view.target[1],
    }


def _forget(network: nn.Module) -> None:
    """HiDream-O1 keeps its words' keys and values for the next call, by when training has changed them."""
    clear = getattr(network, "clear_kv_cache", None)
    if clear is not None:
        clear()


def _joined(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The rows' conditionings as one batch, or None where the host would not join them."""
    first, *others = rows
    if any(set(row) != set(first) for row in others):
        return None
    out = {}
    for key, cond in first.items():
        rest = [row[key] for row in others]
        if not all(cond.can_concat(one) for one in rest):
            return None
        out[key] = cond.concat(rest)
    return out


def _each(sigma: Tensor, like: Tensor) -> Tensor:
    """sigma [B] shaped to multiply `like` [B, ...]; older hosts expect it."""
    return sigma.view(-1, *(1,) * (like.ndim - 1))
