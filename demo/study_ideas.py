"""The studies of the articles' ideas: each compares ways to make a dataset of the same strangers, and says what the
tagger finds in pictures that their LoRAs paint.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image

from .shots import Shot, flexibility_shots, trait_shots
from .study_work import Studio
from .world import vocabulary as words
from .world.characters import Character

PICTURES = 24
HABITS = ("flat color", "white background")
"""Style and background of a dataset that is drawn in one way."""
SEEN = 1600
"""Pictures that every arm is trained on, repeats counted: none may learn more for having more files."""

BASE, LEARNED = "without a LoRA", "learned"
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201)
"""Student's t, two-sided 95 %, for 1, 2, 3, ... degrees of freedom."""

Build = Callable[[Studio, Character], Any]
Shots = Callable[[Character, int], list[Shot]]
Score = Callable[[Shot, set[str], set[str]], float | None]
"""From a shot, the tags found with the LoRA and those without it, to a share; None where the shot asks nothing."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to make the dataset."""

    name: str
    build: Build


@dataclass(frozen=True, kw_only=True)
class Idea:
    """A claim, the arms that test it (the first is the plain one), and what is counted; `rises` is the claim's side."""

    claim: str
    source: str
    measure: str
    arms: tuple[Arm, ...]
    shots: Shots
    score: Score
    rises: bool


def ideas() -> dict[str, Idea]:
    """Every study of an idea, by name."""
    return {
        "style_augmentation": Idea(
            claim="Style augmentation lowers bleed.",
            source="iterations 3 and 4-b of the first article",
            measure="the dataset's own style and background, which no caption names, found where the prompt asks for "
            "others (the three other styles are those of the variants, of the six backgrounds two are), less what the "
            "base model paints there",
            arms=(Arm(name="one style", build=_one_style), Arm(name="with style variants", build=_varied)),
            shots=_elsewhere, score=_bleeds, rises=False,
        ),
        "close_ups": Idea(
            claim="Close-ups raise the recall of small details.",
            source="iteration 1 of the first article",
            measure="eye colour found when only the trigger says it",
            arms=(Arm(name="whole figures", build=_plain), Arm(name="with close-ups", build=_close_ups)),
            shots=trait_shots, score=_details, rises=True,
        ),
        "regularisation": Idea(
            claim="Regularisation pictures lower bleed.",
            source="the articles' sets of class pictures",
            measure="her traits, found where the prompt does not name the trigger, less what the base model paints "
            "there; the regularisation pictures come besides, one for each of hers",
            arms=(Arm(name="none", build=_plain), Arm(name="24 of the class", build=_regularised)),
            shots=_strangers, score=_leaks, rises=False,
        ),
        "back_views": Idea(
            claim="Too many repeats of back views raise back views.",
            source="the articles' advice to give back views fewer repeats",
            measure="from behind found where the prompt does not ask for it; a quarter of the pictures shows her back, "
            "and no caption says so",
            arms=(Arm(name="as often as others", build=_some_backs), Arm(name="eight times", build=_many_backs)),
            shots=trait_shots, score=_turned, rises=True,
        ),
        "pruning": Idea(
            claim="Pruning traits moves them into the trigger; keeping all tags does not.",
            source="the second article's captions",
            measure="traits found when only the trigger says them",
            arms=(Arm(name="all tags kept", build=_kept), Arm(name="pruned", build=_plain)),
            shots=trait_shots, score=_traits, rises=True,
        ),
    }  # fmt: skip


def sheet(studio: Studio, name: str, character: Character, *, count: int, seen: int) -> Image.Image:
    """Some shots of one character: above those of the base model, then a row for each arm."""
    idea = ideas()[name]
    shots = idea.shots(character, count)
    rows = [studio.paint(shots, None)]
    for arm in idea.arms:
        rows.append(studio.paint(shots, _run(studio, arm, character, seen).checkpoint(0).file))
    width, height = rows[0][0].size
    made = Image.new("RGB", (width * len(shots), height * len(rows)), "white")
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            made.paste(picture, (c * width, r * height))
    return made


def _run(studio: Studio, arm: Arm, character: Character, seen: int) -> Any:
    """Her LoRA of that arm; studies that build the same dataset share it."""
    dataset = _as_long(arm.build(studio, character), seen)
    return studio.train(f"{arm.build.__name__.strip('_')} {character.name}", dataset, epochs=1)


