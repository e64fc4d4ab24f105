"""Pictures of what was done: sources with the boxes of their crops."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from .images import open_image
from .values import Box, Record
from .views import Cropped

CELL = 256
"""Pixels of a cell's side."""
MOST_CELLS = 24
_COLORS = ("#d94848", "#2f7fd6", "#3c9a4e", "#c58a00", "#8d4fc4", "#1f9d97")
_PAPER = "#f4f1ec"
_INK = "#3b3733"


def crop_sheet(done: Sequence[Cropped], columns: int = 4) -> Image.Image:
    """An RGB sheet with the first pictures (24 at the most), the boxes of their crops and the views' names."""
    shown = done[:MOST_CELLS] or ()
    columns = max(1, min(columns, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    sheet = Image.new("RGB", (columns * CELL, rows * (CELL + 20)), _PAPER)
    for place, one in enumerate(shown):
        x, y = place % columns * CELL, place // columns * (CELL + 20)
        sheet.paste(_cell(one), (x, y))
    return sheet


def _cell(one: Cropped) -> Image.Image:
    cell = Image.new("RGB", (CELL, CELL + 20), _PAPER)
    picture = open_image(one.source)
    scale = (CELL - 8) / max(picture.size)
    small = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    left, top = (CELL - small.width) // 2, (CELL - small.height) // 2
    cell.paste(small, (left, top))
    draw = ImageDraw.Draw(cell)
    for number, record in enumerate(one.crops):
        color = _COLORS[number % len(_COLORS)]
        box = _within(record, one.source)
        edges = [round(value * scale) for value in box.as_tuple()]
        x0, y0, x1, y1 = left + edges[0], top + edges[1], left + edges[2] - 1, top + edges[3] - 1
        draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=color, width=2)
        name = record.origin[-1].split(" of ")[0].removeprefix("crop:")
        _label(draw, (x0 + 2, max(y0, y1 - 13)), name, color)
    draw.text((6, CELL + 4), _short(f"{one.source.image.name}: {len(one.crops) or one.why}"), fill=_INK)
    return cell


def _within(record: Record, source: Record) -> Box:
    """The crop's box in pixels of what the source shows."""
    assert record.crop is not None
    return record.crop.moved(-source.crop.left, -source.crop.top) if source.crop else record.crop


def _label(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, color: str) -> None:
    draw.rectangle(draw.textbbox(place, text), fill=color)
    draw.text(place, text, fill="white")


def _short(text: str, most: int = 40) -> str:
    # The default font has Latin letters only; other names would raise in some Pillow versions.
    plain = text.encode("latin-1", "replace").decode("latin-1")
    return plain if len(plain) <= most else plain[: most - 3] + "..."
