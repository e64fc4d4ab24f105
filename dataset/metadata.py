"""Files that describe many pictures: kohya's metadata JSON, JSON lines, and what this pack saves beside a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import DatasetError
from .folder import Found
from .sidecars import NoCaption, Reader, Words, parse_json
from .values import WHITE, Color, Problem

SAVED = "metadata.jsonl"
"""What *Save Dataset* writes: one line a picture, in the dataset's order."""
MANIFEST = "kiln.json"
"""What it writes about the whole: trigger, and which files are its own."""
TOML = "dataset.toml"
"""The folders for sd-scripts, where it writes some."""
MASKS = "masks"
"""The folder beside them with the masks: `masks/9_rose/a.png` is that of `9_rose/a.png`."""
OWN = "kiln"
"""The key of a line under which stands what no other trainer knows."""
MAX_BYTES = 1 << 28
"""No larger JSON is opened: 256 MiB are more than a million captions."""

_NAMES = ("file_name", "file", "filename", "image", "image_path", "path", "img", "image_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a line that this pack wrote tells of its picture beyond the caption."""

    words: Words
    repeats: int
    group: str
    is_reg: bool
    weight: float
    origin: tuple[str, ...]
    pruned: tuple[str, ...]
    given: tuple[str, ...]
    background: Color
    mask: str
    own: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a file says of a picture. `saved` counts only for the path at which the picture was saved."""

    file: Path
    text: str
    words: Words | None
    saved: Saved | None = None


@dataclass(slots=True)
class Metadata:
    """Entries by picture, the order that they stand in, masks that lie among the pictures, and the files read.

    `all_masks` has those too whose pictures are gone: nobody wants to train on them.
    """

    entries: dict[Path, Entry] = field(default_factory=dict)
    masks: dict[Path, Path] = field(default_factory=dict)
    all_masks: set[Path] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


def read_metadata(found: Found, reader: Reader, endings: Sequence[str], further: Iterable[Path] = ()) -> Metadata:
    """All descriptions among the files of a walk, and in `further` files that lie elsewhere.

    JSON is read where its ending is one of captions; what this pack saved always. A file that describes none of the
    pictures is left to be counted with the others.
    """
    result, names = Metadata(), _Pictures(found.images)
    read = {".json", ".jsonl"}.intersection(endings)
    here = [path for path in found.others if path.name == SAVED or path.suffix.lower() in read]
    beside = {path for image in found.images for path in found.beside(image)} if here else set()
    wanted = [path for path in here if path not in beside and path.name.lower() != MANIFEST]
    for file in sorted(wanted, key=lambda path: (path.name != SAVED, len(path.parts), path)):
        _read(file, names, reader, result, own_folder=True)
    for file in further:
        _read(file, names, reader, result, own_folder=False)
    _masks_by_place(found, result)
    lost: dict[Path, int] = {}
    for mask in result.all_masks.difference(result.masks.values()):
        lost[mask.parent] = lost.get(mask.parent, 0) + 1
    for folder, count in sorted(lost.items()):
        what = f"{count} of the masks in it are of no picture, and are left out"
        result.problems.append(Problem(path=folder, what=what, mend="Take them away", minor=True))
    return result


def saved_line(name: str, text: str, saved: Saved) -> dict[str, Any]:
    """The line of one picture; `file_name` and `text` are what other tools read."""
    about = {
        "tags": list(saved.words.tags),
        "prose": saved.words.prose,
        "repeats": saved.repeats,
        "group": saved.group,
        "is_reg": saved.is_reg,
        "weight": saved.weight,
        "origin": list(saved.origin),
        "pruned": list(saved.pruned),
        "given": list(saved.given),
        "background": list(saved.background),
        "mask": saved.mask,
        **({"own": list(saved.own)} if saved.own else {}),
    }
    return {"file_name": name, "text": text, OWN: about}


class _Pictures:
    """Finds the picture that a name means; nothing but pictures that were found can come out."""

    def __init__(self, images: Sequence[Path]) -> None:
        self._paths = {str(path): path for path in images}
        self._by_name: dict[str, list[Path]] = {}
        for path in images:
            for name in {path.name, path.stem}:
                self._by_name.setdefault(name, []).append(path)

    def at(self, folder: Path, name: str) -> Path | None:
        """The picture at this very place."""
        if "\0" in name:
            return None
        return self._paths.get(str(folder / name.replace("\\", "/"))) or self._paths.get(str(folder / name))

    def called(self, folder: Path, name: str, apart: Set[Path]) -> Path | None:
        """The only picture of this name, with its ending or without, in or below the folder; none of those `apart`."""
        last = name.replace("\\", "/").rpartition("/")[2]
        found = [path for path in self._by_name.get(last, ()) if folder in path.parents and path not in apart]
        return found[0] if len(found) == 1 else None


def _read(file: Path, names: _Pictures, reader: Reader, result: Metadata, *, own_folder: bool) -> None:
    try:
        rows = list(_rows(file))
    except (OSError, ValueError) as error:
        result.problems.append(Problem(path=file, what=f"captions cannot be read from it: {error}", mend="Mend it"))
        result.files.add(file)
        return
    exact = [names.at(file.parent, name) for name, _ in rows]
    # A picture at its very place goes before one that has only the name in common.
    taken = {image for image in exact if image}
    named = (names.at(file.parent, _mask_name(value)) for _, value in rows)
    # What is described as a picture is one, whatever else names it.
    result.all_masks.update(mask for mask in named if mask and mask not in taken)
    lost = twice = 0
    for (name, value), here in zip(rows, exact, strict=True):
        # What was saved for a folder does not fit a picture of the same name in another one.
        elsewhere = (
            None if here or (not own_folder and _is_own(value)) else names.called(file.parent, name, result.all_masks)
        )
        image = here or (elsewhere if elsewhere not in taken else None)
        if image is None:
            lost += 1
        elif image in result.entries:
            twice += 1
        else:
            entry = _entry(file, value, reader, result, exact=here is not None)
            if entry is not None:
                result.entries[image] = entry
                mask = names.at(file.parent, entry.saved.mask) if entry.saved else None
                if mask is not None:
                    result.masks[image] = mask
    if len(rows) == lost:
        return
    result.files.add(file)
    if lost and own_folder:
        what = f"{lost} of the {len(rows)} pictures that it describes are not there"
        result.problems.append(Problem(path=file, what=what, mend="Put them back, or take their lines out"))
    if twice:
        what = f"{twice} pictures that it describes were described before, and that counts"
        result.problems.append(Problem(path=file, what=what, mend="Take one of the lines out"))


def _entry(file: Path, value: Any, reader: Reader, result: Metadata, *, exact: bool) -> Entry | None:
    try:
        saved = _saved(value) if exact else None
        words = reader.value(_without_name(value))
    except NoCaption:
        return None
    except (TypeError, ValueError, KeyError) as error:
        what = f"a line cannot be understood ({type(error).__name__}: {error})"
        result.problems.append(Problem(path=file, what=what, mend="Mend the line, or save the dataset again"))
        return None
    text = value.get("text", "") if isinstance(value, dict) else ""
    return Entry(file=file, text=text if isinstance(text, str) else "", words=words, saved=saved)


def _saved(value: Any) -> Saved | None:
    if not _is_own(value):
        return None
    about = value[OWN]
    background = tuple(int(part) for part in about.get("background", WHITE))
    if len(background) != 3:
        raise ValueError(f"background is {background}")
    return Saved(
        words=Words(tags=_texts(about, "tags"), prose=str(about.get("prose", ""))),
        repeats=int(about.get("repeats", 1)),
        group=str(about.get("group", "")),
        is_reg=about.get("is_reg") is True,
        weight=float(about.get("weight", 1.0)),
        origin=_texts(about, "origin"),
        pruned=_texts(about, "pruned"),
        given=_texts(about, "given"),
        background=background,
        mask=str(about.get("mask", "")),
        own=_texts(about, "own"),
    )


def _masks_by_place(found: Found, result: Metadata) -> None:
    """Add the masks that no line names any more, by the place where *Save Dataset* puts them."""
    roots = {path.parent for path in found.others if path.name in (MANIFEST, TOML)}
    folders: dict[Path, Path] = {}
    for folder in {image.parent for image in found.images} if roots else ():
        inside = (top for top in (folder, *folder.parents) if top.name == MASKS and top.parent in roots)
        if top := next(inside, None):
            folders[folder] = top.parent / folder.relative_to(top)
    by_place = {folders[path.parent] / path.stem: path for path in found.images if path.parent in folders}
    result.all_masks.update(by_place.values())
    for image in found.images:
        if image.parent not in folders and (mask := by_place.get(image.parent / image.stem)):
            result.masks.setdefault(image, mask)


def _mask_name(value: Any) -> str:
    """The mask in a line that this pack wrote, empty without one."""
    name = value[OWN].get("mask") if _is_own(value) else ""
    return name if isinstance(name, str) else ""


def _is_own(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get(OWN), dict)


def _texts(about: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(str(each) for each in about.get(key, ()))


def _without_name(value: Any) -> Any:
    """The object without what names its picture; an empty text stands for no caption, not for an unknown form."""
    return {key: part for key, part in value.items() if key not in _NAMES} if isinstance(value, dict) else value


def _rows(file: Path) -> Iterator[tuple[str, Any]]:
    """(name of a picture, what is said of it) for each line or entry."""
    if file.stat().st_size > MAX_BYTES:
        raise DatasetError(f"it has more than {MAX_BYTES >> 20} MiB")
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix.lower() == ".jsonl":
        # Other ends of lines than this one may stand inside a caption.
        values = [parse_json(line) for line in text.split("\n") if line.strip()]
    else:
        whole = parse_json(text)
        if isinstance(whole, dict):
            for name, value in whole.items():
                if isinstance(value, str | dict | list):
                    yield name, value
            return
        values = whole if isinstance(whole, list) else []
    for value in values:
        if isinstance(value, dict) and (name := next((value[k] for k in _NAMES if isinstance(value.get(k), str)), "")):
            ending = value.get("extension")
            yield (f"{name}.{ending}" if isinstance(ending, str) and ending else name), value


def saved_order(file: Path) -> dict[Path, int]:
    """The pictures that *Save Dataset* described in a file, with their places; empty for any other file."""
    try:
        rows = list(_rows(file))
    except (OSError, ValueError):
        return {}
    named = [name for name, value in rows if _is_own(value) and "\0" not in name]
    return {file.parent / name: at for at, name in enumerate(named)}


def saved_triggers(folder: Path) -> tuple[str, tuple[str, ...]]:
    """The trigger that was saved with the dataset in a folder, and those of some records; empty where none was."""
    try:
        about: Any = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "", ()
    known = about if isinstance(about, dict) else {}
    trigger, words = known.get("trigger"), known.get("words")
    listed = words if isinstance(words, list) else []
    return trigger if isinstance(trigger, str) else "", tuple(word for word in listed if isinstance(word, str))