def measure(
    studio: Studio, name: str, characters: Sequence[Character], *, count: int, seen: int = SEEN
) -> dict[str, Any]:
    """Each arm's mean score for each character, and the differences between the last arm and the first."""
    idea = ideas()[name]
    rows = []
    for character in characters:
        shots = idea.shots(character, count)
        plain = studio.marks(shots, None)
        her = trait_shots(character, count)
        row: dict[str, Any] = {"character": character.name, BASE: _mean(idea.score, shots, plain, plain), LEARNED: {}}
        for arm in idea.arms:
            file = _run(studio, arm, character, seen).checkpoint(0).file
            row[arm.name] = _mean(idea.score, shots, studio.marks(shots, file), plain)
            # A LoRA that has learned less changes less of everything.
            of_her = studio.marks(her, file)
            row[LEARNED][arm.name] = _mean(_traits, her, of_her, of_her)
        rows.append(row)
    return {"claim": idea.claim, "measure": idea.measure, "arms": [arm.name for arm in idea.arms], "rows": rows}


def _mean(score: Score, shots: Sequence[Shot], found: Sequence[set[str]], plain: Sequence[set[str]]) -> float | None:
    scores = [score(shot, tags, base) for shot, tags, base in zip(shots, found, plain, strict=True)]
    known = [one for one in scores if one is not None]
    return round(sum(known) / len(known), 4) if known else None


def verdict(found: dict[str, Any], *, rises: bool) -> dict[str, Any]:
    """The mean difference between the last arm and the first, its 95 % interval over the characters (Student's t),
    and whether the claim is shown: the interval lies on the claimed side. ValueError where fewer than two characters,
    or more than `_T` knows, have both.
    """
    first, last = found["arms"][0], found["arms"][-1]
    apart = [row[last] - row[first] for row in found["rows"] if row[last] is not None and row[first] is not None]
    if not 2 <= len(apart) <= len(_T) + 1:
        raise ValueError(f"{len(apart)} characters have both arms of {found['claim']!r}; 2 to {len(_T) + 1} are needed")
    mean = statistics.mean(apart)
    half = _T[len(apart) - 2] * statistics.stdev(apart) / math.sqrt(len(apart))
    low, high = mean - half, mean + half
    return {
        "difference": round(mean, 4), "low": round(low, 4), "high": round(high, 4),
        "shown": low > 0 if rises else high < 0,
    }  # fmt: skip


# --- datasets ------------------------------------------------------------------------------------


def _plain(studio: Studio, character: Character) -> Any:
    return studio.pruned(character, [studio.record(character.picture(i)) for i in range(PICTURES)])


def _kept(studio: Studio, character: Character) -> Any:
    records = [studio.record(character.picture(i)) for i in range(PICTURES)]
    return studio.pruned(character, records, purpose="style", patterns=(), implied=False)


def _one_style(studio: Studio, character: Character) -> Any:
    """Everything drawn alike: what an artist gives who draws in one style only. No caption says so: taggers do not name
    an artist's own hand, and what all pictures share is easily left out.
    """
    figures = [replace(character.picture(i), style=HABITS[0], background=HABITS[1]) for i in range(PICTURES)]
    records = [studio.record(figure, [tag for tag in figure.tags() if tag not in HABITS]) for figure in figures]
    return studio.pruned(character, records)


def _varied(studio: Studio, character: Character) -> Any:
    """The same, with two variants of each picture by the pack's own style augmentation, her colours held."""
    _ = studio.loaded
    from lora_kiln.nodes.augment import ControlNetStyleAugment

    model, clip, vae = studio.loaded
    styles = "\n".join(f"{{{'|'.join(words.STYLES[1:])}}}, {background}" for background in words.BACKGROUNDS[3:5])
    given = {
        **studio.defaults(ControlNetStyleAugment), "dataset": _one_style(studio, character), "model": model,
        "clip": clip, "vae": vae, "control_net": studio.control_net, "styles": styles, "cfg": 1.5, "steps": 20,
        "resolution": 128, "hold_hair": 1.0, "hold_face": 1.0, "hold_upper": 1.0, "hold_lower": 1.0,
    }  # fmt: skip
    with torch.inference_mode():
        return ControlNetStyleAugment.execute(**{name: [value] for name, value in given.items()}).result[0]


