"""Folders of pictures and captions into a `Dataset`, with every file that has a problem named."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .caption_files import caption_problems, read_caption
from .content import content_mark
from .errors import BadImage, DatasetError, EmptyFolder
from .folder import MASK_SUFFIXES, Found, walk_folder
from .images import IMAGE_EXTENSIONS, open_image, parse_color, read_size
from .metadata import Entry, Metadata, Saved, read_metadata, saved_triggers
from .places import Place, name_problems, place_of
from .settings import check_settings, setting
from .sidecars import KINDS, NoCaption, Reader, Words
from .values import WHITE, Color, Dataset, Problem, Progress, Record

log = logging.getLogger(__name__)

_PROGRESS_STEPS = 200
_THREE = "give three whole numbers such as 4, 8, 16, or nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a folder is read."""

    repeats: int = setting(
        0, "How often each picture is seen in an epoch. 0: as kohya folder names say (9_name), else once.", low=0,
        high=1000, step=1,
    )  # fmt: skip
    caption_extensions: tuple[str, ...] = setting(
        (".txt", ".caption", ".json", ".jsonl"),
        "Endings of caption files, in the order in which they are looked for. JSON: sidecars, kohya's metadata.",
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
    background: str = setting(
        "white", "The colour behind transparent pictures: a name such as white or grey, or #rrggbb."
    )
    quality_repeats: str = setting(
        "4, 8, 16", "Repeats of folders named low, medium and high (or low_quality, ...). Empty: they are plain names."
    )
    booru_tags: tuple[str, ...] = setting(
        ("character", "copyright", "species", "general"),
        f"Kinds of tags that are taken from booru sidecars which tell them apart, in order: {', '.join(KINDS)}.",
        split="tags",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.caption_extensions:
            raise ValueError("LoadOptions.caption_extensions is empty; give at least one, such as .txt")
        if wrong := [kind for kind in self.booru_tags if kind not in KINDS]:
            raise ValueError(f"LoadOptions.booru_tags has {wrong[0]!r}; choose among: {', '.join(KINDS)}")
        self.color()
        if self.qualities and len(self.qualities) != 3:
            raise ValueError(f"LoadOptions.quality_repeats is {self.quality_repeats!r}; {_THREE}")

    @property
    def endings(self) -> tuple[str, ...]:
        """Caption endings in lower case, each with its dot."""
        return tuple("." + ending.strip().lstrip(".*").lower() for ending in self.caption_extensions)

    @property
    def qualities(self) -> tuple[int, ...]:
        """Repeats of low, medium and high quality; empty when such folders are plain ones."""
        parts = self.quality_repeats.replace(",", " ").split()
        if not all(part.isdecimal() for part in parts):
            raise ValueError(f"LoadOptions.quality_repeats is {self.quality_repeats!r}; {_THREE}")
        return tuple(int(part) for part in parts)

    @property
    def reader(self) -> Reader:
        """What reads the captions."""
        return Reader(how=self.captions, kinds=self.booru_tags)

    def color(self) -> Color:
        """`background` as red, green and blue. ValueError for what is no colour."""
        return parse_color(self.background, "LoadOptions.background")


def load_dataset(
    folder: Path,
    options: LoadOptions | None = None,
    progress: Progress | None = None,
    *,
    inner: bool = True,
    further: Sequence[Path] = (),
) -> tuple[Dataset, tuple[Problem, ...]]:
    """Read a flat folder or kohya folders (`9_name`, at any depth) with their captions, in natural order.

    A folder that *Save Dataset* wrote gives its records back in their order. Without `inner` only pictures directly in
    the folder are taken; `further` are files elsewhere that describe its pictures. No pixels are kept. Raises
    EmptyFolder when there is no picture to use, and DatasetError for the first problem when `options.on_problem` is
    "stop".
    """
    options = options or LoadOptions()
    folder = folder.expanduser().resolve()
    found = walk_folder(folder, inner=inner)
    metadata = read_metadata(found, options.reader, options.endings, further)
    masks = metadata.all_masks.union(metadata.masks.values())
    found = dataclasses.replace(found, images=tuple(image for image in found.images if image not in masks))
    problems = [*found.problems, *metadata.problems]
    loader = _Loader(folder=folder, options=options, found=found, metadata=metadata, problems=problems)
    records = []
    every = max(1, len(found.images) // _PROGRESS_STEPS)
    for done, image in enumerate(found.images, 1):
        try:
            record = loader.record(image)
        except BadImage as error:
            problems.append(Problem(path=image, what=error.what, mend=error.mend))
        else:
            records += [record] if record else []
        if progress and (done % every == 0 or done == len(found.images)):
            progress(done, len(found.images))
    problems += loader.left_out()
    problems += name_problems(folder, loader.places.values(), counted=not options.repeats)
    problems += caption_problems(folder, found, options.endings, metadata)
    _complain(problems, options)
    if not records:
        raise EmptyFolder(_nothing(folder, found, problems))
    order = {image: at for at, (image, entry) in enumerate(metadata.entries.items()) if entry.saved}
    records.sort(key=lambda record: order.get(record.image, len(order)))
    trigger, words = saved_triggers(folder)
    return Dataset(records=tuple(records), trigger=trigger, words=words), tuple(problems)


def folder_fingerprint(folder: Path, options: LoadOptions | None = None, *, inner: bool = True) -> str:
    """A hash that changes when a picture or caption below `folder` is added, edited, renamed or removed.

    It is made of contents, so files that are copied anew or only touched change nothing.
    """
    digest = hashlib.sha256(repr(options).encode())
    try:
        found = walk_folder(folder.expanduser().resolve(), inner=inner)
    except EmptyFolder:
        return f"not there: {folder}"
    for path in sorted({*found.images, *found.masks, *found.others}):
        digest.update(f"{path}|{_state(path)}\n".encode("utf-8", "surrogatepass"))
    digest.update("".join(str(problem) for problem in found.problems).encode())
    return digest.hexdigest()


def _state(path: Path) -> str:
    """A file's content in short."""
    try:
        return content_mark(path)
    except OSError as error:
        return f"cannot be read ({error.errno})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loader:
    """Makes records of the pictures that a walk found; what goes wrong is added to `problems`."""

    folder: Path
    options: LoadOptions
    found: Found
    metadata: Metadata
    problems: list[Problem]
    off: Counter[Path] = dataclasses.field(default_factory=Counter)
    places: dict[Path, Place] = dataclasses.field(default_factory=dict)
    """What the folders' names say, of folders whose pictures have nothing else to go by."""

    def record(self, image: Path) -> Record | None:
        """The picture's record; None where its folder has 0 repeats. Raises BadImage."""
        options = self.options
        place = self.places.get(image.parent) or place_of(self.folder, image.parent, options.qualities)
        entry = self.metadata.entries.get(image)
        saved = entry.saved if entry else None
        repeats = options.repeats or (saved.repeats if saved else place.repeats)
        if not repeats:
            self.off[image.parent] += 1
            return None
        if not saved:
            self.places[image.parent] = place
        size = read_size(image)
        words = self._words(image, entry)
        plain = Record(
            image=image,
            size=size,
            mask=self.metadata.masks.get(image) or self._mask(image),
            tags=words.tags,
            prose=words.prose,
            repeats=repeats,
            group=place.group,
            is_reg=place.is_reg or options.regularization,
            background=options.color(),
        )
        record = self._as_saved(plain, saved) if saved else plain
        if options.read_all:
            open_image(record)
        return record

    def left_out(self) -> list[Problem]:
        """Folders whose name says that they are not used."""
        return [
            Problem(
                path=folder, what=f"0 repeats leave out its {count} pictures", mend="Give the folder another number",
                minor=True,
            )
            for folder, count in self.off.items()
        ]  # fmt: skip

    def _as_saved(self, plain: Record, saved: Saved) -> Record:
        """The record as it was saved, but for what the files say today: caption, size, mask."""
        try:
            return dataclasses.replace(
                plain,
                group=saved.group,
                is_reg=saved.is_reg or self.options.regularization,
                weight=saved.weight,
                origin=saved.origin,
                pruned=saved.pruned,
                given=saved.given,
                own=saved.own,
                background=saved.background if plain.background == WHITE else plain.background,
            )
        except ValueError as error:
            mend = "Mend its line in metadata.jsonl, or save the dataset again"
            self.problems.append(
                Problem(path=plain.image, what=f"what was saved of it does not hold: {error}", mend=mend)
            )
            return plain

    def _mask(self, image: Path) -> Path | None:
        masks = (image.with_name(f"{image.stem}{suffix}.png") for suffix in MASK_SUFFIXES) if self.found.masks else ()
        return next((mask for mask in masks if mask in self.found.masks), None)

    def _words(self, image: Path, entry: Entry | None) -> Words:
        """The caption of the picture: of its own file, else of a file that describes many."""
        own = self._own_words(image, entry)
        if own is not None:
            return own
        if entry is None:
            return Words()
        kept = _kept(entry, self.options)
        return kept if kept is not None else (entry.words or Words())

    def _own_words(self, image: Path, entry: Entry | None) -> Words | None:
        """What the file beside the picture says; None without one that can be read."""
        options = self.options
        path = self.found.caption(image, options.endings)
        if path is None:
            return None
        try:
            text = read_caption(path)
            ending = path.suffix.lower()
            if ending in (".json", ".jsonl"):
                return options.reader.sidecar(text, lines=ending == ".jsonl")
        except NoCaption as error:
            mend = "Take it away, or write the caption into a .txt"
            self.problems.append(Problem(path=path, what=f"no caption: {error}", mend=mend))
            return None
        except (OSError, ValueError) as error:
            self.problems.append(Problem(path=path, what=f"no caption: {error}", mend="Save it again as UTF-8"))
            return None
        kept = _kept(entry, options) if entry else None
        # A caption that was edited since it was saved counts as it stands now.
        return kept if entry and kept is not None and _plain(text) == _plain(entry.text) else options.reader.text(text)


def _kept(entry: Entry, options: LoadOptions) -> Words | None:
    """The caption exactly as it was saved, where nobody wants it read in another way."""
    if entry.saved is None or options.captions != "auto":
        return None
    words = entry.saved.words
    return words if all(tag.strip() and "," not in tag and "\n" not in tag for tag in words.tags) else None


def _plain(text: str) -> str:
    return " ".join(text.replace("\ufeff", "").encode("utf-8", "replace").decode("utf-8").split())


def _complain(problems: list[Problem], options: LoadOptions) -> None:
    serious = [problem for problem in problems if not problem.minor]
    if serious and options.on_problem == "stop":
        raise DatasetError(f"{serious[0]} ({len(serious)} problems in all; on_problem is stop)")
    for problem in serious:
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
