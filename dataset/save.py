"""A dataset as a folder that other trainers read, and that *Load Dataset* reads back without a loss.

Two layouts: folders as kohya's scripts want them, with their TOML, or one folder with a JSON line for each picture.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import DatasetError
from .images import has_alpha, open_mask, open_whole
from .layout import FLAT, KOHYA, Item, lay_out
from .metadata import MANIFEST, SAVED, TOML, Saved, saved_line
from .names import parts_of
from .report import counted
from .settings import check_settings, setting
from .sidecars import Words, parse_json
from .subsets import Subset
from .toml_file import write_toml
from .values import Dataset, Progress

FORMAT = 1

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveOptions:
    """How a dataset is written."""

    name: str = setting("my_dataset", "The folder's name below output/kiln/datasets; rose/v2 makes folders in folders.")
    layout: str = setting(
        KOHYA,
        "kohya: folders such as 9_name with .txt captions, and a TOML. flat: all pictures together, captions as JSON "
        "lines.",
        choices=(KOHYA, FLAT),
    )
    when_there: str = setting(
        "replace own",
        "When the folder is there: replace own takes the place of what this node wrote and nobody changed; number "
        "writes name-2; stop ends. Other files are never overwritten.",
        choices=("replace own", "number", "stop"),
    )

    def __post_init__(self) -> None:
        check_settings(self)
        parts_of(self.name)


def save_dataset(
    dataset: Dataset, root: Path, options: SaveOptions | None = None, progress: Progress | None = None
) -> tuple[Path, str]:
    """Write the dataset below `root` and return its folder, with a report.

    Crops and EXIF turns are baked; pictures that need neither are copied byte by byte. The folder is whole or not
    there: it is written beside its place and moved. Raises DatasetError for a place that is taken and for a full
    disk, BadImage for a picture that cannot be read.
    """
    options = options or SaveOptions()
    if not len(dataset):
        raise DatasetError("The dataset is empty; wire in pictures before saving")
    target = root.resolve().joinpath(*parts_of(options.name))
    if options.when_there == "number":
        target = _free(target)
    _refuse(target, dataset, options)
    draft = _draft(target)
    try:
        written = _Writer(folder=draft, target=target, layout=options.layout).write(dataset, progress)
        same = _same(draft, target)
        if not same:
            _move(draft, target)
    except OSError as error:
        raise DatasetError(f"{target} cannot be written: {error}. Free space, or choose another name") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target, _report(target, written, options.layout, same)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Writes into `folder`, which is to be moved to `target`."""

    folder: Path
    target: Path
    layout: str

    def write(self, dataset: Dataset, progress: Progress | None) -> Sequence[Item]:
        """All files of the dataset; what was written."""
        items = list(lay_out(dataset, self.layout))
        lines = []
        for done, item in enumerate(items, 1):
            self._picture(item)
            text = item.record.caption
            if self.layout == KOHYA and text:
                caption = (self.folder / item.image).with_suffix(".txt")
                # kohya's scripts read the first line only.
                caption.write_bytes(" ".join(text.split()).encode("utf-8", "replace"))
            lines.append(_json(saved_line(item.image, text, _saved(item))))
            if progress:
                progress(done, len(items))
        (self.folder / SAVED).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        if self.layout == KOHYA:
            (self.folder / TOML).write_text(self._toml(items), encoding="utf-8", newline="\n")
        about = {
            "format": FORMAT, "layout": self.layout, "trigger": dataset.trigger, "words": list(dataset.words),
            "files": _digests(self.folder),
        }  # fmt: skip
        (self.folder / MANIFEST).write_text(json.dumps(about, indent=1), encoding="utf-8", newline="\n")
        return items

    def _picture(self, item: Item) -> None:
        path = self.folder / item.image
        path.parent.mkdir(parents=True, exist_ok=True)
        if item.baked:
            picture = open_whole(item.record)
            if picture.mode not in _PNG_MODES:
                picture = picture.convert("RGBA" if has_alpha(picture) else "RGB")
            # It is upright now; what it said of its orientation must not turn it again.
            picture.info.pop("exif", None)
            picture.save(path, "PNG")
        else:
            shutil.copyfile(item.record.image, path)
        mask = open_mask(item.record)
        if mask is not None:
            (self.folder / item.mask).parent.mkdir(parents=True, exist_ok=True)
            mask.save(self.folder / item.mask, "PNG")

    def _toml(self, items: Sequence[Item]) -> str:
        folders: dict[str, Item] = {}
        for item in items:
            folders.setdefault(item.image.rpartition("/")[0], item)
        subsets = [
            Subset(
                folder=self.target / name,
                repeats=item.record.repeats,
                is_reg=item.record.is_reg,
                caption_extension=".txt",
                mask_folder=(self.target / item.mask).parent if item.mask else None,
            )
            for name, item in folders.items()
        ]
        return write_toml(subsets)


