"""kohya's datasets: which folders, which repeats, which captions, and whose value counts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_kiln.dataset.subsets import Subset, load_subsets, subsets_mark
from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.kohya import Reading, read_config
from lora_kiln.trainer.kohya_folders import subsets_of
from lora_kiln.trainer.kohya_write import save_config

TOML = """
[general]
shuffle_caption = true
caption_extension = '.txt'
keep_tokens = 1

[[datasets]]
resolution = 512
batch_size = 4
keep_tokens = 2

  [[datasets.subsets]]
  is_reg = true
  image_dir = 'reg'
  class_tokens = 'human'
  keep_tokens = 1

  [[datasets.subsets]]
  image_dir = 'hoge'
  class_tokens = 'hoge girl'
  num_repeats = 3

  [[datasets.subsets]]
  image_dir = 'gone'
  flip_aug = true

[[datasets]]
resolution = [768, 768]
batch_size = 4
color_aug = false
fancy = 1

  [[datasets.subsets]]
  image_dir = 'hoge/inner'
  keep_tokens = 3
  metadata_file = 'x.json'
"""


def picture(file: Path, caption: str | None = None, color: str = "red") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), color).save(file)
    if caption is not None:
        file.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return file


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("reg/r.png", "hoge/a.png", "hoge/inner/b.png"):
        picture(tmp_path / name)
    return tmp_path


def read(folder: Path, text: str, name: str = "dataset.toml") -> Reading:
    (folder / name).write_text(text, encoding="utf-8")
    return read_config(folder / name)


def lines(reading: Reading) -> dict[str, tuple[str, str]]:
    assert len({line.key for line in reading.lines}) == len(reading.lines)
    return {line.key: (line.verdict, line.words) for line in reading.lines}


def test_the_lowest_table_that_says_a_setting_counts_and_training_comes_first(folders: Path) -> None:
    reading = read(folders, TOML)
    recipe = reading.recipe
    assert (recipe.captions.keep_tokens, recipe.captions.shuffle_caption) == (2, True)
    assert (recipe.buckets.resolution, recipe.amount.batch_size, recipe.buckets.flip_aug) == (512, 4, False)
    # A dataset alone does not say how to train, so that is as with us; sd-scripts' own defaults are of the dataset.
    assert (recipe.optimizer.unet_lr, recipe.amount.max_train_steps, recipe.buckets.enable_bucket) == (1e-4, 0, False)
    assert reading.subsets == (
        Subset(folder=folders / "hoge", repeats=3, caption_extension=".txt", class_tokens="hoge girl", own=()),
        Subset(
            folder=folders / "hoge" / "inner", caption_extension=".txt", metadata_file=folders / "x.json",
            own=("keep_tokens=3", "resolution=768"),
        ),
        Subset(
            folder=folders / "reg", is_reg=True, caption_extension=".txt", class_tokens="human", own=("keep_tokens=1",)
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "verdict", "said"),
    [
        ("general.keep_tokens", "default", "no subset comes to it"),
        ("general.caption_extension", "applied", "these pictures"),
        ("datasets[1].keep_tokens", "applied", "keep_tokens = 2"),
        ("datasets[1].subsets[1].keep_tokens", "applied", "for its own pictures"),
        ("datasets[2].subsets[1].keep_tokens", "applied", "for its own pictures"),
        ("datasets[1].resolution", "applied", "resolution = 512"),
        ("datasets[2].resolution", "applied", "for its own pictures"),
        ("datasets[2].batch_size", "applied", "as in datasets[1]"),
        ("datasets[2].fancy", "unsupported", "spelled right"),
        ("datasets[1].subsets[3].flip_aug", "applied", "for its own pictures"),
        ("datasets[1].subsets[3].image_dir", "unsupported", "no such folder"),
        ("datasets[1].subsets[2].num_repeats", "applied", ""),
        ("datasets[2].subsets[1].metadata_file", "applied", "of these pictures"),
    ],
)
def test_every_key_of_a_dataset_has_its_line(folders: Path, key: str, verdict: str, said: str) -> None:
    found = lines(read(folders, TOML))
    assert found[key][0] == verdict
    assert said in found[key][1]
    assert len(found) == 22


def test_a_config_names_its_dataset_and_is_what_the_dataset_falls_back_to(folders: Path) -> None:
    (folders / "d.toml").write_text(
        "[[datasets]]\nbatch_size = 3\n[[datasets.subsets]]\nimage_dir = 'hoge'\n", encoding="utf-8"
    )
    text = (
        "dataset_config = 'd.toml'\ntrain_batch_size = 9\nkeep_tokens = 5\ncaption_extension = 'cap'\n"
        "train_data_dir = 'reg'\n"
    )
    reading = read(folders, text, "c.toml")
    assert (reading.recipe.amount.batch_size, reading.recipe.captions.keep_tokens) == (3, 5)
    assert reading.subsets == (Subset(folder=folders / "hoge", caption_extension=".cap", own=()),)
    found = lines(reading)
    assert found["train_batch_size"] == ("default", "datasets[1].batch_size replaces it")
    assert found["train_data_dir"][0] == "default"
    given = read_config(folders / "c.toml", folders / "d.toml")
    assert given.subsets == reading.subsets
    with pytest.raises(KilnError, match=r"c\.toml has no \[\[datasets\]\]"):
        read_config(folders / "c.toml", folders / "c.toml")
    with pytest.raises(KilnError, match=r"has \[\[datasets\]\] of its own"):
        read_config(folders / "d.toml", folders / "d.toml")


def test_kohyas_folders_tell_repeats_and_class(tmp_path: Path) -> None:
    for name in ("img/9_kie rose/a.png", "img/5_side/b.png", "img/plain/c.png", "img/0_off/d.png", "reg/1_girl/e.png"):
        picture(tmp_path / name)
    config = {"train_data_dir": "img", "reg_data_dir": str(tmp_path / "reg"), "LoRA_type": "Standard", "epoch": 1}
    reading = read(tmp_path, json.dumps(config), "c.json")
    assert reading.subsets == (
        Subset(folder=tmp_path / "img" / "5_side", repeats=5, class_tokens="side", own=()),
        Subset(folder=tmp_path / "img" / "9_kie rose", repeats=9, class_tokens="kie rose", own=()),
        Subset(folder=tmp_path / "reg" / "1_girl", repeats=1, is_reg=True, class_tokens="girl", own=()),
    )
    flat = read(tmp_path, json.dumps({**config, "train_data_dir": "img/plain", "reg_data_dir": ""}), "c.json")
    assert flat.subsets == ()
    assert lines(flat)["train_data_dir"] == (
        "unsupported",
        "it holds no folders named N_name, where kohya looks; use Load Dataset",
    )


def test_a_folder_counts_once_in_a_dataset(folders: Path) -> None:
    subset = "[[datasets.subsets]]\nimage_dir = 'hoge'\n"
    assert len(read(folders, f"[[datasets]]\n{subset}{subset}").subsets) == 1
    assert len(read(folders, f"[[datasets]]\n{subset}[[datasets]]\n{subset}").subsets) == 2


def test_masks_of_a_folder_turn_masked_loss_on(folders: Path) -> None:
    picture(folders / "masks" / "a.png")
    reading = read(
        folders,
        "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'hoge'\nconditioning_data_dir = 'masks'\n"
        "[[datasets.subsets]]\nimage_dir = 'reg'\nalpha_mask = true\n",
    )
    assert reading.recipe.loss.masked_loss
    assert reading.subsets[0].mask_folder == folders / "masks"
    found = lines(reading)
    assert found["datasets[1].subsets[1].conditioning_data_dir"][0] == "applied"
    assert found["datasets[1].subsets[2].alpha_mask"][0] == "applied"
    dataset, _ = load_subsets(reading.subsets)
    assert [record.mask for record in dataset] == [folders / "masks" / "a.png", None]


@pytest.mark.parametrize(
    ("caption", "fields", "tags"),
    [
        ("smile, cat", {}, ("smile", "cat")),
        (None, {"class_tokens": "hoge girl"}, ("hoge girl",)),
        ("", {"class_tokens": "hoge"}, ("hoge",)),
        ("smile", {"caption_prefix": "best quality,", "caption_suffix": ", side"}, ("best quality", "smile", "side")),
        (None, {}, ()),
    ],
)
def test_captions_are_kohyas(
    tmp_path: Path, caption: str | None, fields: dict[str, Any], tags: tuple[str, ...]
) -> None:
    picture(tmp_path / "9_x" / "a.png", caption)
    picture(tmp_path / "9_x" / "inner" / "b.png", "never")
    dataset, problems = load_subsets([Subset(folder=tmp_path / "9_x", repeats=2, is_reg=True, **fields)])
    [record] = dataset
    assert (record.tags, record.repeats, record.is_reg, record.group) == (tags, 2, True, "x")
    assert problems == ()


def test_a_folder_without_pictures_is_a_problem_and_the_others_load(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    picture(tmp_path / "full" / "a.png")
    seen: list[tuple[int, int]] = []
    subsets = [Subset(folder=tmp_path / "empty"), Subset(folder=tmp_path / "full")]
    dataset, problems = load_subsets(subsets, None, lambda done, total: seen.append((done, total)))
    assert len(dataset) == 1
    assert [problem.path for problem in problems] == [tmp_path / "empty"]
    assert seen[-1] == (200, 200)


def test_a_new_caption_changes_the_mark(tmp_path: Path) -> None:
    file = picture(tmp_path / "a" / "a.png")
    subsets = [Subset(folder=tmp_path / "a")]
    before = subsets_mark(subsets)
    assert subsets_mark(subsets) == before
    file.with_suffix(".txt").write_text("smile", encoding="utf-8")
    assert subsets_mark(subsets) != before


def test_a_dataset_becomes_its_folders_again(tmp_path: Path) -> None:
    picture(tmp_path / "a" / "1.png", "smile")
    picture(tmp_path / "b" / "2.png")
    subsets = (
        Subset(folder=tmp_path / "a", repeats=3, caption_extension=".txt", own=()),
        Subset(folder=tmp_path / "b", is_reg=True, caption_extension=".txt", own=()),
    )
    dataset, _ = load_subsets(subsets)
    assert subsets_of(dataset) == (subsets, ())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tags": ("other",)}, "1 of 2 pictures have another caption in the graph"),
        ({"weight": 0.5}, "1 of 2 pictures have a weight of their own"),
        ({"repeats": 7}, "pictures have 3, 7 repeats"),
    ],
)
def test_what_folders_cannot_tell_is_said(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    picture(tmp_path / "a" / "1.png", "smile")
    picture(tmp_path / "a" / "2.png", "rain")
    dataset, _ = load_subsets([Subset(folder=tmp_path / "a", repeats=3)])
    first, second = dataset
    _, notes = subsets_of(dataset.replace_records([first, dataclasses.replace(second, **fields)]))
    assert len(notes) == 1
    assert said in notes[0]
    _, notes = subsets_of(dataset.replace_records([first]))
    assert "1 more pictures lie there" in notes[0]


def test_a_subset_is_seen_at_least_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="repeats is 0"):
        Subset(folder=tmp_path, repeats=0)


def test_a_subset_that_says_nothing_falls_back_to_the_training_settings(folders: Path) -> None:
    """The first one's value is the recipe's; the others have what sd-scripts would give them."""
    reading = read(
        folders,
        """
        keep_tokens = 5
        flip_aug = true
        train_batch_size = 2
        [[datasets]]
        batch_size = 2
          [[datasets.subsets]]
          image_dir = 'hoge'
          keep_tokens = 2
          flip_aug = false
          token_warmup_step = 0.5
          [[datasets.subsets]]
          image_dir = 'hoge/inner'
          caption_tag_dropout_rate = 0.2
        """,
    )
    captions, buckets = reading.recipe.captions, reading.recipe.buckets
    assert (captions.keep_tokens, captions.token_warmup, buckets.flip_aug) == (2, "50 %", False)
    assert [subset.own for subset in reading.subsets] == [
        (), ("flip_aug=true", "keep_tokens=5", "tag_dropout=0.2", "token_warmup=0"),
    ]  # fmt: skip
    dataset, _ = load_subsets(reading.subsets)
    assert [record.own for record in dataset] == [subset.own for subset in reading.subsets]


def test_settings_of_single_folders_come_back(folders: Path) -> None:
    """Several sizes of one folder too, which sd-scripts has in a dataset each."""
    reading = read(folders, TOML)
    several = [*reading.subsets, dataclasses.replace(reading.subsets[0], own=("flip_aug=true", "resolution=256"))]
    dataset, _ = load_subsets(several)
    file = save_config(folders / "out", "again", reading.recipe, dataset)
    again = read_config(file)
    assert {(one.folder, one.is_reg, one.own) for one in again.subsets} == {
        (one.folder, one.is_reg, one.own) for one in several
    }
    assert again.recipe.differences(reading.recipe).keys() <= {"max_token_length"}


def test_folders_whose_pictures_differ_are_told() -> None:
    [one] = [Record(image=Path("/p/a.png").absolute(), size=(8, 8), own=("flip_aug=true",))]
    _, notes = subsets_of(Dataset(records=(one, dataclasses.replace(one, own=("keep_tokens=2",)))))
    assert any("differ in settings of their own" in note for note in notes)
