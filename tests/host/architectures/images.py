"""Transformers for pictures: SD3, AuraFlow, PixArt, Hunyuan-DiT, Flux and its kin, Lumina, HiDream, Qwen-Image."""

from __future__ import annotations

from typing import Any

from .family import Draw, Family

SD3 = {
    # The width is 64 for each block.
    "depth": 1,
    "in_channels": 16,
    "out_channels": 16,
    "patch_size": 2,
    "input_size": None,
    "num_patches": 64,
    "pos_embed_max_size": 8,
    "pos_embed_scaling_factor": None,
    "qk_norm": "rms",
    "adm_in_channels": 32,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 32, "out_features": 64}},
}
AURA = {
    "max_seq": 64,
    "cond_seq_dim": 32,
    "n_double_layers": 1,
    "n_layers": 2,
    "dim": 32,
    "n_heads": 2,
    "global_conddim": 32,
}
PIXART = {
    "image_model": "pixart_alpha",
    "patch_size": 2,
    "in_channels": 4,
    "hidden_size": 48,
    "depth": 1,
    "num_heads": 2,
    "caption_channels": 32,
    "model_max_length": 7,
    "micro_condition": True,
}
HUNYUAN = {
    "image_model": "hydit",
    "depth": 4,
    "hidden_size": 32,
    "num_heads": 2,
    "text_states_dim": 32,
    "text_states_dim_t5": 32,
    "text_len": 7,
    "text_len_t5": 7,
}
FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": 32,
    "context_in_dim": 32,
    "hidden_size": 32,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [4, 6, 6],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
}
FLUX2 = {
    **FLUX,
    "image_model": "flux2",
    "in_channels": 128,
    "out_channels": 128,
    "vec_in_dim": None,
    "axes_dim": [4, 4, 4, 4],
    "theta": 2000,
    "patch_size": 1,
    "qkv_bias": False,
    "global_modulation": True,
    "mlp_silu_act": True,
    "ops_bias": False,
    "default_ref_method": "index",
    "ref_index_scale": 10.0,
}
FLUX_MORE: dict[str, Any] = {"newer": {"txt_ids_dims": []}, "parameters": "comfy.ldm.flux.model.FluxParams"}
CHROMA = {
    **{name: FLUX[name] for name in FLUX if name not in ("guidance_embed", "vec_in_dim")},
    "image_model": "chroma",
    "in_channels": 64,
    "out_channels": 64,
    "in_dim": 64,
    "out_dim": 32,
    "hidden_dim": 32,
    "n_layers": 1,
}
RADIANCE = {
    **CHROMA,
    "image_model": "chroma_radiance",
    "in_channels": 3,
    "out_channels": 3,
    "patch_size": 16,
    "nerf_hidden_size": 8,
    "nerf_mlp_ratio": 2,
    "nerf_depth": 1,
    "nerf_max_freqs": 4,
    "nerf_tile_size": 512,
    "nerf_final_head_type": "conv",
    "nerf_embedder_dtype": None,
}
CHROMA_MORE: dict[str, Any] = {
    "newer": {"txt_ids_dims": [], "vec_in_dim": None},
    "parameters": "comfy.ldm.chroma.model.ChromaParams",
}
RADIANCE_MORE: dict[str, Any] = {
    "newer": {**CHROMA_MORE["newer"], "use_x0": False, "use_sequential_txt_ids": False},
    "parameters": "comfy.ldm.chroma_radiance.model.ChromaRadianceParams",
}
LUMINA = {
    "image_model": "lumina2",
    "patch_size": 2,
    "in_channels": 16,
    "dim": 32,
    "cap_feat_dim": 32,
    "n_layers": 1,
    "n_refiner_layers": 1,
    "qk_norm": True,
    "n_heads": 2,
    "n_kv_heads": 1,
    "axes_dims": [4, 6, 6],
    "axes_lens": [32, 32, 32],
    "multiple_of": 32,
    "ffn_dim_multiplier": 1.0,
}
Z_IMAGE = {
    **LUMINA,
    # Its modulation is 256 wide, and the network at least as wide.
    "dim": 256,
    "n_heads": 4,
    "n_kv_heads": 4,
    "axes_dims": [16, 24, 24],
    "rope_theta": 256.0,
    "z_image_modulation": True,
    "time_scale": 1000.0,
    "pad_tokens_multiple": 32,
}
HIDREAM = {
    "image_model": "hidream",
    "attention_head_dim": 16,
    "axes_dims_rope": [8, 4, 4],
    "caption_channels": [32, 24],
    "max_resolution": [16, 16],
    "in_channels": 16,
    "out_channels": 16,
    "llama_layers": [0, 1],
    "num_attention_heads": 2,
    "num_routed_experts": 2,
    "num_activated_experts": 1,
    "num_layers": 1,
    "num_single_layers": 1,
    "patch_size": 2,
    "text_emb_dim": 32,
}
OMNIGEN = {
    "image_model": "omnigen2",
    "axes_dim_rope": [4, 6, 6],
    "axes_lens": [32, 32, 32],
    "hidden_size": 32,
    "in_channels": 16,
    "multiple_of": 32,
    "num_attention_heads": 2,
    "num_kv_heads": 1,
    "num_layers": 1,
    "num_refiner_layers": 1,
    "out_channels": None,
    "patch_size": 2,
    "text_feat_dim": 32,
    "timestep_scale": 1000.0,
}
QWEN = {
    "image_model": "qwen_image",
    "in_channels": 64,
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "axes_dims_rope": (4, 6, 6),
}


