"""Transformers for pictures that only the newer host of the two has."""

from __future__ import annotations

from typing import Any

from .family import Draw, Family
from .images import FLUX, FLUX_MORE, OMNIGEN, QWEN, Z_IMAGE
from .videos import COSMOS2

SINCE = "0.33.0"

ANIMA = {**COSMOS2, "image_model": "anima"}
# The host builds the adapter between the text encoder and T5's tokens 1024 wide.
ADAPTER = {"source_dim": 32, "target_dim": 32, "model_dim": 32, "num_layers": 1, "num_heads": 2}
BOOGU = {
    "image_model": "boogu",
    "hidden_size": 32,
    "num_layers": 1,
    "num_double_stream_layers": 1,
    "num_refiner_layers": 1,
    "num_attention_heads": 2,
    "num_kv_heads": 1,
    "multiple_of": 32,
    "axes_dim_rope": OMNIGEN["axes_dim_rope"],
    "axes_lens": OMNIGEN["axes_lens"],
    "instruction_feat_dim": 32,
}
LONGCAT = {**FLUX, "vec_in_dim": None, "guidance_embed": False}
IDEOGRAM = {
    "image_model": "ideogram4",
    "in_channels": 128,
    "num_layers": 1,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "intermediate_size": 64,
    "adaln_dim": 32,
    "llm_features_dim": 32,
    "mrope_section": (4, 2, 2),
}
KREA = {
    "image_model": "krea2",
    "features": 64,
    "tdim": 32,
    "txtdim": 32,
    "heads": 2,
    "kvheads": 1,
    "multiplier": 2,
    "layers": 1,
    "channels": 16,
    "txtlayers": 2,
    "txtheads": 2,
    "txtkvheads": 2,
}
MAGE = {**QWEN, "image_model": "mage_flow", "in_channels": 128}
JOY = {
    "image_model": "joyimage",
    "hidden_size": 32,
    "num_attention_heads": 2,
    "rope_dim_list": [4, 6, 6],
    "text_dim": 32,
    "mlp_width_ratio": 2.0,
    "num_layers": 2,
}
KANDINSKY = {
    "image_model": "kandinsky5",
    "in_text_dim": 32,
    "in_text_dim2": 32,
    "time_dim": 32,
    "model_dim": 32,
    "ff_dim": 64,
    "visual_embed_dim": 132,
    "num_text_blocks": 1,
    "num_visual_blocks": 1,
    "axes_dims": (4, 6, 6),
}
KANDINSKY_IMAGE = {**KANDINSKY, "visual_embed_dim": 64, "rope_scale_factor": (1.0, 1.0, 1.0)}
ERNIE = {
    "image_model": "ernie",
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_layers": 1,
    "ffn_hidden_size": 64,
    "text_in_dim": 48,
    "rope_axes_dim": (4, 6, 6),
}
LENS = {
    "image_model": "lens",
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "enc_hidden_dim": 16,
    "axes_dims_rope": (4, 6, 6),
    "selected_layer_index": (0, 1),
}
PIXELS = {
    "image_model": "pixeldit_t2i",
    "num_groups": 2,
    "hidden_size": 32,
    "pixel_attn_hidden_size": 32,
    "pixel_num_groups": 2,
    "patch_depth": 2,
    "pixel_depth": 1,
    "txt_embed_dim": 32,
    "txt_max_length": 16,
}
DECODER = {
    **PIXELS,
    "image_model": "pid",
    "lq_hidden_dim": 16,
    "lq_num_res_blocks": 1,
}
Z_PIXELS = {
    **Z_IMAGE,
    "image_model": "zimage_pixel",
    "patch_size": 8,
    "in_channels": 3,
    "decoder_hidden_size": 32,
    "decoder_num_res_blocks": 1,
    "decoder_max_freqs": 4,
    "decoder_in_channels": 192,
}
LAST_TEXT = ("*_patch_blocks_1_attn_proj_y", "*_patch_blocks_1_mlp_y_*")
# The number of the token that stands for the noise level.
LEVEL_TOKEN = 151673
HIDREAM_O1 = {
    "image_model": "hidream_o1",
    "text_config_overrides": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "rope_dims": [4, 2, 2],
    },
    "vision_config_overrides": {
        "hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 64,
        "depth": 1,
        "num_position_embeddings": 16,
    },
}


