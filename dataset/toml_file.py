"""sd-scripts' dataset files: tables of folders, read with the captions and masks that they name, and written."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .content import content_mark
from .errors import DatasetError, EmptyFolder
from .load import LoadOptions
from .metadata import MANIFEST, SAVED, saved_order, saved_triggers
from .subsets import Subset, load_subsets, subsets_mark
from .values import Dataset, Problem, Progress

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OF_DATASETS = (
    "batch_size", "resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps",
    "bucket_no_upscale", "validation_split", "validation_seed", "network_multiplier",
)  # fmt: skip
OF_SUBSETS = (
    "shuffle_caption", "keep_tokens", "keep_tokens_separator", "caption_dropout_rate", "caption_tag_dropout_rate",
    "flip_aug", "color_aug", "random_crop", "caption_dropout_every_n_epochs", "caption_separator",
    "secondary_separator", "enable_wildcard", "face_crop_aug_range", "token_warmup_min", "token_warmup_step",
    "resize_interpolation", "custom_attributes", "cache_info",
)  # fmt: skip
OF_FOLDERS = ("num_repeats", "caption_extension", "class_tokens", "caption_prefix", "caption_suffix")
OF_ONE_FOLDER = ("image_dir", "is_reg", "conditioning_data_dir", "alpha_mask", "metadata_file")

Check = Callable[[Path], object]
"""Raises ValueError for a path that may not be read; asked before anything looks whether the path is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One table of the file, with the key that its settings are reported under."""

    path: str
    values: Mapping[str, Any]


Chain = tuple[Level, Level, Level]
"""A subset, its dataset and [general]: where a value is looked for, in this order."""


def load_toml(
    file: Path, options: LoadOptions | None = None, progress: Progress | None = None, check: Check | None = None
) -> tuple[Dataset, tuple[Problem, ...]]:
    """The dataset that a TOML describes, and what went wrong; a file of *Save Dataset* gives its records back.

    `check` is asked before anything is read that the file names. Raises DatasetError for a file that cannot be read
    or understood, EmptyFolder when no picture is found.
    """
    file = file.expanduser().resolve()
    subsets, problems = read_toml(file, check)
    saved = file.parent / SAVED
    further = [saved] if saved.is_file() else []
    dataset, wrong = load_subsets(subsets, options, progress, further=further)
    problems += wrong
    if options and options.on_problem == "stop" and (serious := [one for one in problems if not one.minor]):
        raise DatasetError(f"{serious[0]} ({len(serious)} problems in all; on_problem is stop)")
    if not len(dataset):
        first = f"; the first problem: {problems[0]}" if problems else ""
        raise EmptyFolder(f"{file}: no picture in the folders that it names{first}")
    order = saved_order(saved)
    records = sorted(dataset, key=lambda record: order.get(record.image, len(order)))
    trigger, words = saved_triggers(file.parent)
    return Dataset(records=tuple(records), trigger=trigger, words=words), tuple(problems)


def toml_fingerprint(file: Path, options: LoadOptions | None = None, check: Check | None = None) -> str:
    """Changes when the file, or a picture or caption of the folders that it names, does."""
    try:
        subsets, _ = read_toml(file, check)
        beside = [content_mark(path) for name in (SAVED, MANIFEST) if (path := file.parent / name).is_file()]
    except (OSError, ValueError) as error:
        return str(error)
    return "\n".join([repr(options), content_mark(file), *beside, subsets_mark(subsets, options)])


def read_toml(file: Path, check: Check | None = None) -> tuple[tuple[Subset, ...], list[Problem]]:
    """The subsets of a dataset's TOML, and what of it is not used. Raises DatasetError."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} cannot be read: {error}. Give the path of a UTF-8 text file") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DatasetError(f"{file} is no TOML that can be read: {error}. Write paths in 'single quotes'") from error
    found: dict[tuple[str, Path], Subset] = {}
    problems: list[Problem] = []
    for chain in chains(values, str(file)):
        subset = _subset(chain, file, check or (lambda path: None), problems)
        if subset is None:
            continue
        if (chain[1].path, subset.folder) in found:
            what = f"{chain[0].path}: {subset.folder} stands there twice, and sd-scripts takes it once"
            problems.append(Problem(path=file, what=what, mend="Take one of them out, or raise num_repeats"))
        else:
            found[chain[1].path, subset.folder] = subset
    return tuple(found.values()), [*problems, *_not_used(values, file)]


