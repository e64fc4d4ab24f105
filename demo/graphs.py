"""Graphs in API form. Those made here are of core nodes alone: whatever we made must work without us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .shots import Shot

CHECKPOINT = "kiln-world-sd15.safetensors"
CONTROLNET = "kiln-world-canny.safetensors"
SIDE, STEPS, CFG, SAMPLER, SCHEDULER = 128, 20, 1.5, "euler", "normal"

Prompt = dict[str, dict[str, Any]]


def shots_graph(shots: Sequence[Shot], *, lora: str = "") -> Prompt:
    """Every shot through KSampler, with core's LoraLoader when `lora` names a file; node `show<i>` holds picture i."""
    graph: Prompt = {
        "checkpoint": _node("CheckpointLoaderSimple", ckpt_name=CHECKPOINT),
        "empty": _node("EmptyLatentImage", width=SIDE, height=SIDE, batch_size=1),
    }
    model, clip = ["checkpoint", 0], ["checkpoint", 1]
    if lora:
        graph["lora"] = _node(
            "LoraLoader", model=model, clip=clip, lora_name=lora, strength_model=1.0, strength_clip=1.0
        )
        model, clip = ["lora", 0], ["lora", 1]
    graph["negative"] = _node("CLIPTextEncode", clip=clip, text="")
    for i, shot in enumerate(shots):
        graph[f"text{i}"] = _node("CLIPTextEncode", clip=clip, text=shot.prompt)
        graph[f"sample{i}"] = _node(
            "KSampler", model=model, positive=[f"text{i}", 0], negative=["negative", 0], latent_image=["empty", 0],
            seed=shot.seed, steps=STEPS, cfg=CFG, sampler_name=SAMPLER, scheduler=SCHEDULER, denoise=1.0,
        )  # fmt: skip
        graph[f"decode{i}"] = _node("VAEDecode", samples=[f"sample{i}", 0], vae=["checkpoint", 2])
        graph[f"show{i}"] = _node("PreviewImage", images=[f"decode{i}", 0])
    return graph


def control_graph(shots: Sequence[Shot], images: Sequence[str], *, strength: float) -> Prompt:
    """The same with the world's ControlNet looking at the canny edges of `images` (names in the input folder)."""
    graph = shots_graph(shots)
    graph["control"] = _node("ControlNetLoader", control_net_name=CONTROLNET)
    for i, image in enumerate(images):
        graph[f"image{i}"] = _node("LoadImage", image=image)
        graph[f"canny{i}"] = _node("Canny", image=[f"image{i}", 0], low_threshold=0.1, high_threshold=0.3)
        graph[f"steer{i}"] = _node(
            "ControlNetApplyAdvanced", positive=[f"text{i}", 0], negative=["negative", 0], control_net=["control", 0],
            image=[f"canny{i}", 0], strength=strength, start_percent=0.0, end_percent=1.0,
        )  # fmt: skip
        graph[f"sample{i}"]["inputs"].update(positive=[f"steer{i}", 0], negative=[f"steer{i}", 1])
    return graph


def default_node(info: Mapping[str, Any], class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node in API form; inputs that are not given take what the page would show, by the server's `object_info`."""
    asked = info[class_type]["input"]
    values = {}
    for name, (kind, *about) in {**asked.get("required", {}), **asked.get("optional", {})}.items():
        options = about[0] if about else {}
        if isinstance(kind, list):
            values[name] = options.get("default", kind[0] if kind else "")
        elif kind == "COMBO":
            values[name] = options.get("default", next(iter(options["options"]), ""))
        elif "default" in options:
            values[name] = options["default"]
    return {"class_type": class_type, "inputs": {**values, **inputs}}


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
