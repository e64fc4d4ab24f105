"""Saved files in other hands: diffusers' loader, kohya's files as a start, resized ones, and the model browser."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from demo.hosting import Host

CAPTIONS = ["1girl, smile, green hair", "forest"]
LEVELS = [100, 700]


# --- diffusers -----------------------------------------------------------------------------------


class Base(NamedTuple):
    """A checkpoint as diffusers describes it: its UNet's settings, and each text encoder's activation."""

    checkpoint: str
    pipeline: str
    unet: dict[str, Any]
    text: dict[str, str]


BLOCKS = {
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "cross_attention_dim": 128,
    "sample_size": 8,
}
BASES = {
    "sd15": Base(
        "kiln-world-sd15.safetensors",
        "StableDiffusionPipeline",
        {
            **BLOCKS,
            "block_out_channels": (64, 128, 128),
            "up_block_types": ("CrossAttnUpBlock2D",) * 3,
            # Heads, by their old name.
            "attention_head_dim": 4,
        },
        {"clip_l": "quick_gelu"},
    ),
    "sdxl": Base(
        "kiln-sdxl.safetensors",
        "StableDiffusionXLPipeline",
        {
            **BLOCKS,
            "block_out_channels": (32, 64, 64),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": 1,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 64 + 6 * 256,
        },
        {"clip_l": "quick_gelu", "clip_g": "gelu"},
    ),
}


class Seen(NamedTuple):
    """What the host's network was given and what it answered."""

    x: Any
    time: Any
    context: Any
    y: Any
    out: Any


def watch(model: Any, clip: Any, vae: Any, view: Any) -> Seen:
    """The network's own inputs and output, for two captions at two noise levels, in fp32."""
    import torch

    from lora_kiln.host.model import HostModel

    host, seen = HostModel(model, clip, vae), {}
    with torch.inference_mode():
        clip.cond_stage_model.float()
        with host.open(precision="fp32", checkpointing=False), torch.no_grad():

            def hook(_: Any, args: Any, kwargs: Any, out: Any) -> None:
                seen.update(args=args, kwargs=kwargs, out=out)

            handle = model.model.diffusion_model.register_forward_hook(hook, with_kwargs=True)
            try:
                draw = torch.Generator().manual_seed(0)
                x = torch.randn(2, 4, 8, 8, generator=draw)
                conds = host.encode_text(CAPTIONS, [view(64, 64)] * 2, clip_skip=1, max_tokens=0)
                host.denoise(x, host.schedule.sigmas()[LEVELS], conds)
            finally:
                handle.remove()
    args, kwargs = seen["args"], seen["kwargs"]
    context = kwargs.get("context", args[2] if len(args) > 2 else None)
    return Seen(*(None if t is None else t.clone() for t in (args[0], args[1], context, kwargs.get("y"), seen["out"])))


def without_attention() -> Any:
    """In place of an attention that the miniature's last block does not have."""
    from torch import nn

    class Same(nn.Module):
        def forward(self, x: Any, **_: Any) -> Any:
            return (x,)

    return Same()


def diffusers_unet(base: Base, model: Any) -> Any:
    """The host's loaded UNet as diffusers' class, with the same weights."""
    diffusers, utils = importlib.import_module("diffusers"), importlib.import_module("comfy.utils")
    unet = diffusers.UNet2DConditionModel(**base.unet)
    names = utils.unet_to_diffusers(model.model.model_config.unet_config)
    if "up_blocks.2.attentions.0.norm.weight" in names and "up_blocks.2.attentions.1.norm.weight" not in names:
        unet.up_blocks[2].attentions[1] = without_attention()
    weights = model.model.diffusion_model.state_dict()
    unet.load_state_dict({name: weights[names[name]].float() for name in unet.state_dict()})
    return unet.eval()


