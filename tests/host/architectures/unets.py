"""UNets: SD 1.5 and 2, SDXL and what was cut from it, pictures to pictures, video; and Stable Cascade's two stages."""

from __future__ import annotations

from typing import Any

from .family import Draw, Family

# 256 numbers for each size that SDXL is told, beside the pooled text.
SIZES = 256

UNET: dict[str, Any] = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [0, 1],
    "transformer_depth_output": [0, 0, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": 32,
    "adm_in_channels": None,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "use_temporal_resblock": False,
    "use_checkpoint": False,
    "legacy": False,
}
SD2 = {**UNET, "use_linear_in_transformer": True}
SDXL = {
    **SD2,
    "num_classes": "sequential",
    "adm_in_channels": 32 + 6 * SIZES,
}
VIDEO = {
    **SD2,
    "in_channels": 8,
    "num_classes": "sequential",
    "extra_ff_mix_layer": True,
    "use_spatial_context": True,
    "merge_strategy": "learned_with_images",
    "merge_factor": 0.0,
    "video_kernel_size": [3, 1, 1],
    "use_temporal_resblock": True,
    "use_temporal_attention": True,
    "disable_temporal_crossattention": False,
}
UPSCALER = {**SD2, "in_channels": 7, "disable_self_attentions": [True, False]}
STAGE_C = {
    "stable_cascade_stage": "c",
    "c_cond": 32,
    "c_hidden": [32, 32],
    "nhead": [2, 2],
    "blocks": [[1, 1], [1, 1]],
    "c_clip_text": 32,
    "c_clip_text_pooled": 32,
}
STAGE_B = {
    "stable_cascade_stage": "b",
    "c_cond": 32,
    "c_hidden": [16, 16, 32, 32],
    "nhead": [-1, -1, 2, 2],
    "blocks": [[1, 1, 1, 1], [1, 1, 1, 1]],
    "block_repeat": [[1, 1, 1, 1], [1, 1, 1, 1]],
    "c_clip": 32,
}

DIFFUSERS = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
NATIVE = "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q"
BLANK = "The picture that it changes is blank."


def _sd(host: str, title: str, network: dict[str, Any], **more: Any) -> Family:
    given = {"latent": (4, 8, 8), "text": (7, 32), "kind": "EPS", "key": DIFFUSERS, **more}
    return Family(host=host, title=title, network=network, **given)


def _xl(host: str, title: str, network: dict[str, Any], **more: Any) -> Family:
    return _sd(host, title, network, **{"key": NATIVE, "pooled": 32, **more})


def _zero123(draw: Draw) -> dict[str, Any]:
    return {"cc_projection.weight": draw.normal(768, 772), "cc_projection.bias": draw.normal(768)}


FAMILIES = (
    _sd("SD15", "Stable Diffusion 1.5", UNET),
    _sd(
        "SD15", "Stable Diffusion 1.5, inpainting", {**UNET, "in_channels": 9}, variant="inpainting",
        note="The mask covers the whole picture.",
    ),
    _sd("SD15_instructpix2pix", "InstructPix2Pix", {**UNET, "in_channels": 8}, note=BLANK),
    _sd("SD20", "Stable Diffusion 2, 2.1", SD2),
    _sd(
        "SD21UnclipL", "Stable unCLIP 2.1 L", {**SD2, "num_classes": "sequential", "adm_in_channels": 1536},
        key=NATIVE, note="The embedded picture is zero.",
    ),
    _sd(
        "SD21UnclipH", "Stable unCLIP 2.1 H", {**SD2, "num_classes": "sequential", "adm_in_channels": 2048},
        key=NATIVE, note="The embedded picture is zero.",
    ),
    _sd(
        "SD_X4Upscaler", "Stable Diffusion x4 upscaler", UPSCALER, kind="V_PREDICTION", latent=(4, 16, 16),
        note="The small picture is blank.",
    ),
    _sd(
        "Stable_Zero123", "Stable Zero123", {**UNET, "in_channels": 8, "context_dim": 768}, text=(1, 768),
        markers=_zero123, rounded=("*_attn2_to_q", "*_attn2_to_k"),
        note="The picture that it turns is blank. One token of conditioning gives cross-attention nothing to weigh.",
    ),
    _sd(
        "LotusD", "Lotus D", {**SD2, "adm_in_channels": 4, "num_heads": 8}, kind="IMG_TO_IMG", key=NATIVE,
        note="The host gives it a picture and no noise; here it learns to clean noisy pictures.",
    ),
    _xl("SDXL", "SDXL", SDXL),
    _xl(
        "SDXL", "SDXL with v prediction", SDXL, variant="v", kind="V_PREDICTION",
        markers=lambda draw: {"v_pred": draw.normal(0), "ztsnr": draw.normal(0)},
    ),
    _xl(
        "SDXL", "Playground 2.5", SDXL, variant="edm", kind="EDM",
        markers=lambda draw: {"edm_mean": draw.normal(4), "edm_std": draw.normal(4)},
    ),
    _xl(
        "SDXL", "SDXL, inpainting", {**SDXL, "in_channels": 9}, variant="inpainting",
        note="The mask covers the whole picture.",
    ),
    _xl("SDXLRefiner", "SDXL refiner", {**SDXL, "adm_in_channels": 32 + 5 * SIZES}),
    _xl("SDXL_instructpix2pix", "SDXL InstructPix2Pix", {**SDXL, "in_channels": 8}, note=BLANK),
    _xl("SSD1B", "SSD-1B", {**SDXL, "transformer_depth_middle": -1}),
    _xl("Segmind_Vega", "Segmind Vega", {**SDXL, "transformer_depth_middle": -1}),
    _xl("KOALA_700M", "KOALA 700M", {**SDXL, "transformer_depth_middle": -2}, note="Its UNet has no middle block."),
    _xl("KOALA_1B", "KOALA 1B", SDXL),
    _sd(
        "SVD_img2vid", "Stable Video Diffusion", {**VIDEO, "adm_in_channels": 3 * SIZES}, kind="V_PREDICTION_EDM",
        key=NATIVE, note="One frame; the first frame is blank.",
    ),
    _sd(
        "SV3D_u", "SV3D u", {**VIDEO, "adm_in_channels": SIZES}, kind="V_PREDICTION_EDM", key=NATIVE,
        note="One frame; the first frame is blank.",
    ),
    _sd(
        "SV3D_p", "SV3D p", {**VIDEO, "adm_in_channels": SIZES + 2 * 512}, kind="V_PREDICTION_EDM", key=NATIVE,
        note="One frame; the first frame is blank.",
    ),
    Family(
        host="Stable_Cascade_C", title="Stable Cascade, stage C", network=STAGE_C, latent=(16, 8, 8), text=(7, 32),
        pooled=32, kind="STABLE_CASCADE", key="lora_unet_down_blocks_0_2_attention_attn_to_q",
        idle=("lora_unet_clip_img_mapper",), note="No picture in its conditioning.",
    ),
    Family(
        host="Stable_Cascade_B", title="Stable Cascade, stage B", network=STAGE_B, latent=(4, 16, 16), text=(7, 32),
        pooled=32, kind="STABLE_CASCADE", key="lora_unet_down_blocks_2_2_attention_attn_to_q",
        extra=lambda draw: {"stable_cascade_prior": draw.normal(1, 16, 2, 2)},
        idle=("lora_unet_pixels_mapper_0",),
    ),
)  # fmt: skip
