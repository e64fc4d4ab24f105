"""Pictures that look alike: found in other sizes and qualities, and not where only the drawing's kind is alike."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from demo.world.characters import characters
from demo.world.draw import draw
from lora_kiln.dataset.duplicates import BITS, DuplicateOptions, find_pairs, remove_duplicates, sketch
from lora_kiln.dataset.values import Box, Dataset, Record


def drawing(name: str, seed: int, side: int = 128) -> Image.Image:
    return draw(characters()[name].picture(seed), side=side).image.convert("RGB")


def quiet(done: int, total: int) -> None:
    """A progress that nobody looks at."""


class Folder:
    """Pictures on disk as records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []

    def add(self, name: str, image: Image.Image, *, quality: int = 90, **changes: Any) -> Record:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file, quality=quality)
        self.records.append(Record(image=file, size=image.size, **changes))
        return self.records[-1]

    def found(self, **options: Any) -> Any:
        return remove_duplicates(Dataset(records=tuple(self.records)), DuplicateOptions(**options), quiet)

    def left(self, **options: Any) -> list[str]:
        return [record.image.name for record in self.found(**options).dataset]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


COPIES = {
    "smaller": lambda image: image.resize((80, 80), Image.Resampling.BICUBIC),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.05),
    "paler": lambda image: ImageEnhance.Contrast(image).enhance(0.85),
    "stretched": lambda image: image.resize((140, 128)),
}


@pytest.mark.parametrize("method", ["phash", "dhash"])
@pytest.mark.parametrize("copy", COPIES)
def test_copies_of_every_kind_go_and_other_pictures_stay(folder: Folder, method: str, copy: str) -> None:
    names = [f"{name}{seed}.png" for name in characters() for seed in range(3)]
    for name in characters():
        for seed in range(3):
            image = drawing(name, seed)
            folder.add(f"{name}{seed}.png", image.resize((160, 160), Image.Resampling.LANCZOS))
            folder.add(f"copy of {name}{seed}.jpg", COPIES[copy](image), quality=50)
    found = folder.found(method=method)
    assert [record.image.name for record in found.dataset] == names
    assert [record.image.name for record in found.removed] == [f"copy of {name[:-4]}.jpg" for name in names]
    assert len(found.pairs) == len(found.names) == 2 * len(names)
    assert f"{len(names)} duplicates removed, {len(names)} left" in found.report


def test_the_largest_stays_with_its_own_caption_mask_and_place(folder: Folder) -> None:
    image, mask = drawing("mirelva", 1), folder.path / "mask.png"
    Image.new("L", (256, 256), 255).save(mask)
    folder.add("other.png", drawing("tornika", 0), tags=("b",))
    folder.add("small.png", image, tags=("small", "words"), repeats=9)
    large = folder.add("large.png", image.resize((256, 256)), tags=("large",), mask=mask, repeats=2, group="g")
    found = folder.found()
    assert found.dataset.records == (folder.records[0], large)
    assert found.removed.records == (folder.records[1],)
    assert found.pairs.records == (large, folder.records[1])
    assert found.names == ("stays: g/large.png", "goes: small.png")
    assert "g/large.png (256 x 256) stays, small.png (128 x 128) goes: " in found.report


def test_of_equals_the_captioned_then_the_masked_then_the_lossless_stays(folder: Folder) -> None:
    image = drawing("mirelva", 1)
    for names in (["a.jpg", "b.png"], ["a.png", "m.png"], ["a.png", "c.jpg"]):
        folder.records.clear()
        for name in names:
            record = folder.add(name, image, tags=("x",) if name == "c.jpg" else ())
            if name == "m.png":
                folder.records[-1] = dataclasses.replace(record, mask=record.image)
        assert folder.left() == names[1:]


def test_a_picture_without_caption_takes_its_duplicates(folder: Folder) -> None:
    image = drawing("mirelva", 1)
    folder.add("large.png", image.resize((256, 256)))
    folder.add("short.png", image, tags=("1girl",))
    folder.add("long.png", image, tags=("1girl", "hat"))
    found = folder.found()
    assert [(record.image.name, record.tags) for record in found.dataset] == [("large.png", ("1girl", "hat"))]
    assert "took their duplicate's" in found.report
    assert folder.found(fill_captions=False).dataset.records == (folder.records[0],)


