"""Contact sheets of pictures that were made and judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import Tensor

from ..dataset.contact import SheetOptions, contact_pages
from ..dataset.keys import record_keys
from ..dataset.lettering import Lettering
from ..dataset.values import Dataset, Record
from ..host.paths import font_files
from ..host.progress import Progress
from .pictures import to_image

_SHEET = SheetOptions(columns=6, rows=5, cell=224, caption_lines=5, pages=12)


def sheet_note(shown: Sequence[object]) -> str:
    """For a report: that the sheets end before the pictures do; empty when they show all."""
    seen = len(_SHEET.shown(len(shown)))
    return "" if seen == len(shown) else f"\nThe sheets show the first {seen} of {len(shown)} pictures."


def sheet_images(shown: Sequence[tuple[Record, str]]) -> Tensor:
    """Pages as an IMAGE: each record with its name and what is said of it, 30 a page, 360 at the most."""
    keys = record_keys(Dataset(records=tuple(record for record, _ in shown)))
    told = [dataclasses.replace(record, prose=words) for record, words in shown]
    pages, _ = contact_pages(told, keys, _SHEET, Lettering(12, font_files()), Progress(len(told)))
    return to_image(*pages)
