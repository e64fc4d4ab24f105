"""LoRA Kiln: LoRA training as a ComfyUI graph."""

from __future__ import annotations

from typing import Any

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint() -> Any:
    from .nodes.extension import KilnExtension
    from .nodes.routes import add_routes

    # Here, as hosts of 2025 do not call an extension's `on_load`.
    add_routes()
    return KilnExtension()
