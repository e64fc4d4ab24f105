"""LyCORIS's modules as adapters: LoHa, LoKr, DoRA and the rest, built one by one on loaded layers.

Built directly, not by `create_lycoris`, which keeps its preset in class attributes. A module adds to its layer's output
where its algorithm can (`bypass_mode`); the others compute the layer's new weight, in fp32, because in 16 bits a small
change of a weight is rounded away.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .adapters import copy_into
from .arguments import parse_arguments
from .errors import KilnError
from .groups import Network
from .ports import Layer

# Rows: LyCORIS's module and class; whether `bypass_mode` (adding to the output) is exact for it. OFT's and BOFT's turns
# the bias too, and DyLoRA's scales by another number.
_CLASSES = {
    "LoRA": ("locon", "LoConModule", True),
    "LoHa": ("loha", "LohaModule", True),
    "LoKr": ("lokr", "LokrModule", True),
    "DyLoRA": ("dylora", "DyLoraModule", False),
    "GLoRA": ("glora", "GLoRAModule", True),
    "OFT": ("diag_oft", "DiagOFTModule", False),
    "BOFT": ("boft", "ButterflyOFTModule", False),
}


# What a module is given anyway, most of it by settings of their own.
_SET_HERE = {
    "lora_name", "org_module", "multiplier", "lora_dim", "alpha", "dropout", "rank_dropout", "module_dropout",
    "use_tucker", "bypass_mode", "weight_decompose", "factor", "constraint", "train_on_input", "self", "kwargs",
}  # fmt: skip


# What ComfyUI does not read from the files of these networks, so that they would act otherwise than they were trained.
_NOT_IN_FILES = {"GLoRA": {"rs_lora"}, "LoKr": {"rs_lora"}, "OFT": {"rescaled"}}


class Lycoris:
    """One layer's LyCORIS module."""

    def __init__(self, layer: Layer, rank: int, alpha: float, generator: torch.Generator, settings: Network) -> None:
        self.layer, self.rank, self.alpha = layer, rank, alpha
        weight = layer.module.weight
        assert isinstance(weight, Tensor)
        kind = _class(settings.network_type)
        options: dict[str, Any] = {
            # GLoRA's keeps what it should drop.
            "rank_dropout": settings.rank_dropout if settings.network_type != "GLoRA" else 0.0,
            "module_dropout": settings.module_dropout,
            "use_tucker": settings.use_tucker,
            "bypass_mode": _adds_to_outputs(settings, weight.dtype),
        }
        if settings.dora:
            options["weight_decompose"] = True
        if settings.network_type == "LoKr":
            options["factor"] = settings.lokr_factor
        if settings.network_type in ("OFT", "BOFT"):
            options["constraint"] = settings.constraint
        if settings.network_type == "DyLoRA":
            # One rank after another, so that every smaller rank is a LoRA too.
            options["block_size"] = 1
        if settings.network_args:
            options |= more_arguments(settings)
        if not isinstance(layer.module, nn.Linear | nn.Conv2d):
            raise KilnError(
                f"{settings.network_type} by LyCORIS cannot be put on {layer.key}, whose weights are packed "
                f"({type(weight).__name__}); load the model in 16 bits, or choose LoRA without DoRA and Tucker form."
            )
        exact = _CLASSES[settings.network_type][2] and not settings.dora
        if not exact and (not weight.dtype.is_floating_point or weight.dtype.itemsize == 1):
            what = "DoRA" if settings.dora else settings.network_type
            raise KilnError(
                f"{what} needs the base's weights themselves, and {layer.key} is loaded as {weight.dtype}; "
                "load the model in 16 bits, or use LoRA, LoHa, LoKr or GLoRA without DoRA."
            )
        # LyCORIS draws its first values from the global generator.
        with torch.random.fork_rng(devices=[]):
            # The CPU's alone: `torch.manual_seed` would move the GPU's too.
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
            try:
                module = kind(layer.key, layer.module, 1.0, rank, alpha, **options)
            except (AssertionError, TypeError, ValueError) as error:
                words = ", ".join(settings.network_args) or "these settings"
                raise KilnError(
                    f"{settings.network_type} of rank {rank} does not take {words} on {layer.key} ({error}); change "
                    "network_args, or the rank."
                ) from error
        if settings.network_type == "DyLoRA":
            module.get_random_rank_weight = partial(_drawn_ranks, module)
        self.module = module.to(weight.device).float().train().requires_grad_()
        _fit_dtypes(self.module, weight)
        self._fast = tuple(p for p in self.parameters if not p.any())
        self._before: Any = None

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        return tuple(self.module.parameters())

    @property
    def fast(self) -> tuple[Tensor, ...]:
        return self._fast

    def attach(self) -> None:
        """Let the layer run through this module."""
        self._before = self.layer.module.__dict__.get("forward")
        self.module.apply_to()

    def detach(self) -> None:
        """Give the layer its own forward back."""
        self.module.restore()
        self.layer.module.__dict__.pop("forward", None)
        if self._before is not None:
            self.layer.module.forward = self._before

    def state(self) -> dict[str, Tensor]:
        """LyCORIS's keys, fp32 copies on the CPU; alpha is always there."""
        found = {f"{self.layer.key}.{name}": _copy(value) for name, value in self.module.state_dict().items()}
        found.setdefault(f"{self.layer.key}.alpha", torch.tensor(float(self.alpha)))
        if hasattr(self.module, "constraint"):
            # LyCORIS's limit is one an output, and the host takes this for the whole one.
            found[f"{self.layer.key}.alpha"] = torch.tensor(float(self.module.constraint))
        return found

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The way back. Raises `KilnError` for a file of another kind of network."""
        key = self.layer.key
        if not hasattr(self.module, "up_list"):
            for name, mine in self.module.named_parameters():
                if name == "scalar":
                    # A file has it in its weights.
                    mine.fill_(1)
                else:
                    copy_into(mine, tensors, f"{key}.{name}")
            return
        # DyLoRA holds its blocks of ranks by themselves, and its files are plain LoRAs.
        flat = {name: value.flatten(1) for name, value in tensors.items() if name.startswith(f"{key}.lora_")}
        for name, ranks, axis in (("down", self.module.down_list, 0), ("up", self.module.up_list, 1)):
            whole = torch.cat(list(ranks), axis)
            copy_into(whole, flat, f"{key}.lora_{name}.weight")
            for one, values in zip(ranks, whole.split(self.module.block_size, axis), strict=True):
                one.copy_(values)

    @torch.no_grad()
    def limit_norm(self, limit: float) -> None:
        """LyCORIS's own `apply_max_norm`, where the module has one."""
        # At rest, where no rank dropout draws.
        self.learn(False)
        scaled, _ = self.module.apply_max_norm(limit)
        self.learn(True)
        factor = getattr(self.module, "scalar", None)
        if scaled and factor is not None and not isinstance(factor, nn.Parameter):
            # Some modules keep the scale apart, where neither a saved state nor an average would find it.
            folded = {name: value.clone() for name, value in self.module.state_dict().items()}
            for name, mine in self.module.named_parameters():
                mine.copy_(folded[name])
            factor.fill_(1)

    def learn(self, on: bool) -> None:
        """Whether dropouts act, and DyLoRA trains fewer ranks than it has."""
        self.module.train(on)


