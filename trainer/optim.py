"""Optimizers, from the libraries that keep them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from .arguments import parse_arguments
from .errors import KilnError
from .groups import Optimizer
from .network import Placed

# By the recipe's name: library and class. 8-bit and paged ones need CUDA.
_LIBRARY = {
    "AdamW8bit": ("bitsandbytes.optim", "AdamW8bit"),
    "PagedAdamW8bit": ("bitsandbytes.optim", "PagedAdamW8bit"),
    "Lion8bit": ("bitsandbytes.optim", "Lion8bit"),
    "PagedLion8bit": ("bitsandbytes.optim", "PagedLion8bit"),
    "Lion": ("pytorch_optimizer", "Lion"),
    "CAME": ("pytorch_optimizer", "CAME"),
    "Prodigy": ("pytorch_optimizer", "Prodigy"),
    "DAdaptAdam": ("pytorch_optimizer", "DAdaptAdam"),
    "DAdaptLion": ("pytorch_optimizer", "DAdaptLion"),
    "AdamWScheduleFree": ("pytorch_optimizer", "ScheduleFreeAdamW"),
    "Adafactor": ("transformers.optimization", "Adafactor"),
}
BETAS = {"Adafactor": (), "SGD": ("beta1",), "CAME": ()}
"""Which of the recipe's betas an optimizer takes, where it does not take both."""
_DEFAULTS: dict[str, dict[str, Any]] = {
    # At the recipe's own rate, as with every other optimizer.
    "Adafactor": {"scale_parameter": False, "relative_step": False, "warmup_init": False},
    # The library's own, and dadaptation's, add the decay to the gradient, and make first steps three times as long.
    "DAdaptAdam": {"weight_decouple": True, "bias_correction": True},
    "DAdaptLion": {"weight_decouple": True},
}
"""Arguments that are otherwise here than in the library; `optimizer_args` goes before them."""
# The names that kohya's users know from other packages.
_ALIASES = {"decouple": "weight_decouple", "use_bias_correction": "bias_correction"}
NEEDS_CUDA = tuple(name for name, (library, _) in _LIBRARY.items() if library.startswith("bitsandbytes"))
ADAPTIVE = ("Prodigy", "DAdaptAdam", "DAdaptLion")
"""They find the rate themselves: unet_lr and text_lr are factors, usually 1."""


def make_optimizer(settings: Optimizer, placed: Sequence[Placed]) -> torch.optim.Optimizer:
    """The recipe's optimizer; a parameter group for each part, block weight and LoRA+ side, named by `part`.

    Raises `KilnError` for a package that is missing and for arguments that the optimizer does not take.
    """
    kind, arguments = class_and_arguments(settings)
    groups = _groups(settings, placed)
    name = settings.optimizer_type
    if name in ADAPTIVE and len({group["lr"] for group in groups}) > 1:
        raise several_rates(name, {group["lr"] for group in groups})
    # A rate of its own each group has; polynomial schedules ask for the default one.
    arguments = {"lr": max(group["lr"] for group in groups), **arguments}
    try:
        made: torch.optim.Optimizer = kind(groups, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise KilnError(
            f"optimizer_args: {name} does not take {', '.join(settings.optimizer_args) or 'these settings'} ({error}); "
            "look at its own arguments."
        ) from error
    return made


def several_rates(name: str, rates: Iterable[float]) -> KilnError:
    """The error for an optimizer that finds the rate itself and is given several."""
    return KilnError(
        f"{name} learns everything at one rate, and the recipe asks for several: "
        f"{', '.join(f'{rate:g}' for rate in sorted(rates))}. Make unet_lr and text_lr equal and leave block weights "
        "other than 0 and 1 and LoRA+ out, or choose AdamW."
    )


def class_and_arguments(settings: Optimizer) -> tuple[Any, dict[str, Any]]:
    """The optimizer's class, and its arguments but for the rate.

    Raises `KilnError` for a package that is missing and for names that the optimizer does not know.
    """
    name = settings.optimizer_type
    arguments: dict[str, Any] = {"weight_decay": settings.weight_decay, **_DEFAULTS.get(name, {})}
    if name not in BETAS:
        arguments["betas"] = (settings.beta1, settings.beta2)
    if name == "SGD":
        arguments["momentum"] = settings.beta1
    given = parse_arguments(settings.optimizer_args, "optimizer_args")
    arguments |= {_ALIASES.get(key, key): value for key, value in given.items()}
    if name == "AdamW" and "foreach" not in arguments:
        arguments.setdefault("fused", True)
    kind = _class(name)
    # Some libraries swallow names that they do not know.
    known = set(inspect.signature(kind).parameters) - {"params", "kwargs"}
    if unknown := sorted(set(arguments) - known):
        raise KilnError(
            f"optimizer_args: {name} does not take {', '.join(unknown)}; it takes {', '.join(sorted(known))}."
        )
    return kind, arguments


def rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The learning rate really used in each part, without block weights and LoRA+: an adaptive one's own included.

    Text encoders of several rates are `text`, `text 2`, ... 0 where nothing learns any more.
    """
    found: dict[str, float] = {}
    for group in optimizer.param_groups:
        rate = float(group["lr"]) * float(group.get("d", 1.0)) / group["factor"]
        learns = any(parameter.requires_grad for parameter in group["params"])
        # States of older versions know no encoders.
        encoder = group.get("encoder", 0)
        name = f"{group['part']} {encoder + 1}" if encoder else group["part"]
        found.setdefault(name, rate if learns else 0.0)
    return found


def switch(optimizer: torch.optim.Optimizer, mode: str) -> None:
    """Schedule-free optimizers keep two sets of weights: `train` to learn on, `eval` to save."""
    turn: Callable[[], None] | None = getattr(optimizer, mode, None)
    if turn is not None:
        turn()


def _groups(settings: Optimizer, placed: Sequence[Placed]) -> list[dict[str, Any]]:
    ratios = {"unet": settings.loraplus_unet_lr_ratio, "text": settings.loraplus_text_lr_ratio}
    groups: dict[tuple[str, int, float], dict[str, Any]] = {}
    for one in placed:
        fast = {id(p) for p in one.adapter.fast}
        # Text encoders of one rate are one group.
        encoder = one.adapter.layer.encoder if len(settings.text_rates) > 1 else 0
        rate = settings.rate(one.part, encoder)
        for parameter in one.adapter.parameters:
            factor = one.rate * (ratios[one.part] if id(parameter) in fast else 1.0)
            group = groups.setdefault(
                (one.part, encoder, factor),
                {"params": [], "lr": rate * factor, "part": one.part, "encoder": encoder, "factor": factor},
            )
            group["params"].append(parameter)
    order = sorted(groups, key=lambda key: (key[0] != "unet", key[1], abs(key[2] - 1), key[2]))
    return [groups[key] for key in order]


def _class(name: str) -> Any:
    if name in ("AdamW", "SGD"):
        return getattr(torch.optim, name)
    library, kind = _LIBRARY[name]
    try:
        from importlib import import_module

        return getattr(import_module(library), kind)
    except ImportError as error:
        package = library.partition(".")[0].replace("_", "-")
        raise KilnError(
            f"{name} needs the package {package}, which is not installed ({error}); "
            f"run `pip install {package}`, or choose AdamW."
        ) from error
