"""The trainer's arithmetic on the real host: the family's own loss, and a file that does what training did."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

# Noise levels of all sizes, by their place in the table.
LEVELS = [5, 100, 400, 700, 999]


@pytest.fixture
def latents(inside: Any) -> Any:
    """x0 [5, 4, 8, 8] and noise."""
    import torch

    draw = torch.Generator().manual_seed(0)
    return torch.randn(5, 4, 8, 8, generator=draw), torch.randn(5, 4, 8, 8, generator=draw)


def test_the_weighted_x0_loss_is_the_mean_squared_error_of_the_networks_noise(
    world: Any, latents: Any, view: Any
) -> None:
    """By hand: input scaled by 1/sqrt(s^2 + 1), the network asked directly, its output compared with the noise."""
    import torch

    from lora_kiln.host.model import HostModel
    from lora_kiln.trainer.objective import loss_per_image, native_weight

    model, (x0, noise) = HostModel(*world), latents
    with torch.inference_mode(), model.open(precision="model's own", checkpointing=False), torch.no_grad():
        sigma = model.schedule.sigmas()[LEVELS]
        conds = model.encode_text(
            ["1girl, smile", "forest", "", "green hair", "sketch"], [view(64, 64)] * 5, clip_skip=1, max_tokens=0
        )
        x_t = model.schedule.noised(x0, noise, sigma)
        found = loss_per_image(model.denoise(x_t, sigma, conds), x0, native_weight(model.schedule, sigma))

        s = sigma.view(-1, 1, 1, 1)
        network = world.model.model.diffusion_model
        context = torch.cat([cond[0] for cond in conds])
        output = network((x0 + s * noise) / (s**2 + 1).sqrt(), torch.tensor(LEVELS).float(), context=context.float())
        expected = (output - noise).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-6)


def test_pixels_become_latents_in_the_samplers_own_scale(world: Any) -> None:
    import torch

    from lora_kiln.host.model import HostModel

    pixels = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = HostModel(*world).encode_pixels(pixels)
        expected = world.vae.encode(pixels) * 0.18215
    torch.testing.assert_close(found, expected.clone(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("caption", ["a cat (animal), [sic]", "((smile))", "back\\slash (x:1.5)"])
def test_a_caption_is_read_word_by_word_without_emphasis(world: Any, caption: str) -> None:
    from lora_kiln.host.words import escape

    tokens = world.clip.tokenize(escape(caption))["l"]
    assert {weight for section in tokens for _, weight in section} == {1.0}
    plain = world.clip.tokenize(caption.replace("(", "").replace(")", ""))["l"]
    assert sum(token != 49407 for token, _ in tokens[0]) > sum(token != 49407 for token, _ in plain[0])


def test_weights_in_captions_are_read_where_they_are_asked_for(world: Any) -> None:
    from lora_kiln.host.words import escape

    caption = "rem (re:zero), (red dress:1.3), (smile), ((hat:.5))"
    [section] = world.clip.tokenize(escape(caption, weighted=True))["l"]
    words = [world.clip.tokenizer.clip_l.inv_vocab[token] for token, _ in section]
    weighed = {word: weight for word, (_, weight) in zip(words, section, strict=True) if weight != 1}
    assert weighed == {"red</w>": 1.3, "dress</w>": 1.3, "hat</w>": 0.5}
    assert sum("(" in word for word in words) >= 3


@pytest.mark.parametrize("caption", ["\\m/", ">:\\, smile", "cat \\ dog"])
def test_backslashes_are_read_as_in_a_prompt(world: Any, caption: str) -> None:
    from lora_kiln.host.words import escape

    assert world.clip.tokenize(escape(caption)) == world.clip.tokenize(caption)


def test_every_layer_has_a_name_of_its_own_that_core_loads_into_that_very_layer(world: Any) -> None:
    import torch

    from lora_kiln.host.model import HostModel

    core = importlib.import_module("comfy.lora")
    known = core.model_lora_keys_clip(world.clip.cond_stage_model, core.model_lora_keys_unet(world.model.model, {}))
    weights = {**world.model.model.state_dict(), **world.clip.cond_stage_model.state_dict()}
    layers = HostModel(*world).layers()
    assert len({layer.key for layer in layers}) == len(layers)
    for layer in layers:
        assert isinstance(layer.module.weight, torch.Tensor)
        assert weights[known[layer.key]].data_ptr() == layer.module.weight.data_ptr(), layer.key
    keys = {layer.key for layer in layers}
    for key in (
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q",
        "lora_unet_mid_block_attentions_0_proj_in",
        "lora_unet_up_blocks_0_attentions_0_transformer_blocks_0_ff_net_2",
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
        "lora_te_text_model_encoder_layers_2_mlp_fc2",
    ):
        assert key in keys
    assert {layer.part for layer in layers} == {"unet", "text"}
    shares = {layer.key: layer.share for layer in layers}
    for key, share in {
        "lora_unet_down_blocks_1_attentions_0_proj_in": "base",
        "lora_unet_down_blocks_0_resnets_0_conv1": "locon",
        "lora_unet_down_blocks_1_resnets_0_time_emb_proj": "locon",
        "lora_unet_up_blocks_0_resnets_0_conv_shortcut": "locon",
        "lora_unet_down_blocks_0_downsamplers_0_conv": "locon",
        "lora_unet_conv_in": "lycoris",
        "lora_unet_conv_out": "lycoris",
        "lora_unet_time_embedding_linear_1": "lycoris",
        "lora_te_text_model_encoder_layers_0_mlp_fc1": "base",
    }.items():
        assert shares.get(key) == share, key


def test_a_saved_lora_loaded_by_core_does_what_the_attached_adapters_did(
    world: Any, latents: Any, view: Any, inside: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Random adapters on every layer, convolutions and text encoder too; compared in fp32."""
    import torch

    from lora_kiln.host.lora import lora_folder
    from lora_kiln.host.model import HostModel
    from lora_kiln.trainer.formats import save_file
    from lora_kiln.trainer.groups import Blocks, Network
    from lora_kiln.trainer.network import make_adapters

    with torch.inference_mode():
        world.clip.cond_stage_model.float()
    draw, (x0, _) = torch.Generator().manual_seed(0), latents
    captions = ["1girl, smile", "forest"]

    def answers(loaded: Any, loras: Any = ()) -> tuple[Any, Any]:
        """Conditioning and denoised latents; with adapters attached where there are some."""
        model = HostModel(*loaded)
        with model.open(precision="model's own", checkpointing=False), torch.no_grad():
            try:
                for lora in loras:
                    lora.attach()
                conds = model.encode_text(captions, [view(64, 64)] * 2, clip_skip=1, max_tokens=0)
                return torch.cat([cond[0] for cond in conds]), model.denoise(
                    x0[:2], model.schedule.sigmas()[[300, 800]], conds
                )
            finally:
                for lora in loras:
                    lora.detach()

    with torch.inference_mode():
        plain = answers(world)
        network = Network(dim=4, alpha=2.0, conv_dim=4, conv_alpha=3.0)
        with torch.inference_mode(False):
            placed = make_adapters(HostModel(*world).layers(), network, Blocks(), None, ("unet", "text"), draw)
            loras: Any = [one.adapter for one in placed]
            for lora in loras:
                lora.up.data.normal_(0, 0.1, generator=draw)
            tensors = {key: tensor for lora in loras for key, tensor in lora.state().items()}
        attached = answers(world, loras)
        save_file(tensors, {}, lora_folder() / "random.safetensors")
        with caplog.at_level("WARNING"):
            patched = (
                importlib.import_module("nodes")
                .LoraLoader()
                .load_lora(world.model, world.clip, "random.safetensors", 1.0, 1.0)
            )
        merged = answers(world._replace(model=patched[0], clip=patched[1]))
    assert "not loaded" not in caplog.text
    for before, one, other in zip(plain, attached, merged, strict=True):
        size = (one - before).abs().max()
        assert size > 0.05 * before.std()
        torch.testing.assert_close(one, other, rtol=0, atol=2e-3 * float(size))


def test_a_trained_lora_saved_by_the_node_loads_without_a_word_from_core(
    world: Any, dataset: Any, small_recipe: Any, run_node: Any, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    from lora_kiln.host.lora import unmatched_keys
    from lora_kiln.nodes.save import SaveLoRA

    with torch.inference_mode():
        _, _, run, lora, *_ = run_node(world, dataset, small_recipe(), "round trip")
        assert unmatched_keys(world.model, world.clip, lora) == []
        (saved,) = SaveLoRA.execute(run, "people/round trip", 0, "fp16").result
        assert saved == "people/round trip.safetensors"
        with caplog.at_level("WARNING"):
            model, clip = (
                importlib.import_module("nodes").LoraLoader().load_lora(world.model, world.clip, saved, 0.8, 0.8)
            )
    assert "not loaded" not in caplog.text
    assert len(model.patches) + len(clip.patcher.patches) == len(lora) / 3
    # The names would be noticed if they were wrong.
    assert unmatched_keys(world.model, world.clip, {"lora_unet_nowhere.alpha": torch.tensor(1.0)})
