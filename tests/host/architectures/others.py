"""Transformers for sound and for meshes."""

from __future__ import annotations

from typing import Any

from .family import Draw, Family

# As wide as its text, or the attention's heads do not fit together.
AUDIO = {"audio_model": "dit1.0", "embed_dim": 768, "depth": 1, "num_heads": 12}
ACE = {
    "audio_model": "ace",
    "attention_head_dim": 16,
    "in_channels": 8,
    "inner_dim": 32,
    "max_height": 16,
    "max_width": 64,
    "max_position": 64,
    "mlp_ratio": 2.5,
    "num_attention_heads": 2,
    "num_layers": 1,
    "out_channels": 8,
    "patch_size": [16, 1],
    "rope_theta": 1000000.0,
    "speaker_embedding_dim": 512,
    "text_embedding_dim": 32,
    "ssl_encoder_depths": [8, 8],
    "ssl_latent_dims": [8, 8],
    "ssl_names": ["mert", "m-hubert"],
    "lyric_encoder_vocab_size": 16,
    "lyric_hidden_size": 32,
}
# The host builds the lyric encoder 1024 wide, whatever the rest is.
LYRICS = {"output_size": 32, "attention_heads": 2, "linear_units": 64, "num_blocks": 1}
MESH = {
    "image_model": "hunyuan3d2",
    "in_channels": 64,
    "context_in_dim": 32,
    "hidden_size": 32,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "qkv_bias": True,
    "guidance_embed": False,
}
MESH_21 = {
    "image_model": "hunyuan3d2_1",
    "in_channels": 64,
    "context_dim": 32,
    "hidden_size": 32,
    "num_heads": 2,
    "depth": 2,
    "num_moe_layers": 1,
    "qkv_bias": False,
    "guidance_cond_proj_dim": None,
}
NO_PICTURES = "For sound; the dataset nodes load pictures only."
NO_MESHES = "For meshes; the dataset nodes load pictures only."


def _seconds(draw: Draw) -> dict[str, Any]:
    """The weights of Stable Audio's two clocks, as a checkpoint has them."""
    shapes = {
        "embedder.embedding.0.weights": (128,),
        "embedder.embedding.1.weight": (768, 257),
        "embedder.embedding.1.bias": (768,),
    }
    clocks = ("seconds_start", "seconds_total")
    return {
        f"conditioner.conditioners.{c}.{name}": draw.normal(*shape, scale=1 / 16)
        for c in clocks
        for name, shape in shapes.items()
    }


def _mesh(host: str, title: str) -> Family:
    return Family(
        host=host, title=title, network=MESH, latent=(64, 16), text=(7, 32), kind="FLOW",
        key="lora_unet_double_blocks_0_img_attn_qkv", note=NO_MESHES,
    )  # fmt: skip


FAMILIES = (
    Family(
        host="StableAudio", title="Stable Audio Open", network=AUDIO, latent=(64, 16), text=(7, 768),
        kind="V_PREDICTION_CONTINUOUS", key="lora_unet_transformer_layers_0_self_attn_to_qkv", markers=_seconds,
        rate=2e-3, note=NO_PICTURES,
    ),
    Family(
        host="ACEStep", title="ACE-Step", network=ACE, latent=(8, 16, 8), text=(7, 32), kind="FLOW",
        key="lora_unet_transformer_blocks_0_attn_to_q",
        extra=lambda draw: {"conditioning_lyrics": draw.tokens(1, 5, below=16)},
        narrowed={"comfy.ldm.ace.model.LyricEncoder": LYRICS},
        idle=("lora_unet_speaker_embedder", "lora_unet_projectors_*", "*_cross_attn_add_*", "*_cross_attn_to_add_out"),
        note=NO_PICTURES,
    ),
    _mesh("Hunyuan3Dv2", "Hunyuan3D 2.0"),
    _mesh("Hunyuan3Dv2mini", "Hunyuan3D 2 mini"),
)  # fmt: skip