def test_no_chain_of_small_steps_joins_different_pictures() -> None:
    bits = np.zeros(BITS, dtype=bool)
    flat = np.zeros((16, 16, 3), dtype=np.float32)
    plain = sketch(Image.new("RGB", (64, 64)), "phash")
    steps = []
    for step in range(6):
        bits = bits.copy()
        bits[step * 12 : (step + 1) * 12] = True
        steps.append(dataclasses.replace(plain, bits=bits, mirrored=bits, colors=flat))
    records = [Record(image=Path(f"/{i}.png").absolute(), size=(64, 64)) for i in range(6)]
    pairs = find_pairs(records, steps, DuplicateOptions(distance=12))
    assert [(pair.kept, pair.removed, pair.distance) for pair in pairs] == [(0, 1, 12), (2, 3, 12), (4, 5, 12)]
    assert len(find_pairs(records, steps, DuplicateOptions(distance=11))) == 0
    assert len(find_pairs(records, steps, DuplicateOptions(distance=12), {1})) == 2


def test_pairs_do_not_depend_on_the_blocks_that_are_compared_at_once() -> None:
    rng = np.random.default_rng(0)
    plain = sketch(Image.new("RGB", (64, 64)), "phash")
    prints = []
    for _ in range(350):
        bits = rng.random(BITS) < 0.5
        near = bits ^ (rng.random(BITS) < 0.02)
        prints += [dataclasses.replace(plain, bits=one) for one in (bits, near)]
    records = [Record(image=Path(f"/{i}.png").absolute(), size=(64, 64)) for i in range(700)]
    pairs = find_pairs(records, prints, DuplicateOptions())
    assert [(pair.kept, pair.removed) for pair in pairs] == [(i, i + 1) for i in range(0, 700, 2)]
    for pair in random.Random(1).sample(pairs, 20):
        assert pair.distance == (prints[pair.kept].bits != prints[pair.removed].bits).sum()


def test_recoloured_outfits_are_two_pictures(folder: Folder) -> None:
    red = Image.new("RGB", (96, 96), "white")
    red.paste((200, 40, 40), (20, 10, 76, 90))
    blue = Image.new("RGB", (96, 96), "white")
    blue.paste((40, 94, 200), (20, 10, 76, 90))
    folder.add("red.png", red)
    folder.add("blue.png", blue)
    assert folder.left() == ["red.png", "blue.png"]
    assert folder.left(colors=255.0) == ["red.png"]


def test_a_mirrored_copy_counts_when_asked_for(folder: Folder) -> None:
    image = drawing("sazuyo", 2)
    folder.add("a.png", image)
    folder.add("b.png", ImageOps.mirror(image))
    assert len(folder.left()) == 2
    found = folder.found(mirrored=True)
    assert len(found.dataset) == 1
    assert ", mirrored" in found.report


def test_groups_regularisation_and_views_of_one_picture_are_told_apart(folder: Folder) -> None:
    image = drawing("mirelva", 1)
    front = folder.add("front.png", image, group="a")
    folder.add("front copy.png", image, group="b")
    folder.add("reg.png", image, group="a", is_reg=True)
    whole = Box(left=0, top=0, right=128, bottom=128)
    folder.records.append(dataclasses.replace(front, crop=whole, origin=("crop:full body of front.png",)))
    folder.records.append(front)
    assert folder.left() == ["front.png", "reg.png", "front.png"]
    assert folder.left(across_groups=False) == ["front.png", "front copy.png", "reg.png", "front.png"]


def test_what_is_spared_by_name_stays_and_unknown_names_are_told(folder: Folder) -> None:
    image = drawing("mirelva", 1)
    folder.add("large.png", image.resize((256, 256)), group="g")
    folder.add("small.png", image, group="g")
    folder.add("tiny.png", image.resize((64, 64)), group="g")
    assert folder.left() == ["large.png"]
    found = folder.found(spare=("g/tiny.png", "g/gone.png"))
    assert [record.image.name for record in found.dataset] == ["large.png", "tiny.png"]
    assert "'g/gone.png', and no picture is called so" in found.report


def test_a_damaged_picture_stays_and_is_named(folder: Folder) -> None:
    image = drawing("mirelva", 1)
    folder.add("a.png", image)
    folder.add("b.png", image)
    cut = folder.add("cut.jpg", image)
    cut.image.write_bytes(cut.image.read_bytes()[:400])
    found = folder.found()
    assert [record.image.name for record in found.dataset] == ["a.png", "cut.jpg"]
    assert "Problems (1)" in found.report
    assert "compared with nothing" in found.report


def test_blank_pictures_and_no_pictures_are_no_trouble(folder: Folder) -> None:
    assert folder.found().report.startswith("0 pictures, 0 duplicates removed")
    for name, color in (("white.png", "white"), ("black.png", "black"), ("white2.png", "white")):
        folder.add(name, Image.new("RGB", (64, 64), color))
    assert folder.left() == ["white.png", "black.png"]


def test_a_cancel_stops_the_reading(folder: Folder) -> None:
    folder.add("a.png", drawing("mirelva", 1))

    def cancel(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        remove_duplicates(Dataset(records=tuple(folder.records)), DuplicateOptions(), cancel)
