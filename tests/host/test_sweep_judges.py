"""What a sweep asks of the host: places of layers, block weights, CLIP_VISION's features."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

if TYPE_CHECKING:
    from demo.hosting import Host


@pytest.fixture
def bases(world: Any, inside: Path) -> Any:
    from lora_kiln.host.sampling import Sampling
    from lora_kiln.host.sweeping import SweepBases

    sampling = Sampling(steps=1, cfg=1.0, sampler="euler", scheduler="normal")
    return SweepBases(*world, negative="", sampling=sampling, size=(64, 64))


def lora_of(world: Any) -> dict[str, torch.Tensor]:
    """Random weights on every layer that is trained."""
    from lora_kiln.host.layers import text_layers, unet_layers

    draws, tensors = torch.Generator().manual_seed(1), {}
    for layer in (*unet_layers(world.model.model), *text_layers(world.clip)):
        high, wide, *kernel = layer.module.weight.shape
        tensors[f"{layer.key}.lora_down.weight"] = torch.randn(2, wide, *kernel, generator=draws)
        tensors[f"{layer.key}.lora_up.weight"] = torch.randn(high, 2, *[1] * len(kernel), generator=draws)
        tensors[f"{layer.key}.alpha"] = torch.tensor(2.0)
    return tensors


def test_every_layer_of_a_lora_has_its_place(world: Any, bases: Any) -> None:
    places = bases.open("").places()
    parts = {place[0] if place else None for place in places.of.values()}
    assert {"down", "mid", "up", "text"} <= parts
    assert {key.partition(".")[0] for key in lora_of(world)} == set(places.of)


def test_block_weights_change_the_weights_as_the_strength_would(world: Any, bases: Any) -> None:
    """A layer at factor 0.5 is patched as the whole LoRA at strength 0.5 patches it; one at 0 stays as it was."""
    from lora_kiln.host.lora import with_lora
    from lora_kiln.sweep.blocks import Preset, parts_of

    lora, places = lora_of(world), bases.open("").places()
    counts = places.counts
    numbers = (0.0, *(0.5,) * counts.down, *(0.0,) * counts.mid, *(1.0,) * counts.up)
    parts = parts_of(lora, Preset(name="some", numbers=numbers), places)
    assert sorted(factor for _, factor in parts) == [0.5, 1.0]
    model, clip = world.model, world.clip
    for tensors, factor in parts:
        model, clip = with_lora(model, clip, tensors, factor)
    by_strength = {s: with_lora(world.model, world.clip, lora, s)[0].patches for s in (0.5, 1.0)}
    assert clip.patcher.patches == {}
    seen = set()
    for key, patches in by_strength[1.0].items():
        kind = key.split("diffusion_model.")[1].split(".")[0]
        # The time's embedding and the last convolution are in no block.
        factor = {"input_blocks": 0.5, "middle_block": 0.0}.get(kind, 1.0)
        seen.add(factor)
        if factor == 0:
            assert key not in model.patches
            continue
        [mine], [whole] = model.patches[key], by_strength[factor][key]
        assert mine[0] == whole[0] == factor
        assert all(torch.equal(a, b) for a, b in zip(mine[1].weights[:2], patches[0][1].weights[:2], strict=True))
    assert seen == {0.5, 0.0, 1.0}


def test_a_decoded_picture_with_nan_is_told(bases: Any, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decode: Callable[[Any], torch.Tensor] = world.vae.decode

    def broken(samples: Any) -> torch.Tensor:
        pixels = decode(samples).clone()
        pixels[:, :16] = float("nan")
        return pixels

    with torch.inference_mode():
        paint = bases.open("").column((), 0.0, ["1girl"])
        assert paint("1girl", 3).broken == 0
        monkeypatch.setattr(world.vae, "decode", broken)
        assert paint("1girl", 3).broken == pytest.approx(0.25)


def test_named_checkpoints_are_read_only_when_they_paint(bases: Any) -> None:
    one, other = bases.open("kiln-world-sd15.safetensors"), bases.open("")
    assert one.mark() != other.mark()
    assert one.mark() == bases.open("kiln-world-sd15.safetensors").mark()
    with torch.inference_mode():
        painted = [painter.column((), 0.0, ["1girl"])("1girl", 3).picture for painter in (one, other)]
    # The same checkpoint, once by name and once by wire.
    assert np.array_equal(*map(np.asarray, painted))


def test_clip_visions_features_are_of_the_whole_picture(inside: Path) -> None:
    from comfy.clip_vision import ClipVisionModel

    from lora_kiln.host.alike import ClipVisionAlike

    config = inside / "tiny.json"
    config.write_text(
        '{"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,'
        ' "num_attention_heads": 2, "num_channels": 3, "patch_size": 16, "image_size": 32, "projection_dim": 8,'
        ' "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}'
    )
    vision = ClipVisionModel(str(config))
    draws = torch.Generator().manual_seed(0)
    for tensor in vision.model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=draws) * 0.3)
    alike = ClipVisionAlike(vision)
    picture = Image.new("RGB", (32, 96), "white")
    marked = picture.copy()
    # At the upper end of a tall picture, which a square from the middle would not show.
    marked.paste("red", (0, 0, 32, 20))
    with torch.inference_mode():
        rows = alike.features([picture, marked, picture])
    assert rows.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    same = alike.similarity(rows, rows)
    assert same[0, 2] == pytest.approx(1, abs=1e-5)
    assert same[0, 1] < same[0, 2] - 1e-5


def write_vision(file: Path) -> None:
    """A CLIP_VISION of ViT-L's size as core loads it: random where a picture comes in and goes out, nothing between,
    so that features are a random view of the patches. The file has holes where the zeros are."""
    draw = torch.Generator().manual_seed(3)
    width, inner, patches, out = 1024, 4096, 257, 768
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.class_embedding": (width,),
        "embeddings.patch_embedding.weight": (width, 3, 14, 14),
        "embeddings.position_embedding.weight": (patches, width),
        "pre_layrnorm.weight": (width,), "pre_layrnorm.bias": (width,),
        "post_layernorm.weight": (width,), "post_layernorm.bias": (width,),
    }  # fmt: skip
    for number in range(24):
        layer = f"encoder.layers.{number}"
        for name in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{layer}.{name}.weight": (width,), f"{layer}.{name}.bias": (width,)}
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= {f"{layer}.self_attn.{name}.weight": (width, width), f"{layer}.self_attn.{name}.bias": (width,)}
        shapes |= {f"{layer}.mlp.fc1.weight": (inner, width), f"{layer}.mlp.fc1.bias": (inner,)}
        shapes |= {f"{layer}.mlp.fc2.weight": (width, inner), f"{layer}.mlp.fc2.bias": (width,)}
    shapes = {
        **{f"vision_model.{name}": shape for name, shape in shapes.items()},
        "visual_projection.weight": (out, width),
    }
    header, at, filled = {}, 0, {}
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        if "norm" in name and name.endswith("weight"):
            filled[at] = torch.ones(shape)
        elif "patch_embedding" in name or "visual_projection" in name:
            filled[at] = torch.randn(shape, generator=draw) * 0.05
        elif name.endswith("layers.0.self_attn.v_proj.weight") or name.endswith("layers.0.self_attn.out_proj.weight"):
            # What the last layer reads out is the first place's, which sees the others by attention alone.
            filled[at] = torch.eye(width)
        at += size
    text = json.dumps(header).encode()
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(text)) + text)
        begin = opened.tell()
        for place, values in filled.items():
            opened.seek(begin + place)
            opened.write(values.half().numpy().tobytes())
        opened.truncate(begin + at)


def test_a_sweep_is_scored_by_cores_own_clip_vision(host: Host, workflow: dict[str, Any], pictures: Path) -> None:
    folder = host.base / "models" / "clip_vision"
    folder.mkdir(exist_ok=True)
    write_vision(folder / "kiln-vitl.safetensors")
    workflow["vision"] = {"class_type": "CLIPVisionLoader", "inputs": {"clip_name": "kiln-vitl.safetensors"}}
    workflow["sweep"]["inputs"] |= {
        "prompts": "mirelva, 1girl", "epochs": "last", "clip_vision": ["vision", 0], "dataset": ["load", 0],
    }  # fmt: skip
    del workflow["save"]
    report = host.run(workflow, timeout=300)["outputs"]["report"]["text"][0]
    [file] = (host.base / "output" / "kiln" / pictures.name).glob("sweep-*.json")
    scores = json.loads(file.read_text(encoding="utf-8"))
    assert len(scores["columns"]) == 2
    for row in scores["columns"]:
        assert math.isfinite(row["likeness"]), report
        assert 0 <= row["memorised"] <= 1
