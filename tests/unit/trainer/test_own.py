"""Settings that single pictures have for themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lora_kiln.dataset.report import dataset_report, own_counts
from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.trainer.bucket_use import bucket_use, growth_to
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.groups import Buckets
from lora_kiln.trainer.own import OF_PICTURES, OwnOptions, own_lines, parse_own, recipe_for, with_own
from lora_kiln.trainer.recipe import Recipe

PLAIN = Record(image=Path("/pictures/a.png").absolute(), size=(512, 512), tags=("kiln",))


def test_a_picture_has_its_own_settings_and_the_recipes_others() -> None:
    recipe = Recipe().with_settings(keep_tokens=3, resolution=512, tag_dropout=0.1)
    own = recipe_for(recipe, dataclasses.replace(PLAIN, own=("keep_tokens=0", "resolution=768", "flip_aug=true")))
    assert recipe.differences(own) == {"keep_tokens": (3, 0), "resolution": (512, 768), "flip_aug": (False, True)}
    assert recipe_for(recipe, PLAIN) is recipe


def test_every_setting_of_pictures_is_one_of_the_recipe_and_comes_back() -> None:
    recipe = Recipe()
    values = {name: recipe.setting(name) for name in OF_PICTURES}
    assert parse_own(own_lines(values)) == values


def given(dataset: Dataset, *lines: str, groups: tuple[str, ...] = ()) -> Dataset:
    return with_own(dataset, OwnOptions(settings=lines, groups=groups))[0]


def test_settings_are_put_beside_those_that_are_there() -> None:
    first = given(Dataset(records=(PLAIN,)), "flip_aug = true", "keep_tokens=2")
    [record] = second = given(first, "keep_tokens = 4")
    assert record.own == ("flip_aug=true", "keep_tokens=4")
    assert own_counts(Dataset(records=(record, PLAIN, record))) == {record.own: 2}
    assert [record.own for record in given(second)] == [()]


def test_groups_choose_who_gets_them() -> None:
    rows = Dataset(records=tuple(dataclasses.replace(PLAIN, group=name) for name in ("5_kie", "1_bg", "1_bgs")))
    found, report = with_own(rows, OwnOptions(settings=("flip_aug=true",), groups=("1_bg*",)))
    assert [bool(record.own) for record in found] == [False, True, True]
    assert "Settings of their own:\n  2 pictures: flip_aug=true\n" in dataset_report(found)
    assert report == "2 pictures: flip_aug=true\n1 picture: the recipe's settings alone"
    with pytest.raises(KilnError, match=r"groups is 2_x; the dataset has 1_bg, 1_bgs, 5_kie"):
        given(rows, "flip_aug=true", groups=("2_x",))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dim = 8", "'dim = 8' is no setting of single pictures; write name = value, with one of shuffle_caption"),
        ("keep_tokens", "is no setting of single pictures"),
        ("keep_tokens = two", "keep_tokens is a whole number, such as keep_tokens = 1"),
        ("tag_dropout = x", "tag_dropout is a number"),
        ("flip_aug = maybe", "write flip_aug = true or flip_aug = false"),
        ("resolution = 10", "Buckets.resolution is 10; it must be 64 or more"),
        ("token_warmup = long", "is no length of training"),
    ],
)
def test_a_line_that_cannot_be_is_told_with_the_mend(line: str, said: str) -> None:
    with pytest.raises(KilnError) as error:
        parse_own([line])
    assert said in str(error.value)


def test_what_does_not_go_with_the_recipe_names_the_picture() -> None:
    recipe = Recipe().with_settings(max_bucket=512)
    with pytest.raises(KilnError, match=r"a\.png has settings of its own: .*min_bucket is 1024 and max_bucket 512"):
        recipe_for(recipe, dataclasses.replace(PLAIN, own=("min_bucket=1024",)))


def test_they_change_what_training_sees_and_so_the_datasets_mark(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"x")
    plain = Dataset(records=(dataclasses.replace(PLAIN, image=file),))
    assert plain.fingerprint() != given(plain, "flip_aug=true").fingerprint()


def test_buckets_count_and_growth_goes_by_them() -> None:
    settings = Buckets(resolution=512, bucket_step=64, min_bucket=64, max_bucket=2048)
    small = dataclasses.replace(PLAIN, own=("resolution=256",))
    assert [use.size for use in bucket_use(Dataset(records=(PLAIN, small)), settings)] == [(256, 256), (512, 512)]
    assert growth_to(settings)((128, 128), PLAIN) == pytest.approx(4)
    assert growth_to(settings)((128, 128), small) == pytest.approx(2)
