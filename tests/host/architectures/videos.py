"""Transformers for video, at one frame: Mochi, LTX, Hunyuan, Cosmos, Wan."""

from __future__ import annotations

from typing import Any

from .family import Draw, Family

MOCHI = {
    "image_model": "mochi_preview",
    "depth": 2,
    "patch_size": 2,
    "num_heads": 2,
    "hidden_size_x": 32,
    "hidden_size_y": 16,
    # The host insists on 12288 for the product with the width.
    "mlp_ratio_x": 384.0,
    "mlp_ratio_y": 2.0,
    "learn_sigma": False,
    "in_channels": 12,
    "qk_norm": True,
    "qkv_bias": False,
    "out_bias": True,
    "attn_drop": 0.0,
    "patch_embed_bias": True,
    "posenc_preserve_area": True,
    "timestep_mlp_bias": True,
    "attend_to_padding": False,
    "timestep_scale": 1000.0,
    "use_t5": True,
    "t5_feat_dim": 32,
    "t5_token_length": 7,
    "rope_theta": 10000.0,
}
LTXV = {
    "image_model": "ltxv",
    "num_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "cross_attention_dim": 32,
    "caption_channels": 32,
}
HUNYUAN = {
    "image_model": "hunyuan_video",
    "in_channels": 16,
    "out_channels": 16,
    "patch_size": [1, 2, 2],
    "vec_in_dim": 32,
    "context_in_dim": 32,
    "hidden_size": 32,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [4, 6, 6],
    "theta": 256,
    "qkv_bias": True,
    "guidance_embed": True,
    "byt5": False,
    "meanflow": False,
    "use_cond_type_embedding": False,
    "vision_in_dim": None,
}
HUNYUAN_IMAGE = {
    **HUNYUAN,
    "in_channels": 64,
    "out_channels": 64,
    "patch_size": [1, 1],
    "vec_in_dim": None,
    "axes_dim": [8, 8],
    "guidance_embed": False,
    "byt5": True,
}
HUNYUAN_REFINER = {**HUNYUAN_IMAGE, "in_channels": 128, "patch_size": [1, 1, 1], "axes_dim": [4, 6, 6], "byt5": False}
HUNYUAN_15 = {
    **HUNYUAN,
    "in_channels": 65,
    "out_channels": 32,
    "patch_size": [1, 1, 1],
    "vec_in_dim": None,
    "guidance_embed": False,
    "byt5": True,
    "use_cond_type_embedding": True,
    "vision_in_dim": 32,
}
COSMOS = {
    "image_model": "cosmos",
    "max_img_h": 16,
    "max_img_w": 16,
    "max_frames": 4,
    "in_channels": 16,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
    "model_channels": 32,
    "block_config": "FA-CA-MLP",
    "concat_padding_mask": True,
    "pos_emb_cls": "rope3d",
    "pos_emb_learnable": False,
    "pos_emb_interpolation": "crop",
    "block_x_format": "THWBD",
    "affline_emb_norm": True,
    "use_adaln_lora": True,
    "adaln_lora_dim": 8,
    "crossattn_emb_channels": 32,
    "num_blocks": 1,
    "num_heads": 2,
    "extra_per_block_abs_pos_emb": True,
    "extra_per_block_abs_pos_emb_type": "learnable",
}
_FIRST_ONLY = ("block_config", "block_x_format", "affline_emb_norm", "extra_per_block_abs_pos_emb_type")
COSMOS2 = {
    **{name: COSMOS[name] for name in COSMOS if name not in _FIRST_ONLY},
    "image_model": "cosmos_predict2",
    "pos_emb_learnable": True,
    "min_fps": 1,
    "max_fps": 30,
    "rope_enable_fps_modulation": False,
    "extra_per_block_abs_pos_emb": False,
}
WAN = {
    "image_model": "wan2.1",
    "model_type": "t2v",
    "dim": 32,
    "out_dim": 16,
    "num_heads": 2,
    "ffn_dim": 64,
    "num_layers": 1,
    "patch_size": (1, 2, 2),
    "freq_dim": 32,
    "window_size": (-1, -1),
    "qk_norm": True,
    "cross_attn_norm": True,
    "eps": 1e-6,
    "in_dim": 16,
    "text_dim": 32,
}
SEEN = "The first frame is blank."


def _glyphs(draw: Draw) -> dict[str, Any]:
    return {"conditioning_byt5small": draw.normal(1, 4, 1472)}


def _picture(draw: Draw) -> dict[str, Any]:
    return {"clip_vision_output": draw.seen(1, 4, 1280)}


def _made(host: str, title: str, network: dict[str, Any], key: str, **more: Any) -> Family:
    given = {"latent": (16, 1, 8, 8), "text": (7, 32), "kind": "FLOW", **more}
    return Family(host=host, title=title, network=network, key=f"lora_unet_{key}", **given)


def _hunyuan(host: str, title: str, network: dict[str, Any], **more: Any) -> Family:
    newer = {"meanflow_sum": bool(network["vision_in_dim"])}
    parameters = "comfy.ldm.hunyuan_video.model.HunyuanVideoParams"
    return _made(host, title, network, "double_blocks_0_img_attn_qkv", newer=newer, parameters=parameters, **more)


def _wan(
    host: str, title: str, model_type: str, in_dim: int = 16, more: dict[str, Any] | None = None, **rest: Any
) -> Family:
    network = {**WAN, "model_type": model_type, "in_dim": in_dim, **(more or {})}
    return _made(host, title, network, "blocks_0_self_attn_q", **rest)


