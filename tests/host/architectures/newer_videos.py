"""Transformers for video, sound and meshes that only the newer host of the two has; and what is left out of it."""

from __future__ import annotations

from typing import Any

from .family import Draw, Family, Untried
from .newer import SINCE, made
from .others import MESH_21, NO_MESHES, NO_PICTURES
from .videos import SEEN, WAN

COG = {
    "image_model": "cogvideox",
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "time_embed_dim": 32,
    "text_embed_dim": 32,
    "num_layers": 2,
    "use_rotary_positional_embeddings": True,
    "use_learned_positional_embeddings": False,
}
LTXAV = {
    "image_model": "ltxav",
    "num_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "cross_attention_dim": 32,
    "audio_attention_head_dim": 16,
    "audio_num_attention_heads": 2,
    "audio_cross_attention_dim": 32,
    "caption_channels": 32,
    "connector_attention_head_dim": 16,
    "connector_num_attention_heads": 2,
    "connector_num_layers": 1,
}
ACE_15 = {
    "audio_model": "ace1.5",
    "hidden_size": 32,
    "text_hidden_dim": 32,
    "num_dit_layers": 2,
    "num_lyric_layers": 1,
    "num_timbre_layers": 1,
    "num_tokenizer_layers": 1,
    "num_heads": 2,
    "num_kv_heads": 1,
    "head_dim": 16,
    "intermediate_size": 64,
    "fsq_dim": 32,
    "encoder_hidden_size": 32,
    "encoder_intermediate_size": 64,
    "encoder_num_heads": 2,
}
AUDIO_3 = {
    "audio_model": "dit1.0",
    "embed_dim": 768,
    "depth": 1,
    "num_heads": 12,
    "global_cond_dim": 768,
    "global_cond_type": "adaLN",
    "global_cond_shared_embed": True,
    "timestep_features_type": "expo",
    "io_channels": 64,
}
# One token of music a frame gives its attention nothing to weigh.
DANCER_IDLE = ("lora_unet_head_global_head", "lora_unet_music_injector_injector_0_[qk]")


def _seconds(draw: Draw) -> dict[str, Any]:
    """The weights of Stable Audio 3's clock, as a checkpoint has them."""
    shapes = {"weight": (768, 256), "bias": (768,)}
    names = "conditioner.conditioners.seconds_total.embedder.embedding.1"
    return {f"{names}.{name}": draw.normal(*shape, scale=1 / 16) for name, shape in shapes.items()}


def _pose(draw: Draw) -> dict[str, Any]:
    return {
        **_picture(draw),
        "reference_latents": [draw.normal(1, 16, 1, 8, 8)],
        "pose_video_latent": draw.normal(1, 16, 1, 4, 4),
    }


def _picture(draw: Draw) -> dict[str, Any]:
    return {"clip_vision_output": draw.seen(1, 4, 1280)}


def _wan(host: str, title: str, model_type: str, in_dim: int = 16, **more: Any) -> Family:
    network = {**WAN, "model_type": model_type, "in_dim": in_dim, **more.pop("more", {})}
    return made(host, title, network, "blocks_0_self_attn_q", **{"latent": (16, 1, 8, 8), **more})


def _cog(host: str, title: str, in_channels: int, **more: Any) -> Family:
    network = {**COG, "in_channels": in_channels}
    return made(
        host, title, network, "blocks_0_q", kind="V_PREDICTION_DDPM", latent=(16, 1, 8, 8),
        **more,
    )  # fmt: skip


FAMILIES = (
    _cog("CogVideoX_T2V", "CogVideoX text to video", 16),
    _cog("CogVideoX_I2V", "CogVideoX image to video", 32, note=SEEN),
    _cog("CogVideoX_Inpaint", "CogVideoX inpainting", 48, note=SEEN),
    made(
        "LTXAV", "LTX-2", LTXAV, "transformer_blocks_0_attn1_to_q", kind="FLUX", latent=(128, 1, 4, 4),
        idle=("*_audio_*", "lora_unet_av_ca_*"), note="Without sound.",
    ),
    _wan("WAN21_CausalAR_T2V", "Wan 2.1 causal", "t2v", more={"causal_ar": True}),
    _wan(
        "WAN21_FlowRVS", "FlowRVS", "flow_rvs", kind="IMG_TO_IMG_FLOW",
        note="The host gives it a video and no noise; here it learns to give it back.",
    ),
    _wan("WAN21_SCAIL", "SCAIL", "scail", 20, extra=_pose),
    _wan(
        "WAN21_SCAIL2", "SCAIL 2", "scail2", 20,
        extra=lambda draw: {
            **_pose(draw),
            "driving_mask_28ch": draw.normal(1, 1, 28, 4, 4),
            "ref_mask_28ch": draw.normal(1, 2, 28, 8, 8),
        },
    ),
    _wan(
        "WAN22_WanDancer", "WanDancer", "wandancer", 36, note=SEEN, idle=DANCER_IDLE,
        extra=lambda draw: {
            **_picture(draw),
            "clip_vision_output_ref": draw.seen(1, 4, 1280),
            "audio_embed": draw.normal(1, 8, 35),
        },
        more={"audio_inject_layers": [0], "music_dim": 32, "music_heads": 2, "music_latent_dim": 32},
    ),
    _wan("WAN_Animate2", "Wan Animate 2", "animate2", 36, extra=_picture, note=SEEN),
    made(
        "ACEStep15", "ACE-Step 1.5", ACE_15, "decoder_layers_0_self_attn_q_proj", latent=(64, 16),
        extra=lambda draw: {"conditioning_lyrics": draw.normal(1, 5, 32)},
        idle=("lora_unet_detokenizer_*", "lora_unet_tokenizer_*"), note=NO_PICTURES,
    ),
    made(
        "StableAudio3", "Stable Audio 3", AUDIO_3, "transformer_layers_0_self_attn_to_qkv", latent=(64, 16),
        text=(7, 768), markers=_seconds, rate=2e-3, note=NO_PICTURES,
    ),
    made(
        "Hunyuan3Dv2_1", "Hunyuan3D 2.1", MESH_21, "blocks_0_attn1_to_q", latent=(64, 16), idle=("*_moe_experts_*",),
        note=f"{NO_MESHES} Its experts run without gradients; older hosts cannot ask it about one object alone.",
    ),
)  # fmt: skip


def _left(host: str, title: str, note: str) -> Untried:
    return Untried(host=host, title=title, since=SINCE, note=note)


NO_NOISE = "It looks at pictures and takes no noise away: there is nothing to train a LoRA with."
UNTRIED = (
    _left("DepthAnything3", "Depth Anything 3", NO_NOISE),
    _left("RT_DETR_v4", "RT-DETR 4", NO_NOISE),
    _left("SAM3", "SAM 3", NO_NOISE),
    _left("SAM31", "SAM 3.1", NO_NOISE),
    _left(
        "MiniMaxH3", "MiniMax H3", "Its latent is a video and its sound packed into one; a dataset has pictures only."
    ),
    _left(
        "MiniMaxMusic3", "MiniMax Music 3", f"{NO_PICTURES} The host fixes all its sizes, so none can be built small."
    ),
    _left("SeedVR2", "SeedVR 2", "It restores a given video and reads no caption."),
    _left("Trellis2", "Trellis 2", "Its latent is a set of points, which come with the conditioning."),
    _left("TripoSplat", "TripoSplat", "Its latent is a shape and a camera packed into one."),
)
