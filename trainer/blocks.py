"""Block weights: how fast, and at which rank, each block of a UNet learns, in the lists that kohya's users share."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import KilnError
from .groups import Blocks
from .ports import BlockCounts, Layer

# The LoRA block weight lists that people share have 17 numbers: the text encoder, then these blocks.
_SHORT = ("IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00", *(f"OUT{i:02d}" for i in range(3, 12)))
NAMED = {
    "NONE": "00000000000000000",
    "ALL": "11111111111111111",
    "INS": "11100000000000000",
    "IND": "10001110000000000",
    "INALL": "11111110000000000",
    "MIDD": "10001111111100000",
    "OUTD": "10000000111100000",
    "OUTS": "10000000000011111",
    "OUTALL": "10000000111111111",
}
RANK_LISTS = ("block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas")
_CURVES = ("cosine", "sine", "linear", "reverse_linear", "zeros")
_SDXL = BlockCounts(down=9, mid=3, up=9)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockWeights:
    """Factors of the learning rate for the down, middle and up blocks."""

    down: tuple[float, ...]
    mid: tuple[float, ...]
    up: tuple[float, ...]

    def of(self, layer: Layer) -> float:
        """The layer's factor; 1 outside the blocks."""
        return self.at(layer.place)

    def at(self, place: tuple[str, int] | None) -> float:
        """The factor of a place as `Layer.place` gives it; 1 outside the blocks."""
        if place is None:
            return 1.0
        part, index = place
        row = {"down": self.down, "mid": self.mid, "up": self.up}[part]
        return row[min(index, len(row) - 1)]


def block_weights(settings: Blocks, counts: BlockCounts | None) -> BlockWeights | None:
    """The recipe's weights for a UNet of so many blocks; None when the recipe has none.

    Raises `KilnError` for a list of another length, an unknown name, or a model without such blocks.
    """
    lists = (settings.down_lr_weight, settings.mid_lr_weight, settings.up_lr_weight)
    if not settings.block_preset.strip() and not any(text.strip() for text in lists):
        return None
    if counts is None:
        raise KilnError(
            "Block weights are for UNets (SD 1.5, SD 2, SDXL), and this model has no such blocks; "
            "clear them, and choose layers by only_layers and skip_layers."
        )
    named = _named(settings.block_preset, counts) if settings.block_preset.strip() else None
    return BlockWeights(
        down=_row("down_lr_weight", lists[0], counts.down, named.down if named else None),
        mid=_row("mid_lr_weight", lists[1], counts.mid, named.mid if named else None),
        up=_row("up_lr_weight", lists[2], counts.up, named.up if named else None),
    )


def block_ranks(name: str, text: str, counts: BlockCounts | None) -> BlockWeights | None:
    """A list of ranks or alphas for all blocks in kohya's order; None when empty.

    As sd-scripts counts them: down, middle and up blocks one after the other. SD 1.5 and SD 2 have 25 (12, 1, 12).
    SDXL has 21 (9, 3, 9), and there, as in sd-scripts, 23 numbers are taken too: the first and last stand for the
    layers before and after the blocks, which carry no LoRA.
    """
    values = _numbers(name, text)
    if not values:
        return None
    if counts is None:
        raise KilnError(f"{name} is for UNets, and this model has no such blocks; clear it and use dim and conv_dim.")
    total = counts.down + counts.mid + counts.up
    if counts == _SDXL and len(values) == total + 2:
        values = values[1:-1]
    if len(values) != total:
        raise KilnError(
            f"{name} has {len(values)} numbers; this model has {total} blocks ({counts.down} down, {counts.mid} "
            f"middle, {counts.up} up), give one number for each. SD 1.5 and SD 2 take 25, SDXL 21 or kohya's 23."
        )
    middle = counts.down + counts.mid
    return BlockWeights(down=values[: counts.down], mid=values[counts.down : middle], up=values[middle:])


def _row(name: str, text: str, count: int, fallback: tuple[float, ...] | None) -> tuple[float, ...]:
    if not text.strip():
        return fallback if fallback is not None else (1.0,) * count
    found = re.fullmatch(rf"\s*({'|'.join(_CURVES)})\s*(?:\+\s*(\d*\.?\d+))?\s*", text)
    if found:
        return _curve(found[1], count, float(found[2] or 0))
    values = _numbers(name, text)
    if len(values) == 1 and count > 1 and name == "mid_lr_weight":
        values *= count
    if len(values) != count:
        raise KilnError(
            f"{name} is {text!r}, {len(values)} numbers; this model has {count} such blocks, give one number for each "
            f"or one of {', '.join(_CURVES)}."
        )
    return values


def _curve(name: str, count: int, base: float) -> tuple[float, ...]:
    """sd-scripts' named curves over the blocks, each with an optional `+base`."""
    steps = [i / max(1, count - 1) for i in range(count)]
    if name in ("cosine", "reverse_linear"):
        steps.reverse()
    if name in ("cosine", "sine"):
        steps = [math.sin(math.pi * step / 2) for step in steps]
    if name == "zeros":
        steps = [0.0] * count
    return tuple(step + base for step in steps)


def _named(name: str, counts: BlockCounts) -> BlockWeights:
    key = name.strip().upper()
    if key not in NAMED:
        raise KilnError(f"block_preset is {name!r}; choose one of {', '.join(NAMED)}.")
    return spread([float(digit) for digit in NAMED[key][1:]], counts)


def spread(weights: Sequence[float], counts: BlockCounts) -> BlockWeights:
    """The sixteen weights after the text encoder's in a list that people share, over a UNet's blocks."""
    given = dict(zip(_SHORT, weights, strict=True))
    return BlockWeights(
        down=_spread("IN", given, counts.down),
        mid=(given["M00"],) * counts.mid,
        up=_spread("OUT", given, counts.up),
    )


def _spread(prefix: str, given: dict[str, float], count: int) -> tuple[float, ...]:
    """A weight for each of `count` blocks: SD 1.5's twelve, a block between two named ones as the nearest of them.

    A model with fewer blocks takes the weight at the same share of its depth.
    """
    known = {int(name.removeprefix(prefix)): value for name, value in given.items() if name.startswith(prefix)}
    full = [known[min(known, key=lambda k: (abs(k - i), k))] for i in range(12)]
    return tuple(full[round(i * 11 / max(1, count - 1))] if count != 12 else full[i] for i in range(count))


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        # kohya reads an empty place as 0.
        found = tuple(float(one) if one.strip() else 0.0 for one in text.split(",")) if text.strip() else ()
    except ValueError as error:
        raise KilnError(f"{name} is {text!r}; give numbers with commas between them.") from error
    if not all(math.isfinite(one) and one >= 0 for one in found):
        raise KilnError(f"{name} is {text!r}; give numbers of 0 or more.")
    return found
