"""Shared by all tests: the pack mounted as ``lora_kiln``, a mark for each folder, a real host."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
# The root goes last on the path, for ``demo`` and ``dev``: in front it would shadow ComfyUI's ``nodes``.
sys.path[:] = [*(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT), str(ROOT)]

from demo.base import host_folder, prepare_base  # noqa: E402
from demo.mount import mount  # noqa: E402

if TYPE_CHECKING:
    from demo.hosting import Host

mount()

# How fast examples are made says nothing of the code on a machine that is busy.
settings.register_profile("kiln", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kiln")

KINDS = ("unit", "articles", "host", "browser", "gpu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the folder it is in, so that ``-m host`` means what ``tests/host`` means."""
    tests = ROOT / "tests"
    for item in items:
        if tests in item.path.parents:
            kind = item.path.relative_to(tests).parts[0]
            if kind in KINDS:
                item.add_marker(getattr(pytest.mark, kind))


@pytest.fixture(autouse=True)
def _gpu(request: pytest.FixtureRequest) -> None:
    """Skip what needs a GPU where there is none."""
    if request.node.get_closest_marker("gpu"):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("needs an NVIDIA GPU")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A fresh base directory for a host, with the pack and the miniature world linked in."""
    return prepare_base(tmp_path / "base")


@pytest.fixture(scope="session")
def comfy() -> Path:
    """The folder of the ComfyUI under test; skips where there is none."""
    folder = host_folder()
    if not (folder / "main.py").exists():
        pytest.skip(f"no ComfyUI in {folder}: python dev.py test fetches one")
    return folder


@pytest.fixture(scope="session")
def host(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One running ComfyUI with the pack loaded, shared by all tests that do not need their own."""
    from demo.hosting import Host

    with Host(tmp_path_factory.mktemp("host")) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium for browser tests, as dev.py found it; skips where there is none."""
    found = os.environ.get("KILN_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium on this machine: python dev.py test browser says how to get one")
    return found
