"""Style variants: made once, found again, captioned with what changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from lora_kiln.dataset.augment import StyleOptions, augment
from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.values import Box, Dataset, Record

STYLES = StyleOptions(styles=("sketch, monochrome", "pastel colors"), variants=2, seed=7, resolution=128, step=64)


class Brush:
    """A paint function that fills the picture with one colour and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, int], str, int]] = []

    def __call__(self, source: Image.Image, prompt: str, seed: int) -> Image.Image:
        self.asked.append((source.size, prompt, seed))
        return Image.new("RGB", source.size, (seed, 0, 0))


def quiet(done: int, total: int) -> None:
    """A progress that nobody looks at."""


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    file = tmp_path / "a.png"
    Image.new("RGB", (200, 100), "blue").save(file)
    tagged = Record(image=file, size=(200, 100), tags=("kiln", "1girl", "sketch"), repeats=9, origin=("loaded",))
    crop = Record(image=file, size=(200, 100), crop=Box(left=0, top=0, right=100, bottom=100))
    return Dataset(records=(tagged, crop), trigger="kiln")


def test_every_picture_gets_every_style_and_variant(dataset: Dataset, tmp_path: Path) -> None:
    brush, heard = Brush(), []
    result, report = augment(
        dataset, STYLES, brush, tmp_path / "cache", "m", lambda done, total: heard.append((done, total))
    )
    assert result.records[:2] == dataset.records
    assert len(result) == 2 + 2 * 2 * 2
    assert result.trigger == "kiln"
    assert "8 painted now" in report
    assert heard == [(done, 8) for done in range(9)]
    wide, square = (192, 64), (128, 128)
    prompts = [f"{style}, kiln, 1girl, sketch" for style in STYLES.styles]
    assert brush.asked == [
        *[(wide, prompt, seed) for prompt in prompts for seed in (7, 8)],
        *[(square, style, seed) for style in STYLES.styles for seed in (7, 8)],
    ]


def test_variants_are_captioned_with_the_trigger_first_and_the_style_next(dataset: Dataset, tmp_path: Path) -> None:
    result, _ = augment(dataset, STYLES, Brush(), tmp_path / "cache", "m", quiet)
    first, bare = result.records[2], result.records[6]
    assert first.tags == ("kiln", "sketch", "monochrome", "1girl")
    assert bare.tags == ("sketch", "monochrome")
    assert first.origin == ("loaded", "style:sketch, monochrome seed 7 of a.png")
    assert (first.size, first.crop, first.repeats) == ((192, 64), None, 1)
    with Image.open(first.image) as image:
        assert image.size == first.size
        assert image.getpixel((0, 0)) == (7, 0, 0)


def test_a_style_that_is_the_first_tag_already_stands_there_once(dataset: Dataset, tmp_path: Path) -> None:
    record = Record(image=dataset.records[0].image, size=(200, 100), tags=("sketch", "1girl"))
    result, _ = augment(Dataset(records=(record,)), STYLES, Brush(), tmp_path / "cache", "m", quiet)
    assert result.records[1].tags == ("sketch", "monochrome", "1girl")


def test_captions_keep_their_spelling(dataset: Dataset, tmp_path: Path) -> None:
    record = Record(image=dataset.records[0].image, size=(200, 100), tags=("kie_rose", "long_hair"))
    result, _ = augment(Dataset(records=(record,)), STYLES, Brush(), tmp_path / "cache", "m", quiet)
    assert result.records[1].tags == ("kie_rose", "sketch", "monochrome", "long_hair")


def test_prose_names_the_style_too(dataset: Dataset, tmp_path: Path) -> None:
    record = Record(image=dataset.records[0].image, size=(200, 100), prose="A girl smiles.")
    result, _ = augment(Dataset(records=(record,)), STYLES, Brush(), tmp_path / "cache", "m", quiet)
    assert result.records[1].caption == "sketch, monochrome, A girl smiles."


def test_a_second_run_paints_nothing(dataset: Dataset, tmp_path: Path) -> None:
    first, _ = augment(dataset, STYLES, Brush(), tmp_path / "cache", "m", quiet)
    brush = Brush()
    second, report = augment(dataset, STYLES, brush, tmp_path / "cache", "m", quiet)
    assert brush.asked == []
    assert second == first
    assert second.fingerprint() == first.fingerprint()
    assert "0 painted now, 8 found" in report


def test_other_settings_or_another_model_paint_anew(dataset: Dataset, tmp_path: Path) -> None:
    first, _ = augment(dataset, STYLES, Brush(), tmp_path / "cache", "m", quiet)
    for options, mark in ((STYLES, "other"), (StyleOptions(styles=STYLES.styles, variants=2, seed=9), "m")):
        brush = Brush()
        again, _ = augment(dataset, options, brush, tmp_path / "cache", mark, quiet)
        assert len(brush.asked) == 8
        assert not {record.image for record in again.records[2:]} & {record.image for record in first.records[2:]}


def test_cancelling_keeps_what_is_done(dataset: Dataset, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        augment(dataset, STYLES, Brush(), tmp_path / "cache", "m", stop)
    assert len(list((tmp_path / "cache").iterdir())) == 3
    brush = Brush()
    augment(dataset, STYLES, brush, tmp_path / "cache", "m", quiet)
    assert len(brush.asked) == 5


def test_the_originals_may_be_left_out_and_no_style_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    options = StyleOptions(styles=("sketch",), keep_originals=False, repeats=4)
    result, _ = augment(dataset, options, Brush(), tmp_path / "cache", "m", quiet)
    assert [record.repeats for record in result] == [4, 4]
    with pytest.raises(DatasetError, match="styles is empty"):
        augment(dataset, StyleOptions(styles=()), Brush(), tmp_path / "cache", "m", quiet)