def _close_ups(studio: Studio, character: Character) -> Any:
    from lora_kiln.dataset.views import ViewOptions, crop_views

    options = ViewOptions(cowboy_shot=False, upper_body=False, portrait=True, face=True, minimum_size=32)
    return crop_views(_plain(studio, character), options)[0]


def _regularised(studio: Studio, character: Character) -> Any:
    """Her pictures, and as many of other girls as the base model paints them."""
    from lora_kiln.dataset.images import save_derived
    from lora_kiln.dataset.values import Record

    # Other scenes than those that are marked.
    shots = _strangers(character, 100 + PICTURES)[100:]
    painted = studio.paint(shots, None)
    records = [
        Record(
            image=save_derived(picture, studio.kept / "pictures"), size=picture.size, is_reg=True,
            tags=tuple(shot.prompt.split(", ")),
        )
        for picture, shot in zip(painted, shots, strict=True)
    ]  # fmt: skip
    dataset = _plain(studio, character)
    return dataset.replace_records((*dataset.records, *records))


def _some_backs(studio: Studio, character: Character, repeats: int = 1) -> Any:
    """A quarter of the pictures shows her back."""
    records = []
    for i in range(PICTURES):
        back = i % 4 == 0
        figure = replace(character.picture(i), view="from behind" if back else "front")
        # As artists caption turnarounds: nothing says which side it is.
        tags = tuple(tag for tag in figure.tags() if tag != "from behind")
        records.append(studio.record(figure, tags, repeats=repeats if back else 1))
    return studio.pruned(character, records)


def _many_backs(studio: Studio, character: Character) -> Any:
    return _some_backs(studio, character, repeats=8)


def _as_long(dataset: Any, seen: int) -> Any:
    """The dataset with repeats so that an epoch shows about `seen` of its own pictures; regularisation keeps one."""
    own = sum(record.repeats for record in dataset if not record.is_reg)
    factor = max(1, round(seen / own))
    return dataset.replace_records(
        record if record.is_reg else replace(record, repeats=record.repeats * factor) for record in dataset
    )


# --- shots and scores ----------------------------------------------------------------------------


def _elsewhere(character: Character, count: int) -> list[Shot]:
    """Scenes in other styles and before other backgrounds than those of `_one_style`."""
    found = []
    for number, shot in enumerate(trait_shots(character, count)):
        assert shot.figure is not None
        style, background = words.STYLES[1 + number % 3], words.BACKGROUNDS[1 + number % 6]
        figure = replace(shot.figure, style=style, background=background)
        prompt = ", ".join((character.trigger, "1girl", "solo", *figure.scene_tags()))
        found.append(replace(shot, prompt=prompt, figure=figure))
    return found


def _strangers(character: Character, count: int) -> list[Shot]:
    """Other girls, without the trigger: nothing of hers should be there."""
    found = []
    for shot in flexibility_shots(character, count):
        assert shot.figure is not None
        prompt = ", ".join(("1girl", "solo", *(g.tag for g in shot.figure.shown_outfit), *shot.figure.scene_tags()))
        found.append(replace(shot, prompt=prompt, wanted=character.traits))
    return found


def _traits(shot: Shot, found: set[str], plain: set[str]) -> float | None:
    return len(set(shot.wanted) & found) / len(shot.wanted)


def _details(shot: Shot, found: set[str], plain: set[str]) -> float | None:
    eyes = [tag for tag in shot.wanted if tag.endswith(" eyes")]
    return float(eyes[0] in found) if eyes else None


def _bleeds(shot: Shot, found: set[str], plain: set[str]) -> float | None:
    """Less what the base model paints there itself."""
    return (len(set(HABITS) & found) - len(set(HABITS) & plain)) / len(HABITS)


def _leaks(shot: Shot, found: set[str], plain: set[str]) -> float | None:
    return (len(set(shot.wanted) & found) - len(set(shot.wanted) & plain)) / len(shot.wanted)


def _turned(shot: Shot, found: set[str], plain: set[str]) -> float | None:
    return float("from behind" in found) - float("from behind" in plain)
