"""Short texts that tell loaded models apart: the same mark, the same numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Any

from comfy.utils import get_attr
from torch import Tensor, nn

DEEPEST, OBJECT = 12, 3
"""How far nested options are followed: a container is one step, a function or an object so many."""


def model_mark(model: Any, clip: Any) -> str:
    """A short text that tells loaded models apart: a sample of each weight, every patch, and the noise schedule."""
    digest = hashlib.sha256()
    sampling = model.get_model_object("model_sampling")
    kinds = [kind.__name__ for kind in type(sampling).__mro__]
    digest.update(repr((kinds, _sampled(sampling.sigmas))).encode())
    for patcher in (model, clip.patcher):
        for name, parts in _weights_and_patches(patcher):
            # SD1.x files have none, and the host leaves it as it found the memory.
            if not name.endswith("text_projection.weight"):
                digest.update(repr((name, parts)).encode())
    return digest.hexdigest()


def _weights_and_patches(patcher: Any) -> Iterator[tuple[str, list[Any]]]:
    """Each weight as it is without patches, how the host takes it, and its patches; sampled.

    As the host's `get_key_patches` lists them, which fails at layers that hold packed weights.
    """
    for name in patcher.model_state_dict():
        path, _, last = name.rpartition(".")
        layer = get_attr(patcher.model, path) if path else patcher.model
        if not hasattr(layer, last):
            # A part of a packed weight, which comes with the weight.
            continue
        # While a LoRA is loaded the sum stands there, and the weight in the patcher's backup.
        kept, hooked = patcher.backup.get(name), patcher.hook_backup.get(name)
        weight = hooked[0] if hooked is not None else getattr(layer, last) if kept is None else kept.weight
        taken = [_sampled(weight), "method" if path and hasattr(layer, f"convert_{last}") else "function"]
        yield name, [taken, *_sampled(patcher.patches.get(name, []))]


def control_mark(net: Any) -> str:
    """A short text that tells loaded ControlNets, T2I adapters and control LoRAs apart, with what was set on them
    (a union's type, say), and those that they come after."""
    digest = hashlib.sha256()
    while net is not None:
        about = net.global_average_pooling, net.compression_ratio, str(net.strength_type)
        digest.update(repr((type(net).__name__, about, _sampled(sorted(net.extra_args.items())))).encode())
        for name in ("control_model", "t2i_model"):
            part = getattr(net, name, None)
            if part is not None:
                digest.update(repr([(key, _sampled(value)) for key, value in part.state_dict().items()]).encode())
        # A control LoRA builds its network when it is first used; before, it is a dictionary.
        weights = getattr(net, "control_weights", None)
        if weights is not None:
            digest.update(repr([(key, _sampled(value)) for key, value in weights.items()]).encode())
        net = net.previous_controlnet
    return digest.hexdigest()


def options_mark(model: Any) -> str:
    """Tells apart what nodes have changed about how a model samples (a rescaled CFG, attention patches): the names of
    their functions, and the numbers that these have taken along."""
    return hashlib.sha256(repr(_options(model.model_options)).encode()).hexdigest()


def training_mark(model: Any, clip: Any, vae: Any) -> str:
    """Everything of the loaded models that decides what is learned: weights, schedule, autoencoder, CLIP's layer."""
    return f"{model_mark(model, clip)} {pixel_mark(vae, model.model)} {clip.layer_idx}"


def pixel_mark(vae: Any, model: Any) -> str:
    """Stands for what makes a latent out of pixels: a sample of the autoencoder's weights and the latents' scale."""
    weights = {name: _sampled(value) for name, value in vae.first_stage_model.state_dict().items()}
    scale = type(model.latent_format).__name__, getattr(model.latent_format, "scale_factor", 1.0)
    return hashlib.sha256(repr((sorted(weights.items()), scale)).encode()).hexdigest()


def _sampled(value: Any) -> Any:
    """The value with shapes and first numbers in place of tensors, the same in every session."""
    if isinstance(value, Tensor) and hasattr(value, "__tensor_flatten__"):
        # Packed: what is inside is the same whatever the host takes it for.
        return [_sampled(getattr(value, name)) for name in value.__tensor_flatten__()[0]]
    if isinstance(value, Tensor):
        return tuple(value.shape), value.flatten()[:8].float().tolist()
    if isinstance(value, list | tuple):
        return [_sampled(one) for one in value]
    # The host wraps a LoRA's tensors into an adapter object.
    if hasattr(value, "weights"):
        return type(value).__name__, _sampled(value.weights)
    return value if isinstance(value, str | int | float | None) else type(value).__name__


def _options(value: Any, depth: int = DEEPEST) -> Any:
    """Nested options; of functions their names and what they close over, of patches what they hold.

    Whole models are their names: `model_mark` looks into the one that samples.
    """
    if depth < 0 or isinstance(value, nn.Module) or hasattr(value, "get_key_patches"):
        return type(value).__name__
    if isinstance(value, dict):
        return sorted((str(name), _options(one, depth - 1)) for name, one in value.items())
    if isinstance(value, list | tuple):
        return [_options(one, depth - 1) for one in value]
    inner = partial(_options, depth=depth - OBJECT)
    if isinstance(value, partial):
        return inner(value.func), inner(value.args), inner(value.keywords)
    if callable(value) and hasattr(value, "__qualname__"):
        held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or () if _is_filled(cell)]
        owner = getattr(value, "__self__", None)
        return value.__module__, value.__qualname__, inner(held), None if owner is None else inner(owner)
    if isinstance(value, Tensor) or hasattr(value, "weights") or not hasattr(value, "__dict__"):
        return _sampled(value)
    return type(value).__name__, inner(vars(value))


def _is_filled(cell: Any) -> bool:
    """A name that a function closes over may not have been given a value yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
