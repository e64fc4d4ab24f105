"""Folders of pictures and captions into a `Dataset`, with every file that has a problem named."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from .errors import BadImage, DatasetError, EmptyFolder
from .folder import MASK_SUFFIXES, Found, natural_key, walk_folder
from .images import IMAGE_EXTENSIONS, open_image, read_size
from .settings import check_settings, setting
from .tags import looks_like_prose, parse_tags
from .values import Dataset, Problem, Progress, Record

log = logging.getLogger(__name__)

OTHER_CAPTIONS = (".txt", ".caption", ".json", ".jsonl", ".tags", ".cap", ".wd14", ".booru")
NOT_CAPTIONS = ("readme", "license", "prompts")

_KOHYA = re.compile(r"(\d+)_(.+)")
_REG_NAMES = ("reg", "regularization", "regularisation")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a folder is read."""

    repeats: int = setting(
        0, "How often each picture is seen in an epoch. 0: as kohya folder names say (9_name), else once.", low=0,
        high=1000, step=1,
    )  # fmt: skip
    caption_extensions: tuple[str, ...] = setting(
        (".txt", ".caption"),
        "Endings of caption files, in the order in which they are looked for.",
        split="tags",
    )
    captions: str = setting(
        "auto",
        "How captions are read: as tags between commas, as prose (kept word by word), or told apart for each file.",
        choices=("auto", "tags", "prose"),
    )
    on_problem: str = setting(
        "skip",
        "What a file with a problem does: skip leaves it out and names it in the report; stop ends with its name.",
        choices=("skip", "stop"),
    )
    regularization: bool = setting(
        False,
        "These are regularisation pictures of the class, not of what is trained (folders named reg always are).",
    )
    read_all: bool = setting(
        False,
        "Decode every picture now, so that a damaged one is found here and not when it is first used (slower).",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.caption_extensions:
            raise ValueError("LoadOptions.caption_extensions is empty; give at least one, such as .txt")

    @property
    def endings(self) -> tuple[str, ...]:
        """Caption endings in lower case, each with its dot."""
        return tuple("." + ending.strip().lstrip(".*").lower() for ending in self.caption_extensions)


def load_dataset(
    folder: Path, options: LoadOptions | None = None, progress: Progress | None = None
) -> tuple[Dataset, tuple[Problem, ...]]:
    """Read a flat folder or kohya folders (`9_name`, at any depth) with their captions, in natural order.

    No pixels are kept. Raises EmptyFolder when there is no picture to use, and DatasetError for the first problem
    when `options.on_problem` is "stop".
    """
    options = options or LoadOptions()
    folder = folder.expanduser().resolve()
    found = walk_folder(folder)
    problems = list(found.problems)
    records = []
    for done, image in enumerate(found.images, 1):
        try:
            records.append(_record(folder, image, found, options, problems))
        except BadImage as error:
            problems.append(Problem(path=image, what=error.what, mend=error.mend))
        if progress:
            progress(done, len(found.images))
    problems += _caption_problems(folder, found, options)
    _complain(problems, options)
    if not records:
        raise EmptyFolder(_nothing(folder, found, problems))
    return Dataset(records=tuple(records)), tuple(problems)


def folder_fingerprint(folder: Path, options: LoadOptions | None = None) -> str:
    """A hash that changes when a picture or caption below `folder` is added, edited or removed."""
    digest = hashlib.sha256(repr(options).encode())
    try:
        found = walk_folder(folder.expanduser().resolve())
    except EmptyFolder:
        return f"not there: {folder}"
    for path in sorted({*found.images, *found.masks, *found.others.values()}):
        stat = path.stat()
        digest.update(f"{path}|{stat.st_size}|{stat.st_mtime_ns}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _record(folder: Path, image: Path, found: Found, options: LoadOptions, problems: list[Problem]) -> Record:
    size = read_size(image)
    if options.read_all:
        open_image(image)
    group, repeats, is_reg = _place(folder, image)
    tags, prose = _caption(image, found, options, problems)
    masks = (image.with_name(f"{image.stem}{suffix}.png") for suffix in MASK_SUFFIXES)
    return Record(
        image=image,
        size=size,
        mask=next((mask for mask in masks if mask in found.masks), None),
        tags=tags,
        prose=prose,
        repeats=options.repeats or repeats,
        group=group,
        is_reg=is_reg or options.regularization,
    )


def _place(folder: Path, image: Path) -> tuple[str, int, bool]:
    """Group, repeats and whether it is regularisation, from the names of the folders around the picture.

    The nearest kohya name counts. `9_kierose` and `5_kierose` are one group with different repeats.
    """
    inner = image.parent.relative_to(folder).parts
    names = [_KOHYA.fullmatch(name) for name in (folder.name, *inner)]
    plain = [_KOHYA.sub(r"\2", name).lower() for name in (folder.name, *inner)]
    is_reg = any(name in _REG_NAMES or name.startswith("reg_") for name in plain)
    for match in reversed(names):
        if match:
            return match.group(2), max(1, int(match.group(1))), is_reg
    return "/".join(inner) or folder.name, 1, is_reg


def _caption(image: Path, found: Found, options: LoadOptions, problems: list[Problem]) -> tuple[tuple[str, ...], str]:
    """(tags, prose) of the picture; both empty without a caption file."""
    path = found.caption(image, options.endings)
    if path is None:
        return (), ""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (UnicodeDecodeError, OSError):
        problems.append(Problem(path=path, what="the caption is not UTF-8 text", mend="Save it again as UTF-8"))
        return (), ""
    if options.captions == "prose" or (options.captions == "auto" and looks_like_prose(text)):
        return (), " ".join(text.split())
    return parse_tags(text), ""


def _caption_problems(folder: Path, found: Found, options: LoadOptions) -> list[Problem]:
    """Captions that nobody would miss until the training went wrong: other endings, captions of no picture."""
    endings = options.endings
    captions = {image: found.caption(image, endings) for image in found.images}
    problems = []
    unread = [ending for ending in OTHER_CAPTIONS if ending not in endings]
    bare = [image for image, caption in captions.items() if caption is None]
    for ending, count in Counter(
        ending for image in bare for ending in unread if found.caption(image, (ending,))
    ).items():
        what = f"{count} pictures have no {' or '.join(endings)} caption, but a {ending} file beside them"
        problems.append(Problem(path=folder, what=what, mend=f"If these are captions: {_mend_ending(ending)}"))
    shared = Counter(caption for caption in captions.values() if caption)
    for path in (path for path, count in shared.items() if count > 1):
        problems.append(Problem(path=path, what="several pictures share this caption", mend="Rename all but one"))
    stems = {(image.parent, image.stem) for image in found.images}
    for path in sorted(found.others.values(), key=natural_key):
        lonely = path not in shared and (path.parent, path.stem) not in stems
        if lonely and path.suffix.lower() in endings and not path.stem.lower().startswith(NOT_CAPTIONS):
            problems.append(Problem(path=path, what="a caption without a picture", mend="Give both the same name"))
    return problems


def _mend_ending(ending: str) -> str:
    if ending.startswith(".json"):
        return "save them as .txt, JSON is not read"
    return f"add {ending} to the caption endings"


def _complain(problems: list[Problem], options: LoadOptions) -> None:
    if problems and options.on_problem == "stop":
        raise DatasetError(f"{problems[0]} ({len(problems)} problems in all; on_problem is stop)")
    for problem in problems:
        log.warning("%s", problem)


def _nothing(folder: Path, found: Found, problems: list[Problem]) -> str:
    if found.images:
        return (
            f"No picture in {folder} can be used: all {len(found.images)} have a problem, the first is: {problems[0]}"
        )
    return (
        f"No picture in {folder} or the folders below it. Looked for {', '.join(IMAGE_EXTENSIONS)}; "
        f"{len(found.others)} other files are there. Give the folder that holds the pictures"
    )
