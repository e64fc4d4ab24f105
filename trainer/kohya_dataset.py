"""kohya's datasets: folders with repeats, and the settings that stand beside them.

sd-scripts looks for a setting in the subset, then in its dataset, in [general], and in the training settings. The
recipe has that of the first subset that trains. Pictures of the others have theirs as settings of their own, where
pictures can have them; what is left is told.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..dataset.errors import DatasetError
from ..dataset.subsets import Subset
from ..dataset.toml_file import (
    OF_DATASETS,
    OF_FOLDERS,
    OF_ONE_FOLDER,
    OF_SUBSETS,
    Chain,
    Level,
    chains,
    dotted,
    find_folder,
    owner,
)
from .errors import KilnError
from .kohya_keys import OF_PICTURES_THERE
from .kohya_settings import read_settings
from .kohya_sheet import Cell, Sheet, as_flag, is_blank
from .own import OF_PICTURES, own_lines

_RENAMED = {"batch_size": "train_batch_size"}
# What a subset, or its dataset, can have for its own pictures.
_OWN = tuple(name for name in (*OF_DATASETS, *OF_SUBSETS) if name in OF_PICTURES_THERE)


def read_folders(sheet: Sheet, root: Path) -> tuple[Subset, ...]:
    """The subsets of `train_data_dir` and `reg_data_dir`: their folders N_name, as sd-scripts takes them.

    A folder that is blank or not there gives none, and a line that says so. `root` is what paths are relative to.
    """
    found: list[Subset] = []
    for name, is_reg in (("train_data_dir", False), ("reg_data_dir", True)):
        if not sheet.has(name):
            words = "no regularisation pictures" if is_reg else "no pictures are named; wire in Load Dataset"
            sheet.say(name, "default", words)
            continue
        folder = _path(sheet.text(name), root)
        described = sheet.text("in_json") if not is_reg else ""
        subsets = _described(sheet, folder, _path(described, root)) if described else []
        subsets = subsets or _numbered(sheet, folder, is_reg=is_reg)
        if subsets:
            sheet.say(name, "applied", ", ".join(one.folder.name for one in subsets))
        elif folder.is_dir():
            sheet.say(name, "unsupported", "it holds no folders named N_name, where kohya looks; use Load Dataset")
        else:
            sheet.say(name, "unsupported", "there is no such folder here; wire in Load Dataset")
        found += subsets
    return tuple(found)


def read_dataset(sheet: Sheet, values: Mapping[str, Any], root: Path, file: str) -> tuple[Subset, ...]:
    """The subsets of a dataset's TOML; the settings that a recipe holds are put into the sheet.

    Paths are relative to `root`. Raises `KilnError` for tables of another form.
    """
    try:
        found = chains(values, file)
    except DatasetError as error:
        raise KilnError(str(error)) from error
    before = {name: sheet.cell(_RENAMED.get(name, name)) for name in (*OF_DATASETS, *OF_SUBSETS)}
    for name in before:
        _decide(sheet, name, found, file)
    for chain in found:
        _masks(sheet, chain[0], file)
    subsets = _subsets(sheet, found, root, file, _own_settings(found, before, file))
    for level in {level.path: level for chain in found for level in chain}.values():
        for key, value in level.values.items():
            if not sheet.knows(f"{level.path}.{key}"):
                sheet.note(f"{level.path}.{key}", *_words(key), value)
    return subsets


def read_extension(sheet: Sheet) -> str:
    """The ending of caption files, with its dot; empty where none is said."""
    for name in ("caption_prefix", "caption_suffix"):
        sheet.say(
            name, "applied" if sheet.has(name) else "default", "with every caption" if sheet.has(name) else "blank"
        )
    for name in ("caption_extension", "caption_extention"):
        if sheet.has(name):
            extension = dotted(sheet.text(name))
            sheet.say(name, "applied", f"captions end in {extension}")
            return extension
        sheet.say(name, "default", "blank: captions end in .txt or .caption")
    return ""


def _described(sheet: Sheet, folder: Path, file: Path) -> list[Subset]:
    """The pictures of a folder that kohya's metadata JSON describes."""
    if not folder.is_dir() or not file.is_file():
        sheet.say("in_json", "unsupported", "there is no such file or folder here; wire in Load Dataset")
        return []
    repeats = max(1, sheet.whole("dataset_repeats", 1))
    sheet.say("in_json", "applied", "it describes the pictures of train_data_dir")
    sheet.say("dataset_repeats", "applied", f"{repeats} repeats")
    return [Subset(folder=folder, repeats=repeats, metadata_file=file, own=())]


def _numbered(sheet: Sheet, folder: Path, *, is_reg: bool) -> list[Subset]:
    inner = sorted(folder.iterdir()) if folder.is_dir() else []
    named = [(one, re.fullmatch(r"(\d+)(?:_(.*))?", one.name)) for one in inner if one.is_dir()]
    return [
        Subset(
            folder=one.resolve(),
            repeats=int(match[1]),
            is_reg=is_reg,
            class_tokens=match[2] or "",
            caption_extension=read_extension(sheet),
            caption_prefix=sheet.text("caption_prefix"),
            caption_suffix=sheet.text("caption_suffix"),
            own=(),
        )
        for one, match in named
        if match and int(match[1])
    ]