def text_encoders(base: Base, clip: Any) -> dict[str, Any]:
    """The host's loaded text encoders as transformers' classes, by diffusers' names for them."""
    import torch
    import transformers

    found = {}
    for name, kind in zip(base.text, ("text_encoder", "text_encoder_2"), strict=False):
        weights = getattr(clip.cond_stage_model, name).transformer.state_dict()
        width = weights["text_model.embeddings.token_embedding.weight"].shape[1]
        inner = weights["text_model.encoder.layers.0.mlp.fc1.weight"].shape[0]
        config = transformers.CLIPTextConfig(
            hidden_size=width, intermediate_size=inner, num_hidden_layers=3, hidden_act=base.text[name],
            num_attention_heads=4 if base.checkpoint.startswith("kiln-world") else 2, projection_dim=width,
            eos_token_id=49407,
        )  # fmt: skip
        one = (transformers.CLIPTextModelWithProjection if name == "clip_g" else transformers.CLIPTextModel)(config)
        for key, value in one.state_dict().items():
            if not key.endswith(("position_ids", "text_projection.weight")):
                value.copy_(weights[key if key.startswith("text_model.") else f"text_model.{key}"])
        found[kind] = one.eval()
        assert torch.isfinite(next(one.parameters())).all()
    return found


@pytest.fixture(params=BASES)
def loaded_by_both(
    request: pytest.FixtureRequest,
    inside: Path,
    load_checkpoint: Callable[[str], Any],
    dataset: Any,
    small_recipe: Any,
    run_node: Any,
) -> Any:
    """A trained LoRA's file with the base it was trained on: U-Net, convolutions and text encoders."""
    import torch

    from lora_kiln.host.lora import lora_folder
    from lora_kiln.nodes.save import SaveLoRA

    base = BASES[request.param]
    if request.param != "sd15":
        from demo.variants import write_checkpoint

        write_checkpoint(request.param, inside / "models" / "checkpoints")
    loaded = load_checkpoint(base.checkpoint)
    with torch.inference_mode():
        _, _, run, *_ = run_node(loaded, dataset, small_recipe(epochs=2), f"for diffusers {request.param}")
        (name,) = SaveLoRA.execute(run, "", 0, "fp32").result
    return base, loaded, lora_folder() / name