def chains(values: Mapping[str, Any], file: str) -> list[Chain]:
    """Every subset with the tables behind it; those that regularise come last. DatasetError for another form."""
    general = Level(path="general", values=_table(values.get("general", {}), "general", file))
    found: list[Chain] = []
    for number, each in enumerate(_tables(values.get("datasets", []), "datasets", file), 1):
        path = f"datasets[{number}]"
        dataset = Level(path=path, values={key: value for key, value in each.items() if key != "subsets"})
        subsets = _tables(each.get("subsets", []), f"{path}.subsets", file)
        found += [
            (Level(path=f"{path}.subsets[{i}]", values=one), dataset, general) for i, one in enumerate(subsets, 1)
        ]
    if not found:
        raise DatasetError(f"{file}: there is no [[datasets.subsets]]; add one with image_dir and num_repeats.")
    # Pictures that are learned decide before those that only regularise.
    return sorted(found, key=lambda chain: is_on(chain[0].values.get("is_reg")))


def owner(chain: Chain, name: str) -> Level | None:
    """The nearest table that says a setting."""
    return next((level for level in chain if level.values.get(name) not in (None, "", "None", [])), None)


def is_on(value: Any) -> bool:
    """A switch as TOML and the GUI write it."""
    return value is True or value == 1 or (isinstance(value, str) and value.strip().lower() in ("true", "1", "yes"))


def dotted(extension: str) -> str:
    """The ending with its dot."""
    return extension if not extension or extension.startswith(".") else f".{extension}"


def find_folder(text: str, root: Path, check: Check | None = None) -> Path:
    """The folder that a file in `root` names: by its path or, where the whole was moved, by the path's end.

    No place is looked at that `check` refuses. Raises what it says of the path when no other place has the folder.
    """
    refused: ValueError | None = None
    try:
        named = find_path(text, root, check)
        if named.is_dir():
            return named.resolve()
    except ValueError as error:
        refused = error
    parts = [part for part in re.split(r"[\\/]+", text) if part not in ("", ".", "..")]
    for start in range(len(parts)):
        moved = root.joinpath(*parts[start:])
        if _is_folder(moved, check):
            return moved.resolve()
    if refused:
        raise refused
    return named


def find_path(text: str, root: Path, check: Check | None = None) -> Path:
    """The absolute path that a file in `root` names, if `check` lets it be read. DatasetError for no path at all."""
    try:
        if check and text.startswith("~"):
            # Where only some folders are open, nobody learns which users the machine has.
            check(Path(text))
        named = Path(os.path.abspath(root / Path(text).expanduser()))  # noqa: PTH100 - resolve() asks the disk
        if check:
            check(named)
        named.exists()  # a name that is too long for the disk is found out here
    except (OSError, RuntimeError) as error:
        raise DatasetError(f"{text!r} cannot be looked for: {error}. Give the path of a folder or file") from error
    return named


def _is_folder(path: Path, check: Check | None) -> bool:
    """Whether a folder is there that may be read."""
    try:
        if check:
            check(path)
        return path.is_dir()
    except (OSError, RuntimeError, ValueError):
        return False


