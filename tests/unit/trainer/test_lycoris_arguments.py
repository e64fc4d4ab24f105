"""LyCORIS's own arguments, and what their files say to the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.groups import Network
from lora_kiln.trainer.lycoris_adapters import Lycoris

from .lycoris_layers import ALPHA, adapter, delta, layer_of, run, x_of

pytest.importorskip("lycoris")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"network_args": ("rs_loraa=True",)}, r"LoRA does not take rs_loraa; .* it takes .*rs_lora, .*use_scalar"),
        ({"network_args": ("lora_dim=4",)}, "LoRA does not take lora_dim"),
        ({"network_args": ("decompose_both=True",)}, "LoRA does not take decompose_both"),
        (
            {"network_args": ("rs_lora=perhaps",)},
            "network_args has rs_lora=perhaps; write rs_lora=True or rs_lora=False",
        ),
        ({"network_args": ("rs_lora=2",)}, "network_args has rs_lora=2; write"),
        # A file of theirs would not say it to the host.
        ({"network_type": "GLoRA", "network_args": ("rs_lora=True",)}, "GLoRA does not take rs_lora"),
        ({"network_type": "LoKr", "network_args": ("rs_lora=True",)}, "LoKr does not take rs_lora"),
        ({"network_type": "OFT", "network_args": ("rescaled=True",)}, "OFT does not take rescaled"),
        (
            {"network_type": "LoKr", "scale_weight_norms": 1.0, "network_args": ("use_scalar=true",)},
            "leave one of them",
        ),
        ({"network_args": ("rs_lora",)}, r"network_args has 'rs_lora'; write name=value, such as rs_lora=True"),
        (
            {"network_type": "DyLoRA", "network_args": ("block_size=3",)},
            r"DyLoRA of rank 2 does not take block_size=3 on",
        ),
    ],
)
def test_arguments_that_lycoris_has_not_are_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(KilnError, match=said):
        Lycoris(layer_of("linear"), 2, 1.0, torch.Generator(), Network(**settings))


def test_words_for_yes_and_no_are_read_in_any_case() -> None:
    scales = {}
    for text in ("true", "True", "FALSE", "False"):
        layer = layer_of("linear")
        one = Lycoris(layer, 4, 2.0, torch.Generator(), Network(network_args=(f"rs_lora={text}",)))
        scales[text.lower()] = float(one.state()["lora_unet_x.alpha"])
    assert scales == {"true": pytest.approx(4.0), "false": 2.0}


@pytest.mark.parametrize("kind", ["LoCon, scalar", "LoCon"])
def test_a_limited_norm_holds_with_a_learned_factor_too(kind: str) -> None:
    one = adapter(kind, "linear", trained=True)
    weight = one.layer.module.weight.numpy()  # type: ignore[union-attr, operator]

    def norm() -> float:
        state = {key.removeprefix("lora_unet_x."): value.numpy() for key, value in one.state().items()}
        return float(np.linalg.norm(delta(kind, state, weight)))

    before = norm()
    one.limit_norm(before / 2)
    assert norm() == pytest.approx(before / 2, rel=1e-3)


def test_dylora_in_blocks_trains_several_ranks_at_once() -> None:
    one = adapter("DyLoRA, blocks", "linear", rank=6, trained=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [one.module.get_random_rank_weight() for _ in range(40)]
    assert {len(down) for down, _, _ in drawn} == {2, 4, 6}
    assert all(float(scale) == pytest.approx(ALPHA / len(down)) for down, _, scale in drawn)
    other = adapter("DyLoRA, blocks", "linear", rank=6, seed=3)
    other.load(one.state())
    assert all(torch.equal(value, other.state()[key]) for key, value in one.state().items())


def test_both_factors_of_a_linear_layers_lokr_are_split() -> None:
    # Of a rank below half of a factor's side.
    names = {key.removeprefix("lora_unet_x.") for key in adapter("LoKr, both", "linear", rank=1).state()}
    assert names == {"lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b", "alpha"}


def test_a_limit_of_rotation_is_in_the_file_as_the_host_reads_it() -> None:
    """ComfyUI turns by no more than the file's alpha; LyCORIS by that for each output."""
    one = adapter("OFT", "linear", trained=True, constraint=0.02)
    one.learn(False)
    module: Any = one.layer.module
    # LyCORIS turns the bias too.
    module.bias.data.zero_()
    state = {key.removeprefix("lora_unet_x."): value.numpy() for key, value in one.state().items()}
    blocks, eye, weight = state["oft_blocks"], np.eye(state["oft_blocks"].shape[-1]), module.weight.numpy()
    q = blocks - blocks.transpose(0, 2, 1)
    assert float(np.linalg.norm(q)) > 2 * float(state["alpha"])

    def answer(limit: float) -> np.ndarray:
        held = q * limit / float(np.linalg.norm(q))
        turn = (eye + held) @ np.linalg.inv(eye - held)
        turned = np.einsum("knm,kni->kmi", turn, weight.reshape(len(blocks), -1, weight.shape[1]))
        return np.asarray(x_of("linear").numpy() @ turned.reshape(weight.shape).T)

    found = run(one, x_of("linear")).detach().numpy()
    np.testing.assert_allclose(found, answer(float(state["alpha"])), rtol=1e-3, atol=1e-4)
    assert np.abs(found - answer(0.02)).max() > 0.05
