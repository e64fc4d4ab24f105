"""A dataset at a glance: contact sheets, charts and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .charts import BucketUse, bucket_chart, bucket_table, tag_chart
from .contact import SheetOptions, contact_pages
from .keys import record_keys
from .lettering import Lettering
from .report import counted, dataset_report, listed_lines
from .values import Dataset, Progress

_SMALL, _LARGE = 11, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Sheets of one size, the tag chart, the bucket chart (all RGB), and everything in words."""

    sheets: tuple[Image.Image, ...]
    tags: Image.Image
    buckets: Image.Image
    report: str


def overview(
    dataset: Dataset,
    buckets: Sequence[BucketUse],
    options: SheetOptions,
    *,
    batch: int,
    most_tags: int,
    progress: Progress,
    fonts: Sequence[Path] = (),
) -> Overview:
    """Everything that a person looks at before training. `buckets` are what `trainer.bucket_use` found."""
    small, large = Lettering(_SMALL, fonts), Lettering(_LARGE, fonts)
    sheets, problems = contact_pages(dataset.records, record_keys(dataset), options, small, progress)
    tags, chart = tag_chart(dataset, large, most=most_tags), bucket_chart(buckets, small, batch=batch)
    parts = [dataset_report(dataset), bucket_table(buckets, batch)]
    if problems:
        parts.append(listed_lines(f"Could not be opened ({len(problems)})", problems))
    parts += [_left_out(len(dataset), options), _without_letters(small.missing | large.missing)]
    return Overview(sheets=tuple(sheets), tags=tags, buckets=chart, report="\n\n".join(filter(None, parts)))


def _left_out(count: int, options: SheetOptions) -> str:
    shown = options.shown(count)
    if len(shown) == count:
        return ""
    others = counted(count - len(shown), "other")
    return (
        f"The sheets show pictures {shown.start + 1} to {shown.stop} of {count}; {others} left out. Raise first or "
        "pages to see them."
    )


def _without_letters(missing: set[str]) -> str:
    if not missing:
        return ""
    some = " ".join(sorted(missing)[:20])
    return (
        f"No font here has {counted(len(missing), 'sign')} of the captions ({some}); boxes stand for them on the "
        "sheets. Install a font of that script (Noto Sans CJK has Chinese, Japanese and Korean), or put its file into "
        "models/kiln/fonts."
    )
