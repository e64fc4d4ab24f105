"""Block weights of a finished LoRA: which blocks of the UNet it acts on, as lists that people share."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..trainer.blocks import NAMED, BlockWeights, spread
from ..trainer.errors import KilnError
from ..trainer.ports import BlockCounts
from .values import TEXT, Places

Part = tuple[dict[str, Tensor], float]
"""Tensors of a LoRA and the factor of its strength that they are put on at."""

_SDXL = BlockCounts(down=9, mid=3, up=9)
# The twelve numbers that are shared for SDXL: the text encoder, then the blocks with attention.
_SDXL_DOWN, _SDXL_UP = (4, 5, 7, 8), (0, 1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Named block weights, the text encoder's first; no numbers is the whole LoRA."""

    name: str = ""
    numbers: tuple[float, ...] = ()


def pick_presets(lines: Sequence[str]) -> tuple[Preset, ...]:
    """The whole LoRA, then one for each line: a name such as OUTD, or `name: 1,0,0.5,...`. Raises `KilnError`."""
    found = [Preset()]
    for line in lines:
        if listed := re.fullmatch(r"([^:=]+?)\s*[:=]\s*(.*)", line.strip()):
            found.append(Preset(name=listed[1], numbers=_numbers(line, listed[2])))
        elif line.strip().upper() in NAMED:
            name = line.strip().upper()
            found.append(Preset(name=name, numbers=tuple(float(digit) for digit in NAMED[name])))
        else:
            raise KilnError(
                f"block_presets has {line!r}; write one of {', '.join(NAMED)}, or name: and numbers with commas."
            )
    names = [preset.name for preset in found]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise KilnError(f"block_presets has {', '.join(doubled)} twice; give each list a name of its own.")
    return tuple(found)


def parts_of(lora: Mapping[str, Tensor], preset: Preset, places: Places) -> list[Part]:
    """The LoRA in parts of one factor each; layers of factor 0 are left out, and names that the model lacks keep 1.

    Splitting by layer and weighing by the host's own strength is right for every kind of LoRA. Raises `KilnError` for
    a list that does not fit the model.
    """
    if not preset.numbers:
        return [(dict(lora), 1.0)]
    text, weights = _fitted(preset, places.counts)
    found: dict[float, dict[str, Tensor]] = {}
    for key, tensor in lora.items():
        place = places.of.get(key.partition(".")[0])
        factor = text if place and place[0] == TEXT else weights.at(place)
        if factor:
            found.setdefault(factor, {})[key] = tensor
    return [(tensors, factor) for factor, tensors in found.items()]


def _numbers(line: str, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise KilnError(f"block_presets has {line!r}: {error}. Write name: 1,0,0.5,... with commas.") from error
    if not all(map(math.isfinite, values)):
        raise KilnError(f"block_presets has {line!r}; give finite numbers with commas.")
    return values


def _fitted(preset: Preset, counts: BlockCounts | None) -> tuple[float, BlockWeights]:
    """The text encoder's factor and those of the blocks, from 17 or 12 shared numbers, or one for every block."""
    if counts is None:
        raise KilnError(
            f"block_presets has {preset.name}, and block weights are for UNets (SD 1.5, SD 2, SDXL); this model has no "
            "such blocks. Leave block_presets empty."
        )
    text, *rest = preset.numbers
    total = counts.down + counts.mid + counts.up
    if len(rest) == 16:
        return text, spread(rest, counts)
    if len(rest) == 11 and counts == _SDXL:
        down, middle, up = rest[:4], rest[4], rest[5:]
        return text, BlockWeights(
            down=_nearest(dict(zip(_SDXL_DOWN, down, strict=True)), counts.down),
            mid=(middle,) * counts.mid,
            up=_nearest(dict(zip(_SDXL_UP, up, strict=True)), counts.up),
        )
    if len(rest) != total:
        raise KilnError(
            f"block_presets has {preset.name} with {len(preset.numbers)} numbers; give 17 as they are shared for SD "
            f"1.5, 12 as for SDXL, or {1 + total}: the text encoder and each block of this model ({counts.down} down, "
            f"{counts.mid} middle, {counts.up} up)."
        )
    middle_end = counts.down + counts.mid
    return text, BlockWeights(
        down=tuple(rest[: counts.down]), mid=tuple(rest[counts.down : middle_end]), up=tuple(rest[middle_end:])
    )


def _nearest(known: Mapping[int, float], count: int) -> tuple[float, ...]:
    """Blocks without a number of their own take the nearest block's."""
    return tuple(known[min(known, key=lambda k: (abs(k - i), k))] for i in range(count))
