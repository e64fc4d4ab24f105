"""What a dataset holds, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .values import Dataset, Problem, Record

_MOST_TAGS = 40
_MOST_LINES = 30


def dataset_report(dataset: Dataset, problems: Sequence[Problem] = ()) -> str:
    """Counts, sizes (pixels), groups with their repeats, captions, tags by frequency, and problems."""
    parts = [_head(dataset)]
    if problems:
        lines = [str(problem) for problem in problems]
        parts.append(listed_lines(f"Problems ({len(problems)})", lines, most=None))
    if len(dataset):
        parts += [_groups(dataset), _own(dataset), _sizes(dataset), _captions(dataset), tag_table(dataset)]
    return "\n\n".join(part for part in parts if part)


def tag_counts(dataset: Dataset) -> Counter[str]:
    """In how many records each tag stands."""
    return Counter(tag for record in dataset for tag in record.tags)


def tag_table(dataset: Dataset) -> str:
    """The most frequent tags with their counts, in one paragraph; empty without tags."""
    counts = tag_counts(dataset)
    if not counts:
        return ""
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f", and {len(most) - _MOST_TAGS} more" if len(most) > _MOST_TAGS else ""
    listed = ", ".join(f"{tag} {count}" for tag, count in most[:_MOST_TAGS])
    return f"Tags ({len(counts)} different): {listed}{more}"


def counted(number: int, one: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def listed_lines(title: str, lines: Sequence[str], most: int | None = _MOST_LINES) -> str:
    """A title and its lines: the first `most` of them and how many more there are, or all of them for None."""
    more = [] if most is None or len(lines) <= most else [f"... and {len(lines) - most} more"]
    return "\n".join([f"{title}:", *(f"  {line}" for line in [*lines[:most], *more])])


def own_counts(dataset: Dataset) -> dict[tuple[str, ...], int]:
    """How many pictures have which settings of their own, in order of appearance."""
    return Counter(record.own for record in dataset if record.own)


def own_rows(dataset: Dataset) -> list[str]:
    """The same in words, a line for each."""
    return [f"{counted(count, 'picture')}: {', '.join(lines)}" for lines, count in own_counts(dataset).items()]


def _own(dataset: Dataset) -> str:
    rows = own_rows(dataset)
    return listed_lines("Settings of their own", rows) if rows else ""


def _head(dataset: Dataset) -> str:
    trigger = f", trigger {dataset.trigger!r}" if dataset.trigger else ""
    seen = dataset.images_per_epoch
    return (
        f"{counted(len(dataset), 'picture')} in {counted(len(dataset.groups()), 'group')}, {seen} in an epoch{trigger}"
    )


def _groups(dataset: Dataset) -> str:
    rows = Counter((record.group, record.repeats, record.is_reg) for record in dataset)
    lines = [
        f"{group or '(no name)'}: {count} x {repeats} = {count * repeats}{' (regularisation)' if reg else ''}"
        for (group, repeats, reg), count in rows.items()
    ]
    return listed_lines("Groups, pictures x repeats", lines)


def _sizes(dataset: Dataset) -> str:
    views = [record.view_size for record in dataset]
    smallest = min(dataset, key=lambda record: min(record.view_size))
    width, height = (round(sum(side) / len(views)) for side in zip(*views, strict=True))
    cropped = sum(record.crop is not None for record in dataset)
    crops = f"; {cropped} are crops" if cropped else ""
    small = f"{smallest.view_size[0]} x {smallest.view_size[1]} ({smallest.name})"
    return f"Sizes: {width} x {height} px on average; the smallest is {small}{crops}"


def _captions(dataset: Dataset) -> str:
    missing = [record for record in dataset if not record.caption]
    prose = sum(bool(record.prose) for record in dataset)
    tagged = len(dataset) - len(missing) - prose
    line = f"Captions: {tagged} of tags, {prose} of prose, {len(missing)} missing"
    names = [_where(record) for record in missing]
    return f"{line}\n{listed_lines('Without a caption', names, most=None)}" if missing else line


def _where(record: Record) -> str:
    return f"{record.group}/{record.name}" if record.group else record.name
