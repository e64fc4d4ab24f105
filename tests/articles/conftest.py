"""What the articles' datasets have in common: folders of tiny pictures with captions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes pictures of 8 x 8 pixels, each with its tags, into a folder below the test's own."""

    def write(name: str, captions: Iterable[str], ending: str = ".png") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        first = folder / f"source{ending}"
        Image.new("RGB", (8, 8), "red").save(first)
        picture = first.read_bytes()
        first.unlink()
        for number, caption in enumerate(captions, 1):
            (folder / f"{number}{ending}").write_bytes(picture)
            if caption:
                (folder / f"{number}.txt").write_text(caption, encoding="utf-8")
        return folder

    return write