def test_diffusers_loads_every_key_and_its_models_answer_as_the_hosts_do(
    loaded_by_both: Any, view: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No network: tiny models of the same weights, and the pipeline's own loading of a kohya file."""
    import safetensors.torch
    import torch

    diffusers = pytest.importorskip("diffusers")
    pytest.importorskip("peft")
    base, loaded, file = loaded_by_both
    tensors = safetensors.torch.load_file(file)
    unet, encoders = diffusers_unet(base, loaded.model), text_encoders(base, loaded.clip)
    plain = watch(*loaded, view)
    close = {"rtol": 0, "atol": 2e-4 * float(plain.out.std())}
    torch.testing.assert_close(asked(unet, plain), plain.out, **close)

    pipeline = getattr(diffusers, base.pipeline)
    diffusers.utils.logging.enable_propagation()
    with caplog.at_level("WARNING"):
        state, alphas = pipeline.lora_state_dict(str(file), unet_config=unet.config, local_files_only=True)
        assert len(state) == 2 * len(tensors) / 3
        assert len(alphas) == len(tensors) / 3
        pipeline.load_lora_into_unet(state, alphas, unet)
        for kind, encoder in encoders.items():
            pipeline.load_lora_into_text_encoder(state, alphas, encoder, prefix=kind)
    told = [one.getMessage() for one in caplog.records if one.name.startswith(("diffusers", "peft", "transformers"))]
    assert [words for words in told if "key" in words or "LoRA" in words] == []
    for part, module in {"unet": unet, **encoders}.items():
        placed = {name for name, _ in module.named_modules() if name.endswith((".lora_A", ".lora_B"))}
        assert len(placed) == sum(key.startswith(f"{part}.") for key in state), part

    lora = importlib.import_module("nodes").LoraLoader()
    patched = lora.load_lora(loaded.model, loaded.clip, file.name, 1.0, 1.0)
    ours = watch(*patched, loaded.vae, view)
    moved = float((ours.out - plain.out).abs().max())
    assert moved > 0.05 * float(plain.out.std())
    torch.testing.assert_close(asked(unet, ours), ours.out, rtol=0, atol=2e-3 * moved)
    read = torch.cat([answered(encoder, loaded.clip, base) for encoder in encoders.values()], dim=-1)
    text_moved = float((ours.context - plain.context).abs().max())
    assert text_moved > 0.01 * float(plain.context.std())
    torch.testing.assert_close(read, ours.context, rtol=0, atol=5e-3 * text_moved)


def asked(unet: Any, seen: Seen) -> Any:
    """What diffusers' UNet answers to what the host's was given."""
    import torch

    more = {}
    if seen.y is not None:
        sizes = torch.tensor([[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]] * len(seen.x))
        more = {"added_cond_kwargs": {"text_embeds": seen.y[:, : seen.y.shape[1] - 6 * 256], "time_ids": sizes}}
    with torch.no_grad():
        return unet(seen.x, seen.time, seen.context, **more).sample


def answered(encoder: Any, clip: Any, base: Base) -> Any:
    """What transformers' text encoder makes of the captions: SD1.5 reads the last layer, SDXL the one before."""
    import torch

    larger = hasattr(encoder, "text_projection")
    tokens = [clip.tokenize(caption)["g" if larger else "l"][0] for caption in CAPTIONS]
    ids = torch.tensor([[pair[0] for pair in section] for section in tokens])
    with torch.no_grad():
        out = encoder(ids, output_hidden_states=True)
    return out.last_hidden_state if len(base.text) == 1 else out.hidden_states[-2]


# --- kohya's files -------------------------------------------------------------------------------


def by_hand(file: Path) -> dict[str, Any]:
    """A file as kohya's script writes one: fp16, few layers, alphas of their own and one left out, te keys."""
    import safetensors.torch
    import torch

    draw, found = torch.Generator().manual_seed(0), {}
    linear = {
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q": (128, 128, 3, 1.5),
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_2": (512, 128, 5, 5.0),
        "lora_unet_up_blocks_1_attentions_1_transformer_blocks_0_attn2_to_k": (128, 128, 2, None),
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj": (128, 128, 4, 1.0),
        "lora_te_text_model_encoder_layers_2_mlp_fc1": (128, 512, 1, 0.5),
    }
    for name, (inside, outside, rank, alpha) in linear.items():
        found[f"{name}.lora_down.weight"] = torch.randn(rank, inside, generator=draw) * 0.1
        found[f"{name}.lora_up.weight"] = torch.randn(outside, rank, generator=draw) * 0.1
        if alpha is not None:
            found[f"{name}.alpha"] = torch.tensor(alpha)
    conv = "lora_unet_down_blocks_0_resnets_0_conv1"
    found[f"{conv}.lora_down.weight"] = torch.randn(2, 64, 3, 3, generator=draw) * 0.1
    found[f"{conv}.lora_up.weight"] = torch.randn(64, 2, 1, 1, generator=draw) * 0.1
    found[f"{conv}.alpha"] = torch.tensor(0.25)
    projection = "lora_unet_down_blocks_1_attentions_0_proj_in"
    found[f"{projection}.lora_down.weight"] = torch.randn(2, 128, 1, 1, generator=draw) * 0.1
    found[f"{projection}.lora_up.weight"] = torch.randn(128, 2, 1, 1, generator=draw) * 0.1
    found[f"{projection}.alpha"] = torch.tensor(1.0)
    found = {key: value.half() for key, value in found.items()}
    safetensors.torch.save_file(found, file, {"ss_network_module": "networks.lora", "ss_network_dim": "4"})
    return found


@pytest.mark.parametrize("rate", [1e-30, 1e-2])
def test_a_file_in_kohyas_format_made_by_hand_goes_on_being_trained(
    world: Any, dataset: Any, small_recipe: Any, run_node: Any, inside: Path, rate: float
) -> None:
    """At a rate that moves nothing the same numbers come out; at a real one all of its layers move, and only they."""
    import torch

    name = f"by hand {rate}.safetensors"
    start = by_hand(inside / "models" / "loras" / name)
    recipe = small_recipe(unet_lr=rate, text_lr=rate).with_settings(start_from=name)
    with torch.inference_mode():
        _, _, _, lora, *_ = run_node(world, dataset, recipe, f"goes on {rate}")
    names = {key.partition(".")[0] for key in start}
    assert {key.partition(".")[0] for key in lora} == names
    for one in names:
        down, up = f"{one}.lora_down.weight", f"{one}.lora_up.weight"
        assert float(lora[f"{one}.alpha"]) == float(start.get(f"{one}.alpha", torch.tensor(len(start[down]))))
        for key in (down, up):
            assert lora[key].shape == start[key].shape
            assert torch.equal(lora[key], start[key].float()) == (rate < 1e-20), key


# --- resizing ------------------------------------------------------------------------------------


def change_of(patched: Any, layer: str) -> Any:
    """What a patched model's layer has more than the base's, as core merges it."""
    import torch

    lora = importlib.import_module("comfy.lora")
    weight = torch.zeros_like(patched.model.state_dict()[layer], dtype=torch.float32)
    return lora.calculate_weight(patched.patches[layer], weight, layer)


def test_a_resized_file_is_loaded_by_core_and_holds_the_best_of_each_layer(
    world: Any, dataset: Any, small_recipe: Any, run_node: Any, inside: Path
) -> None:
    import torch

    from lora_kiln.nodes.resize import ResizeLoRA
    from lora_kiln.nodes.save import SaveLoRA
    from lora_kiln.trainer.formats import load_file

    load = importlib.import_module("nodes").LoraLoader().load_lora
    options = {"new_conv_dim": 0, "energy": 0.9, "precision": "fp32"}
    with torch.inference_mode():
        _, _, run, *_ = run_node(world, dataset, small_recipe(epochs=2), "to resize")
        (name,) = SaveLoRA.execute(run, "to resize", 0, "fp32").result
        ranked = ResizeLoRA.execute(name, "", method="rank", new_dim=1, **options).result
        spare = ResizeLoRA.execute(name, "thin/energy", method="energy", new_dim=4, **options).result
        assert ranked[0] == "to resize-dim1.safetensors"
        assert spare[0] == "thin/energy.safetensors"
        whole, one, most = (load(world.model, world.clip, file, 1.0, 1.0)[0] for file in (name, ranked[0], spare[0]))
        assert whole.patches.keys() == one.patches.keys() == most.patches.keys()
        for layer in whole.patches:
            full, rank_1, energy = (change_of(patched, layer).flatten(1) for patched in (whole, one, most))
            values = torch.linalg.svdvals(full)
            lost = values[1:].square().sum().sqrt()
            assert float((full - rank_1).norm()) == pytest.approx(float(lost), rel=1e-2, abs=1e-5)
            assert float(energy.square().sum() / full.square().sum().clamp_min(1e-20)) > 0.9 - 1e-3
    folder = inside / "models" / "loras"
    tensors, metadata = load_file(folder / ranked[0])
    assert {len(tensors[key]) for key in tensors if key.endswith("lora_down.weight")} == {1}
    assert metadata["ss_network_dim"] == metadata["ss_network_alpha"] == "1"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert metadata["sshs_model_hash"] != load_file(folder / name)[1]["sshs_model_hash"]
    assert "rank 1 to 1" in ranked[1]


# --- the model browser ---------------------------------------------------------------------------


def preview(host: Host, name: str) -> Any:
    """The picture that the host's page shows for a LoRA."""
    from PIL import Image

    reply = host._request("GET", f"/experiment/models/preview/loras/0/{name}")
    reply.raise_for_status()
    return Image.open(io.BytesIO(reply.content)).convert("RGB")


def test_a_cover_is_what_the_hosts_model_browser_shows(
    host: Host, workflow: dict[str, Any], node: Callable[..., dict[str, Any]], pictures: Path
) -> None:
    from lora_kiln.trainer.formats import load_file

    graph = {key: workflow[key] for key in ("checkpoint", "load", "prune", "crop", "recipe", "train", "save")}
    graph["recipe"]["inputs"].update(epochs=1)
    graph["cover"] = node("EmptyImage", width=96, height=128, color=0xFF0000)
    graph["save"]["inputs"]["cover"] = ["cover", 0]
    host.run(graph, timeout=300)
    saved = host.base / "models" / "loras" / "kiln" / f"{pictures.name}.safetensors"
    listed = [one["name"] for one in host._json("GET", "/experiment/models/loras")]
    assert f"kiln/{saved.name}" in listed
    with preview(host, f"kiln/{saved.name}") as shown:
        assert shown.size == (96, 128)
        assert shown.getpixel((40, 60)) == pytest.approx((255, 0, 0), abs=12)
    # The file alone, as it is sent to a friend.
    saved.with_suffix(".png").unlink()
    with preview(host, f"kiln/{saved.name}") as shown:
        assert shown.getpixel((40, 60)) == pytest.approx((255, 0, 0), abs=12)
    metadata = load_file(saved)[1]
    assert metadata["modelspec.thumbnail"].startswith("data:image/jpeg;base64,")
    assert metadata["modelspec.trigger_phrase"] == metadata["trained_words"] == "mirelva"
    tags = json.loads(metadata["ss_tag_frequency"])
    assert sum(group.get("mirelva", 0) for group in tags.values()) == sum(
        group["img_count"] for group in json.loads(metadata["ss_dataset_dirs"]).values()
    )
