"""`python dev.py workflows --thumbnails`: the pictures beside the example workflows.

Above what an example is about, drawn or learned in the miniature world; below its graph, taken in the real page by the
browser test of the examples' layout.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from .. import readme
from ..mount import ROOT
from ..world.characters import characters
from ..world.draw import draw
from . import character, loopback, one_image, outfits, style, styles, transfer, turnaround
from .character import HER
from .world import write_inputs

TEST = ROOT / "tests" / "browser" / "test_example_layout.py"
LEARNED = ROOT / "docs" / "images" / "before_after.png"
"""Eight prompts without the LoRA above, with it below, as the demo paints them."""
SHAPE, ROW, GAP = (960, 540), 200, 12
"""Pixels of a thumbnail, of its row of pictures, and around each."""
PAPER = "#1b1b1f"
STYLES = ("flat color", "sketch", "pastel colors", "gradient")


def take(folder: Path) -> int:
    """Take every example's thumbnail into `folder`; 1 when the test that takes the graphs fails."""
    with tempfile.TemporaryDirectory(prefix="kiln-thumbnails-") as taken:
        if not readme.take([str(TEST)], taken):
            return 1
        for file in write_thumbnails(Path(taken), folder):
            print(file)
    return 0


def write_thumbnails(graphs: Path, folder: Path) -> list[Path]:
    """A JPEG for each picture `<example>.png` of a graph in `graphs`; returns the files."""
    written = []
    with tempfile.TemporaryDirectory(prefix="kiln-drawn-") as drawn:
        write_inputs(Path(drawn))
        for name, pictures in _PICTURES.items():
            with Image.open(graphs / f"{name}.png") as graph:
                compose(pictures(Path(drawn)), graph).save(folder / f"{name}.jpg", "JPEG", quality=88, optimize=True)
            written.append(folder / f"{name}.jpg")
    return written


def compose(pictures: Sequence[Image.Image], graph: Image.Image) -> Image.Image:
    """Pictures in a row, as many as fit, above a graph."""
    card = Image.new("RGB", SHAPE, PAPER)
    left = GAP
    for picture in pictures:
        shown = _scaled(picture, ROW / picture.height)
        if left + shown.width + GAP > SHAPE[0]:
            break
        card.paste(shown, (left, GAP))
        left += shown.width + GAP
    room = SHAPE[0] - 2 * GAP, SHAPE[1] - ROW - 3 * GAP
    scale = min(room[0] / graph.width, room[1] / graph.height)
    small = _scaled(graph, scale)
    card.paste(small, ((SHAPE[0] - small.width) // 2, ROW + 2 * GAP))
    return card


def learned(*, with_lora: bool) -> list[Image.Image]:
    """What the miniature model paints of her, without the LoRA or with it."""
    with Image.open(LEARNED) as sheet:
        side = sheet.height // 2
        top = side if with_lora else 0
        return [sheet.crop((x, top, x + side, top + side)) for x in range(0, sheet.width, side)]


def _scaled(picture: Image.Image, factor: float) -> Image.Image:
    size = round(picture.width * factor), round(picture.height * factor)
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _read(folder: Path, pattern: str) -> list[Image.Image]:
    return [Image.open(file) for file in sorted(folder.glob(pattern))]


def _in_styles() -> list[Image.Image]:
    figure = replace(characters()[HER].figure, framing="cowboy shot")
    return [draw(replace(figure, style=each), side=256).image for each in STYLES]


_PICTURES: Mapping[str, Callable[[Path], list[Image.Image]]] = {
    character.NAME: lambda drawn: learned(with_lora=True),
    one_image.NAME: lambda drawn: [*_read(drawn, "my_character.png"), *learned(with_lora=True)[1:]],
    turnaround.NAME: lambda drawn: [*_read(drawn, "my_character/turnaround/*.png"), *learned(with_lora=True)[2:]],
    styles.NAME: lambda drawn: _in_styles(),
    outfits.NAME: lambda drawn: _read(drawn, "my_character/wardrobe/*/*.png"),
    style.NAME: lambda drawn: _read(drawn, "my_style/[0-9].png"),
    loopback.NAME: lambda drawn: [*_read(drawn, "my_character/first/0.png"), *learned(with_lora=True)[3:]],
    transfer.NAME: lambda drawn: [
        picture for pair in zip(learned(with_lora=False), learned(with_lora=True), strict=True) for picture in pair
    ],
}
