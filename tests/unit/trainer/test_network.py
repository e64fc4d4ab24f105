"""Which layers are trained, at which rank and rate, and how a file is gone on from."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lora_kiln.trainer.adapters import Lora
from lora_kiln.trainer.errors import KilnError, NothingToTrain
from lora_kiln.trainer.groups import Blocks, Network
from lora_kiln.trainer.network import Placed, make_adapters
from lora_kiln.trainer.ports import BlockCounts, Layer

SDXL = BlockCounts(down=9, mid=3, up=9)
SD15 = BlockCounts(down=12, mid=1, up=12)


def layers() -> list[Layer]:
    linear, conv, text = nn.Linear(4, 4), nn.Conv2d(4, 4, 3), nn.Linear(4, 4)
    return [
        Layer(key="linear", module=linear, part="unet", conv=False),
        Layer(key="conv", module=conv, part="unet", conv=True),
        Layer(key="text", module=text, part="text", conv=False),
    ]


def unet(counts: BlockCounts) -> list[Layer]:
    """A linear layer and a convolution in each block, one before the blocks, one of the text encoder."""
    found = [
        Layer(key="lora_unet_time_embed", module=nn.Linear(8, 8), part="unet", conv=False),
        Layer(key="lora_te_q", module=nn.Linear(8, 8), part="text", conv=False),
    ]
    for part, count in (("down", counts.down), ("mid", counts.mid), ("up", counts.up)):
        for i in range(count):
            linear, conv = nn.Linear(8, 8), nn.Conv2d(8, 8, 3)
            key = f"lora_unet_{part}_{i}"
            found.append(Layer(key=f"{key}_attn", module=linear, part="unet", conv=False, place=(part, i)))
            found.append(Layer(key=f"{key}_conv", module=conv, part="unet", conv=True, place=(part, i)))
    return found


def made(
    offered: list[Layer],
    network: Network,
    blocks: Blocks | None = None,
    *,
    counts: BlockCounts | None = None,
    parts: tuple[str, ...] = ("unet", "text"),
    start: dict[str, Tensor] | None = None,
) -> dict[str, Placed]:
    draw = torch.Generator().manual_seed(0)
    placed = make_adapters(offered, network, blocks or Blocks(), counts, parts, draw, start)
    return {one.adapter.layer.key: one for one in placed}


def ranks(placed: dict[str, Placed]) -> dict[str, tuple[int, float]]:
    found: dict[str, Any] = {key: one.adapter for key, one in placed.items()}
    return {key: (adapter.rank, adapter.alpha) for key, adapter in found.items()}


@pytest.mark.parametrize(
    ("network", "parts", "expected"),
    [
        (Network(dim=8, alpha=4.0), ("unet", "text"), {"linear": (8, 4.0), "text": (8, 4.0)}),
        (Network(dim=8, alpha=4.0), ("text",), {"text": (8, 4.0)}),
        (Network(dim=8, alpha=4.0, conv_dim=2, conv_alpha=1.5), ("unet",), {"linear": (8, 4.0), "conv": (2, 1.5)}),
    ],
)
def test_ranks_and_parts_decide_which_layers_are_trained(
    network: Network, parts: tuple[str, ...], expected: dict[str, tuple[int, float]]
) -> None:
    assert ranks(made(layers(), network, parts=parts)) == expected


@pytest.mark.parametrize(
    ("network", "blocks", "expected"),
    [
        (Network(dim=8), Blocks(), {"linear"}),
        (Network(dim=8, conv_dim=2), Blocks(), {"linear", "conv", "emb"}),
        (Network(dim=8), Blocks(conv_block_dims=",".join(["2"] * 25)), {"linear", "emb"}),
        (Network(dim=8, network_type="LoHa"), Blocks(), {"linear"}),
        (Network(dim=8, conv_dim=2, network_type="LoHa"), Blocks(), {"linear", "conv", "emb", "conv_in", "time_embed"}),
        (Network(dim=8, conv_dim=2, dora=True), Blocks(), {"linear", "conv", "emb", "conv_in", "time_embed"}),
    ],
)
def test_ranks_for_convolutions_bring_what_kohyas_and_lycoris_networks_train_with_them(
    network: Network, blocks: Blocks, expected: set[str]
) -> None:
    offered = [
        Layer(key="linear", module=nn.Linear(4, 4), part="unet", conv=False),
        Layer(key="conv", module=nn.Conv2d(4, 4, 3), part="unet", conv=True, share="locon"),
        Layer(key="emb", module=nn.Linear(4, 4), part="unet", conv=False, share="locon"),
        Layer(key="conv_in", module=nn.Conv2d(4, 4, 3), part="unet", conv=True, share="lycoris"),
        Layer(key="time_embed", module=nn.Linear(4, 4), part="unet", conv=False, share="lycoris"),
    ]
    placed = made(offered, network, blocks, counts=SD15)
    assert set(placed) == expected
    assert "emb" not in placed or ranks(placed)["emb"][0] == 8


def test_a_file_goes_on_with_every_layer_that_it_has() -> None:
    layer = Layer(key="conv_in", module=nn.Conv2d(4, 4, 3), part="unet", conv=True, share="lycoris")
    start = Lora(layer, 3, 3.0, torch.Generator()).state()
    assert ranks(made([layer], Network(dim=8), start=start)) == {"conv_in": (3, 3.0)}


def test_no_layer_to_train_says_what_to_change() -> None:
    with pytest.raises(NothingToTrain, match="unet_lr or text_lr"):
        made(layers(), Network(), parts=())
    with pytest.raises(NothingToTrain, match="only_layers"):
        made(layers(), Network(only_layers=("nowhere",)))


@pytest.mark.parametrize(
    ("only", "skip", "expected"),
    [
        ((), (), {"linear", "conv", "text"}),
        (("line",), (), {"linear"}),
        (("line", "ext"), (), {"linear", "text"}),
        (("*n*",), (), {"linear", "conv"}),
        (("c*v",), (), {"conv"}),
        (("*v",), (), {"conv"}),
        ((), ("on",), {"linear", "text"}),
        (("*",), ("t*",), {"linear", "conv"}),
        (("linear", "conv"), ("conv",), {"linear"}),
    ],
)
def test_filters_choose_layers_by_words_and_stars(
    only: tuple[str, ...], skip: tuple[str, ...], expected: set[str]
) -> None:
    assert set(made(layers(), Network(conv_dim=1, only_layers=only, skip_layers=skip))) == expected


def test_block_weights_are_rates_and_a_block_of_weight_0_is_left_out() -> None:
    blocks = Blocks(block_preset="OUTS", mid_lr_weight="0.5")
    placed = made(unet(SD15), Network(dim=2, conv_dim=2), blocks, counts=SD15)
    inside = {key: one.rate for key, one in placed.items() if "_up_" in key or "_mid_" in key or "_down_" in key}
    expected = {f"lora_unet_up_{i}_{kind}": 1.0 for i in range(7, 12) for kind in ("attn", "conv")}
    expected |= {f"lora_unet_mid_0_{kind}": 0.5 for kind in ("attn", "conv")}
    assert inside == expected
    assert {key: one.rate for key, one in placed.items() if key not in inside} == {
        "lora_unet_time_embed": 1.0,
        "lora_te_q": 1.0,
    }


def test_block_dims_and_alphas_give_each_block_its_own_and_0_leaves_it_out() -> None:
    blocks = Blocks(
        block_dims=",".join(["7", *map(str, range(21)), "9"]),
        block_alphas=",".join(str(i / 2) for i in range(21)),
        conv_block_dims=",".join(["0"] * 20 + ["3"]),
    )
    network = Network(dim=32, alpha=16.0, conv_dim=5, conv_alpha=2.0)
    found = ranks(made(unet(SDXL), network, blocks, counts=SDXL))
    assert found.pop("lora_unet_time_embed") == (32, 16.0)
    assert found.pop("lora_te_q") == (32, 16.0)
    order = [f"{part}_{i}" for part, n in (("down", 9), ("mid", 3), ("up", 9)) for i in range(n)]
    expected: dict[str, tuple[int, float]] = {
        f"lora_unet_{key}_attn": (i, i / 2) for i, key in enumerate(order) if i > 0
    }
    assert found == {**expected, "lora_unet_up_8_conv": (3, 2.0)}


def test_conv_block_dims_train_convolutions_that_conv_dim_leaves_alone() -> None:
    blocks = Blocks(conv_block_dims=",".join(["2"] * 21), conv_block_alphas=",".join(["1"] * 21))
    found = ranks(made(unet(SDXL), Network(dim=4), blocks, counts=SDXL))
    assert len([key for key, value in found.items() if key.endswith("conv") and value == (2, 1.0)]) == 21


def test_without_blocks_a_list_for_blocks_is_refused() -> None:
    with pytest.raises(KilnError, match="no such blocks"):
        made(layers(), Network(), Blocks(block_dims="4,4"))


def test_the_first_values_follow_from_the_generator() -> None:
    first, again = (made(layers(), Network(dim=2))["linear"].adapter.parameters[0] for _ in range(2))
    assert torch.equal(first, again)


def trained(network: Network, offered: list[Layer]) -> dict[str, Tensor]:
    """The tensors of adapters on all layers, none of them at nothing."""
    draw = torch.Generator().manual_seed(5)
    state: dict[str, Tensor] = {}
    for one in made(offered, network).values():
        for parameter in one.adapter.parameters:
            parameter.data.normal_(generator=draw)
        state |= one.adapter.state()
    return state


def test_going_on_from_a_file_takes_its_ranks_alphas_layers_and_values() -> None:
    """Whatever the recipe says of dims: here it would leave the convolution out."""
    offered = layers()
    file = trained(Network(dim=3, alpha=2.0, conv_dim=2, conv_alpha=1.5), offered)
    file = {key: value for key, value in file.items() if not key.startswith("text.")}
    placed = made(layers(), Network(dim=16, alpha=8.0), start=file)
    assert ranks(placed) == {"linear": (3, 2.0), "conv": (2, 1.5)}
    state = {key: value for one in placed.values() for key, value in one.adapter.state().items()}
    assert set(state) == set(file)
    assert all(torch.equal(state[key], value) for key, value in file.items())


def test_a_file_without_alpha_has_its_rank_as_alpha() -> None:
    file = trained(Network(dim=3, alpha=2.0), layers())
    placed = made(layers(), Network(), start={key: v for key, v in file.items() if not key.endswith("alpha")})
    assert ranks(placed) == {"linear": (3, 3.0), "text": (3, 3.0)}


def test_a_file_and_the_filters_both_choose() -> None:
    file = trained(Network(dim=3), layers())
    assert set(made(layers(), Network(skip_layers=("text",)), start=file)) == {"linear"}
    assert set(made(layers(), Network(), start=file, parts=("text",))) == {"text"}


@pytest.mark.parametrize(
    ("theirs", "mine", "named"),
    [
        (Network(network_type="LoHa", dim=2), Network(dim=2), "no plain LoRA"),
        (Network(dim=2, dora=True), Network(dim=2), "no plain LoRA"),
        (Network(dim=2), Network(network_type="LoHa", dim=2), "hada_w1_a"),
        (Network(dim=2), Network(dim=2, dora=True), "dora_scale"),
        (Network(network_type="LoHa", dim=2), Network(network_type="LoHa", dim=3), "in the file and"),
        (Network(network_type="DyLoRA", dim=2), Network(network_type="DyLoRA", dim=3), "in the file and"),
        (Network(network_type="LoHa", dim=2, conv_dim=2), Network(network_type="LoHa", dim=2), "conv.*rank is 0"),
    ],
)
def test_a_file_of_another_kind_or_rank_is_refused(theirs: Network, mine: Network, named: str) -> None:
    with pytest.raises(KilnError, match=named):
        made(layers(), mine, start=trained(theirs, layers()))


def test_a_file_that_lacks_half_of_a_layer_is_refused() -> None:
    file = trained(Network(dim=2), layers())
    del file["linear.lora_up.weight"]
    with pytest.raises(KilnError, match=r"no linear\.lora_up\.weight"):
        made(layers(), Network(), start=file)


def test_a_file_for_another_model_is_named_as_what_leaves_nothing() -> None:
    with pytest.raises(NothingToTrain, match="start from must be one for this model"):
        made(layers(), Network(), start={"lora_unet_elsewhere.lora_down.weight": torch.zeros(2, 4)})


def test_a_layer_of_another_shape_is_refused() -> None:
    file = trained(Network(dim=2), layers())
    wide = [Layer(key="linear", module=nn.Linear(6, 4), part="unet", conv=False)]
    with pytest.raises(KilnError, match=r"linear\.lora_down\.weight is \(2, 4\) in the file and \(2, 6\)"):
        made(wide, Network(), start=file)


def test_plain_loras_are_our_own_and_all_else_lycoris() -> None:
    kinds = {
        name: type(made(layers(), Network(**settings))["linear"].adapter)  # type: ignore[arg-type]
        for name, settings in {"plain": {}, "dora": {"dora": True}, "loha": {"network_type": "LoHa"}}.items()
    }
    assert kinds["plain"] is Lora
    assert kinds["dora"] is not Lora
    assert kinds["loha"] is not Lora


def test_what_lies_outside_of_the_blocks_is_trained_where_it_is_named() -> None:
    inside, end = (
        Layer(key=f"lora_unet_{name}", module=nn.Linear(8, 8), part="unet", conv=False, share=share)
        for name, share in (("blocks_0_qkv", "base"), ("final_layer", "ends"))
    )
    assert set(made([inside, end], Network(dim=4))) == {"lora_unet_blocks_0_qkv"}
    assert set(made([inside, end], Network(dim=4, conv_dim=4, network_type="LoHa"))) == {"lora_unet_blocks_0_qkv"}
    assert set(made([inside, end], Network(dim=4, only_layers=("blocks", "final")))) == {inside.key, end.key}
    assert set(made([inside, end], Network(dim=4, only_layers=("qkv",)))) == {inside.key}
    start = {
        f"{end.key}.lora_down.weight": torch.ones(2, 8), f"{end.key}.lora_up.weight": torch.ones(8, 2),
    }  # fmt: skip
    assert set(made([inside, end], Network(dim=4), start=start)) == {end.key}


def test_a_file_of_another_strength_is_no_start_for_lycoris() -> None:
    """A plain LoRA takes the file's alpha; LyCORIS's modules would take the recipe's, and act at another strength."""
    pytest.importorskip("lycoris")
    [layer] = [one for one in layers() if one.key == "linear"]
    first = made([layer], Network(dim=4, alpha=4.0))[layer.key].adapter.state()
    scaled = Network(dim=4, alpha=4.0, network_args=("use_scalar=True",))
    assert set(made([layer], scaled, start=first)) == {layer.key}
    for other in ({"alpha": 2.0}, {"network_args": ("rs_lora=True",)}):
        with pytest.raises(KilnError, match=r"has alpha 4 at linear, and here it would be (2|8), at another strength"):
            made([layer], dataclasses.replace(scaled, **other), start=first)
