"""8-bit bases: what they answer and how they slope is that of the same weights in full precision, and they train.

`scaled` is the form with a factor a layer, `mixed` the newer one whose layers hold packed tensors; newer hosts read
both as the latter. `fast` is a GPU's multiplication in 8 bits, which gives way where it has no backward.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHECKPOINT = "kiln-world-sd15.safetensors"
UNET = "model.diffusion_model."
SIGMA = 1.5
LARGEST = 448.0
"""Of float8_e4m3fn's numbers."""
FORMAT = {"format": "float8_e4m3fn"}
KINDS = ("fp8_e4m3fn", "fp8_e5m2", "fast", "scaled", "mixed", "mixed fast")


@pytest.fixture
def pair(inside: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Any, Any]]:
    """The miniature world in 8 bits, as core's loader or a scaled checkpoint gives it, and the same numbers in fp32."""

    def load(kind: str) -> tuple[Any, Any]:
        import torch

        sd, paths = importlib.import_module("comfy.sd"), importlib.import_module("folder_paths")
        management = importlib.import_module("comfy.model_management")
        read = importlib.import_module("comfy.utils").load_torch_file
        packed, plain = (read(paths.get_full_path("checkpoints", CHECKPOINT)) for _ in range(2))
        dtype = torch.float8_e5m2 if kind == "fp8_e5m2" else torch.float8_e4m3fn
        mixed, fast = kind.startswith("mixed"), kind.endswith("fast")
        factor = "weight_scale" if mixed else "scale_weight" if kind == "scaled" else None
        layers = {}
        for key in [key for key in packed if key.startswith(UNET) and packed[key].is_floating_point()]:
            weight = plain[key].float()
            if not factor:
                packed[key] = weight.to(dtype)
                plain[key] = packed[key].float()
            elif weight.ndim == 2:
                scale = weight.abs().max() / LARGEST
                packed[key] = (weight / scale).to(dtype)
                packed[key.removesuffix("weight") + factor] = scale
                plain[key] = packed[key].float() * scale
                if mixed and fast:
                    packed[key.removesuffix("weight") + "input_scale"] = torch.tensor(0.05)
                if mixed:
                    # Older hosts read it from the file's metadata, newer ones beside the layer.
                    layers[key.removeprefix(UNET).removesuffix(".weight")] = FORMAT
                    packed[key.removesuffix("weight") + "comfy_quant"] = torch.tensor(
                        list(json.dumps(FORMAT).encode()), dtype=torch.uint8
                    )
            elif mixed:
                packed[key] = weight.half()
                plain[key] = packed[key].float()
        about = {"_quantization_metadata": json.dumps({"layers": layers})} if mixed else {}
        if kind == "scaled":
            packed[f"{UNET}scaled_fp8"] = torch.tensor([], dtype=dtype)
        options: dict[str, Any] = {"dtype": dtype, "fp8_optimizations": fast}
        if factor:
            # The host knows what packed layers compute in only where it is not what the others are kept in.
            options = {"dtype": torch.float16} if mixed else {}
        if fast:
            # What it asks a GPU.
            monkeypatch.setattr(management, "supports_fp8_compute", lambda device=None: True)
        with torch.inference_mode():
            return tuple(
                sd.load_state_dict_guess_config(
                    weights, output_vae=True, output_clip=True, model_options=chosen, metadata=told
                )[:3]
                for weights, chosen, told in ((packed, options, about), (plain, {"dtype": torch.float32}, {}))
            )  # type: ignore[return-value]

    return load


def weights_of(network: Any) -> dict[str, Any]:
    """The bytes of every parameter as it is kept, by name."""
    import torch

    kept = ((name, getattr(weight, "_qdata", weight.detach())) for name, weight in network.named_parameters())
    return {name: weight.clone().reshape(-1).view(torch.uint8) for name, weight in kept}


