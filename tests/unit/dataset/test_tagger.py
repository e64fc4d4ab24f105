"""The ONNX reader on real models with the WD contract, and captions from its scores."""

from __future__ import annotations

import builtins
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from lora_kiln.dataset.autotag import TagOptions, auto_tag, pick_tags
from lora_kiln.dataset.errors import BadTagger, TaggerMissing
from lora_kiln.dataset.tagger import (
    HUB_TAGGERS,
    TaggerFiles,
    TagScores,
    find_tagger,
    get_tagger,
    list_taggers,
    open_tagger,
    prepare,
)
from lora_kiln.dataset.values import Box, Dataset, Record

Writer = Callable[..., Path]
COLORS = {"red": "red background", "lime": "green background", "blue": "blue background"}


def files(folder: Path) -> TaggerFiles:
    return TaggerFiles(name=folder.name, model=folder / "model.onnx", tags=folder / "selected_tags.csv")


@pytest.mark.parametrize("batch", ["N", 1, 2])
def test_scores_whatever_number_of_pictures_the_model_takes(tmp_path: Path, write_tagger: Writer, batch: int) -> None:
    tagger = open_tagger(files(write_tagger(tmp_path / "t", batch=batch)))
    scores = tagger.tag([Image.new("RGB", (50, 50), color) for color in (*COLORS, "black", "red")])
    assert [max(one.general, key=one.general.__getitem__) for one in scores][:3] == list(COLORS.values())
    assert [round(one.general["red background"]) for one in scores] == [1, 0, 0, 0, 1]
    assert scores[0].general["^_^"] == pytest.approx(0.5)
    assert scores[0].character == {"kie rose (oc)": pytest.approx(0.9526, abs=1e-3)}
    assert set(scores[0].rating) == {"general", "sensitive"}
    assert tagger.tag([]) == []


def test_prepare_pads_white_centres_and_turns_to_bgr() -> None:
    pixels_HWC = prepare(Image.new("RGB", (40, 20), (250, 20, 10)), 40)
    assert pixels_HWC.shape == (40, 40, 3)
    assert pixels_HWC.dtype == np.float32
    assert pixels_HWC[20, 20].tolist() == [10, 20, 250]
    assert pixels_HWC[5, 20].tolist() == [255, 255, 255]
    assert pixels_HWC[34, 20].tolist() == [255, 255, 255]
    assert prepare(Image.new("RGB", (9, 300)), 32).shape == (32, 32, 3)


def test_one_session_is_kept_until_the_file_changes(tmp_path: Path, write_tagger: Writer) -> None:
    folder = write_tagger(tmp_path / "t")
    first = open_tagger(files(folder))
    assert open_tagger(files(folder)) is first
    (folder / "selected_tags.csv").touch()
    assert open_tagger(files(folder)) is not first


def test_a_missing_tagger_says_where_it_was_looked_for(tmp_path: Path, write_tagger: Writer) -> None:
    write_tagger(tmp_path / "mine")
    with pytest.raises(TaggerMissing) as caught:
        get_tagger("other", [tmp_path, tmp_path / "nowhere"])
    for part in ("'other'", str(tmp_path), "model.onnx", "mine", "SmilingWolf/"):
        assert part in str(caught.value)
    assert list_taggers([tmp_path, tmp_path / "nowhere"]) == ("mine", *HUB_TAGGERS)
    assert get_tagger("mine", [tmp_path]).model == tmp_path / "mine" / "model.onnx"


def test_a_hub_tagger_that_is_there_is_not_fetched_again(tmp_path: Path, write_tagger: Writer) -> None:
    write_tagger(tmp_path / "wd-vit-tagger-v3")
    assert get_tagger("SmilingWolf/wd-vit-tagger-v3", [tmp_path]).name == "wd-vit-tagger-v3"


@pytest.mark.parametrize("name", ["..", "../secret", "..\\secret", "", "a/.."])
def test_names_do_not_lead_out_of_the_folders(tmp_path: Path, write_tagger: Writer, name: str) -> None:
    write_tagger(tmp_path)
    write_tagger(tmp_path / "secret")
    (tmp_path / "taggers").mkdir()
    assert find_tagger(name, [tmp_path / "taggers"]) is None


