"""The article on a LoRA from one single image: close-ups make the dataset, `5_isabella` beside `1_girl` in `reg`."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from lora_kiln.dataset.load import load_dataset
from lora_kiln.dataset.prune import PruneRules, prune_tags
from lora_kiln.dataset.save import SaveOptions, save_dataset
from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.dataset.view_options import ViewOptions
from lora_kiln.dataset.views import crop_name, crop_views

# What the article tags of her outfit, and what it takes away: hair, eyes, chest.
OUTFIT = (
    "white capelet", "white hat", "green bow", "black corset", "white skirt", "frilled skirt", "long sleeves",
    "wrist cuffs", "boots",
)  # fmt: skip
SCENE = ("standing", "closed mouth", "looking at viewer", "white background", "full body")
REGULAR = 3
# The article's list: full body is the picture itself; the head out of the image twice, as chest and as waist.
CLOSE_UPS = {"cowboy shot", "upper body", "lower body", "face", "bangs", "chest", "waist", "buckle"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One image of 2,000 pixels and more in `image/5_isabella`, tiny regularisation pictures in `reg/1_girl`."""
    image = Image.new("RGB", (1100, 2048), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((400, 90, 700, 420), fill="saddlebrown")
    pen.rectangle((500, 400, 600, 520), fill="bisque")
    pen.rounded_rectangle((360, 500, 740, 1000), 80, fill="gainsboro", outline="green", width=14)
    pen.polygon([(380, 980), (720, 980), (860, 1600), (240, 1600)], fill="honeydew", outline="green", width=14)
    pen.rectangle((440, 1600, 520, 1960), fill="black")
    pen.rectangle((580, 1600, 660, 1960), fill="black")
    regular = tmp_path / "set" / "reg" / "1_girl"
    regular.mkdir(parents=True)
    for number in range(REGULAR):
        Image.new("RGB", (64, 96), (40 * number, 90, 120)).save(regular / f"{number}.png")
        (regular / f"{number}.txt").write_text("1girl, long hair, full body", encoding="utf-8")
    main = tmp_path / "set" / "image" / "5_isabella"
    main.mkdir(parents=True)
    image.save(main / "isabella.png")
    (main / "isabella.txt").write_text(", ".join(("isabella", "1girl", *OUTFIT, *SCENE)), encoding="utf-8")
    return tmp_path / "set"


def regular_of(dataset: Dataset) -> list[Record]:
    """What the class looks like: the pictures of `1_girl`."""
    return [record for record in dataset if record.is_reg]


def test_one_image_becomes_the_articles_close_ups(folder: Path, tmp_path: Path) -> None:
    dataset, problems = load_dataset(folder)
    assert problems == ()
    assert [(r.group, r.repeats, r.is_reg) for r in dataset] == [("isabella", 5, False)] + [("girl", 1, True)] * REGULAR
    options = ViewOptions(
        lower_body=True, portrait=False, bangs=True, chest=True, waist=True, minimum_size=128,
        custom=("isabella.png | buckle | 44% 40% 56% 50% | close-up, green bow",),
        view_repeats=("chest: 1", "waist: 1"),
    )  # fmt: skip
    result, report, [done, *others] = crop_views(dataset, options)
    assert [len(one.crops) for one in others] == [0] * REGULAR
    assert regular_of(result) == regular_of(dataset), "whole, with their own repeats and captions"
    crops = {crop_name(crop): crop for crop in done.crops}
    assert set(crops) == CLOSE_UPS, done.why
    assert f"{len(CLOSE_UPS)} crops of {1 + REGULAR} pictures" in report
    assert {crop.image for crop in done.crops} == {done.source.image}, "boxes, no files"
    # Few headless pictures: they teach headlessness.
    close_ups = [record for record in result if not record.is_reg]
    assert [record.repeats for record in close_ups] == [5, *(1 if n in ("chest", "waist") else 5 for n in crops)]
    assert all(record.tags[0] == "isabella" for record in close_ups)
    headless = {name for name, crop in crops.items() if "head out of frame" in crop.tags}
    assert headless == {"lower body", "chest", "waist"}
    assert {name for name, crop in crops.items() if "close-up" in crop.tags} == {
        "face",
        "bangs",
        "chest",
        "waist",
        "buckle",
    }
    assert "boots" not in crops["upper body"].tags
    assert "white hat" not in crops["chest"].tags
    assert "white skirt" in crops["lower body"].tags
    assert "closed mouth" not in crops["bangs"].tags
    assert "closed mouth" in crops["face"].tags
    assert all("full body" not in crop.tags for crop in crops.values())
    # As the article says, buckets make resizing needless; the crops keep the picture's own resolution.
    assert min(min(crop.view_size) for crop in crops.values()) >= 128


def test_the_dataset_is_what_trains_after_saving_and_loading(folder: Path, tmp_path: Path) -> None:
    dataset = load_dataset(folder)[0]
    options = ViewOptions(lower_body=True, portrait=False, bangs=True, minimum_size=128)
    cropped = crop_views(dataset, options)[0]
    result, _ = prune_tags(cropped, PruneRules(trigger="isabella", class_tag="1girl"))
    assert regular_of(result) == regular_of(dataset), "the trigger teaches nothing of the class"
    saved = tmp_path / "saved"
    save_dataset(result, saved, SaveOptions())
    again = load_dataset(saved)[0]
    assert sorted(r.caption for r in again) == sorted(r.caption for r in result)
    assert sorted(r.view_size for r in again) == sorted(r.view_size for r in result)
    assert {(r.repeats, r.group) for r in again if not r.is_reg} == {(5, "isabella")}
    found = regular_of(again)
    assert {record.image.parent.relative_to(saved / "my_dataset").as_posix() for record in found} == {"reg/1_girl"}
    told = [
        [(r.caption, r.repeats, r.group, r.view_size, r.image.name) for r in each]
        for each in (found, regular_of(dataset))
    ]
    assert told[0] == told[1]