@pytest.mark.parametrize("kind", KINDS)
def test_an_8_bit_base_answers_and_slopes_as_its_weights_do(pair: Any, view: Any, kind: str) -> None:
    import torch

    from lora_kiln.host.model import HostModel

    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 16, 16, generator=draw)

    def found(loaded: Any) -> tuple[Any, Any]:
        model = HostModel(*loaded)
        with torch.inference_mode(), model.open(precision=precision, checkpointing=False):
            conds = model.encode_text(["1girl", "a forest"], [view(128, 128)] * 2, clip_skip=1, max_tokens=0)
            x_t = x.clone().requires_grad_()
            out = model.denoise(x_t, torch.full((2,), SIGMA), conds)
            out.square().mean().backward()
        return out.detach(), x_t.grad

    packed, plain = pair(kind)
    # Another precision than its own would be cast to layer by layer.
    precision = "model's own" if kind.endswith("fast") else "fp32"
    network = packed[0].model.diffusion_model
    kinds = {getattr(weight, "_qdata", weight).dtype.itemsize for weight in network.parameters()}
    assert 1 in kinds
    # Newer hosts multiply in 8 bits all the same, and have a backward for it.
    rounded = kind == "mixed fast" and hasattr(importlib.import_module("comfy.ops"), "QuantLinearFunc")
    share = 5e-2 if rounded else 1e-2
    for mine, theirs in zip(found(packed), found(plain), strict=True):
        assert float(theirs.abs().max()) > 0
        torch.testing.assert_close(mine, theirs, rtol=share, atol=share * float(theirs.abs().max()))


@pytest.mark.parametrize("kind", ["fp8_e4m3fn", "scaled", "mixed"])
def test_an_8_bit_base_trains_and_stays_as_it_is(
    pair: Any, dataset: Any, small_recipe: Any, run_node: Any, kind: str
) -> None:
    import torch

    from lora_kiln.trainer.formats import load_file

    packed, _ = pair(kind)
    network = packed[0].model.diffusion_model
    before, kinds = weights_of(network), {type(weight) for weight in network.parameters()}
    run = run_node(packed, dataset, small_recipe(epochs=2), f"in 8 bits, {kind}")[2]
    tensors, _ = load_file(run.checkpoints[-1].file)
    moved = [key for key, value in tensors.items() if key.endswith("lora_up.weight") and float(value.abs().max()) > 0]
    assert any(key.startswith("lora_unet_") for key in moved)
    assert any("resnets_0_time_emb_proj" in key for key in moved)
    assert all(torch.isfinite(value).all() for value in tensors.values())
    after = weights_of(network)
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert {type(weight) for weight in network.parameters()} == kinds


@pytest.mark.parametrize("kind", ["scaled", "mixed"])
def test_an_8_bit_base_is_the_same_while_a_lora_is_loaded_into_it(pair: Any, kind: str) -> None:
    """The run that a graph with a LoRA in front had begun is found again."""
    import torch

    from lora_kiln.host.marks import model_mark

    packed, _ = pair(kind)
    management = importlib.import_module("comfy.model_management")
    with torch.inference_mode():
        model = packed[0].clone()
        key = next(key for key in model.model_state_dict() if key.endswith("attn1.to_q.weight"))
        weight = packed[0].model.state_dict()[key]
        model.add_patches({key: ("diff", (torch.full(weight.shape, 0.01),))}, 0.5)
        before = model_mark(model, packed[1])
        assert before != model_mark(packed[0], packed[1])
        management.load_models_gpu([model])
        assert key in model.backup
        assert model_mark(model, packed[1]) == before
        model.unpatch_model(model.offload_device)
        assert model_mark(model, packed[1]) == before


def test_weights_in_a_form_of_another_packs_own_are_refused_in_words(world: Any) -> None:
    import torch

    from lora_kiln.host.model import HostModel

    class Own(torch.Tensor):
        """As GGUF's loader wraps them."""

    layer = world.model.model.diffusion_model.input_blocks[0][0]
    layer._parameters["weight"] = torch.nn.Parameter(torch.zeros(4).as_subclass(Own), requires_grad=False)
    with pytest.raises(ValueError, match=r"weights are Owns, as GGUF files have them.*16 bits or in fp8"):
        HostModel(*world)