def test_files_that_break_the_contract(tmp_path: Path, write_tagger: Writer) -> None:
    with pytest.raises(BadTagger, match=r"gives 7 scores, its selected_tags\.csv has 5 tags"):
        open_tagger(files(write_tagger(tmp_path / "rows", rows=5)))
    with pytest.raises(BadTagger, match="no probabilities"):
        open_tagger(files(write_tagger(tmp_path / "logits", sigmoid=False))).tag([Image.new("RGB", (8, 8))])
    bare = write_tagger(tmp_path / "bare")
    (bare / "selected_tags.csv").unlink()
    with pytest.raises(BadTagger, match=r"no selected_tags\.csv beside it"):
        get_tagger("bare", [tmp_path])
    (bare / "selected_tags.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadTagger, match="columns tag_id, name"):
        open_tagger(files(bare))
    broken = write_tagger(tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(BadTagger, match="cannot be opened"):
        open_tagger(files(broken))


def test_without_onnxruntime_the_install_is_named(
    tmp_path: Path, write_tagger: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> ModuleType:
        if name == "onnxruntime":
            raise builtins.ImportError("No module named 'onnxruntime'")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(TaggerMissing, match="pip install onnxruntime"):
        open_tagger(files(write_tagger(tmp_path / "t")))


SCORES = TagScores(
    rating={"general": 0.9},
    general={"1girl": 0.99, "hat": 0.4, "chat": 0.3, "white background": 0.8, "solo": 0.9},
    character={"kie rose (oc)": 0.9, "rose": 0.5},
)


def test_thresholds_order_and_exclusions() -> None:
    assert pick_tags(SCORES, TagOptions()) == ("kie rose (oc)", "1girl", "solo", "white background", "hat")
    chosen = TagOptions(general_threshold=0.3, character_threshold=1.0, exclude=("*_background", "HAT"))
    assert pick_tags(SCORES, chosen) == ("1girl", "solo", "chat")
    with pytest.raises(ValueError, match="must be 1"):
        TagOptions(general_threshold=35)


class Fixed:
    """Says the same of every picture, and remembers their sizes."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def tag(self, images: list[Image.Image]) -> list[TagScores]:
        self.sizes += [image.size for image in images]
        return [SCORES for _ in images]


@pytest.fixture
def tagged(tmp_path: Path) -> Dataset:
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 10)).save(path)
    plain = Record(image=path, size=(20, 10))
    crop = Record(image=path, size=(20, 10), crop=Box(left=0, top=0, right=5, bottom=10), tags=("kierose", "frown"))
    prose = Record(image=path, size=(20, 10), prose="A girl.", pruned=("hat", "red hair"))
    return Dataset(records=(plain, crop, prose), trigger="kierose")


def test_modes(tagged: Dataset) -> None:
    new = ("kie rose (oc)", "1girl", "solo", "white background", "hat")
    tagger = Fixed()
    steps: list[tuple[int, int]] = []
    replaced, report = auto_tag(tagged, tagger, TagOptions(), lambda done, total: steps.append((done, total)))
    assert [record.tags for record in replaced] == [new, ("kierose", *new), new]
    assert replaced.records[2].prose == ""
    assert replaced.records[2].pruned == ("red hair",)
    assert tagger.sizes == [(20, 10), (5, 10), (20, 10)]
    assert steps == [(3, 3)]
    assert "3 pictures tagged" in report
    kept, _ = auto_tag(tagged, Fixed(), TagOptions(keep=("fro*",)))
    assert kept.records[1].tags == ("kierose", "frown", *new)
    appended, _ = auto_tag(tagged, Fixed(), TagOptions(mode="append"))
    assert appended.records[1].tags == ("kierose", "frown", *new)
    assert appended.records[2].caption.startswith("A girl., kie rose (oc), 1girl")
    empty, report = auto_tag(tagged, Fixed(), TagOptions(mode="only if empty"))
    assert [record.caption for record in empty][1:] == ["kierose, frown", "A girl."]
    assert empty.records[0].tags == new
    assert "2 left as they were" in report


def test_cancelling_stops(tagged: Dataset) -> None:
    class Cancelled(Exception):
        pass

    def cancel(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        auto_tag(tagged, Fixed(), TagOptions(), cancel)
