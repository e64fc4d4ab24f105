"""The article on characters from booru pictures: Kafka's hundred, and four outfits that are learned alike."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lora_kiln.dataset.balance import BalanceOptions, balance_repeats
from lora_kiln.dataset.duplicates import DuplicateOptions, remove_duplicates
from lora_kiln.dataset.images import open_image
from lora_kiln.dataset.load import LoadOptions, load_dataset
from lora_kiln.dataset.prune import PruneRules, prune_tags
from lora_kiln.dataset.replace import ReplaceOptions, replace_pictures, small_pictures
from lora_kiln.dataset.save import SaveOptions, save_dataset
from lora_kiln.dataset.select import SelectOptions, select
from lora_kiln.dataset.toml_file import load_toml
from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer.bucket_use import growth_to
from lora_kiln.trainer.groups import Buckets

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("pictures", "repeats", "epochs", "batch", "steps"),
    [(20, 10, 10, 2, 1000), (100, 3, 10, 2, 1500), (400, 1, 10, 2, 2000), (1000, 1, 10, 3, 3340)],
)
def test_the_reference_table(
    write_folder: Write, pictures: int, repeats: int, epochs: int, batch: int, steps: int
) -> None:
    """The article rounds the last row down to 3300; 1000 x 10 / 3 leaves a part of a batch in each epoch."""
    dataset, _ = load_dataset(write_folder("kafka", ["kafka, 1girl"] * pictures))
    options = BalanceOptions(method="by number of pictures", epochs=epochs, batch_size=batch)
    balanced, report = balance_repeats(dataset, options)
    assert {record.repeats for record in balanced} == {repeats}
    assert f"= {steps} " in report


def test_the_hundred_in_a_folder_of_three_repeats(write_folder: Write) -> None:
    dataset, problems = load_dataset(write_folder("3_hsr_kafka", ["kafka, 1girl, solo, sunglasses"] * 100).parent)
    assert problems == ()
    assert (len(dataset), dataset.images_per_epoch, dataset.records[0].group) == (100, 300, "hsr_kafka")


def test_what_a_booru_downloader_leaves(tmp_path: Path) -> None:
    """webp, transparency and JSON sidecars need no other program: no conversion, no white backgrounds by script."""
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "kafka_1.webp", lossless=True)
    Image.new("RGB", (8, 8), "red").save(tmp_path / "kafka_2.jpg")
    answer = {
        "rating": "s",
        "tag_string": "1girl kafka_(honkai:_star_rail) long_hair",
        "tag_string_general": "1girl long_hair",
        "tag_string_character": "kafka_(honkai:_star_rail)",
        "tag_string_meta": "highres",
    }
    for name in ("kafka_1.webp.json", "kafka_2.json"):
        (tmp_path / name).write_text(json.dumps(answer))
    dataset, problems = load_dataset(tmp_path, LoadOptions(booru_tags=("character", "general")))
    assert problems == ()
    assert {record.tags for record in dataset} == {("kafka (honkai: star rail)", "1girl", "long hair")}
    assert open_image(dataset.records[0]).getpixel((0, 0)) == (255, 255, 255)


def drawn(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture that looks like no other one: soft patches of colour."""
    patches = Image.new("RGB", (16, 24))
    draw = random.Random(seed)
    patches.putdata([tuple(draw.randrange(256) for _ in range(3)) for _ in range(16 * 24)])
    return patches.resize((128, 192), Image.Resampling.BICUBIC).resize(size)


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    """What the article's download is like: twins in other sizes, comics, pictures of others, small ones."""
    folder = tmp_path / "raw" / "3_hsr_kafka"
    folder.mkdir(parents=True)
    plain = "1girl, kafka_(honkai:_star_rail), purple_hair, purple_eyes, sunglasses, black_gloves"
    rows = [(seed, (128, 192), plain) for seed in range(6)]
    rows += [(6, (64, 96), plain), (7, (72, 96), f"{plain}, smile"), (8, (128, 192), f"{plain}, comic")]
    rows += [(9, (128, 192), "1boy, solo"), (0, (96, 144), plain), (1, (64, 96), f"{plain}, the_twin")]
    for number, (seed, size, caption) in enumerate(rows):
        drawn(seed, size).save(folder / f"{number}.png")
        if number != 1:  # its smaller twin alone has a caption
            (folder / f"{number}.txt").write_text(caption, encoding="utf-8")
    return folder.parent


