"""Registers the miniature world with a demo or test host: its model family and its folders.

Linked into those hosts' `custom_nodes` only; a user's ComfyUI never sees it.
"""

import importlib.util
from pathlib import Path

import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import folder_paths

_DEMO = Path(__file__).resolve().parent.parent


def _beside(name):
    """A module of `demo/`, which is no package here."""
    spec = importlib.util.spec_from_file_location(f"kiln_world_{name}", _DEMO / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


family = _beside("family")


class MiniClip(comfy.sd1_clip.SDClipModel):
    """CLIP-L's contract at the miniature size."""

    def __init__(self, device="cpu", dtype=None, model_options=None, **options):
        super().__init__(
            device=device,
            dtype=dtype,
            textmodel_json_config=dict(family.TEXT),
            return_projected_pooled=False,
            model_options=model_options or {},
            **options,
        )


class MiniClipModel(comfy.sd1_clip.SD1ClipModel):
    """The text side of a miniature checkpoint."""

    def __init__(self, device="cpu", dtype=None, model_options=None, **options):
        super().__init__(device=device, dtype=dtype, model_options=model_options or {}, clip_model=MiniClip, **options)


class MiniSD15(comfy.supported_models.SD15):
    """Stable Diffusion 1.5's family, told apart by its width."""

    unet_config = {  # noqa: RUF012 - the host reads a plain class attribute
        **comfy.supported_models.SD15.unet_config,
        "context_dim": family.CONTEXT_DIM,
        "model_channels": family.MODEL_CHANNELS,
    }
    unet_extra_config = {"num_heads": family.HEADS, "num_head_channels": -1}  # noqa: RUF012 - as above

    def clip_target(self, state_dict=None):
        return comfy.supported_models_base.ClipTarget(comfy.sd1_clip.SD1Tokenizer, MiniClipModel)


comfy.supported_models.models.insert(0, MiniSD15)
_beside("variants").register()

for kind in ("checkpoints", "controlnet"):
    folder_paths.add_model_folder_path(kind, str(_DEMO / "models" / kind))
folder_paths.add_model_folder_path("kiln_taggers", str(_DEMO / "models" / "taggers"))

NODE_CLASS_MAPPINGS = {}
