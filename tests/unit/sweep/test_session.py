"""A whole sweep without a host: painted by hand, tagged by hand, chosen, and shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lora_kiln.dataset.score_cache import ScoreCache
from lora_kiln.dataset.tagger import BATCH, TagScores
from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.sweep.blocks import Part
from lora_kiln.sweep.judging import Judges, judge
from lora_kiln.sweep.likeness import cosine
from lora_kiln.sweep.marks import Subject
from lora_kiln.sweep.options import SweepOptions
from lora_kiln.sweep.session import Axes, Outcome, plan_of, sweep
from lora_kiln.sweep.values import Painting, Places
from lora_kiln.sweep.watch import cell_file, read_sweep
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.formats import save_file
from lora_kiln.trainer.ports import BlockCounts
from lora_kiln.trainer.values import Checkpoint, Run

# Red is how much of her is there, green how much of the prompt, blue how much of the dataset's style.
LEARNED = {0: (10, 250, 10), 1: (90, 240, 20), 2: (220, 220, 30), 3: (240, 90, 240)}
PROMPTS = "as trained = kie, smile\nelse = kie, smile, sketch"


class Bases:
    """`sweep.session.Bases` whose pictures are one colour an epoch, with a grey corner so that none is flat."""

    def __init__(self) -> None:
        self.painted = 0

    def names(self) -> Sequence[str]:
        return ("other.safetensors",)

    def open(self, base: str) -> Bases:
        self._base = base
        return self

    def mark(self) -> str:
        return self._base

    def places(self) -> Places:
        return Places(of={}, counts=None)

    def column(self, parts: Sequence[Part], strength: float, prompts: Sequence[str]) -> Callable[[str, int], Painting]:
        epoch = int(parts[0][0]["x.lora_up.weight"]) if parts else 0

        def paint(prompt: str, seed: int) -> Painting:
            self.painted += 1
            picture = Image.new("RGB", (64, 64), LEARNED[epoch])
            picture.paste((128, 128, seed), (0, 0, 20, 20))
            return Painting(picture=picture, unmatched=("lora_a",) if epoch else ())

        return paint

    def settings(self) -> Mapping[str, Any]:
        return {"steps": 3, "negative": "</script><b>"}


class ColorTagger:
    """Finds her by red, what is prompted by green, the dataset's style by blue."""

    def __init__(self) -> None:
        self.asked = 0

    def tag(self, images: list[Image.Image]) -> list[TagScores]:
        self.asked += len(images)
        found = []
        for image in images:
            red, green, blue = (part / 255 for part in image.getpixel((40, 40)))  # type: ignore[union-attr]
            scores = {"green hair": red, "smile": green, "sketch": green, "flat color": blue}
            found.append(TagScores(rating={}, general=scores, character={}))
        return found


