"""The shape of the miniature family: SD1.5's kind of UNet and text encoder, small enough for two cores.

Only plain numbers here, so that it can be read without the host.
"""

from __future__ import annotations

from typing import Any

MODEL_CHANNELS = 64
CONTEXT_DIM = 128
HEADS = 4

# Keyword arguments of the host's UNetModel; the host detects the same ones from the checkpoint's keys.
UNET: dict[str, Any] = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": MODEL_CHANNELS,
    "num_res_blocks": [1, 1, 1],
    "channel_mult": [1, 2, 2],
    "transformer_depth": [0, 1, 1],
    "transformer_depth_output": [0, 1, 1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "num_heads": HEADS,
    "num_head_channels": -1,
    "context_dim": CONTEXT_DIM,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "legacy": False,
}

# The host's CLIP text model configuration: CLIP-L's contract with its stock tokenizer.
TEXT: dict[str, Any] = {
    "hidden_act": "quick_gelu",
    "hidden_size": CONTEXT_DIM,
    "intermediate_size": 4 * CONTEXT_DIM,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "max_position_embeddings": 77,
    "eos_token_id": 49407,
    "vocab_size": 49408,
}
