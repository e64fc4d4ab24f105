"""A labelled picture of a sweep: columns across, prompts down."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_PAPER, _INK = (250, 250, 248), (40, 40, 44)
_GAP = 4


def labelled_grid(
    rows: Sequence[Sequence[Image.Image]], column_labels: Sequence[str], row_labels: Sequence[str]
) -> Image.Image:
    """`rows[r][c]` are pictures of one size; a label stands above each column and left of each row."""
    width, height = rows[0][0].size
    size = max(11, min(width, height) // 10)
    font = ImageFont.load_default(size)
    top, left = round(size * 1.8), max(width, size * 8)
    sheet = Image.new("RGB", (left + len(column_labels) * (width + _GAP), top + len(rows) * (height + _GAP)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for c, label in enumerate(column_labels):
        lines = _wrapped(label, font, width)
        pen.text((left + c * (width + _GAP) + width / 2, top / 2), lines[0], fill=_INK, font=font, anchor="mm")
    for r, (row, label) in enumerate(zip(rows, row_labels, strict=True)):
        y = top + r * (height + _GAP)
        fitting = _wrapped(label, font, left - 2 * _GAP)[: max(1, height // round(size * 1.25))]
        pen.multiline_text((_GAP, y), "\n".join(fitting), fill=_INK, font=font, spacing=round(size * 0.2))
        for c, picture in enumerate(row):
            sheet.paste(picture, (left + c * (width + _GAP), y))
    return sheet


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]
