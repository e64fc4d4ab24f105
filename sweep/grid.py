"""A labelled picture of a sweep: columns across, prompts down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from ..dataset.contact import FAINT, INK, PAPER
from ..dataset.lettering import Lettering

_GAP = 4

Open = Callable[[], Image.Image]
"""Gives a cell's picture; a grid holds one open at a time."""


def labelled_grid(
    rows: Sequence[Sequence[Open]],
    column_labels: Sequence[str],
    row_labels: Sequence[str],
    *,
    title: str = "",
    most: int = 0,
    fonts: Sequence[Path] = (),
) -> Image.Image:
    """`rows[r][c]` open pictures of one size; a label stands above each column and left of each row, in any script.

    Cells whose longer side has more than `most` pixels are scaled down; 0 leaves all as they are.
    """
    first = _small(rows[0][0](), most)
    width, height = first.size
    size = max(11, min(28, min(width, height) // 10))
    lettering = Lettering(size, fonts)
    heads = [lettering.wrap(label, width - _GAP, 3) for label in column_labels]
    left = max(width, size * 8)
    above = lettering.height + _GAP if title else 0
    top = above + max(1, *(len(lines) for lines in heads)) * lettering.height + 2 * _GAP
    sheet = Image.new("RGB", (left + len(heads) * (width + _GAP), top + len(rows) * (height + _GAP)), PAPER)
    pen = ImageDraw.Draw(sheet)
    if title:
        lettering.draw(pen, (_GAP, _GAP), (lettering.wrap(title, sheet.width - 2 * _GAP, 1) or [""])[0], FAINT)
    for c, lines in enumerate(heads):
        middle = left + c * (width + _GAP) + width / 2
        # The last line stands on the picture.
        y = top - _GAP - len(lines) * lettering.height
        for line in lines:
            lettering.draw(pen, (middle - lettering.width(line) / 2, y), line, INK)
            y += lettering.height
    for r, (row, label) in enumerate(zip(rows, row_labels, strict=True)):
        y = top + r * (height + _GAP)
        for i, line in enumerate(lettering.wrap(label, left - 2 * _GAP, max(1, height // lettering.height))):
            lettering.draw(pen, (_GAP, y + i * lettering.height), line, INK)
        for c, opened in enumerate(row):
            picture = first if (r, c) == (0, 0) else _small(opened(), most)
            sheet.paste(picture, (left + c * (width + _GAP), y))
    return sheet


def _small(picture: Image.Image, most: int) -> Image.Image:
    longer = max(picture.size)
    if not most or longer <= most:
        return picture
    size = tuple(max(1, round(side * most / longer)) for side in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)
