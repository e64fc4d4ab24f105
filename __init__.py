"""LoRA Kiln: LoRA training as a ComfyUI graph."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> Any:
    from .nodes.extension import KilnExtension

    return KilnExtension()
