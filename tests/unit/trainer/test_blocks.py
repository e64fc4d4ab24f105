"""Block weights as kohya's users write them, against lists counted out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from lora_kiln.trainer.blocks import NAMED, BlockWeights, block_ranks, block_weights
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.groups import Blocks
from lora_kiln.trainer.ports import BlockCounts, Layer

SD15 = BlockCounts(down=12, mid=1, up=12)
SDXL = BlockCounts(down=9, mid=3, up=9)
# A distilled one with fewer blocks, of which sd-scripts knows nothing.
SSD = BlockCounts(down=9, mid=1, up=9)

# The named presets of sd-webui-lora-block-weight by their seventeen numbers, spread over SD 1.5's blocks: those
# without a number of their own take the nearest one's. Rows: down, mid, up.
SPREAD = {
    "NONE": ("000000000000", "0", "000000000000"),
    "ALL": ("111111111111", "1", "111111111111"),
    "INS": ("111100000000", "0", "000000000000"),
    "IND": ("000001111111", "0", "000000000000"),
    "INALL": ("111111111111", "0", "000000000000"),
    "MIDD": ("000001111111", "1", "111111100000"),
    "OUTD": ("000000000000", "0", "111111100000"),
    "OUTS": ("000000000000", "0", "000000011111"),
    "OUTALL": ("000000000000", "0", "111111111111"),
}


def weights(counts: BlockCounts | None = SD15, **settings: str) -> BlockWeights:
    found = block_weights(Blocks(**settings), counts)
    assert found is not None
    return found


def digits(text: str) -> tuple[float, ...]:
    return tuple(float(one) for one in text)


@pytest.mark.parametrize("name", SPREAD)
def test_a_named_preset_covers_every_block_of_sd15(name: str) -> None:
    down, mid, up = map(digits, SPREAD[name])
    assert weights(block_preset=name) == BlockWeights(down=down, mid=mid, up=up)
    assert weights(block_preset=f" {name.lower()} ") == weights(block_preset=name)


def test_every_named_preset_is_tested_here() -> None:
    assert set(NAMED) == set(SPREAD)
    assert all(len(row) == 17 for row in NAMED.values())


def test_a_named_preset_keeps_its_shape_on_sdxls_fewer_blocks() -> None:
    # Block i of nine stands where block i * 11 / 8 of twelve does.
    found = weights(SDXL, block_preset="OUTD")
    assert (found.down, found.mid) == ((0,) * 9, (0,) * 3)
    assert found.up == (1, 1, 1, 1, 1, 0, 0, 0, 0)
    assert weights(SDXL, block_preset="ALL") == BlockWeights(down=(1,) * 9, mid=(1,) * 3, up=(1,) * 9)


def test_the_single_image_recipes_lists_are_taken_as_they_stand() -> None:
    found = weights(down_lr_weight="1,0,0,0,0,0,0,1,1,1,1,1", mid_lr_weight="0", up_lr_weight="0,1,1,1,1,1,0,0,0,0,1,1")
    assert found.down == digits("100000011111")
    assert found.mid == (0,)
    assert found.up == digits("011111000011")


def test_a_list_replaces_its_share_of_a_preset_and_no_list_is_all_ones() -> None:
    found = weights(block_preset="OUTD", mid_lr_weight="0.5")
    assert (found.mid, found.up) == ((0.5,), digits("111111100000"))
    found = weights(up_lr_weight=",".join(["0.25"] * 12))
    assert (found.down, found.mid, found.up) == ((1,) * 12, (1,), (0.25,) * 12)
    assert block_weights(Blocks(), SD15) is None
    assert block_weights(Blocks(), None) is None


def test_an_empty_place_in_a_list_is_nothing_as_kohya_reads_it() -> None:
    assert weights(down_lr_weight="1,,, ,1,1,1,1,1,1,1,2").down == (1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 2)


def test_one_number_is_enough_for_sdxls_three_middle_blocks() -> None:
    assert weights(SDXL, mid_lr_weight="0.5").mid == (0.5,) * 3
    assert weights(SDXL, mid_lr_weight="0.5,0,1").mid == (0.5, 0, 1)


@pytest.mark.parametrize("counts", [SD15, SDXL])
@pytest.mark.parametrize(("text", "base"), [("{}", 0.0), ("{}+0.25", 0.25), (" {} + .5 ", 0.5), ("{}+1", 1.0)])
def test_the_curves_are_sd_scripts(counts: BlockCounts, text: str, base: float) -> None:
    n = counts.down
    i = np.arange(n)
    curves = {
        "cosine": np.sin(np.pi * (i[::-1] / (n - 1)) / 2),
        "sine": np.sin(np.pi * (i / (n - 1)) / 2),
        "linear": i / (n - 1),
        "reverse_linear": i[::-1] / (n - 1),
        "zeros": np.zeros(n),
    }
    for name, values in curves.items():
        found = weights(counts, down_lr_weight=text.format(name), up_lr_weight=text.format(name))
        np.testing.assert_allclose(found.down, values + base, atol=1e-12, err_msg=name)
        assert found.up == found.down


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"down_lr_weight": ",".join("1" * 11)}, "down_lr_weight.*11 numbers; this model has 12"),
        ({"up_lr_weight": ",".join("1" * 13)}, "up_lr_weight.*13 numbers; this model has 12"),
        ({"up_lr_weight": "1"}, "up_lr_weight.*1 numbers"),
        ({"mid_lr_weight": "1,1"}, "mid_lr_weight.*2 numbers; this model has 1"),
        ({"down_lr_weight": "1,a" + ",1" * 10}, "down_lr_weight.*numbers with commas"),
        ({"down_lr_weight": "cosin"}, "down_lr_weight"),
        ({"down_lr_weight": "cosine+1.2.3"}, "down_lr_weight"),
        ({"down_lr_weight": "nan" + ",1" * 11}, "down_lr_weight.*0 or more"),
        ({"down_lr_weight": "-1" + ",1" * 11}, "down_lr_weight.*0 or more"),
        ({"block_preset": "OUTX"}, "block_preset is 'OUTX'; choose one of NONE"),
    ],
)
def test_a_list_that_does_not_fit_is_named(settings: dict[str, str], named: str) -> None:
    with pytest.raises(KilnError, match=named):
        block_weights(Blocks(**settings), SD15)


@pytest.mark.parametrize("settings", [{"block_preset": "OUTD"}, {"mid_lr_weight": "1"}])
def test_a_model_without_such_blocks_has_no_block_weights(settings: dict[str, str]) -> None:
    with pytest.raises(KilnError, match="no such blocks"):
        block_weights(Blocks(**settings), None)
    with pytest.raises(KilnError, match="block_dims is for UNets"):
        block_ranks("block_dims", "4,4", None)


def test_ranks_go_down_through_the_middle_and_up_again() -> None:
    found = block_ranks("block_dims", ",".join(map(str, range(25))), SD15)
    assert found == BlockWeights(down=tuple(range(12)), mid=(12,), up=tuple(range(13, 25)))
    assert block_ranks("block_dims", "  ", SD15) is None


def test_sdxls_ranks_are_23_numbers_with_one_more_at_each_end() -> None:
    expected = BlockWeights(down=tuple(range(1, 10)), mid=(10, 11, 12), up=tuple(range(13, 22)))
    assert block_ranks("block_dims", ",".join(map(str, range(23))), SDXL) == expected
    assert block_ranks("block_dims", ",".join(map(str, range(1, 22))), SDXL) == expected


@pytest.mark.parametrize(("count", "counts"), [(24, SD15), (26, SD15), (27, SD15), (23, SSD), (22, SDXL), (25, SDXL)])
def test_ranks_of_another_number_are_refused(count: int, counts: BlockCounts) -> None:
    """SD 1.5 has 25 blocks and nothing around them; only SDXL's lists may name the layers at both ends."""
    blocks = rf"{counts.down} down, {counts.mid} middle, {counts.up} up"
    with pytest.raises(KilnError, match=rf"block_alphas has {count} numbers; .*\({blocks}\).*SDXL 21 or kohya's 23"):
        block_ranks("block_alphas", ",".join(["4"] * count), counts)


def test_a_layers_weight_is_that_of_its_place_and_1_outside_the_blocks() -> None:
    found = BlockWeights(down=tuple(range(12)), mid=(50,), up=tuple(range(100, 112)))

    def of(place: tuple[str, int] | None) -> float:
        return found.of(Layer(key="x", module=nn.Identity(), part="unet", conv=False, place=place))

    assert [of(("down", 0)), of(("down", 11)), of(("mid", 0)), of(("up", 3)), of(None)] == [0, 11, 50, 103, 1]
