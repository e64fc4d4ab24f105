"""What of the host's loaded networks stands in the way of a backward pass, taken away for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import comfy.ldm.common_dit
import comfy.model_management
import torch
from torch import Tensor, nn

# Layers whose input the host writes over afterwards, as in `x += attention(norm(x))`, by the class that they are in.
_WRITTEN_OVER = {
    "comfy.clip_model.CLIPLayer": ("layer_norm1", "layer_norm2"),
    "comfy.ldm.flux.layers.DoubleStreamBlock": ("img_norm1", "img_norm2", "txt_norm1", "txt_norm2"),
    "comfy.ldm.flux.layers.SingleStreamBlock": ("pre_norm",),
    "comfy.ldm.lightricks.model.BasicTransformerBlock": ("attn2",),
    "comfy.ldm.modules.diffusionmodules.mmdit.ContextProcessorBlock": ("norm1", "norm2"),
    "comfy.ldm.pixeldit.modules.PiTBlock": ("norm2",),
    "comfy.ldm.wan.model.AudioInjector_WAN": ("injector_pre_norm_feat", "injector_adain_layers"),
    "comfy.text_encoders.t5.T5LayerFF": ("layer_norm",),
    "comfy.text_encoders.t5.T5LayerSelfAttention": ("layer_norm",),
}


@contextlib.contextmanager
def ordinary_tensors(network: nn.Module) -> Iterator[None]:
    """Replace parameters and buffers made under inference mode by ordinary ones over the same memory, for a while."""
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for module in network.modules():
            # Position tables are sometimes plain attributes.
            tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, module.__dict__)
            for table in tables:
                for name, tensor in table.items():
                    if not isinstance(tensor, Tensor) or not (tensor.is_inference() or tensor.requires_grad):
                        continue
                    replaced.append((table, name, tensor))
                    plain = usable(tensor.detach())
                    table[name] = nn.Parameter(plain, requires_grad=False) if table is module._parameters else plain
        yield
    finally:
        for table, name, tensor in replaced:
            table[name] = tensor


def usable(tensor: Tensor) -> Tensor:
    """An ordinary tensor over the same memory as one made under inference mode."""
    if not tensor.is_inference():
        return tensor
    if type(tensor) not in (Tensor, nn.Parameter):
        # Packed weights wrap others.
        packed: Any = tensor
        names, about = packed.__tensor_flatten__()
        inner = {name: usable(getattr(packed, name)) for name in names}
        again: Tensor = type(packed).__tensor_unflatten__(inner, about, packed.shape, packed.stride())
        return again
    plain = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    plain.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
    return plain


@contextlib.contextmanager
def no_in_place(network: nn.Module) -> Iterator[None]:
    """Some of the host's blocks write over what backward needs; the layers that keep it get a copy instead."""
    kinds = {module: f"{type(module).__module__}.{type(module).__name__}" for module in network.modules()}
    found = [getattr(module, name, ()) for module, kind in kinds.items() for name in _WRITTEN_OVER.get(kind, ())]
    layers = [layer for one in found for layer in (one if isinstance(one, nn.ModuleList | tuple) else (one,))]
    hooks = [layer.register_forward_pre_hook(lambda _module, inputs: (inputs[0].clone(),)) for layer in layers]
    # LTX-Video's blocks call this norm as a function, which no hook can reach.
    norm = comfy.ldm.common_dit.rms_norm
    try:
        if any(kind.startswith("comfy.ldm.lightricks.") and kind.endswith("Block") for kind in kinds.values()):
            comfy.ldm.common_dit.rms_norm = lambda x, *args, **kwargs: norm(x.clone(), *args, **kwargs)
        yield
    finally:
        comfy.ldm.common_dit.rms_norm = norm
        for hook in hooks:
            hook.remove()


@contextlib.contextmanager
def training_flag() -> Iterator[None]:
    """Newer hosts keep kernels without a backward away while this flag stands."""
    manager = comfy.model_management
    if not hasattr(manager, "in_training"):
        yield
        return
    before = manager.in_training
    manager.in_training = True
    try:
        yield
    finally:
        manager.in_training = before
