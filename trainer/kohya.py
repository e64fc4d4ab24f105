"""kohya's configuration files: kohya_ss GUI JSON, sd-scripts TOML, and the TOML of a dataset.

What they say becomes a recipe and folders of pictures; a report tells, key by key, what was taken and what was not.
`kohya_write.py` is the way back. What the keys mean is read off sd-scripts' sources, not its documents.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset.subsets import Subset
from ..dataset.toml_file import Check
from .errors import KilnError
from .kohya_dataset import read_dataset, read_extension, read_folders
from .kohya_gui import gui_sheet
from .kohya_settings import read_settings
from .kohya_sheet import Line, Sheet, report
from .kohya_values import shown
from .recipe import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TRAINING = (
    "network_module", "network_dim", "learning_rate", "unet_lr", "text_encoder_lr", "optimizer_type",
    "max_train_epochs", "max_train_steps",
)  # fmt: skip
"""A TOML with one of these says how to train; one with a dataset alone need not."""
_BLANK = re.compile(r'"(?:\\.|[^"\\])*"|:(?=\s*[,}])')


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a file says. `lines` has every key of the file once, `assumed` settings that none of them says."""

    recipe: Recipe
    subsets: tuple[Subset, ...]
    lines: tuple[Line, ...]
    assumed: tuple[str, ...]

    @property
    def report(self) -> str:
        """The lines for people."""
        return report(self.lines, self.assumed)


def read_config(file: Path, dataset_file: Path | None = None, check: Check | None = None) -> Reading:
    """Read a configuration, and the dataset's TOML that is given or that the configuration names.

    `file` may be a dataset's TOML itself; then the recipe has our defaults but for what the dataset says. Folders that
    are not there give no subset and a line in the report. `check` is asked before a file that it names is read.
    Raises `KilnError` for a file that cannot be read, with what, where and the mend, and for values that are no such
    values.
    """
    check = check or (lambda path: None)
    values, is_json = _parsed(file)
    parts: list[str] = [key for key in ("general", "datasets") if key in values] if "datasets" in values else []
    inner = {key: values.pop(key) for key in parts}
    if inner and dataset_file:
        raise KilnError(
            f"{file} has [[datasets]] of its own; leave dataset_file ({dataset_file}) empty, or take them out."
        )
    if is_json and not inner:
        sheet = gui_sheet(values, str(file))
    else:
        sheet = _toml_sheet(values, str(file), with_dataset=bool(inner))
    _take_prompts(sheet, file.parent, check)
    read_extension(sheet)
    if inner:
        sheet.drop("dataset_config", "the file has its own [[datasets]]")
        subsets = _dataset(sheet, inner, file)
    else:
        subsets = _named_dataset(sheet, file.parent, dataset_file, check)
    recipe = read_settings(sheet)
    lines = sheet.lines()
    if not any(line.verdict == "applied" for line in lines):
        raise KilnError(f"{file} has none of kohya's settings; give a kohya_ss JSON or an sd-scripts TOML.")
    assumed = tuple(f"{name} = {shown(value)}" for name, value in sheet.assumed.items())
    return Reading(recipe=recipe, subsets=subsets, lines=lines, assumed=assumed)


def _named_dataset(sheet: Sheet, root: Path, dataset_file: Path | None, check: Check) -> tuple[Subset, ...]:
    """The subsets of the dataset's TOML, given or named, else of the folders that the configuration names."""
    name = "dataset_config"
    if dataset_file is not None:
        sheet.drop(name, f"{dataset_file.name} is given")
    elif sheet.has(name):
        dataset_file = root / Path(sheet.text(name)).expanduser()
        check(dataset_file)
        if not dataset_file.is_file():
            sheet.say(
                name, "unsupported", "there is no such file here; give it as dataset_file, or wire in Load Dataset"
            )
            dataset_file = None
        else:
            sheet.say(name, "applied", "its keys are listed after these")
    if dataset_file is None:
        return read_folders(sheet, root)
    values, _ = _parsed(dataset_file)
    if "datasets" not in values:
        raise KilnError(f"{dataset_file} has no [[datasets]]; give the TOML that sd-scripts takes as --dataset_config.")
    return _dataset(sheet, values, dataset_file)


def _dataset(sheet: Sheet, values: dict[str, Any], file: Path) -> tuple[Subset, ...]:
    for folder in ("train_data_dir", "reg_data_dir"):
        sheet.drop(folder, "the dataset's TOML names the folders")
    return read_dataset(sheet, values, file.parent, str(file))


def _toml_sheet(values: dict[str, Any], file: str, *, with_dataset: bool) -> Sheet:
    """The sheet of a TOML, whose sections only order it: sd-scripts puts all keys together, the last one counts."""
    rows = [
        (section, key, value)
        for section, content in values.items()
        for key, value in (content.items() if isinstance(content, dict) else [(section, content)])
    ]
    trains = not with_dataset or any(key in _TRAINING for _, key, _ in rows)
    sheet = Sheet(file, "sd-scripts" if trains else "dataset")
    for section, key, value in rows:
        sheet.put(key, f"{section}.{key}" if sheet.knows(key) else key, value)
    return sheet


def _take_prompts(sheet: Sheet, root: Path, check: Check) -> None:
    """The prompts of the file that sd-scripts paints previews from; the GUI's own stand in its JSON."""
    name = "sample_prompts"
    if not sheet.has(name):
        return
    file = root / Path(sheet.text(name)).expanduser()
    check(file)
    if file.suffix.lower() != ".txt" or not file.is_file():
        words = "there is no such file here" if not file.is_file() else "prompts are read from .txt only"
        sheet.say(name, "unsupported", f"{words}; write them into the recipe's sample_prompts")
    else:
        sheet.put("sample_text", name, _text(file))


def _parsed(file: Path) -> tuple[dict[str, Any], bool]:
    """The file's content, and whether it is JSON: what starts with a brace is."""
    text = _text(file)
    if text.lstrip().startswith("{"):
        return _json(text, file), True
    try:
        return tomllib.loads(text), False
    except tomllib.TOMLDecodeError as error:
        raise KilnError(
            f"{file} is no TOML that can be read: {error}. Mend that line; write paths in 'single quotes'."
        ) from error


def _json(text: str, file: Path) -> dict[str, Any]:
    """JSON, also one from which somebody has cut values: `"output_dir": ,` is read as blank."""
    # A colon that a comma or brace follows has lost its value; strings are stepped over whole.
    whole = _BLANK.sub(lambda found: ': ""' if found[0] == ":" else found[0], text)
    try:
        values = json.loads(whole)
    except json.JSONDecodeError as error:
        raise KilnError(
            f"{file} is no JSON that can be read: {error.msg} in line {error.lineno}, column {error.colno}. "
            "Mend that line; a backslash is written twice, and the last entry has no comma."
        ) from error
    if not isinstance(values, dict):
        raise KilnError(f"{file} holds {type(values).__name__}, not settings by name; give a kohya_ss JSON.")
    return values


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise KilnError(f"{file} cannot be read: {error}. Give the path of a UTF-8 text file.") from error