def _tokens(draw: Draw) -> dict[str, Any]:
    ids = draw.tokens(1, 7, below=1000)
    ids[0, -1] = LEVEL_TOKEN
    return {"text_input_ids": ids}


def _adapted(draw: Draw) -> dict[str, Any]:
    return {"t5xxl_ids": draw.tokens(5, below=1000), "t5xxl_weights": draw.ones(5).float()}


def made(host: str, title: str, network: dict[str, Any], key: str, **more: Any) -> Family:
    """A row of the newer host's."""
    given = {"since": SINCE, "latent": (16, 8, 8), "text": (7, 32), "kind": "FLOW", **more}
    return Family(host=host, title=title, network=network, key=f"lora_unet_{key}", **given)


FAMILIES = (
    made(
        "Anima", "Anima", ANIMA, "blocks_0_self_attn_q_proj", latent=(16, 1, 8, 8), extra=_adapted,
        narrowed={"comfy.ldm.anima.model.LLMAdapter": ADAPTER},
    ),
    made(
        "Boogu", "Boogu", BOOGU, "double_stream_layers_0_img_self_attn_to_q",
        extra=lambda draw: {"attention_mask": draw.ones(1, 7), "reference_latents": [draw.normal(1, 16, 8, 8)]},
    ),
    made("ErnieImage", "Ernie Image", ERNIE, "layers_0_self_attention_to_q", latent=(128, 4, 4), text=(7, 48)),
    made(
        "HiDreamO1", "HiDream-O1", HIDREAM_O1, "language_model_layers_0_self_attn_q_proj", latent=(3, 64, 32),
        extra=_tokens, idle=("lora_unet_visual_*",), rate=3e-2,
        note="Pixels, without an autoencoder; a flow whose noise is eight times as strong.",
    ),
    made("Ideogram4", "Ideogram 4", IDEOGRAM, "layers_0_attention_qkv", latent=(128, 4, 4)),
    made(
        "JoyImage", "JoyImage", JOY, "double_blocks_0_attn_img_attn_qkv", latent=(16, 1, 8, 8),
        idle=("*_1_attn_txt_attn_proj", "*_1_txt_mlp_net_*"),
    ),
    made(
        "Kandinsky5", "Kandinsky 5 video", KANDINSKY, "visual_transformer_blocks_0_self_attention_to_query",
        latent=(16, 1, 8, 8), pooled=32,
    ),
    made(
        "Kandinsky5Image", "Kandinsky 5 image", KANDINSKY_IMAGE,
        "visual_transformer_blocks_0_self_attention_to_query", pooled=32,
    ),
    made("Krea2", "Krea 2", KREA, "blocks_0_attn_wq", kind="FLUX", text=(7, 64), latent=(16, 1, 8, 8)),
    made(
        "Lens", "Lens", LENS, "transformer_blocks_0_attn_img_qkv", kind="FLUX", latent=(128, 4, 4),
        idle=("*_1_attn_to_add_out", "*_1_txt_mlp_*"),
    ),
    made(
        "LongCatImage", "LongCat-Image", LONGCAT, "double_blocks_0_img_attn_qkv", kind="FLUX",
        **{**FLUX_MORE, "newer": {"txt_ids_dims": [1, 2]}},
    ),
    made(
        "MageFlow", "Mage-Flow", MAGE, "transformer_blocks_0_attn_to_q", latent=(128, 4, 4),
        idle=("*_1_attn_add_q_proj", "*_1_attn_to_add_out", "*_1_txt_mlp_net_*"),
    ),
    made(
        "PixelDiTT2I", "PixelDiT", PIXELS, "patch_blocks_0_attn_qkv_x", latent=(3, 32, 32), idle=LAST_TEXT,
        note="Pixels, without an autoencoder.",
    ),
    made(
        "PiD", "PiD", DECODER, "patch_blocks_0_attn_qkv_x", latent=(3, 64, 64), idle=LAST_TEXT,
        extra=lambda draw: {"lq_latent": draw.normal(1, 16, 2, 2), "degrade_sigma": draw.normal(1).abs()},
        note="Pixels; given the small picture's latent.",
    ),
    made(
        "ZImagePixelSpace", "Z-Image in pixels", Z_PIXELS, "layers_0_attention_qkv", latent=(3, 32, 32),
        note="Pixels, without an autoencoder.",
    ),
)  # fmt: skip
