"""Text encoders by the families that read them: which of them core loads a LoRA into, and which are only read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .newer import SINCE

CLIP = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 3}
T5 = {"d_model": 32, "d_ff": 64, "d_kv": 16, "num_heads": 2, "num_layers": 2}
BERT = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
QWEN = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": 2,
}


@dataclass(frozen=True, kw_only=True)
class Text:
    """The text side of families, at sizes of ours."""

    encoder: str
    """What people call it."""
    families: str
    """Who reads it."""
    tokenizer: str
    """The host's class, with its module."""
    model: str
    """The host's class, with its module."""
    given: Mapping[str, Any]
    """More arguments of `model`; texts with a dot name the host's classes."""
    sizes: Mapping[str, Mapping[str, Any]]
    """By the host's name of each encoder."""
    keys: tuple[str, ...]
    """A name of each encoder that the saved file must have."""
    tokenizer_given: Mapping[str, Any]
    """More arguments of `tokenizer`."""
    idle: tuple[str, ...] = ()
    """Patterns of names of layers after the last one that the family reads."""
    since: str = ""


@dataclass(frozen=True, kw_only=True)
class Read:
    """An encoder that core loads no LoRA into, at its own size and without memory."""

    encoder: str
    families: str
    model: str
    """The host's class, or the function that makes it, with its module."""


_L = "text_model_encoder_layers_0_self_attn_q_proj"
_T5 = "encoder_block_0_layer_0_SelfAttention_q"


def _text(encoder: str, families: str, tokenizer: str, model: str, *keys: str, **more: Any) -> Text:
    given = {"given": {}, "tokenizer_given": {}, **more}
    return Text(encoder=encoder, families=families, tokenizer=tokenizer, model=model, keys=keys, **given)


TEXTS = {
    text.encoder: text
    for text in (
        _text(
            "CLIP-L", "Stable Diffusion 1", "comfy.sd1_clip.SD1Tokenizer", "comfy.sd1_clip.SD1ClipModel",
            f"lora_te_{_L}", sizes={"clip_l": CLIP},
        ),
        _text(
            "CLIP-H", "Stable Diffusion 2", "comfy.text_encoders.sd2_clip.SD2Tokenizer",
            "comfy.text_encoders.sd2_clip.SD2ClipModel", f"lora_te_{_L}", sizes={"clip_h": CLIP},
        ),
        _text(
            "CLIP-G", "SDXL refiner", "comfy.sdxl_clip.SDXLTokenizer", "comfy.sdxl_clip.SDXLRefinerClipModel",
            f"lora_te_{_L}", sizes={"clip_g": CLIP},
        ),
        _text(
            "CLIP-L and CLIP-G", "SDXL; with T5 as `lora_te3_`, Stable Diffusion 3 and HiDream",
            "comfy.sdxl_clip.SDXLTokenizer",
            "comfy.sdxl_clip.SDXLClipModel", f"lora_te1_{_L}", f"lora_te2_{_L}", sizes={"clip_l": CLIP, "clip_g": CLIP},
            idle=("lora_te1_*_layers_2_*",),
        ),
        _text(
            "CLIP-L and T5", "Flux.1", "comfy.text_encoders.flux.FluxTokenizer",
            "comfy.text_encoders.flux.FluxClipModel", f"lora_te1_{_L}", f"lora_te3_{_T5}",
            sizes={"clip_l": CLIP, "t5xxl": T5},
        ),
        _text(
            "T5", "PixArt, Chroma, Mochi, LTX-Video, Cosmos", "comfy.text_encoders.pixart_t5.PixArtTokenizer",
            "comfy.text_encoders.pixart_t5.PixArtT5XXL", f"lora_te1_{_T5}", sizes={"t5xxl": T5},
        ),
        _text(
            "BERT", "Hunyuan-DiT", "comfy.sd1_clip.SD1Tokenizer", "comfy.sd1_clip.SD1ClipModel",
            "lora_te1_encoder_layer_0_attention_self_query", sizes={"hydit_clip": BERT},
            given={"name": "hydit_clip", "clip_model": "comfy.text_encoders.hydit.HyditBertModel"},
            tokenizer_given={"name": "hydit_clip", "tokenizer": "comfy.text_encoders.hydit.HyditBertTokenizer"},
        ),
        _text(
            "Qwen3 0.6B", "Anima; likewise any language model that is a family's only encoder",
            "comfy.text_encoders.anima.AnimaTokenizer",
            "comfy.text_encoders.anima.AnimaTEModel", "lora_te_layers_0_self_attn_q_proj", sizes={"qwen3_06b": QWEN},
            since=SINCE,
        ),
    )
}  # fmt: skip
READ = {
    read.encoder: read
    for read in (
        Read(encoder="Pile T5", families="AuraFlow", model="comfy.text_encoders.aura_t5.AuraT5Model"),
        Read(encoder="UMT5", families="Wan", model="comfy.text_encoders.wan.WanT5Model"),
    )
}
