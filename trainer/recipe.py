"""The recipe: everything that decides what a training run does, apart from the model and the dataset."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..dataset.settings import check_settings, setting
from .errors import KilnError
from .groups import Amount, Blocks, Buckets, Captions, Compute, Network, Optimizer, Saving
from .noise_groups import Loss, Noise

WRITING = tuple(field.name for field in dataclasses.fields(Saving) if field.name != "validation_share")
"""Settings that only decide what is written, and when. The held-out share takes images out of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every training setting, in small groups."""

    amount: Amount = dataclasses.field(default_factory=Amount)
    network: Network = dataclasses.field(default_factory=Network)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    buckets: Buckets = dataclasses.field(default_factory=Buckets)
    captions: Captions = dataclasses.field(default_factory=Captions)
    noise: Noise = dataclasses.field(default_factory=Noise)
    loss: Loss = dataclasses.field(default_factory=Loss)
    blocks: Blocks = dataclasses.field(default_factory=Blocks)
    saving: Saving = dataclasses.field(default_factory=Saving)
    compute: Compute = dataclasses.field(default_factory=Compute)
    seed: int = setting(0, "Every random choice of the run follows from it.", low=0, high=2**63 - 1, step=1)

    def __post_init__(self) -> None:
        check_settings(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, as `recipe.json` holds them."""
        values: dict[str, Any] = _plain(dataclasses.asdict(self))
        return values

    def learned(self) -> dict[str, Any]:
        """The settings that change what is learned and are not at their defaults: what tells runs apart.

        A version of the pack with more settings finds the runs of an older one; no default ever changes.
        """
        changed = Recipe().differences(self)
        return {name: _plain(pair[1]) for name, pair in changed.items() if name not in WRITING}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Recipe:
        """The way back; unknown keys raise `KilnError`."""
        recipe: Recipe = _built(Recipe, values, "recipe")
        return recipe

    def setting(self, name: str) -> Any:
        """The value of the setting of that name, whatever its group."""
        return self.seed if name == "seed" else getattr(getattr(self, group_of()[name]), name)

    def with_settings(self, **values: Any) -> Recipe:
        """A copy with some settings changed, each named by its field alone. Unknown names raise `KilnError`."""
        groups = group_of()
        unknown = sorted(set(values) - set(groups) - {"seed"})
        if unknown:
            raise KilnError(f"A recipe has no setting {', '.join(unknown)}; known are {', '.join(groups)}.")
        changed: dict[str, Any] = {}
        for name in {groups[key] for key in values if key != "seed"}:
            mine = {key: value for key, value in values.items() if groups.get(key) == name}
            changed[name] = dataclasses.replace(getattr(self, name), **mine)
        if "seed" in values:
            changed["seed"] = values["seed"]
        return dataclasses.replace(self, **changed)

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """Setting name to (mine, the other's) wherever they are not equal."""
        found = {
            name: (getattr(getattr(self, g), name), getattr(getattr(other, g), name)) for name, g in group_of().items()
        }
        found["seed"] = (self.seed, other.seed)
        return {name: pair for name, pair in found.items() if pair[0] != pair[1]}


def groups() -> dict[str, type[Any]]:
    """The recipe's groups by their field's name, in order."""
    return {
        field.name: field.default_factory  # type: ignore[misc]
        for field in dataclasses.fields(Recipe)
        if dataclasses.is_dataclass(field.default_factory)
    }


@functools.cache
def group_of() -> Mapping[str, str]:
    """Every setting's name to its group's; names are unique across groups, as kohya's are."""
    found = {field.name: name for name, kind in groups().items() for field in dataclasses.fields(kind)}
    return MappingProxyType(found)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _built(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise KilnError(f"{where} has no setting {', '.join(unknown)}; known are {', '.join(fields)}.")
    inner = groups() if kind is Recipe else {}
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name in inner:
            made[name] = _built(inner[name], value, f"{where}.{name}")
        else:
            made[name] = tuple(value) if isinstance(value, list) else value
    return kind(**made)