class ColorEmbeds:
    """`judging.Embeds`: a picture is its mean colour."""

    def features(self, images: Sequence[Image.Image]) -> np.ndarray:
        return np.stack([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in images])

    def similarity(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return cosine(a, b)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    checkpoints = []
    about = {
        "ss_tag_frequency": json.dumps({"1_kie": {"flat color": 9, "smile": 5}}),
        "ss_dataset_dirs": json.dumps({"1_kie": {"n_repeats": 1, "img_count": 10}}),
    }
    for epoch in (1, 2, 3):
        file = tmp_path / "run" / f"{epoch}.safetensors"
        save_file({"x.lora_up.weight": torch.tensor([float(epoch)])}, about, file)
        checkpoints.append(Checkpoint(epoch=epoch, step=epoch, file=file))
    return Run(
        folder=tmp_path / "run", name="cat & <b>", checkpoints=tuple(checkpoints), trigger="kie", traits=("green hair",)
    )


def swept(
    run: Run, tmp_path: Path, bases: Bases, judges: Judges, dataset: Dataset | None = None, **more: Any
) -> Outcome:
    options = SweepOptions(**more)
    plan = plan_of(run, Axes(prompts=PROMPTS, epochs="all", strengths="1", seed=5), options, bases)
    cache = tmp_path / "cells"
    return sweep(run, plan, bases, judges, options, dataset=dataset, cache=cache, progress=lambda *_: None)


def judges(tmp_path: Path, tagger: ColorTagger) -> Judges:
    known = frozenset(("green hair", "smile", "sketch", "flat color"))
    return Judges(tagger=tagger, known=known, scores=ScoreCache(tmp_path / "tags", "f" * 64), threshold=0.5)


def test_block_weights_that_do_not_fit_are_told_before_anything_is_painted(run: Run, tmp_path: Path) -> None:
    bases = Bases()
    with pytest.raises(KilnError, match="this model has no such blocks"):
        swept(run, tmp_path, bases, Judges(), block_presets=("OUTD",))
    assert bases.painted == 0


def test_block_weights_must_fit_every_base_model(run: Run, tmp_path: Path) -> None:
    class Unlike(Bases):
        def places(self) -> Places:
            return Places(of={}, counts=None if self._base else BlockCounts(down=12, mid=1, up=12))

    bases = Unlike()
    with pytest.raises(KilnError, match=r"other\.safetensors: .* this model has no such blocks"):
        swept(run, tmp_path, bases, Judges(), block_presets=("OUTD",), base_models=("other",))
    assert bases.painted == 0


def test_the_epoch_that_knows_her_and_still_obeys_is_chosen(run: Run, tmp_path: Path) -> None:
    found = swept(run, tmp_path, Bases(), judges(tmp_path, ColorTagger()))
    scores = {column.epoch: one for column, one in found.verdict.marks.items()}
    assert [scores[epoch].traits for epoch in (0, 1, 2, 3)] == [0, 0, 1, 1]
    assert [scores[epoch].flexibility for epoch in (0, 1, 2, 3)] == [1, 1, 1, 0]
    # The dataset's style is known from the LoRA's own metadata; only the prompt for a sketch asks for another.
    assert [scores[epoch].bleed for epoch in (0, 1, 2, 3)] == [0, 0, 0, 1]
    assert (found.choice.epoch, found.choice.strength) == (2, 1.0)
    assert "Traits at epoch 2  x1, the least learned first:\n  green hair: 100%" in found.report
    assert "first lora_a" in found.report
    kept = json.loads(found.page.with_suffix(".json").read_text(encoding="utf-8"))
    assert (kept["best_epoch"], kept["columns"][3]["bleed"]) == (2, 1.0)
    assert [column["label"] for column in kept["columns"]] == [column.label for column in found.grid.columns]


def test_a_sweep_can_be_looked_at_later(run: Run, tmp_path: Path) -> None:
    found = swept(run, tmp_path, Bases(), judges(tmp_path, ColorTagger()), base_models=("other",))
    name, cache = found.page.stem, tmp_path / "cache"
    kept = read_sweep(run.folder, name)
    assert [len(part) for part in (kept["cells"], kept["cells"][0], kept["cells"][0][0])] == [2, 2, 4]
    grid, row = found.grid, kept["cells"][1][1][2]
    one = grid.cells[grid.bases[1], grid.columns[2], grid.rows[1]]
    assert (row["key"], tuple(row["size"]), row["about"]["column"]) == (one.file.stem, one.size, "epoch 2  x1")
    assert cell_file(run.folder, name, row["key"], one.file.parent.parent) == one.file
    one.file.unlink()
    with pytest.raises(KilnError, match="was deleted"):
        cell_file(run.folder, name, row["key"], one.file.parent.parent)
    with pytest.raises(KilnError, match="has no such cell"):
        cell_file(run.folder, name, "ab" * 32, cache)
    page = run.folder / f"{name}.json"
    kept["cells"][0][0][0]["key"] = "../../secret"
    page.write_text(json.dumps(kept), encoding="utf-8")
    with pytest.raises(KilnError, match="has no such cell"):
        cell_file(run.folder, name, "../../secret", cache)
    page.rename(tmp_path / "elsewhere.json")
    page.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(KilnError, match="holds no sweep"):
        read_sweep(run.folder, name)
    for other in ("run", "../run", "sweep-", f"{name}.json", "sweep-ffff", ""):
        with pytest.raises(KilnError, match="holds no sweep"):
            read_sweep(run.folder, other)


def test_a_second_sweep_paints_and_tags_nothing(run: Run, tmp_path: Path) -> None:
    bases, tagger = Bases(), ColorTagger()
    first = swept(run, tmp_path, bases, judges(tmp_path, tagger))
    assert (bases.painted, tagger.asked) == (8, 8)
    again = swept(run, tmp_path, bases, judges(tmp_path, tagger))
    assert (bases.painted, tagger.asked) == (8, 8)
    assert "first lora_a" in again.report
    assert (again.table, again.report, again.page) == (first.table, first.report, first.page)


def test_without_judges_the_last_epoch_is_taken_and_said_to_be_unmeasured(run: Run, tmp_path: Path) -> None:
    found = swept(run, tmp_path, Bases(), Judges())
    assert found.choice.epoch == 3
    assert "nothing tells what was learned" in found.report


def test_each_base_model_has_a_sheet_and_scores_are_pooled(run: Run, tmp_path: Path) -> None:
    found = swept(run, tmp_path, Bases(), judges(tmp_path, ColorTagger()), base_models=("other",), seeds="9")
    assert len(found.sheets) == 2
    assert found.sheets[0].size == found.sheets[1].size
    assert len(list(found.pictures())) == 2 * 4 * 4
    assert found.verdict.marks[found.grid.columns[2]].traits == 1


def test_likeness_and_copies_are_read_against_the_training_pictures(run: Run, tmp_path: Path) -> None:
    records = []
    for number, color in enumerate(((222, 220, 30), (225, 205, 28), (210, 225, 35), (0, 0, 255))):
        file = tmp_path / f"{number}.png"
        Image.new("RGB", (64, 64), color).save(file)
        records.append(Record(image=file, size=(64, 64), is_reg=number == 3))
    both = Judges(alike=ColorEmbeds(), near=ColorEmbeds())
    found = swept(run, tmp_path, Bases(), both, Dataset(records=tuple(records)))
    scores = {column.epoch: one for column, one in found.verdict.marks.items()}
    assert all(one.likeness is not None and 0 <= one.likeness <= 1 for one in scores.values())
    # By hand: the middle picture's mean cosine to the others is 0.9978, epoch 2's to all of them 0.9994; its nearest is
    # at 0.9999, and theirs at 0.9991.
    assert [scores[epoch].likeness for epoch in (1, 2, 3)] == [0, 1, 0]
    assert [scores[epoch].memorised for epoch in (1, 2, 3)] == [0, 1, 0]
    # A copy is worth no more than a stranger, and does harm besides.
    assert found.choice.epoch == 1
    names = {name for _, name in found.verdict.nearest.values()}
    assert names <= {"0.png", "1.png", "2.png"}
    alone = swept(run, tmp_path, Bases(), both, Dataset(records=tuple(records[:1])))
    assert "at least two training pictures" in alone.report


@pytest.mark.parametrize("after", [0, 2])
def test_the_search_for_likeness_can_be_stopped(run: Run, tmp_path: Path, after: int) -> None:
    """Before the training pictures, of which there are two batches, and before the cells, which were all looked at."""
    records = []
    for number in range(BATCH + 1):
        file = tmp_path / f"{number}.png"
        Image.new("RGB", (64, 64), (200, 10 * number, 30)).save(file)
        records.append(Record(image=file, size=(64, 64)))
    dataset = Dataset(records=tuple(records))
    found, seen = swept(run, tmp_path, Bases(), Judges()), []
    cells = len(set(found.grid.in_order()))

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) > cells + after:
            raise InterruptedError

    subject = Subject(triggers=("kie",), traits=frozenset(), habits=frozenset())
    with pytest.raises(InterruptedError):
        judge(found.grid, subject, Judges(alike=ColorEmbeds()), dataset, stop)
    assert seen[:cells] == [(number, cells) for number in range(cells)]
    assert seen[cells:] == [(0, len(dataset)), (BATCH, len(dataset)), (0, cells)][: after + 1]


class Tags(HTMLParser):
    """The page's elements, and what cells say of themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.about: list[dict[str, Any]] = []
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.names.append(tag)
        self.urls += [str(found[name]) for name in ("src", "href") if found.get(name)]
        if "data-about" in found:
            self.about.append(json.loads(str(found["data-about"])))


def test_the_contact_page_holds_everything_and_asks_nobody(run: Run, tmp_path: Path) -> None:
    found = swept(run, tmp_path, Bases(), judges(tmp_path, ColorTagger()))
    text = found.page.read_text(encoding="utf-8")
    page = Tags()
    page.feed(text)
    assert len(page.about) == 8
    assert all(url.startswith("data:image/") for url in page.urls)
    assert not re.search(r"https?:|@import|url\(", text)
    # Names and prompts that users typed are text, not markup.
    assert page.names.count("b") == 0
    assert page.names.count("script") == 1
    last = page.about[-1]
    assert (last["column"], last["prompt"], last["seed"]) == ("epoch 3  x1", "kie, smile, sketch", 5)
    assert (last["traits found"], last["prompted missing"], last["bleeds"]) == (
        "green hair",
        "sketch, smile",
        "flat color",
    )
    assert found.page.parent == run.folder