def toml(value: Any) -> str:
    """A value as TOML writes it: text in double quotes with escapes, lists in brackets."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(one) for one in value)}]"
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    escaped = (named.get(c) or (f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c) for c in str(value))
    return f'"{"".join(escaped)}"'


def write_toml(
    subsets: Sequence[Subset],
    *,
    masked_loss: bool = False,
    notes: Iterable[str] = (),
    own: Callable[[Subset], Mapping[str, Any]] = lambda subset: {},
) -> str:
    """The TOML for sd-scripts' `--dataset_config`: folders, repeats, and settings of the `own` of some folders.

    All other settings stand in the config. `masked_loss` lets pictures without a folder of masks be masked by their own
    alpha. `notes` become remarks.
    """
    lines = ["# Folders for sd-scripts, written by LoRA Kiln.", *(f"# {' '.join(note.split())}" for note in notes)]
    # sd-scripts wants masks for all subsets of a dataset or for none, and sizes are those of a dataset.
    tables: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for subset in sorted(subsets, key=lambda subset: subset.mask_folder is not None):
        settings = own(subset)
        sizes = _lines({key: value for key, value in settings.items() if key in OF_DATASETS})
        rows = _lines({**_rows(subset, masked_loss), **{k: v for k, v in settings.items() if k not in OF_DATASETS}})
        table = tables.setdefault((subset.mask_folder is not None, sizes), ["", "[[datasets]]", *sizes])
        table += ["", "[[datasets.subsets]]", *rows]
    return "\n".join([*lines, *(line for table in tables.values() for line in table), ""])


def _lines(rows: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{key} = {toml(value)}" for key, value in rows.items())


def _subset(chain: Chain, file: Path, check: Check, problems: list[Problem]) -> Subset | None:
    """The subset of a chain; None, and a problem, where its folder is not there."""
    mine, values = chain[0], {name: level.values[name] for name in OF_FOLDERS if (level := owner(chain, name))}
    repeats = values.get("num_repeats", 1)
    if isinstance(repeats, bool) or not str(repeats).isdecimal() or int(repeats) < 1:
        raise DatasetError(f"{file}: {mine.path}.num_repeats is {repeats!r}; write a whole number from 1.")
    text = str(mine.values.get("image_dir") or "").strip()
    folder = _named(text, file, check)
    if folder is None or not folder.is_dir():
        what = (
            f"{mine.path}.image_dir is {text!r}, and there is no such folder"
            if text
            else f"{mine.path} has no image_dir"
        )
        problems.append(Problem(path=file, what=what, mend="Mend the path; paths that are not absolute start here"))
        return None
    mask_folder = _named(str(mine.values.get("conditioning_data_dir") or "").strip(), file, check)
    if mask_folder and not mask_folder.is_dir():
        what = f"{mine.path}.conditioning_data_dir is {str(mask_folder)!r}, and there is no such folder"
        problems.append(Problem(path=file, what=what, mend="Mend the path, or take the line out"))
        mask_folder = None
    metadata = str(mine.values.get("metadata_file") or "").strip()
    metadata_file = find_path(metadata, file.parent, check).resolve() if metadata else None
    return Subset(
        folder=folder,
        repeats=int(repeats),
        is_reg=is_on(mine.values.get("is_reg")),
        caption_extension=dotted(str(values.get("caption_extension", ""))),
        class_tokens=str(values.get("class_tokens", "")),
        caption_prefix=str(values.get("caption_prefix", "")),
        caption_suffix=str(values.get("caption_suffix", "")),
        mask_folder=mask_folder,
        metadata_file=metadata_file,
    )


def _named(text: str, file: Path, check: Check) -> Path | None:
    """A folder that the file names, if it may be read; None for a blank."""
    if not text:
        return None
    if "\0" in text:
        raise DatasetError(f"{file}: {text!r} is no path; take the character 0 out")
    return find_folder(text, file.parent, check)


def _not_used(values: Mapping[str, Any], file: Path) -> list[Problem]:
    """Settings of training, which a dataset does not have, and keys that nobody knows."""
    keys = {key for chain in chains(values, str(file)) for level in chain for key in level.values}
    training = sorted(keys.intersection((*OF_DATASETS, *OF_SUBSETS, "alpha_mask")))
    unknown = sorted(keys.difference((*OF_DATASETS, *OF_SUBSETS, *OF_FOLDERS, *OF_ONE_FOLDER)))
    found = []
    if training:
        what = f"settings of the training are not read here: {', '.join(training)}"
        found.append(Problem(path=file, what=what, mend="Load Kohya Config takes them into a recipe", minor=True))
    if unknown:
        what = f"keys that are not known: {', '.join(unknown)}"
        found.append(Problem(path=file, what=what, mend="Look at their spelling"))
    return found


def _rows(subset: Subset, masked_loss: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"image_dir": str(subset.folder), "num_repeats": subset.repeats}
    if subset.is_reg:
        found["is_reg"] = True
    if subset.mask_folder:
        found["conditioning_data_dir"] = str(subset.mask_folder)
    elif masked_loss:
        found["alpha_mask"] = True
    if subset.metadata_file:
        found["metadata_file"] = str(subset.metadata_file)
    for name in ("caption_extension", "class_tokens", "caption_prefix", "caption_suffix"):
        if getattr(subset, name):
            found[name] = getattr(subset, name)
    return found


def _table(value: Any, name: str, file: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DatasetError(f"{file}: {name} is {value!r}; write it as a table, [{name}].")
    return value


def _tables(value: Any, name: str, file: str) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise DatasetError(f"{file}: {name} is {value!r}; write tables, [[{name}]].")
    return [_table(each, name, file) for each in value]
