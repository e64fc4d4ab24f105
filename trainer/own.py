"""Settings of a recipe that are otherwise for some pictures: `Record.own` has them as `keep_tokens=2`, one an entry."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..dataset.keys import fits
from ..dataset.report import counted, own_rows
from ..dataset.settings import setting
from ..dataset.values import Dataset, Record, Size
from .buckets import assign, bucket_sizes
from .errors import KilnError
from .groups import Buckets
from .recipe import Recipe, group_of, groups

OF_PICTURES = (
    "shuffle_caption", "keep_tokens", "keep_tokens_separator", "caption_separator", "secondary_separator",
    "enable_wildcard", "caption_dropout", "caption_dropout_every_n_epochs", "tag_dropout", "token_warmup",
    "token_warmup_min", "resolution", "enable_bucket", "bucket_step", "min_bucket", "max_bucket", "bucket_no_upscale",
    "flip_aug", "random_crop", "color_aug",
)  # fmt: skip
"""Settings that a picture can have for itself: how its caption is read, and how it is sized and varied."""


def recipe_for(recipe: Recipe, record: Record) -> Recipe:
    """The recipe as it holds for one picture. Raises `KilnError` naming the picture and the setting."""
    if not record.own:
        return recipe
    with _named(record):
        return _with_own(recipe, record.own)


def buckets_for(settings: Buckets, record: Record) -> Buckets:
    """The settings of sizes as they hold for one picture."""
    return recipe_for(Recipe(buckets=settings), record).buckets if record.own else settings


def bucket_for(settings: Buckets, record: Record) -> Size:
    """The size in pixels that a picture is trained at, by its own settings and these."""
    own = buckets_for(settings, record)
    return assign(record.view_size, own, bucket_sizes(own))


def parse_own(lines: Iterable[str]) -> dict[str, Any]:
    """Names and values of lines such as `flip_aug = true`, each checked against the recipe's limits.

    Raises `KilnError` with the line, and what would do.
    """
    found: dict[str, Any] = {}
    for line in lines:
        name, equals, text = (part.strip() for part in line.partition("="))
        if not equals or name not in OF_PICTURES:
            raise KilnError(f"{line.strip()!r} is no setting of single pictures; write name = value, with one of "
                            f"{', '.join(OF_PICTURES)}.")  # fmt: skip
        found[name] = _value(name, text, line)
    try:
        Recipe().with_settings(**{**_ROOM, **found})
    except ValueError as error:
        raise KilnError(f"{error}.") from error
    return found


def own_lines(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Values as `Record.own` holds them; `parse_own` reads them again."""
    return tuple(
        f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in sorted(values.items())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOptions:
    """Which pictures get which settings."""

    settings: tuple[str, ...] = setting(
        (), "Settings that are otherwise for these pictures, name = value, one a line: keep_tokens = 2, flip_aug = "
        "true, resolution = 768. All others stay the recipe's. Empty: takes what they have away.",
        split="lines",
    )  # fmt: skip
    groups: tuple[str, ...] = setting(
        (), "Names of the groups that get them, one a line, * for any text. Empty: all.", split="lines"
    )


def with_own(dataset: Dataset, options: OwnOptions) -> tuple[Dataset, str]:
    """The dataset with settings beside those that pictures have, and in place of the same ones; and who has what.

    Raises `KilnError` for settings that single pictures cannot have, and for groups that the dataset has not.
    """
    mine = parse_own(options.settings)
    chosen = [not options.groups or any(fits(record.group, name) for name in options.groups) for record in dataset]
    if not any(chosen):
        names = ", ".join(sorted({record.group or "(no name)" for record in dataset}))
        raise KilnError(f"groups is {', '.join(options.groups) or 'empty'}; the dataset has {names or 'no pictures'}.")
    records = [
        dataclasses.replace(record, own=own_lines({**_own_of(record), **mine}) if mine else ()) if taken else record
        for record, taken in zip(dataset, chosen, strict=True)
    ]
    found = dataset.replace_records(records)
    rows = own_rows(found)
    if plain := sum(not record.own for record in found):
        rows.append(f"{counted(plain, 'picture')}: the recipe's settings alone")
    return found, "\n".join(rows)


# A lonely min_bucket is not wrong by itself, whatever max_bucket is by default.
_ROOM: Mapping[str, Any] = {"min_bucket": 8, "max_bucket": 8192}


@contextlib.contextmanager
def _named(record: Record) -> Iterator[None]:
    """Errors name the picture whose settings they are about."""
    try:
        yield
    except ValueError as error:
        raise KilnError(f"{record.name} has settings of its own: {error}") from error


def _own_of(record: Record) -> dict[str, Any]:
    with _named(record):
        return parse_own(record.own)


@functools.lru_cache(maxsize=256)
def _with_own(recipe: Recipe, lines: tuple[str, ...]) -> Recipe:
    return recipe.with_settings(**parse_own(lines))


def _value(name: str, text: str, line: str) -> Any:
    default = getattr(groups()[group_of()[name]](), name)
    if isinstance(default, bool):
        found = {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
        if found is None:
            raise KilnError(f"{line.strip()!r}: write {name} = true or {name} = false.")
        return found
    try:
        return type(default)(text)
    except ValueError as error:
        what = "a whole number" if isinstance(default, int) else "a number"
        raise KilnError(f"{line.strip()!r}: {name} is {what}, such as {name} = {default}.") from error