def _two_texts(draw: Draw) -> dict[str, Any]:
    return {
        "attention_mask": draw.ones(1, 7),
        "conditioning_mt5xl": draw.normal(1, 7, 32),
        "attention_mask_mt5xl": draw.ones(1, 7),
    }


def _made(host: str, title: str, network: dict[str, Any], key: str, **more: Any) -> Family:
    given = {"latent": (16, 8, 8), "text": (7, 32), "kind": "FLOW", **more}
    return Family(host=host, title=title, network=network, key=f"lora_unet_{key}", **given)


FAMILIES = (
    _made("SD3", "Stable Diffusion 3, 3.5", SD3, "joint_blocks_0_x_block_attn_qkv", pooled=32),
    _made("AuraFlow", "AuraFlow", AURA, "double_layers_0_attn_w1q", latent=(4, 8, 8)),
    _made(
        "PixArtAlpha", "PixArt alpha", PIXART, "blocks_0_attn_qkv", kind="EPS", latent=(4, 40, 40),
        note="The host cannot run it at 256 pixels or less.",
    ),
    _made(
        "PixArtSigma", "PixArt sigma", {**PIXART, "image_model": "pixart_sigma", "micro_condition": False},
        "blocks_0_attn_qkv", kind="EPS", latent=(4, 40, 40), note="The host cannot run it at 256 pixels or less.",
    ),
    _made(
        "HunyuanDiT", "Hunyuan-DiT 1.2", HUNYUAN, "blocks_0_attn1_Wqkv", kind="V_PREDICTION", latent=(4, 8, 8),
        extra=_two_texts,
    ),
    _made(
        "HunyuanDiT1", "Hunyuan-DiT 1.0, 1.1",
        {**HUNYUAN, "image_model": "hydit1", "size_cond": True, "use_style_cond": True},
        "blocks_0_attn1_Wqkv", kind="V_PREDICTION", latent=(4, 8, 8), extra=_two_texts,
    ),
    _made("Flux", "Flux.1 dev", FLUX, "double_blocks_0_img_attn_qkv", kind="FLUX", pooled=32, **FLUX_MORE),
    _made(
        "FluxInpaint", "Flux.1 Fill", {**FLUX, "in_channels": 96}, "double_blocks_0_img_attn_qkv", kind="FLUX",
        pooled=32, note="The mask covers the whole picture.", **FLUX_MORE,
    ),
    _made(
        "FluxSchnell", "Flux.1 schnell", {**FLUX, "guidance_embed": False}, "double_blocks_0_img_attn_qkv", pooled=32,
        **FLUX_MORE,
    ),
    _made(
        "Flux2", "Flux.2", FLUX2, "double_blocks_0_img_attn_qkv", kind="FLUX", latent=(128, 4, 4),
        newer={"txt_ids_dims": [3]}, parameters="comfy.ldm.flux.model.FluxParams",
    ),
    _made("Chroma", "Chroma", CHROMA, "double_blocks_0_img_attn_qkv", kind="FLUX", **CHROMA_MORE),
    _made(
        "ChromaRadiance", "Chroma Radiance", RADIANCE, "double_blocks_0_img_attn_qkv", kind="FLUX", latent=(3, 32, 32),
        note="Pixels, without an autoencoder.", **RADIANCE_MORE,
    ),
    _made("Lumina2", "Lumina Image 2, Neta Lumina", LUMINA, "layers_0_attention_qkv"),
    _made("ZImage", "Z-Image", Z_IMAGE, "layers_0_attention_qkv"),
    _made(
        "HiDream", "HiDream-I1", HIDREAM, "double_stream_blocks_0_block_attn1_to_q", pooled=32,
        extra=lambda draw: {"conditioning_llama3": draw.normal(1, 2, 5, 24)},
    ),
    _made(
        "Omnigen2", "OmniGen2", OMNIGEN, "layers_0_attn_to_q",
        extra=lambda draw: {"attention_mask": draw.ones(1, 7), "reference_latents": [draw.normal(1, 16, 8, 8)]},
    ),
    _made(
        "QwenImage", "Qwen-Image", QWEN, "transformer_blocks_0_attn_to_q", kind="FLUX", latent=(16, 1, 8, 8),
        idle=("*_1_attn_add_q_proj", "*_1_attn_to_add_out", "*_1_txt_mlp_net_*"),
    ),
)  # fmt: skip