def _decide(sheet: Sheet, name: str, found: Sequence[Chain], file: str) -> None:
    """Put the first subset's value into the sheet, and a line for every other place that has one."""
    deciding = [owner(chain, name) for chain in found]
    first = deciding[0]
    for path, level in {level.path: level for chain in found for level in chain if name in level.values}.items():
        value, key = level.values[name], f"{path}.{name}"
        if level is first:
            sheet.put(_RENAMED.get(name, name), key, value, file)
        elif not any(level is one for one in deciding):
            sheet.note(key, "default", "blank" if is_blank(value) else "no subset comes to it", value)
        elif first is not None and _plain(value) == _plain(first.values[name]):
            sheet.note(key, "applied", f"as in {first.path}", value)
        elif name in _OWN:
            sheet.note(key, "applied", "for its own pictures", value)
        else:
            words = f"that of {first.path}" if first else f"and {found[0][0].path} has none"
            sheet.note(key, "unsupported", f"a recipe has one value for all, {words}", value)


def _masks(sheet: Sheet, subset: Level, file: str) -> None:
    """Masks of pictures turn masked loss on for all: a picture without one counts whole."""
    for name in ("conditioning_data_dir", "alpha_mask"):
        value, key = subset.values.get(name), f"{subset.path}.{name}"
        if is_blank(value) or as_flag(value) is False:
            continue
        on = sheet.flag("masked_loss")
        sheet.note(key, "applied", "masked_loss = true", value)
        if not on:
            sheet.put("masked_loss", key, True, file)


def _own_settings(found: Sequence[Chain], before: Mapping[str, Cell | None], file: str) -> list[tuple[str, ...]]:
    """What of each subset's settings is otherwise than the first one's, which is the recipe's.

    `before` is what the training settings say, for where no table of the dataset says it.
    """
    recipes = []
    for chain in found:
        sheet = Sheet(file, "dataset")
        for name in _OWN:
            level = owner(chain, name)
            if level is not None:
                sheet.put(name, f"{level.path}.{name}", level.values[name])
            elif (cell := before[name]) and not is_blank(cell.value):
                sheet.put(name, cell.key, cell.value, cell.file)
        recipes.append(read_settings(sheet))
    differences = [recipes[0].differences(each) for each in recipes]
    return [own_lines({name: pair[1] for name, pair in each.items() if name in OF_PICTURES}) for each in differences]


def _subsets(
    sheet: Sheet, all_chains: Sequence[Chain], root: Path, file: str, own: Sequence[tuple[str, ...]]
) -> tuple[Subset, ...]:
    found: dict[tuple[str, Path], Subset] = {}
    for chain, mine in zip(all_chains, own, strict=True):
        subset, dataset, _ = chain
        text = str(subset.values.get("image_dir") or "").strip()
        key, folder = f"{subset.path}.image_dir", find_folder(text, root)
        if not text or not folder.is_dir():
            words = "there is no such folder here" if text else "blank"
            sheet.note(key, "unsupported", f"{words}; wire in Load Dataset", text)
        elif (dataset.path, folder) in found:
            sheet.note(key, "default", "sd-scripts takes a folder once in a dataset", text)
        else:
            made = dataclasses.replace(_subset(sheet, chain, folder, root, file), own=mine)
            found[dataset.path, folder] = made
            sheet.note(key, "applied", f"{made.repeats} repeats", text)
    return tuple(found.values())


def _subset(sheet: Sheet, chain: Chain, folder: Path, root: Path, file: str) -> Subset:
    mine = chain[0]
    values = {name: level.values[name] if (level := owner(chain, name)) else sheet.text(name) for name in OF_FOLDERS}
    repeats = values["num_repeats"]
    if repeats == "":
        repeats = max(1, sheet.whole("dataset_repeats", 1))
        sheet.say("dataset_repeats", "applied", f"{repeats} repeats where a subset says none")
    if not str(repeats).isdecimal() or int(repeats) < 1:
        raise KilnError(f"{file}: {mine.path}.num_repeats is {repeats!r}; write a whole number from 1.")
    masks, metadata = (str(mine.values.get(key) or "").strip() for key in ("conditioning_data_dir", "metadata_file"))
    mask_folder = find_folder(masks, root) if masks else None
    if mask_folder and not mask_folder.is_dir():
        sheet.note(f"{mine.path}.conditioning_data_dir", "unsupported", "there is no such folder here", masks)
        mask_folder = None
    return Subset(
        folder=folder,
        repeats=int(repeats),
        is_reg=as_flag(mine.values.get("is_reg")) is True,
        caption_extension=dotted(str(values["caption_extension"])) or read_extension(sheet),
        class_tokens=str(values["class_tokens"]),
        caption_prefix=str(values["caption_prefix"]),
        caption_suffix=str(values["caption_suffix"]),
        mask_folder=mask_folder,
        metadata_file=_path(metadata, root) if metadata else None,
    )


def _words(key: str) -> tuple[str, str]:
    """Verdict and words for a key that only a folder of pictures has, or that nobody knows."""
    if key in (*OF_FOLDERS, *OF_ONE_FOLDER):
        return "applied", "of these pictures"
    return "unsupported", "no setting of a dataset that is known here; is it spelled right?"


def _plain(value: Any) -> tuple[str, ...]:
    """A value for comparing: 512, "512,512" and [512, 512] are one."""
    return tuple(dict.fromkeys(re.findall(r"[^\s,\[\]]+", str(value))))


def _path(text: str, root: Path) -> Path:
    return (root / Path(text).expanduser()).resolve()
