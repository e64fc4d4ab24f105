"""Block weights of a finished LoRA: lists as people share them, and the parts that they make."""

from __future__ import annotations

import pytest
import torch

from lora_kiln.sweep.blocks import Preset, parts_of, pick_presets
from lora_kiln.sweep.values import TEXT, Places
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.ports import BlockCounts

SD15, SDXL = BlockCounts(down=12, mid=1, up=12), BlockCounts(down=9, mid=3, up=9)


def test_presets_are_names_or_named_lists_after_the_whole_lora() -> None:
    found = pick_presets(("outd", "mine: 1, 0.5,0", "other = 0,2"))
    assert [preset.name for preset in found] == ["", "OUTD", "mine", "other"]
    assert found[0] == Preset()
    assert found[1].numbers == (1.0, *(0.0,) * 7, *(1.0,) * 4, *(0.0,) * 5)
    assert [preset.numbers for preset in found[2:]] == [(1.0, 0.5, 0.0), (0.0, 2.0)]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (("OUTX",), "write one of NONE"),
        (("mine: 1,x",), "could not convert"),
        (("mine: 1,nan",), "finite numbers"),
        (("ALL", "all"), "ALL twice"),
    ],
)
def test_presets_that_make_no_sense_are_named(lines: tuple[str, ...], named: str) -> None:
    with pytest.raises(KilnError, match=named):
        pick_presets(lines)


def factors(numbers: tuple[float, ...], counts: BlockCounts, *places: tuple[str, int] | None) -> list[float]:
    """Each place's factor of the strength, 0 where its layer is left out."""
    of = {f"layer{i}": place for i, place in enumerate(places)}
    lora = {f"{key}.lora_up.weight": torch.tensor(float(i)) for i, key in enumerate(of)}
    found = [0.0] * len(places)
    for tensors, factor in parts_of(lora, Preset(name="x", numbers=numbers), Places(of=of, counts=counts)):
        for tensor in tensors.values():
            found[int(tensor)] = factor
    return found


def test_seventeen_numbers_reach_sd15s_blocks_as_they_are_shared() -> None:
    # The text encoder, IN01 IN02 IN04 IN05 IN07 IN08, M00, OUT03 to OUT11.
    numbers = tuple(float(n) for n in range(17))
    places = (TEXT, 0), ("down", 1), ("down", 5), ("down", 8), ("mid", 0), ("up", 3), ("up", 11)
    assert factors(numbers, SD15, *places) == [0, 1, 4, 6, 7, 8, 16]
    # A block between two named ones is as the nearest of them.
    assert factors(numbers, SD15, ("down", 6), ("up", 0)) == [4, 8]


def test_twelve_numbers_reach_sdxls_blocks() -> None:
    # The text encoder, IN04 IN05 IN07 IN08, M00, OUT00 to OUT05.
    numbers = tuple(float(n) for n in range(12))
    places = (TEXT, 0), ("down", 4), ("down", 8), ("mid", 1), ("up", 0), ("up", 5), ("up", 8), ("down", 0)
    assert factors(numbers, SDXL, *places) == [0, 1, 4, 5, 6, 11, 11, 1]


def test_a_number_for_each_block_and_one_for_what_stands_outside() -> None:
    numbers = (0.5, *range(1, 26))
    assert factors(numbers, SD15, (TEXT, 0), ("down", 0), ("mid", 0), ("up", 11), None) == [0.5, 1, 13, 25, 1]


def test_names_that_the_model_lacks_stay_at_the_whole_strength() -> None:
    places = Places(of={"layer": ("down", 0)}, counts=SD15)
    lora = {"stranger.alpha": torch.tensor(1.0), "layer.alpha": torch.tensor(1.0)}
    parts = parts_of(lora, Preset(name="NONE", numbers=(0.0,) * 17), places)
    assert [(list(tensors), factor) for tensors, factor in parts] == [(["stranger.alpha"], 1.0)]


@pytest.mark.parametrize(("numbers", "counts"), [((1.0,) * 16, SD15), ((1.0,) * 12, SD15), ((1.0,) * 17, None)])
def test_a_list_that_does_not_fit_the_model_is_named(numbers: tuple[float, ...], counts: BlockCounts | None) -> None:
    with pytest.raises(KilnError, match="block_presets has x"):
        parts_of({}, Preset(name="x", numbers=numbers), Places(of={}, counts=counts))


def test_the_whole_lora_is_one_part() -> None:
    lora = {"layer.alpha": torch.tensor(1.0)}
    assert parts_of(lora, Preset(), Places(of={}, counts=None)) == [(lora, 1.0)]
