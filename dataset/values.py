"""What flows on the dataset wires: frozen values that name files and hold no pixels."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .content import content_mark
from .errors import DatasetError
from .tags import distinct_tags, split_literal, tag_key, word_pattern

Progress = Callable[[int, int], None]
"""Called as progress(done, total); it may raise to stop the work."""

Size = tuple[int, int]
"""(width, height) in pixels."""

Color = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
WHITE: Color = (255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Box:
    """A rectangle in pixels of the upright image (after EXIF); right and bottom are the first pixel outside."""

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right and 0 <= self.top < self.bottom):
            raise ValueError(
                f"Box {self.as_tuple()} is empty or starts outside the image; "
                "it needs 0 <= left < right and 0 <= top < bottom"
            )

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    @property
    def size(self) -> Size:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def area(self) -> int:
        """In square pixels."""
        return self.width * self.height

    def as_tuple(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom), the order that Pillow takes."""
        return self.left, self.top, self.right, self.bottom

    def moved(self, x: int, y: int) -> Box:
        """The same box x pixels to the right and y pixels down."""
        return Box(left=self.left + x, top=self.top + y, right=self.right + x, bottom=self.bottom + y)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One training picture: a file, the part of it that is used, its caption, and how it counts.

    The caption is the tags, or the prose when there is any. `pruned` are the tags that pruning took away:
    traits that the trigger must absorb. `origin` is the chain of steps that made the record. `background` is what
    shows through where the picture is transparent. `given` are the tags that those steps know to be true (the view, the
    side, the plain background): they stay when a tagger writes the caption anew. Training does not see them. `own` are
    settings of the recipe that are otherwise for this picture: `keep_tokens=2`.
    """

    image: Path
    size: Size
    crop: Box | None = None
    mask: Path | None = None
    tags: tuple[str, ...] = ()
    prose: str = ""
    repeats: int = 1
    group: str = ""
    is_reg: bool = False
    weight: float = 1.0
    origin: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()
    background: Color = WHITE
    given: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    own: tuple[str, ...] = dataclasses.field(default=(), repr=False)

    def __post_init__(self) -> None:
        name = self.image.name
        if not self.image.is_absolute():
            raise ValueError(f"Record image {str(self.image)!r} is a relative path; give an absolute one")
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"Record {name}: size is {self.size}; give (width, height) in pixels, 1 or more each")
        if self.crop and (self.crop.right > self.size[0] or self.crop.bottom > self.size[1]):
            raise ValueError(
                f"Record {name}: crop {self.crop.as_tuple()} reaches outside the image of {self.size} pixels; "
                "clamp it to the image"
            )
        if self.repeats < 1:
            raise ValueError(f"Record {name}: repeats is {self.repeats}; give 1 or more, or leave the record out")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"Record {name}: weight is {self.weight}; give a finite number, 0 or more")
        if len(self.background) != 3 or not all(0 <= part <= 255 for part in self.background):
            raise ValueError(f"Record {name}: background is {self.background}; give red, green and blue, 0 to 255 each")
        for field in ("tags", "origin", "pruned", "given", "own"):
            if not isinstance(getattr(self, field), tuple):
                raise ValueError(f"Record {name}: {field} must be a tuple of strings")
        for tag in self.tags:
            if not tag.strip() or "," in tag or "\n" in tag:
                raise ValueError(f"Record {name}: {tag!r} is not one tag; split captions with dataset.tags.parse_tags")

    @property
    def caption(self) -> str:
        """What the text encoder reads: the prose when there is any, else the tags joined by commas."""
        return self.prose or ", ".join(self.tags)

    @property
    def view_size(self) -> Size:
        """(width, height) in pixels of what is trained on: the crop, or the whole image."""
        return self.crop.size if self.crop else self.size

    def has_word(self, word: str) -> bool:
        """Whether the caption has a trigger."""
        if self.prose:
            return re.search(word_pattern(word), self.prose) is not None
        return tag_key(word) in map(tag_key, self.tags)

    @property
    def name(self) -> str:
        """A short name for reports: the file's, with the last step that made the record."""
        return f"{self.image.name} ({self.origin[-1]})" if self.origin else self.image.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A file that the loader could not use as it stands: what is wrong, and what mends it.

    A `minor` one is told and no reason to stop: nothing of it was meant for training, as far as can be seen.
    """

    path: Path
    what: str
    mend: str
    minor: bool = False

    def __str__(self) -> str:
        return readable(f"{self.path}: {self.what}. {self.mend}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Records in training order, and the word that stands for what they teach.

    `words` are triggers that only some of the records have: of an outfit, or of another character.
    """

    records: tuple[Record, ...] = ()
    trigger: str = ""
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.records, tuple):
            raise ValueError("Dataset records must be a tuple of Record")

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    @property
    def triggers(self) -> tuple[str, ...]:
        """Every trigger by itself: those of the whole, then those of some records."""
        return distinct_tags((*split_literal(self.trigger), *self.words))

    @property
    def images_per_epoch(self) -> int:
        """Pictures seen in one epoch, repeats counted."""
        return sum(record.repeats for record in self.records)

    def replace_records(self, records: Iterable[Record]) -> Dataset:
        """The same dataset with other records."""
        return dataclasses.replace(self, records=tuple(records))

    def groups(self) -> dict[str, tuple[Record, ...]]:
        """Group name to its records, in order of first appearance."""
        found: dict[str, list[Record]] = {}
        for record in self.records:
            found.setdefault(record.group, []).append(record)
        return {name: tuple(records) for name, records in found.items()}

    def fingerprint(self) -> str:
        """A sha256 in hex over everything that training sees; equal for equal records and unchanged files.

        Raises DatasetError when a file is gone.
        """
        digest = hashlib.sha256(repr(self.trigger).encode())
        for record in self.records:
            plain = dataclasses.replace(record, image=Path(record.image.anchor), mask=None)
            digest.update(repr(plain).encode("utf-8", "surrogatepass"))
            digest.update(repr(record.own).encode("utf-8", "surrogatepass") if record.own else b"")
            digest.update(identity(record.image).encode("utf-8", "surrogatepass"))
            if record.mask:
                digest.update(identity(record.mask).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


_CONTENT_NAME = re.compile(r"[0-9a-f]{64}")


def is_content_name(path: Path) -> bool:
    """Whether a file is named by the hash of what it holds, or of what it was made from."""
    return _CONTENT_NAME.fullmatch(path.stem) is not None


def identity(path: Path) -> str:
    """What tells one file's content from another's, whatever its path and date (see `content_mark`).

    Raises DatasetError when the file is gone.
    """
    try:
        return content_mark(path)
    except OSError as error:
        raise DatasetError(
            f"{path}: the file cannot be read any more ({error.strerror}). Put it back, or queue the loading node again"
        ) from error


def readable(text: str) -> str:
    """The text as every log and page can show it: bytes of a file name that are no UTF-8 stand as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
