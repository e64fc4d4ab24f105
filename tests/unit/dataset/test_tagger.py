"""The ONNX reader on real models with the WD contract."""

from __future__ import annotations

import builtins
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from lora_kiln.dataset.errors import BadModel, ModelMissing
from lora_kiln.dataset.tagger import (
    HUB_TAGGERS,
    TaggerFiles,
    find_tagger,
    get_tagger,
    list_taggers,
    open_tagger,
)
from lora_kiln.dataset.tagger_formats import WD

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


def test_wd_pictures_are_padded_with_white_centred_and_bgr() -> None:
    pixels_HWC = WD.prepare(Image.new("RGB", (40, 20), (250, 20, 10)), 40)
    assert pixels_HWC.shape == (40, 40, 3)
    assert pixels_HWC.dtype == np.float32
    assert pixels_HWC[20, 20].tolist() == [10, 20, 250]
    assert pixels_HWC[5, 20].tolist() == [255, 255, 255]
    assert pixels_HWC[34, 20].tolist() == [255, 255, 255]
    assert WD.prepare(Image.new("RGB", (9, 300)), 32).shape == (32, 32, 3)


def test_one_session_is_kept_until_the_file_changes(tmp_path: Path, write_tagger: Writer) -> None:
    folder = write_tagger(tmp_path / "t")
    first = open_tagger(files(folder))
    assert open_tagger(files(folder)) is first
    (folder / "selected_tags.csv").touch()
    assert open_tagger(files(folder)) is not first


def test_a_missing_tagger_says_where_it_was_looked_for(tmp_path: Path, write_tagger: Writer) -> None:
    write_tagger(tmp_path / "mine")
    with pytest.raises(ModelMissing) as caught:
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
    with pytest.raises(BadModel, match=r"gives 7 scores, its selected_tags\.csv has 5 tags"):
        open_tagger(files(write_tagger(tmp_path / "rows", rows=5)))
    with pytest.raises(BadModel, match="no probabilities"):
        open_tagger(files(write_tagger(tmp_path / "logits", sigmoid=False))).tag([Image.new("RGB", (8, 8))])
    bare = write_tagger(tmp_path / "bare")
    (bare / "selected_tags.csv").unlink()
    with pytest.raises(BadModel, match=r"no selected_tags\.csv beside it"):
        get_tagger("bare", [tmp_path])
    (bare / "selected_tags.csv").write_text("a,b\n1,2\n")
    with pytest.raises(BadModel, match="columns tag_id, name"):
        open_tagger(files(bare))
    broken = write_tagger(tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(BadModel, match="cannot be opened"):
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
    with pytest.raises(ModelMissing, match="pip install onnxruntime"):
        open_tagger(files(write_tagger(tmp_path / "t")))
