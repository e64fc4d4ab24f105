"""Charts of a dataset: its tags by frequency, and the sizes that its pictures are trained at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .contact import FAINT, INK, PAPER, RULE, WARN
from .lettering import Lettering
from .report import counted, listed_lines, tag_counts
from .values import Dataset, Size

_BAR, _SECOND = "#2f7fd6", "#b9cfe6"
_MARGIN = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketUse:
    """One size of training in pixels, and the pictures that are trained at it.

    `seen` counts repeats; `enlarged` are those that have to grow, the most by the factor `most_enlarged`; `cut_off` is
    the share of a scaled picture, on average, that lies outside the bucket.
    """

    size: Size
    pictures: int
    seen: int
    enlarged: int
    most_enlarged: float
    cut_off: float


def tag_chart(dataset: Dataset, lettering: Lettering, *, most: int, width: int = 720) -> Image.Image:
    """Bars of the most frequent tags, with the number and share of the pictures that have them, as an RGB picture."""
    counts = sorted(tag_counts(dataset).items(), key=lambda item: (-item[1], item[0]))
    shown, step = counts[:most], lettering.height + 6
    chart = Image.new("RGB", (width, 2 * _MARGIN + step * (len(shown) + 2)), PAPER)
    pen = ImageDraw.Draw(chart)
    title = f"{counted(len(counts), 'tag')} in {counted(len(dataset), 'picture')}"
    lettering.draw(pen, (_MARGIN, _MARGIN), title, INK)
    names, numbers = round(width * 0.36), lettering.width("0000 (100 %)") + 8
    room = width - 2 * _MARGIN - names - numbers
    for row, (tag, count) in enumerate(shown):
        y = _MARGIN + step * (row + 1)
        [label] = lettering.wrap(tag, names - 8, 1) or [""]
        lettering.draw(pen, (_MARGIN + names - 8 - lettering.width(label), y), label, INK)
        x, long = _MARGIN + names, max(2, round(room * count / len(dataset)))
        # The frame is the whole dataset: a full bar stands in every caption.
        pen.rectangle((x, y + 2, x + room, y + lettering.height), outline=RULE)
        pen.rectangle((x, y + 2, x + long, y + lettering.height), fill=_BAR)
        share = f"{count} ({100 * count / len(dataset):.0f} %)"
        lettering.draw(pen, (x + room + 8, y), share, INK)
    if len(counts) > most:
        y = _MARGIN + step * (len(shown) + 1)
        lettering.draw(pen, (_MARGIN, y), f"and {len(counts) - most} rarer tags", FAINT)
    return chart


def bucket_chart(uses: Sequence[BucketUse], lettering: Lettering, *, batch: int, columns: int = 5) -> Image.Image:
    """Each bucket's shape to scale, with its pictures; an RGB picture.

    Buckets that do not fill one batch, and pictures that have to grow, are marked.
    """
    cell, text = 150, 3 * lettering.height
    columns = max(1, min(columns, len(uses)))
    rows = -(-len(uses) // columns)
    width = max(_MARGIN + columns * (cell + _MARGIN), 480)
    chart = Image.new("RGB", (width, 2 * _MARGIN + lettering.height + rows * (cell + text + _MARGIN)), PAPER)
    pen = ImageDraw.Draw(chart)
    lettering.draw(pen, (_MARGIN, _MARGIN // 2), bucket_line(uses), INK)
    longest = max((max(use.size) for use in uses), default=1)
    most = max((use.seen for use in uses), default=1)
    for place, use in enumerate(uses):
        left = _MARGIN + place % columns * (cell + _MARGIN)
        top = _MARGIN + lettering.height + _MARGIN // 2 + place // columns * (cell + text + _MARGIN)
        wide, high = (max(2, round(side * cell / longest)) for side in use.size)
        x, y = left + (cell - wide) // 2, top + cell - high
        # The fuller, the higher the colour stands.
        level = y + high - max(1, round(high * use.seen / most))
        pen.rectangle((x, y, x + wide - 1, y + high - 1), fill=_SECOND, outline=FAINT)
        pen.rectangle((x, level, x + wide - 1, y + high - 1), fill=_BAR)
        for number, (line, color) in enumerate(_bucket_words(use, batch)):
            lettering.draw(pen, (left, top + cell + number * lettering.height), line, color)
    return chart


def bucket_line(uses: Sequence[BucketUse]) -> str:
    """How many buckets, pictures and enlarged pictures, in one sentence."""
    pictures, enlarged = sum(use.pictures for use in uses), sum(use.enlarged for use in uses)
    return f"{counted(pictures, 'picture')} in {counted(len(uses), 'bucket')}, {enlarged} enlarged"


def bucket_table(uses: Sequence[BucketUse], batch: int) -> str:
    """The buckets in words, the fullest first."""
    if not uses:
        return ""
    lines = [
        f"{use.size[0]} x {use.size[1]}: {counted(use.pictures, 'picture')}, {use.seen} an epoch; "
        f"{100 * use.cut_off:.1f} % cut off"
        + (f"; {use.enlarged} enlarged, up to {use.most_enlarged:.2f} times" if use.enlarged else "")
        for use in sorted(uses, key=lambda use: (-use.seen, use.size))
    ]
    short = [use for use in uses if use.seen % batch]
    words = [listed_lines(f"Buckets: {bucket_line(uses)}", lines)]
    if batch > 1 and short:
        words.append(
            f"{counted(len(short), 'bucket')} of {len(uses)} end in a batch of fewer than {batch} pictures in every "
            "epoch."
        )
    return "\n".join(words)


def _bucket_words(use: BucketUse, batch: int) -> list[tuple[str, str]]:
    words = [(f"{use.size[0]} x {use.size[1]}", INK)]
    words.append((f"{counted(use.pictures, 'picture')}, {use.seen} an epoch", WARN if use.seen < batch else INK))
    if use.enlarged:
        words.append((f"{use.enlarged} enlarged {use.most_enlarged:.2f} x", WARN))
    else:
        words.append((f"{100 * use.cut_off:.1f} % cut off", FAINT))
    return words
