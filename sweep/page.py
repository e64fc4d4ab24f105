"""The contact page: a sweep as one HTML file that needs nothing else, with zoom and what each cell was made from."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from PIL import Image

from ..trainer.files import whole
from ..trainer.values import Run
from .choose import Choice
from .judging import Verdict
from .page_text import SCRIPT, STYLE
from .report import HEADS, cells
from .values import Cell, Column, Grid, Row, base_label

_AS_IS = 300_000
"""Bytes up to which a cell goes into the page as it lies on disk; larger ones as JPEG."""


def write_page(
    file: Path,
    run: Run,
    grid: Grid,
    verdict: Verdict,
    choice: Choice,
    report: str,
    plot: Image.Image,
    settings: Mapping[str, Any],
) -> Path:
    """Write the page and return its file. Cells are read one by one. Raises `KilnError` when the disk refuses."""
    with whole(file) as partial, partial.open("w", encoding="utf-8") as out:
        title = html.escape(f"{run.name}: epoch sweep")
        out.write(f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n')
        out.write('<meta name="viewport" content="width=device-width, initial-scale=1">\n')
        out.write(f"<style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n")
        out.write(f'<p class="reason">{html.escape(choice.reason)}</p>\n')
        _write_scores(out, verdict, choice, plot)
        for base in grid.bases:
            if len(grid.bases) > 1:
                out.write(f"<h2>{html.escape(base_label(base))}</h2>\n")
            _write_grid(out, grid, base, verdict, choice)
        out.write(f"<h2>Report</h2><pre>{html.escape(report)}</pre>\n")
        listed = "\n".join(f"{name}: {value}" for name, value in settings.items())
        out.write(f"<details><summary>Settings</summary><pre>{html.escape(listed)}</pre></details>\n")
        out.write('<div id="zoom" hidden><img alt=""><pre></pre></div>\n')
        out.write(f"<script>{SCRIPT}</script></body></html>\n")
    return file


def about_cell(base: str, column: Column, row: Row, cell: Cell, verdict: Verdict, asked: int) -> dict[str, Any]:
    """What the page says of a cell, in plain values; `asked` is the row's number."""
    said: dict[str, Any] = {"base model": base_label(base), "column": column.label, "prompt": row.prompt}
    said["seed"] = row.seed
    if verdict.found:
        wanted, found = verdict.asked[asked], verdict.found[cell]
        for name, tags in (("traits", wanted.traits), ("prompted", wanted.tags)):
            if tags:
                said[f"{name} found"] = ", ".join(sorted(tags & found)) or "none"
                said[f"{name} missing"] = ", ".join(sorted(tags - found)) or "none"
        if wanted.foreign & found:
            said["bleeds"] = ", ".join(sorted(wanted.foreign & found))
    if cell in verdict.nearest:
        similarity, name = verdict.nearest[cell]
        said["nearest training picture"] = f"{name} ({similarity:.3f})"
    if verdict.flawed.get(cell):
        said["spoiled"] = ", ".join(verdict.flawed[cell])
    return said


def _write_scores(out: TextIO, verdict: Verdict, choice: Choice, plot: Image.Image) -> None:
    out.write('<div class="scores"><table><tr>')
    out.write("".join(f"<th>{html.escape(head)}</th>" for head in HEADS[:-1]) + "</tr>\n")
    for column, one in verdict.marks.items():
        kind = "best" if column == choice.column else "front" if column in choice.front else ""
        values = "".join(f"<td>{value}</td>" for value in cells(one))
        out.write(f'<tr class="{kind}"><th>{html.escape(column.label)}</th>{values}</tr>\n')
    out.write("</table>")
    written = io.BytesIO()
    plot.save(written, "PNG")
    out.write(f'<img class="plot" alt="flexibility against trait recall" src="{_url("png", written.getvalue())}">')
    out.write("</div>\n")


def _write_grid(out: TextIO, grid: Grid, base: str, verdict: Verdict, choice: Choice) -> None:
    out.write('<div class="scroll"><table class="grid"><thead><tr><th></th>')
    for column in grid.columns:
        kind = ' class="best"' if column == choice.column else ""
        out.write(f"<th{kind}>{html.escape(column.label)}</th>")
    out.write("</tr></thead>\n")
    for number, row in enumerate(grid.rows):
        out.write(f'<tr><th title="{html.escape(row.prompt)}">{html.escape(row.label)}</th>')
        for column in grid.columns:
            cell = grid.cells[base, column, row]
            about = json.dumps(about_cell(base, column, row, cell, verdict, number), ensure_ascii=False)
            kind = ' class="spoiled"' if verdict.flawed.get(cell) else ""
            out.write(
                f'<td{kind}><img loading="lazy" tabindex="0" alt="{html.escape(column.label)}" '
                f'width="{cell.size[0]}" height="{cell.size[1]}" data-about="{html.escape(about)}" src="'
            )
            out.write(_picture(cell))
            out.write('"></td>')
        out.write("</tr>\n")
    out.write("</table></div>\n")


def _picture(cell: Cell) -> str:
    content = cell.file.read_bytes()
    if len(content) <= _AS_IS:
        return _url("png", content)
    written = io.BytesIO()
    with Image.open(cell.file) as picture:
        picture.convert("RGB").save(written, "JPEG", quality=92)
    return _url("jpeg", written.getvalue())


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
