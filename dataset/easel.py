"""The variants of one picture: painted, held to its colours, measured; each in a file named by what it was made of."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path

from PIL import Image

from .choice import Scores, fault, measure
from .images import open_image
from .regions import Regions, find_regions, fitted, match_colors
from .style_captions import Style, painter_prompt
from .styles import Paint, Plan, Studio
from .values import Record, identity, is_content_name

log = logging.getLogger(__name__)

Finish = Callable[[Image.Image], Image.Image]
_WAITING = 4
"""Pictures that may wait to be written and measured while the next ones are painted."""


class Easel:
    """One picture of a dataset, at the size of its bucket, and the variants that are made of it.

    Pictures are written and measured on `desk`, beside the painting. Raises BadImage, and what `find_regions` raises.
    """

    def __init__(
        self, number: int, record: Record, triggers: Sequence[str], plan: Plan, studio: Studio, desk: Executor
    ) -> None:
        self._number, self._record, self._triggers = number, record, triggers
        self._plan, self._studio, self._desk = plan, studio, desk
        self._size = studio.bucket(record)
        self._source = fitted(open_image(record), self._size)
        given = studio.masks[number] if studio.masks else None
        drawn = studio.hold_masks[number] if studio.hold_masks else None
        self.regions: Regions = find_regions(record, self._size, models=studio.models, given=given, drawn=drawn)
        self._scene: Paint | None = None
        self._waiting: deque[Future[Scores]] = deque()
        self.painted = 0
        """How often the sampler has run."""

    @property
    def held(self) -> dict[str, float]:
        """The parts whose colours are held and known here, with their strengths."""
        strengths = self._plan.hold.strengths
        return {name: strengths[name] for name in strengths if name in self.regions.masks}

    def variant(self, style: Style, seed: int, tries: Sequence[float]) -> tuple[float, Path, Future[Scores]]:
        """Paint one variant, or find it: its denoise, its file, and its scores to come.

        Of several `tries` the first that passes the thresholds stays, else the last.
        """
        for denoise in tries[:-1]:
            file, scores = self._one(style, seed, denoise)
            if not fault(scores.result(), self._plan.choice):
                return denoise, file, scores
        return (tries[-1], *self._one(style, seed, tries[-1]))

    def _one(self, style: Style, seed: int, denoise: float) -> tuple[Path, Future[Scores]]:
        prompt = painter_prompt(self._record, style, self._triggers, self._plan.captions)
        free, held = self._file(prompt, seed, denoise), self.held
        if not held:
            return free, self._painted(free, self._source, prompt, seed, denoise)
        again = self._plan.hold.hold_denoise
        masks = [hashlib.sha256(self.regions.masks[name].tobytes()).hexdigest() for name in held]
        file = self._file(prompt, seed, denoise, list(held.items()), masks, again)
        if is_whole(file):
            return file, self._measured(file)
        # The first painting stays in the cache: other strengths begin from it.
        self._painted(free, self._source, prompt, seed, denoise).result()
        with Image.open(free) as first:
            matched = match_colors(first.convert("RGB"), self._source, self.regions, held)
        if not again:
            return file, self._kept(matched, file)

        def held_still(picture: Image.Image) -> Image.Image:
            # The second painting takes seams away; where it moves colours, they come back to those it began with.
            return match_colors(picture, matched, self.regions, dict.fromkeys(held, 1.0))

        return file, self._painted(file, matched, prompt, seed, again, held_still)

    def _file(self, prompt: str, seed: int, denoise: float, *more: object) -> Path:
        """Where a picture lies, by everything that it is made from."""
        record, studio = self._record, self._studio
        content = record.image.stem if is_content_name(record.image) else identity(record.image)
        what = (content, record.crop, record.background, self._size, prompt, seed, denoise, *more)
        marks = studio.mark, studio.painter.mark(self._number)
        return studio.cache / f"{hashlib.sha256(repr((what, marks)).encode()).hexdigest()}.png"

    def _painted(
        self, file: Path, start: Image.Image, prompt: str, seed: int, denoise: float, finish: Finish | None = None
    ) -> Future[Scores]:
        """Scores of a file's picture, which is painted from `start`, and finished, when it is not there."""
        if is_whole(file):
            return self._measured(file)
        self._scene = self._scene or self._studio.painter.scene(self._source, self._number)
        picture = self._scene(start, prompt, seed, denoise)
        self.painted += 1
        return self._kept(picture, file, finish)

    def _kept(self, picture: Image.Image, file: Path, finish: Finish | None = None) -> Future[Scores]:
        def work() -> Scores:
            done = finish(picture) if finish else picture
            write_picture(done, file)
            return measure(self._source, done, self.regions, self._plan.choice)

        return self._later(work)

    def _measured(self, file: Path) -> Future[Scores]:
        def work() -> Scores:
            with Image.open(file) as picture:
                return measure(self._source, picture.convert("RGB"), self.regions, self._plan.choice)

        return self._later(work)

    def _later(self, work: Callable[[], Scores]) -> Future[Scores]:
        while len(self._waiting) >= _WAITING:
            self._waiting.popleft().result()
        future = self._desk.submit(work)
        self._waiting.append(future)
        return future


def is_whole(file: Path) -> bool:
    """Whether a picture is there and all of it can be read; a damaged one is painted anew."""
    try:
        with Image.open(file) as picture:
            picture.load()
    except FileNotFoundError:
        return False
    except (OSError, SyntaxError, ValueError) as error:
        log.warning("the kept picture %s cannot be read (%s); it is painted again", file, error)
        return False
    return True


def write_picture(image: Image.Image, file: Path) -> None:
    """Write a PNG under a name that says what it was made from; half a picture never stands under it."""
    partial = file.with_suffix(".partial")
    image.save(partial, format="PNG", compress_level=4)
    partial.replace(file)
