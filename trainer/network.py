"""Which layers get an adapter, of which rank, and how fast each learns."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .adapters import Adapter, Lora
from .blocks import RANK_LISTS, block_ranks, block_weights
from .errors import KilnError, NothingToTrain
from .groups import Blocks, Network
from .lycoris_adapters import Lycoris
from .ports import BlockCounts, Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An adapter and the factor on its part's learning rate."""

    adapter: Adapter
    rate: float = 1.0

    @property
    def part(self) -> str:
        return self.adapter.layer.part


def make_adapters(
    layers: Sequence[Layer],
    network: Network,
    blocks: Blocks,
    counts: BlockCounts | None,
    parts: Sequence[str],
    generator: torch.Generator,
    start: Mapping[str, Tensor] | None = None,
) -> list[Placed]:
    """Adapters for the layers of `parts` (`unet`, `text`) that the recipe's ranks, blocks and filters cover.

    `start` holds a LoRA's tensors to go on from; a plain LoRA takes ranks, alphas and layers from it. Raises
    `NothingToTrain` when no layer is left, `KilnError` when `start` does not fit.
    """
    weights = block_weights(blocks, counts)
    ranks = {name: block_ranks(name, getattr(blocks, name), counts) for name in RANK_LISTS}
    shares = {"base"}
    if network.conv_dim or blocks.conv_block_dims:
        shares |= {"locon", "lycoris"} if network.lycoris else {"locon"}
    placed = []
    for layer in layers:
        if layer.part not in parts or not _wanted(layer, network):
            continue
        if start is None and layer.share not in (shares | {"ends"} if network.only_layers else shares):
            continue
        rate = weights.of(layer) if weights else 1.0
        kind = "conv_block" if layer.conv else "block"
        dims, alphas = ranks[f"{kind}_dims"], ranks[f"{kind}_alphas"]
        rank, alpha = (network.conv_dim, network.conv_alpha) if layer.conv else (network.dim, network.alpha)
        if dims and layer.place:
            rank = round(dims.of(layer))
        if alphas and layer.place:
            alpha = alphas.of(layer)
        if rate and (adapter := _adapter(layer, rank, alpha, network, generator, start)):
            placed.append(Placed(adapter=adapter, rate=rate))
    if not placed:
        raise NothingToTrain(
            f"No layer is left to train: parts with a learning rate are {', '.join(parts) or 'none'}, "
            f"the model offers {len(layers)} layers. Give unet_lr or text_lr a value above 0, and look at only_layers, "
            "skip_layers, the block weights and dims."
            + (" The file to start from must be one for this model." if start is not None else "")
        )
    return placed


def ranks(placed: Sequence[Placed]) -> dict[str, str]:
    """kohya's metadata of the ranks and alphas that adapters really have; `Dynamic` where they differ."""
    found = {}
    for key, value in (("ss_network_dim", "rank"), ("ss_network_alpha", "alpha")):
        values = {float(getattr(one.adapter, value)) for one in placed if not one.adapter.layer.conv}
        if values:
            found[key] = f"{values.pop():g}" if len(values) == 1 else "Dynamic"
    return found


def _adapter(
    layer: Layer,
    rank: int,
    alpha: float,
    network: Network,
    generator: torch.Generator,
    start: Mapping[str, Tensor] | None,
) -> Adapter | None:
    plain = not network.lycoris
    if start is None:
        return (Lora if plain else Lycoris)(layer, rank, alpha, generator, network) if rank else None
    if not any(key.startswith(f"{layer.key}.") for key in start):
        # A LoRA that leaves layers out goes on leaving them out.
        return None
    if plain:
        down = start.get(f"{layer.key}.lora_down.weight")
        if down is None or f"{layer.key}.dora_scale" in start:
            raise KilnError(
                f"The file to start from is no plain LoRA at {layer.key}; "
                "choose the network_type, dora and use_tucker that it was made with, or another file."
            )
        rank = len(down)
        alpha = float(start.get(f"{layer.key}.alpha", torch.tensor(float(rank))))
    elif not rank:
        raise KilnError(
            f"The file to start from has {layer.key}, whose rank is 0 here; give dim and conv_dim as the file has them."
        )
    adapter: Adapter = (Lora if plain else Lycoris)(layer, rank, alpha, generator, network)
    adapter.load(start)
    theirs, mine = start.get(f"{layer.key}.alpha"), adapter.state().get(f"{layer.key}.alpha")
    if theirs is not None and mine is not None and abs(float(theirs) - float(mine)) > 1e-3 * abs(float(mine)):
        raise KilnError(
            f"The file to start from has alpha {float(theirs):g} at {layer.key}, and here it would be {float(mine):g}, "
            "at another strength; make alpha, conv_alpha, constraint and network_args what they were for the file."
        )
    return adapter


def _wanted(layer: Layer, network: Network) -> bool:
    """Whether the filters let this layer through; a word without * may stand anywhere in the name."""

    def matches(words: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(layer.key, word if "*" in word else f"*{word}*") for word in words)

    return (not network.only_layers or matches(network.only_layers)) and not matches(network.skip_layers)