def more_arguments(settings: Network) -> dict[str, Any]:
    """`network_args` as LyCORIS's class of that kind takes them.

    Raises `KilnError` for a package that is missing, and for names that the class has not or that are settings here.
    """
    found = parse_arguments(settings.network_args, "network_args")
    parameters = inspect.signature(_class(settings.network_type)).parameters
    known = set(parameters) - _SET_HERE - _NOT_IN_FILES.get(settings.network_type, set())
    if unknown := sorted(set(found) - known):
        raise KilnError(
            f"network_args: {settings.network_type} does not take {', '.join(unknown)}; beside this pack's settings it "
            f"takes {', '.join(sorted(known))}."
        )
    for name, value in found.items():
        if isinstance(parameters[name].default, bool) and not isinstance(value, bool):
            raise KilnError(f"network_args has {name}={value}; write {name}=True or {name}=False.")
    if settings.network_type == "LoKr" and found.get("use_scalar") and settings.scale_weight_norms:
        raise KilnError(
            f"scale_weight_norms is {settings.scale_weight_norms:g}, and LoKr's norms are measured without the factor "
            "of use_scalar; leave one of them out."
        )
    return found


def _adds_to_outputs(settings: Network, dtype: torch.dtype) -> bool:
    """Whether such a module adds to its layer's output, and needs not the layer's weight."""
    if settings.dora or not _CLASSES[settings.network_type][2]:
        return False
    # LoKr's addition knows nothing of rank dropout, and takes longer than the new weight, which is exact in fp32.
    return settings.network_type != "LoKr" or (dtype != torch.float32 and not settings.rank_dropout)


def _fit_dtypes(module: Any, weight: Tensor) -> None:
    """Let a module in fp32 work on a layer of any dtype.

    Weights are added up in fp32, and what is applied to a layer's input takes the input's dtype, as the base does.
    """
    op: Callable[..., Tensor] = module.op

    def applied(x: Tensor, weight: Tensor, bias: Tensor | None = None, **about: Any) -> Tensor:
        return op(x, weight.to(x.dtype), bias, **about)

    def convolved(conv: Any, x: Tensor) -> Tensor:
        out: Tensor = conv._conv_forward(x, conv.weight.to(x.dtype), None)
        return out

    module.op = applied
    module._current_weight = lambda: weight.detach().float()
    convolutions: list[Any] = [child for child in module.children() if isinstance(child, nn.Conv2d)]
    for conv in convolutions:
        conv.forward = partial(convolved, conv)


def _class(name: str) -> Any:
    # Slow to import, and needed only here.
    try:
        from importlib import import_module

        module, kind, _ = _CLASSES[name]
        return getattr(import_module(f"lycoris.modules.{module}"), kind)
    except ImportError as error:
        raise KilnError(
            f"{name} needs the package lycoris-lora, which is not installed ({error}); "
            "run `pip install -r requirements.txt` in the pack's folder, or use network_type LoRA."
        ) from error


def _drawn_ranks(module: Any) -> Any:
    """DyLoRA's factors up to a random rank, at rest of all ranks.

    LyCORIS draws from Python's own generator, which nothing here seeds or gives back.
    """
    last = module.block_count - 1
    drawn = int(torch.randint(last + 1, ())) if module.training else last
    down, up, _ = module.get_weight(drawn * module.block_size)
    # LyCORIS's own scale goes by blocks, and a file's by ranks.
    return down, up, module.alpha / len(down)


def _copy(value: Tensor) -> Tensor:
    return value.detach().float().cpu().clone()
