"""Mount the repository as the package ``lora_kiln``, whatever its folder is called.

ComfyUI imports the pack by path under a name it makes up, so inside the pack every import is relative.
Tests and the demo run outside ComfyUI and need a name to import the rooms by.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "lora_kiln"


def mount() -> None:
    """Register ``lora_kiln`` in ``sys.modules`` without running the pack's ``__init__``. Safe to call again.

    The pack's ``__init__`` needs ComfyUI's API, which is not there in a unit test.
    """
    if PACKAGE in sys.modules:
        return
    spec = ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(ROOT)]
    package = ModuleType(PACKAGE, "LoRA Kiln, mounted from its folder.")
    package.__spec__ = spec
    package.__path__ = [str(ROOT)]
    sys.modules[PACKAGE] = package
