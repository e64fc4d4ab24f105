"""Style variants: made once, found again, held, chosen, captioned with what changed."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lora_kiln.dataset.augment import Augmented, augment
from lora_kiln.dataset.choice import ChoiceOptions, HandOptions
from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.keys import record_keys
from lora_kiln.dataset.style_captions import DIFFERING, CaptionOptions
from lora_kiln.dataset.styles import LOWER, HoldOptions, Plan, Studio, StyleOptions
from lora_kiln.dataset.values import Box, Dataset, Record
from lora_kiln.dataset.wildcards import Wildcards

STYLES = StyleOptions(styles=("sketch, monochrome", "pastel colors"), variants=2, seed=7)
Size = tuple[int, int]


class Brush:
    """Paints its start with red added by what the test says, and remembers what it was asked."""

    def __init__(self, shift: Callable[[int, float], int] | None = None, settings: str = "m") -> None:
        self.asked: list[tuple[Size, str, int, float]] = []
        self.scenes: list[int] = []
        self.starts: list[Image.Image] = []
        self._shift = shift or (lambda seed, denoise: seed)
        self._settings = settings

    def mark(self, number: int) -> str:
        return self._settings

    def scene(self, source: Image.Image, number: int) -> Callable[[Image.Image, str, int, float], Image.Image]:
        self.scenes.append(number)

        def paint(start: Image.Image, prompt: str, seed: int, denoise: float) -> Image.Image:
            self.asked.append((start.size, prompt, seed, denoise))
            self.starts.append(start)
            pixels = np.asarray(start, dtype=int) + np.array([self._shift(seed, denoise), 0, 0])
            return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

        return paint


def quiet(done: int, total: int) -> None:
    """A progress that nobody looks at."""


def bucket(record: Record) -> Size:
    """Buckets of half the size."""
    return record.view_size[0] // 2, record.view_size[1] // 2


def picture(size: Size) -> Image.Image:
    """Soft colours everywhere: no figure, not flat."""
    ramp = np.linspace(40, 200, size[0])[None, :, None] + np.array([0, 10, 20])
    return Image.fromarray(np.broadcast_to(ramp, (size[1], size[0], 3)).astype(np.uint8))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    file = tmp_path / "a.png"
    picture((200, 100)).save(file)
    tagged = Record(
        image=file, size=(200, 100), tags=("kiln", "1girl", "sketch"), repeats=9, origin=("loaded",),
        pruned=("green hair",),
    )  # fmt: skip
    crop = Record(image=file, size=(200, 100), crop=Box(left=0, top=0, right=100, bottom=100))
    return Dataset(records=(tagged, crop), trigger="kiln")


@pytest.fixture
def run(dataset: Dataset, tmp_path: Path) -> Callable[..., Augmented]:
    """`augment` with a brush; `studio` replaces fields of the studio, further arguments are those of the plan."""

    def work(
        brush: Brush, progress: Any = quiet, records: Dataset | None = None, studio: dict[str, Any] | None = None,
        **plan: Any,
    ) -> Augmented:  # fmt: skip
        given = Studio(painter=brush, cache=tmp_path / "cache", bucket=bucket)
        plan = {"styles": STYLES, **plan}
        return augment(records or dataset, Plan(**plan), dataclasses.replace(given, **(studio or {})), progress)

    return work


def test_every_picture_gets_every_style_and_variant(dataset: Dataset, run: Callable[..., Augmented]) -> None:
    brush, heard = Brush(), []
    done = run(brush, lambda done, total: heard.append((done, total)))
    assert done.dataset.records[:2] == dataset.records
    assert len(done.dataset) == 2 + 2 * 2 * 2
    assert done.dataset.trigger == "kiln"
    assert "8 variants of 2 pictures: 8 painted now, 0 found" in done.report
    assert heard == [(number, 8) for number in range(9)]
    prompts = [f"{style}, 1girl, green hair" for style in STYLES.styles]
    assert brush.asked == [
        *[((100, 50), prompt, seed, 0.6) for prompt in prompts for seed in (7, 8)],
        *[((50, 50), style, seed, 0.6) for style in STYLES.styles for seed in (7, 8)],
    ]
    assert brush.scenes == [0, 1]
    assert np.abs(np.asarray(brush.starts[0], dtype=int) - np.asarray(picture((100, 50)), dtype=int)).max() <= 3


def test_variants_are_captioned_with_the_trigger_first_and_the_style_next(run: Callable[..., Augmented]) -> None:
    result = run(Brush()).dataset
    first, bare = result.records[2], result.records[6]
    assert first.tags == ("kiln", "sketch", "monochrome", "1girl")
    assert first.pruned == ("green hair",)
    assert bare.tags == ("sketch", "monochrome")
    assert first.origin == ("loaded", "style:sketch, monochrome seed 7 of a.png")
    assert (first.size, first.crop, first.repeats) == ((100, 50), None, 1)
    with Image.open(first.image) as image:
        assert image.size == first.size


def test_masks_that_are_asked_for_must_be_wired(run: Callable[..., Augmented]) -> None:
    for words, changed in (
        ("hold_mask is 0.5", {"hold": HoldOptions(hold_mask=0.5)}),
        ("compare has 'mask'", {"choice": ChoiceOptions(compare=("face", "mask"))}),
    ):
        with pytest.raises(DatasetError, match=f"{words}, but no hold_masks are wired"):
            run(Brush(), **changed)


def test_a_hand_is_stronger_than_scores_and_paints_nothing(run: Callable[..., Augmented]) -> None:
    choice = {"choice": ChoiceOptions(keep_best=1)}
    first = run(Brush(), **choice)
    keys = record_keys(Dataset(records=tuple(record for record, _ in first.shown)))
    kept = next(key for key, each in zip(keys, first.judged, strict=True) if each and not each.why)
    gone = next(key for key, each in zip(keys, first.judged, strict=True) if each and each.why)
    brush = Brush()
    hand = HandOptions(by_hand=f"+ {gone}\n- nobody.png")
    second = run(brush, hand=hand, **choice)
    assert brush.asked == []
    whys = dict(zip(keys, second.judged, strict=True))
    assert (whys[gone].why, bool(whys[gone].fault)) == ("", True)  # type: ignore[union-attr]
    assert len(second.dataset) == len(first.dataset) + 1
    assert f"{gone}: kept by hand, although its score" in second.report
    # The next best takes the place of the best.
    third = run(brush, hand=HandOptions(by_hand=f"- {kept}"), **choice)
    whys = dict(zip(keys, third.judged, strict=True))
    assert whys[kept].why == "you rejected it by hand"  # type: ignore[union-attr]
    assert whys[gone].why == ""  # type: ignore[union-attr]
    assert len(third.dataset) == len(first.dataset)
    assert "Named by hand and not among the variants (1):\n  nobody.png" in second.report
    # What is judged stands beside what is shown.
    assert [each is None for each in second.judged] == [said == "the source" for _, said in second.shown]


def test_a_second_run_paints_nothing(run: Callable[..., Augmented]) -> None:
    first, brush = run(Brush()), Brush()
    second = run(brush)
    assert brush.asked == brush.scenes == []
    assert second.dataset == first.dataset
    assert second.table == first.table
    assert "0 painted now, 8 found" in second.report


def test_what_decides_a_picture_paints_anew_and_nothing_else(
    run: Callable[..., Augmented], dataset: Dataset, tmp_path: Path
) -> None:
    def asked(brush: Brush | None = None, **changes: Any) -> int:
        brush = brush or Brush()
        run(brush, **changes)
        return len(brush.asked)

    assert asked() == 8
    assert asked(Brush(settings="other")) == 8
    assert asked(studio={"mark": "another model"}) == 8
    assert asked(styles=dataclasses.replace(STYLES, seed=8)) == 4
    assert asked(styles=dataclasses.replace(STYLES, denoise=0.5)) == 8
    assert asked(studio={"bucket": lambda record: (64, 64)}) == 8
    assert asked(captions=CaptionOptions(say_pruned=False)) == 4
    assert asked(choice=ChoiceOptions(keep_best=1, max_drift=3)) == 0
    moved = dataset.replace_records(dataclasses.replace(r, repeats=3, group="else") for r in dataset)
    assert asked(records=moved) == 0
    file = tmp_path / "a.png"
    Image.open(file).transpose(Image.Transpose.ROTATE_180).save(file)
    assert asked() == 8


def test_cancelling_keeps_what_is_done(run: Callable[..., Augmented], tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Brush(), stop)
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".png"] * 3
    brush = Brush()
    run(brush)
    assert len(brush.asked) == 5


def test_a_damaged_variant_is_painted_again(run: Callable[..., Augmented], tmp_path: Path) -> None:
    first = run(Brush())
    one, other = sorted((tmp_path / "cache").glob("*.png"))[:2]
    one.write_bytes(one.read_bytes()[: one.stat().st_size // 2])
    other.write_bytes(b"")
    brush = Brush()
    assert run(brush).table == first.table
    assert len(brush.asked) == 2


def test_the_originals_may_be_left_out_and_regularisation_pictures_stay(
    run: Callable[..., Augmented], dataset: Dataset
) -> None:
    regular = dataclasses.replace(dataset.records[1], is_reg=True)
    records = dataset.replace_records([dataset.records[0], regular])
    options = StyleOptions(styles=("sketch",), keep_originals=False, repeats=4)
    done = run(Brush(), records=records, styles=options)
    assert [record.repeats for record in done.dataset] == [1, 4]
    assert done.dataset.records[0] == regular
    assert "1 regularisation picture left as they are" in done.report


def test_a_loss_mask_goes_with_the_lines(run: Callable[..., Augmented], dataset: Dataset, tmp_path: Path) -> None:
    mask = Image.new("L", (200, 100))
    mask.paste(255, (0, 0, 100, 100))
    mask.save(tmp_path / "mask.png")
    masked = dataset.replace_records([dataclasses.replace(dataset.records[0], mask=tmp_path / "mask.png")])
    variant = run(Brush(), records=masked, styles=StyleOptions(styles=("sketch",))).dataset.records[1]
    assert variant.mask is not None
    with Image.open(variant.mask) as found:
        assert (found.mode, found.size) == ("L", (100, 50))
        assert found.getpixel((20, 20)) == 255
        assert found.getpixel((80, 20)) == 0


def test_wildcards_are_drawn_for_each_picture_and_seed(run: Callable[..., Augmented]) -> None:
    brush = Brush()
    options = StyleOptions(styles=("{oil|ink|chalk|pencil|pastel|gouache}",), variants=8)
    done = run(brush, styles=options, studio={"wildcards": Wildcards()})
    drawn = [prompt.split(",")[0] for _, prompt, _, _ in brush.asked]
    assert len(set(drawn)) > 2
    assert [record.tags[1] for record in done.dataset.records[2:10]] == drawn[:8]
    again = Brush()
    run(again, styles=options)
    assert again.asked == []


def test_a_ladder_is_spread_over_the_variants(run: Callable[..., Augmented]) -> None:
    brush = Brush()
    run(brush, styles=StyleOptions(styles=("sketch",), variants=3, denoise=0.7, denoise_low=0.5))
    assert [denoise for *_, denoise in brush.asked[:3]] == [0.7, 0.6, 0.5]


def test_a_ladder_is_climbed_down_while_colours_drift(run: Callable[..., Augmented]) -> None:
    """The stand-in drifts with denoise, more than is allowed above 0.55."""
    brush = Brush(lambda seed, denoise: round(200 * max(0.0, denoise - 0.55)))
    ladder = StyleOptions(styles=("sketch",), denoise=0.8, denoise_low=0.4, ladder=LOWER, rungs=5)
    done = run(brush, styles=ladder, choice=ChoiceOptions(max_drift=2))
    tried = [denoise for size, _, _, denoise in brush.asked if size == (100, 50)]
    assert tried == [0.8, 0.7, 0.6, 0.5]
    assert len(done.rejected) == 0
    assert "The sampler ran 8 times" in done.report
    with pytest.raises(DatasetError, match="nothing says what drifts"):
        run(brush, styles=ladder)
    assert run(Brush(lambda *_: 90, "other"), styles=ladder, choice=ChoiceOptions(max_drift=2)).rejected.records


def test_variants_that_drift_are_rejected_with_the_reason(run: Callable[..., Augmented], dataset: Dataset) -> None:
    brush = Brush(lambda seed, _: 80 if seed == 8 else 2)
    done = run(brush, choice=ChoiceOptions(max_drift=5))
    assert len(done.dataset) == 2 + 4
    assert [record.origin[-1].split(" of ")[0][-1] for record in done.rejected] == ["8"] * 4
    assert "Rejected (4 of 8)" in done.report
    assert "the colours of whole picture moved by" in done.report
    words = [word for _, word in done.shown]
    assert [word.split(":")[0].split(";")[0] for word in words[:5]] == [
        "the source", "kept", "rejected", "kept", "rejected",
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(done.table)))
    assert len(rows) == 8
    assert [row["kept"] for row in rows[:2]] == ["1", "0"]
    assert float(rows[1]["drift whole picture"]) > 5 > float(rows[0]["drift whole picture"])
    none = run(brush, choice=ChoiceOptions(max_drift=0.1))
    assert none.dataset.records == dataset.records
    assert "No variant is left of" in none.report


def test_the_best_are_kept_by_score(run: Callable[..., Augmented]) -> None:
    drift = {0: 40, 1: 4, 2: 20, 3: 10}
    options = StyleOptions(styles=("sketch",), variants=4)
    done = run(Brush(lambda seed, _: drift[seed]), styles=options, choice=ChoiceOptions(keep_best=2))
    kept = [record.origin[-1] for record in done.dataset.records[2:4]]
    assert kept == ["style:sketch seed 1 of a.png", "style:sketch seed 3 of a.png"]
    assert "number 3, and the best 2 are kept" in done.report


def test_a_flat_picture_is_rejected(run: Callable[..., Augmented]) -> None:
    done = run(Brush(lambda *_: 0), records=None, studio={"painter": Flat()})
    assert len(done.rejected) == 8
    assert "one flat colour" in done.report


class Flat(Brush):
    """A sampler that went wrong."""

    def scene(self, source: Image.Image, number: int) -> Callable[[Image.Image, str, int, float], Image.Image]:
        return lambda start, prompt, seed, denoise: Image.new("RGB", start.size)


def test_held_colours_are_matched_and_painted_once_more(run: Callable[..., Augmented]) -> None:
    masks = [Image.new("L", (200, 100), 255), Image.new("L", (100, 100), 255)]
    styles = StyleOptions(styles=("sketch",))

    def held(brush: Brush, **hold: float) -> Augmented:
        return run(brush, styles=styles, hold=HoldOptions(**hold), studio={"hold_masks": masks})  # type: ignore[arg-type]

    free = run(Brush(lambda *_: 60), styles=styles)
    brush = Brush(lambda _, denoise: 60 if denoise == 0.6 else 3)
    done = held(brush, hold_mask=1.0, hold_denoise=0.3)
    # The first painting was in the cache: only the second ran, from the source's colours.
    assert [denoise for *_, denoise in brush.asked] == [0.3, 0.3]
    assert np.abs(np.asarray(brush.starts[0], dtype=int) - np.asarray(picture((100, 50)), dtype=int)).mean() < 4
    assert float(next(csv.DictReader(io.StringIO(free.table)))["drift"]) > 8
    assert float(next(csv.DictReader(io.StringIO(done.table)))["drift"]) < 3
    assert {r.image for r in done.dataset.records[2:]}.isdisjoint(r.image for r in free.dataset.records[2:])
    again = Brush()
    assert held(again, hold_mask=1.0, hold_denoise=0.3).dataset == done.dataset
    assert again.asked == []
    # Without a second painting the colours stay as matched.
    matched = Brush()
    held(matched, hold_mask=1.0, hold_denoise=0.0)
    assert matched.asked == []


def test_parts_that_are_not_known_are_told(run: Callable[..., Augmented]) -> None:
    done = run(Brush(), hold=HoldOptions(hold_hair=1.0))
    assert "Parts of the body are not known" in done.report
    assert "a.png: " in done.report.split("Parts of the body")[1]


def test_a_tagger_names_the_colours_that_differ(run: Callable[..., Augmented]) -> None:
    looked: list[int] = []

    def tag(records: Dataset) -> Dataset:
        looked.append(len(records))
        return records.replace_records(dataclasses.replace(record, tags=("1girl", "blue hair")) for record in records)

    brush = Brush(lambda seed, _: 80 if seed == 8 else 2)
    done = run(
        brush, choice=ChoiceOptions(max_drift=5), captions=CaptionOptions(tags=DIFFERING), tagger=True,
        studio={"tag": tag},
    )  # fmt: skip
    assert looked == [4]
    assert done.dataset.records[2].tags == ("kiln", "sketch", "monochrome", "1girl", "blue hair")
    assert done.rejected.records[0].tags == ("kiln", "sketch", "monochrome", "1girl")
    with pytest.raises(DatasetError, match="needs a tagger"):
        run(brush, captions=CaptionOptions(tags=DIFFERING))


def test_what_cannot_be_is_told(run: Callable[..., Augmented]) -> None:
    with pytest.raises(DatasetError, match="styles is empty"):
        run(Brush(), styles=StyleOptions(styles=()))
    with pytest.raises(DatasetError, match="1 mask for 2 pictures"):
        run(Brush(), studio={"masks": [Image.new("L", (200, 100))]})
    with pytest.raises(ValueError, match="swap them"):
        StyleOptions(denoise=0.4, denoise_low=0.5)