def _saved(item: Item) -> Saved:
    record = item.record
    return Saved(
        words=Words(tags=record.tags, prose=record.prose),
        repeats=record.repeats,
        group=record.group,
        is_reg=record.is_reg,
        weight=record.weight,
        origin=record.origin,
        pruned=record.pruned,
        given=record.given,
        background=record.background,
        mask=item.mask,
        own=record.own,
    )


def _json(value: Any) -> str:
    """One line of JSON, readable where UTF-8 can hold it."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def _digests(folder: Path) -> dict[str, str]:
    """The files below a folder with the sha256 of their content; the manifest itself is left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _own_files(folder: Path) -> dict[str, str] | None:
    """The files that this module wrote into a folder, by its manifest; None where it wrote none."""
    try:
        about: Any = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    files = about.get("files") if isinstance(about, dict) else None
    return files if isinstance(files, dict) else None


def _refuse(target: Path, dataset: Dataset, options: SaveOptions) -> None:
    """Raise DatasetError where something lies at the place that may not go."""
    inside = [record for record in dataset for path in (record.image, record.mask) if path and target in path.parents]
    if inside:
        raise DatasetError(
            f"{target} holds pictures of this dataset, such as {inside[0].image.name}; save it under another name"
        )
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    mend = "choose another name, or number as when_there"
    if options.when_there != "replace own":
        raise DatasetError(f"{target} is there already; {mend}")
    own = _own_files(target) if target.is_dir() and not target.is_symlink() else None
    if own is None:
        raise DatasetError(f"{target} was not written by this node, and is left alone; {mend}")
    there = _digests(target)
    changed = [name for name, digest in there.items() if own.get(name) != digest]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise DatasetError(
            f"{target} has files that are not as this node left them ({changed[0]}{more}), and is left alone; {mend}"
        )


def _same(draft: Path, target: Path) -> bool:
    """Whether the old folder is what the new one would be, to the byte."""
    if not (target / MANIFEST).is_file():
        return False
    manifests = ((folder / MANIFEST).read_bytes() for folder in (draft, target))
    return len(set(manifests)) == 1 and _digests(target) == _own_files(draft)


def _free(target: Path) -> Path:
    number, found = 1, target
    while found.exists():
        number += 1
        found = target.with_name(f"{target.name}-{number}")
    return found


def _draft(target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".kiln-", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise DatasetError(
            f"{target.parent} cannot be written: {error}. Free space, or mend its permissions"
        ) from error


def _move(draft: Path, target: Path) -> None:
    """Put the new folder into its place; the old one goes only when the new one stands there."""
    # mkdtemp makes folders that nobody else may read.
    draft.chmod(0o755)
    if not target.exists():
        draft.replace(target)
        return
    old = target.with_name(f"{draft.name}.old")
    target.replace(old)
    try:
        draft.replace(target)
    except OSError:
        old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _report(target: Path, items: Sequence[Item], layout: str, same: bool) -> str:
    baked = sum(item.baked for item in items)
    masks = sum(bool(item.mask) for item in items)
    bare = sum(not item.record.caption for item in items)
    lines = [
        f"{target}: {'as it was already' if same else 'written'}",
        f"{counted(len(items), 'picture')}, {baked} of them baked as PNG; {counted(masks, 'mask')}; "
        f"{bare} without a caption",
    ]
    if layout == KOHYA:
        folders = {item.image.rpartition("/")[0] for item in items}
        lines.append(f"{counted(len(folders), 'folder')}: {', '.join(sorted(folders))}; for sd-scripts: {TOML}")
        if any(item.record.own for item in items):
            lines.append(f"Settings of single pictures are in {SAVED} alone; Save Kohya Config writes a TOML with them")
    else:
        lines.append(f"Captions, repeats and groups: {SAVED}")
    return "\n".join(lines)
