"""Debug pictures: sources with the boxes of their figures and crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .images import open_image
from .lettering import Lettering
from .split import Split, split_name
from .values import Box, Record
from .views import Cropped, crop_name

CELL = 256
"""Pixels of a cell's side."""
PAGE = 24
"""Pictures on one sheet."""
MOST_PAGES = 16
"""Sheets in all; further pictures are left out."""
_COLORS = ("#d94848", "#2f7fd6", "#3c9a4e", "#c58a00", "#8d4fc4", "#1f9d97")
_FOUND = "#8a8a8a"
_PAPER = "#f4f1ec"
_INK = "#3b3733"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    """One picture with named boxes in pixels of what it shows; `found` are what was seen in it, drawn thin and grey."""

    source: Record
    crops: tuple[tuple[str, Box], ...]
    found: tuple[tuple[str, Box], ...]
    words: str


def crop_sheets(done: Sequence[Cropped], columns: int = 4) -> list[Image.Image]:
    """RGB sheets of one size with the pictures, the figure, head, face and eyes found in each, and the views' boxes."""
    return _sheets([_of_crops(one) for one in done], columns)


def split_sheets(done: Sequence[Split], columns: int = 4) -> list[Image.Image]:
    """RGB sheets of one size with the pictures and the boxes of their figures, with number and side."""
    return _sheets([_of_split(one) for one in done], columns)


def _of_crops(one: Cropped) -> _Cell:
    figure = one.figure
    parts = {"figure": figure.box, "head": figure.head, "face": figure.face, "eyes": figure.eyes} if figure else {}
    return _Cell(
        source=one.source,
        crops=tuple((crop_name(record), _within(record, one.source)) for record in one.crops),
        found=tuple((name, box) for name, box in parts.items() if box is not None),
        words=f"{one.source.image.name}: {len(one.crops) or one.why}",
    )


def _of_split(one: Split) -> _Cell:
    return _Cell(
        source=one.source,
        crops=tuple((split_name(record), _within(record, one.source)) for record in one.figures),
        found=(),
        words=f"{one.source.image.name}: {len(one.figures) or one.why}",
    )


def _sheets(cells: Sequence[_Cell], columns: int) -> list[Image.Image]:
    shown = cells[: PAGE * MOST_PAGES]
    letters, columns = Lettering(10), max(1, min(columns, len(shown)))
    rows = max(1, -(-min(PAGE, len(shown)) // columns))
    sheets = []
    for start in range(0, max(1, len(shown)), PAGE):
        sheet = Image.new("RGB", (columns * CELL, rows * (CELL + 20)), _PAPER)
        for place, cell in enumerate(shown[start : start + PAGE]):
            sheet.paste(_painted(cell, letters), (place % columns * CELL, place // columns * (CELL + 20)))
        sheets.append(sheet)
    return sheets


def _painted(cell: _Cell, letters: Lettering) -> Image.Image:
    page = Image.new("RGB", (CELL, CELL + 20), _PAPER)
    picture = open_image(cell.source)
    scale = (CELL - 8) / max(picture.size)
    small = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    left, top = (CELL - small.width) // 2, (CELL - small.height) // 2
    page.paste(small, (left, top))
    draw = ImageDraw.Draw(page)

    def edges(box: Box) -> tuple[int, int, int, int]:
        x0, y0, x1, y1 = (round(value * scale) for value in box.as_tuple())
        return left + x0, top + y0, max(left + x0, left + x1 - 1), max(top + y0, top + y1 - 1)

    for _, box in cell.found:
        draw.rectangle(edges(box), outline=_FOUND, width=1)
    for number, (name, box) in enumerate(cell.crops):
        color = _COLORS[number % len(_COLORS)]
        x0, y0, x1, y1 = edges(box)
        draw.rectangle((x0, y0, x1, y1), outline=color, width=2)
        for line in letters.wrap(name, CELL / 2, 1):
            place = x0 + 2, max(y0, y1 - letters.height)
            draw.rectangle((*place, place[0] + letters.width(line), place[1] + letters.height - 1), fill=color)
            letters.draw(draw, place, line, "white")
    for line in letters.wrap(cell.words, CELL - 12, 1):
        letters.draw(draw, (6, CELL + 4), line, _INK)
    return page


def _within(record: Record, source: Record) -> Box:
    """The crop's box in pixels of what the source shows."""
    assert record.crop is not None
    return record.crop.moved(-source.crop.left, -source.crop.top) if source.crop else record.crop