FAMILIES = (
    _made(
        "GenmoMochi", "Mochi 1", MOCHI, "blocks_0_attn_qkv_x", latent=(12, 1, 8, 8),
        extra=lambda draw: {"attention_mask": draw.ones(1, 7)},
    ),
    _made(
        "LTXV", "LTX-Video", LTXV, "transformer_blocks_0_attn1_to_q", kind="FLUX", latent=(128, 1, 4, 4),
        extra=lambda draw: {"attention_mask": draw.ones(1, 7)},
    ),
    _hunyuan("HunyuanVideo", "HunyuanVideo", HUNYUAN, pooled=32),
    _hunyuan("HunyuanVideoI2V", "HunyuanVideo I2V", {**HUNYUAN, "in_channels": 33}, pooled=32, note=SEEN),
    _hunyuan("HunyuanVideoSkyreelsI2V", "SkyReels V1 I2V", {**HUNYUAN, "in_channels": 32}, pooled=32, note=SEEN),
    _hunyuan(
        "HunyuanVideo15", "HunyuanVideo 1.5", HUNYUAN_15, latent=(32, 1, 4, 4),
        extra=lambda draw: {**_glyphs(draw), "clip_vision_output": draw.seen(1, 4, 32)},
    ),
    _hunyuan(
        "HunyuanVideo15_SR_Distilled", "HunyuanVideo 1.5 super resolution",
        {**HUNYUAN_15, "in_channels": 98, "vision_in_dim": None}, latent=(32, 1, 4, 4), extra=_glyphs,
        note="Without mean flow; the small video is blank.",
    ),
    _hunyuan(
        "HunyuanImage21", "HunyuanImage 2.1", HUNYUAN_IMAGE, latent=(64, 4, 4),
        extra=_glyphs,
    ),
    _hunyuan(
        "HunyuanImage21", "HunyuanImage 2.1 distilled, HunyuanVideo 1.5 step distilled",
        {**HUNYUAN_IMAGE, "meanflow": True}, variant="distilled", latent=(64, 4, 4), extra=_glyphs, fails="sigmas",
        note="Distilled with mean flow: the network reads the sampler's next noise level; a training step has none.",
    ),
    _hunyuan(
        "HunyuanImage21Refiner", "HunyuanImage 2.1 refiner", HUNYUAN_REFINER, latent=(64, 1, 4, 4),
        note="The picture that it refines is blank.",
    ),
    _made("CosmosT2V", "Cosmos 1 text to world", COSMOS, "blocks_block0_blocks_0_block_attn_to_q_0", kind="EDM"),
    _made(
        "CosmosI2V", "Cosmos 1 video to world", {**COSMOS, "in_channels": 17},
        "blocks_block0_blocks_0_block_attn_to_q_0", kind="EDM", note=SEEN,
    ),
    _made(
        "CosmosT2IPredict2", "Cosmos Predict2 text to image", COSMOS2, "blocks_0_self_attn_q_proj", kind="FLOW_COSMOS"
    ),
    _made(
        "CosmosI2VPredict2", "Cosmos Predict2 video to world", {**COSMOS2, "in_channels": 17},
        "blocks_0_self_attn_q_proj", kind="FLOW_COSMOS", note=SEEN,
    ),
    _wan("WAN21_T2V", "Wan 2.1 and 2.2 text to video", "t2v"),
    _wan("WAN22_T2V", "Wan 2.2 5B", "t2v", 48, {"out_dim": 48}, latent=(48, 1, 8, 8)),
    _wan("WAN21_I2V", "Wan 2.1 and 2.2 image to video", "i2v", 36, extra=_picture, note=SEEN),
    _wan("WAN21_FunControl2V", "Wan 2.1 Fun Control", "i2v", 48, extra=_picture, note="The control video is blank."),
    _wan(
        "WAN21_Vace", "Wan 2.1 VACE", "vace", more={"vace_layers": 1, "vace_in_dim": 96},
        note="The control video is blank.",
    ),
    _wan(
        "WAN21_Camera", "Wan 2.1 Fun Camera", "camera", 32,
        extra=lambda draw: {**_picture(draw), "camera_conditions": draw.normal(1, 24, 1, 64, 64)}, note=SEEN,
    ),
    _wan(
        "WAN22_Camera", "Wan 2.2 Fun Camera", "camera_2.2", 36,
        extra=lambda draw: {"camera_conditions": draw.normal(1, 24, 1, 64, 64)}, note=SEEN,
    ),
    _wan(
        "WAN22_S2V", "Wan 2.2 S2V", "s2v", more={"audio_dim": 16, "audio_inject_layers": [0]},
        extra=lambda draw: {
            "audio_embed": draw.normal(1, 25, 16, 4),
            "reference_latents": [draw.normal(1, 16, 1, 8, 8)],
            "reference_motion": draw.normal(1, 16, 19, 8, 8),
            "control_video": draw.normal(1, 16, 1, 8, 8),
        },
    ),
    _wan("WAN21_HuMo", "HuMo", "humo", extra=lambda draw: {"audio_embed": draw.normal(1, 1, 8, 5, 1280)}),
    _wan(
        "WAN22_Animate", "Wan 2.2 Animate", "animate", 36, extra=_picture,
        idle=("lora_unet_face_encoder_out_proj",), note="No face and no pose.",
    ),
)  # fmt: skip