def test_from_the_download_to_the_set_that_trains(downloaded: Path, tmp_path: Path) -> None:
    """Duplicates out, comics and others out, small ones through an upscaler, her traits into the trigger."""

    def tell(done: int, total: int) -> None:
        assert done <= total

    dataset, problems = load_dataset(downloaded)
    assert (len(dataset), problems) == (12, ())
    once = remove_duplicates(dataset, DuplicateOptions(), tell)
    assert {record.image.stem for record in once.removed} == {"10", "11"}
    assert "the twin" in once.dataset.records[1].tags
    chosen = select(once.dataset, SelectOptions(filter="1girl AND NOT comic"))
    assert [record.image.stem for record in chosen.selected] == ["0", "1", "2", "3", "4", "5", "6", "7"]
    assert [record.image.stem for record in chosen.rest] == ["8", "9"]

    buckets = Buckets(resolution=160, bucket_step=32, min_bucket=64, max_bucket=256)
    small = small_pictures(chosen.selected, growth_to(buckets), least=1.5)
    assert {record.image.stem for record in small.pictures} == {"6", "7"}
    larger = [open_image(record).resize((record.size[0] * 2, record.size[1] * 2)) for record in small.pictures]
    whole, report = replace_pictures(
        chosen.selected, small.pictures, larger, ReplaceOptions(), tmp_path / "cache", tell
    )
    assert "2 pictures came back and took the place of 2 records" in report
    assert [record.size for record in whole][-2:] == [(128, 192), (144, 192)]
    assert not small_pictures(whole, growth_to(buckets), least=1.5).pictures.records

    ready, _ = prune_tags(whole, PruneRules(trigger="kafka", class_tag="1girl"))
    assert {record.tags[:2] for record in ready} == {("kafka", "1girl")}
    assert all({"sunglasses", "black gloves"} <= set(record.tags) for record in ready)
    assert all({"purple hair", "purple eyes"} <= set(record.pruned) for record in ready)
    assert not any("purple hair" in record.tags for record in ready)

    folder, _ = save_dataset(ready, tmp_path / "out", SaveOptions(name="kafka"))
    again, problems = load_dataset(folder)
    assert problems == ()
    assert [(r.tags, r.pruned, r.repeats, r.size) for r in again] == [(r.tags, r.pruned, 3, r.size) for r in ready]
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"3_hsr_kafka"}


@pytest.fixture
def outfits(write_folder: Write) -> Dataset:
    """Four outfits, each with its own trigger: 20, 33, 100 and 50 pictures."""
    counts = {"zetadef": 20, "zetasummer": 33, "zetadark": 100, "zetahalloween": 50}
    for name, count in counts.items():
        folder = write_folder(f"zeta/{name}", [f"{name}, 1girl, solo"] * count)
    return load_dataset(folder.parent)[0]


def test_four_outfits_are_learned_alike(outfits: Dataset) -> None:
    balanced, report = balance_repeats(outfits, BalanceOptions(epochs=10, batch_size=2))
    repeats = {name: records[0].repeats for name, records in balanced.groups().items()}
    assert repeats == {"zetadef": 5, "zetasummer": 3, "zetadark": 1, "zetahalloween": 2}
    assert balanced.images_per_epoch == 399
    for line in ("zetadef: 20 x 5 = 100", "zetasummer: 33 x 3 = 99", "= 399", "about 10 epochs for 399 pictures"):
        assert line in report


def test_their_toml_is_the_articles(outfits: Dataset, tmp_path: Path) -> None:
    balanced, _ = balance_repeats(outfits)
    folder, _ = save_dataset(balanced, tmp_path / "out", SaveOptions(name="zeta"))
    text = (folder / "dataset.toml").read_text(encoding="utf-8")
    assert text.count("[[datasets.subsets]]") == 4
    assert sorted(line for line in text.splitlines() if line.startswith("num_repeats")) == [
        f"num_repeats = {n}" for n in (1, 2, 3, 5)
    ]
    assert load_toml(folder / "dataset.toml")[0].images_per_epoch == 399


@pytest.mark.parametrize(("seen", "epochs"), [(200, 17), (300, 12), (400, 10)])
def test_the_table_of_epochs(write_folder: Write, seen: int, epochs: int) -> None:
    dataset, _ = load_dataset(write_folder("x", ["x"] * (seen // 10)), LoadOptions(repeats=10))
    assert f"about {epochs} epochs" in balance_repeats(dataset, BalanceOptions(method="keep proportions"))[1]
