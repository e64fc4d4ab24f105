"""A character's training pictures as a folder, as an artist would have them: files, no captions."""

from __future__ import annotations

import shutil
from pathlib import Path

from .world.characters import Character
from .world.draw import draw

COUNT = 24


def write_dataset(character: Character, folder: Path, *, count: int = COUNT, repeats: int = 1) -> Path:
    """Draw `count` pictures of the character into `folder/<repeats>_<name>` and return that folder.

    Whatever was in it before is replaced.
    """
    target = folder / f"{repeats}_{character.name}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for number in range(count):
        draw(character.picture(number)).image.save(target / f"{character.name}_{number:02d}.png")
    return target
