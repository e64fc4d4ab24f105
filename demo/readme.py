"""`python dev.py pictures`: take the README's pictures anew.

Browser tests take them, in the real page; here they are made small and put where the README looks.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from .mount import ROOT

PICTURES = ROOT / "docs" / "images"
TESTS = ROOT / "tests" / "browser"
LIMIT_BYTES = 400_000
"""Of one picture; `tests/unit/test_docs.py` holds it."""
COLOURS = (256, 128, 64)
# What an artist sees first: ComfyUI's own frontend, classic canvas.
LOOK = "not newest and not nodes2"


class Taken(NamedTuple):
    """Where a picture comes from: a test, and the name under which it leaves a picture."""

    test: str
    file: str


TAKEN = {
    "character_lora": Taken("test_example.py::test_a_picture_of_it", "character_lora.png"),
    "training": Taken(
        "test_training_page.py::test_the_loss_moves_and_a_reload_and_another_browser_lose_nothing",
        "training_panel-own-classic.png",
    ),
    "dataset_page": Taken("test_dataset_page.py::test_a_picture_of_it", "dataset_page_of_her.png"),
    "sweep": Taken("test_sweep_page.py::test_a_picture_of_it", "sweep_panel.png"),
    "cherry_pick": Taken(
        "test_pick.py::test_variants_are_kept_or_rejected_beside_their_scores", "variants_panel-own-classic.png"
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Take all pictures, or those named; 1 when a test fails or a picture stays too large."""
    parser = argparse.ArgumentParser(prog="dev.py pictures", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which; without any all: {', '.join(TAKEN)}")
    names = parser.parse_args(arguments).names or list(TAKEN)
    if unknown := [name for name in names if name not in TAKEN]:
        parser.error(f"no picture is called {', '.join(unknown)}; there are {', '.join(TAKEN)}")
    tests = [str(TESTS / TAKEN[name].test) for name in names]
    with tempfile.TemporaryDirectory(prefix="kiln-pictures-") as folder:
        if not take(["-k", LOOK, *tests], folder):
            return 1
        try:
            for name in names:
                target = PICTURES / f"{name}.png"
                print(f"{target}: {shrink(Path(folder) / TAKEN[name].file, target)} bytes")
        except ValueError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def take(tests: Sequence[str], folder: str) -> bool:
    """Run browser tests that leave their pictures in `folder`; False, and told, where one fails."""
    # Some take minutes, and are left out where nobody asks for pictures.
    environ = {**os.environ, "KILN_SCREENSHOTS": folder, "KILN_PICTURES": "1"}
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", *tests], cwd=ROOT, env=environ, check=False)
    if done.returncode:
        print("No picture was changed: see the tests above.", file=sys.stderr)
    return not done.returncode


def shrink(source: Path, target: Path, limit: int = LIMIT_BYTES) -> int:
    """Write a picture as a PNG with as many colours as fit into `limit` bytes; returns its bytes.

    Raises `ValueError` where the fewest colours are still too many bytes; `target` is then as it was.
    """
    partial = target.with_suffix(".partial")
    with Image.open(source) as opened:
        picture = opened.convert("RGB")
    for colours in COLOURS:
        picture.quantize(colours, dither=Image.Dither.NONE).save(partial, "PNG", optimize=True)
        size = partial.stat().st_size
        if size <= limit:
            partial.replace(target)
            return size
    partial.unlink()
    raise ValueError(
        f"{source.name} takes {size} bytes with {colours} colours, more than {limit}. Take a smaller view."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
