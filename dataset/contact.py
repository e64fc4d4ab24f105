"""Contact sheets: pages of small pictures with their numbers, names and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .errors import BadImage
from .images import open_small
from .lettering import Lettering
from .settings import check_settings, setting
from .values import Progress, Record

PAPER, INK, FAINT, RULE, WARN = "#f4f1ec", "#3b3733", "#8a837b", "#d8d2c9", "#b03a2e"
_GAP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetOptions:
    """How a contact sheet is laid out."""

    columns: int = setting(6, "Pictures in a row.", low=1, high=20, step=1)
    rows: int = setting(5, "Rows of a page.", low=1, high=20, step=1)
    cell: int = setting(192, "Pixels of a picture's longer side on the sheet.", low=64, high=1024, step=16)
    caption_lines: int = setting(4, "Lines of caption under each picture.", low=0, high=40, step=1)
    first: int = setting(1, "Number of the first picture shown.", low=1, high=10**6, step=1)
    pages: int = setting(4, "Pages at the most; the report says what was left out.", low=1, high=50, step=1)

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def per_page(self) -> int:
        """Pictures on a page."""
        return self.columns * self.rows

    def shown(self, count: int) -> range:
        """Places of the pictures that the pages show, of so many there are."""
        start = min(self.first - 1, max(0, count - 1))
        return range(start, min(count, start + self.pages * self.per_page))


def contact_pages(
    records: Sequence[Record],
    keys: Sequence[str],
    options: SheetOptions,
    lettering: Lettering,
    progress: Progress,
) -> tuple[list[Image.Image], list[str]]:
    """RGB pages of one size, and the pictures that could not be opened; they have a cell that says so.

    `keys` are the records' names. A dataset without pictures gives one empty page.
    """
    places = options.shown(len(records))
    used = min(options.rows, max(1, -(-len(places) // options.columns)))
    size = _span(min(options.columns, max(1, len(places))), used, options, lettering)
    pages: list[Image.Image] = []
    problems: list[str] = []
    for done, place in enumerate(places):
        at = done % options.per_page
        if at == 0:
            pages.append(Image.new("RGB", size, PAPER))
        corner = _span(at % options.columns, at // options.columns, options, lettering)
        try:
            picture = open_small(records[place], options.cell)
        except BadImage as error:
            problems.append(str(error))
            picture = None
        _paint(pages[-1], corner, picture, records[place], f"{place + 1}  {keys[place]}", options, lettering)
        progress(done + 1, len(places))
    return pages or [Image.new("RGB", size, PAPER)], problems


def _text_height(options: SheetOptions, lettering: Lettering) -> int:
    # The name, the counts, the caption.
    return (2 + options.caption_lines) * lettering.height


def _span(columns: int, rows: int, options: SheetOptions, lettering: Lettering) -> tuple[int, int]:
    """Pixels that so many columns and rows take: a page's size, or where the next cell begins."""
    high = options.cell + _GAP + _text_height(options, lettering)
    return _GAP + columns * (options.cell + _GAP), _GAP + rows * (high + _GAP)


def _paint(
    page: Image.Image, corner: tuple[int, int], picture: Image.Image | None, record: Record, name: str,
    options: SheetOptions, lettering: Lettering,
) -> None:  # fmt: skip
    left, top = corner
    pen = ImageDraw.Draw(page)
    if picture is None:
        pen.rectangle((left, top, left + options.cell - 1, top + options.cell - 1), outline=WARN)
        lettering.draw(pen, (left + 6, top + 6), "cannot be read", WARN)
    else:
        # They stand on one line; a wide one has its room above.
        page.paste(picture, (left + (options.cell - picture.width) // 2, top + options.cell - picture.height))
    y = top + options.cell + _GAP // 2
    rows = [(line, INK) for line in lettering.wrap(name, options.cell, 1)]
    rows += [(line, FAINT) for line in lettering.wrap(_about(record), options.cell, 1)]
    if record.caption:
        rows += [(line, INK) for line in lettering.wrap(record.caption, options.cell, options.caption_lines)]
    elif options.caption_lines:
        rows.append(("no caption", WARN))
    for line, color in rows:
        lettering.draw(pen, (left, y), line, color)
        y += lettering.height


def _about(record: Record) -> str:
    width, height = record.view_size
    words = [f"{width} x {height}"]
    words += [f"{record.repeats} repeats"] if record.repeats != 1 else []
    words += [word for word, said in (("crop", record.crop), ("mask", record.mask), ("reg", record.is_reg)) if said]
    return ", ".join(words)
