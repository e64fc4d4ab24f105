"""Every kind of tagger on a real model with its contract: colours, scale, padding, outputs, tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_kiln.dataset.errors import BadModel
from lora_kiln.dataset.tagger import Tagger, find_tagger, get_tagger, known_tags, list_taggers, open_tagger, tagger_mark
from lora_kiln.dataset.tagger_formats import CAMIE, CL, PIXAI, WD, Format, read_labels

Writer = Callable[..., Path]
KINDS = {"wd": WD, "pixai": PIXAI, "camie": CAMIE, "cl": CL}
COLORS = {"red": "red background", "lime": "green background", "blue": "blue background"}


def opened(folder: Path) -> Tagger:
    return open_tagger(get_tagger(folder.name, [folder.parent]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("half", [False, True])
def test_each_contract_is_told_by_its_files_and_read(
    tmp_path: Path, write_tagger: Writer, kind: str, half: bool
) -> None:
    tagger = opened(write_tagger(tmp_path / "mine", kind=kind, half=half))
    assert tagger.format == KINDS[kind]
    scores = tagger.tag([Image.new("RGB", (50, 50), color) for color in (*COLORS, "black")])
    for one, name in zip(scores, COLORS.values(), strict=False):
        assert one.general.pop("^_^") == pytest.approx(0.5, abs=1e-3)
        assert {tag: round(score, 2) for tag, score in one.general.items()} == {
            tag: float(tag == name) for tag in COLORS.values()
        }
    assert max(scores[3].general[tag] for tag in COLORS.values()) < 1e-3
    assert scores[0].character == {"kie rose (oc)": pytest.approx(0.9526, abs=1e-3)}
    assert set(scores[0].rating) == {"general", "sensitive"}
    assert scores[0].rating["general"] > 0.8
    assert scores[0].others == {}


@pytest.mark.parametrize(
    ("form", "corner"),
    [
        (WD, [255.0, 255.0, 255.0]),
        (CL, [1.0, 1.0, 1.0]),
        # Stretched: the picture reaches into the corners. Red, green and blue are 1, 0 and 0.
        (PIXAI, [1.0, -1.0, -1.0]),
        # ImageNet's mean, as near as whole numbers come, is 0.
        (CAMIE, [0.0, 0.0, 0.0]),
    ],
)
def test_what_surrounds_a_narrow_picture(form: Format, corner: list[float]) -> None:
    pixels = form.prepare(Image.new("RGB", (40, 10), "red"), 40)
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    assert pixels.shape == ((3, 40, 40) if form.channels_first else (40, 40, 3))
    found = pixels[:, 0, 0] if form.channels_first else pixels[0, 0]
    assert found.tolist() == pytest.approx(corner, abs=0.01)
    middle = pixels[:, 20, 20] if form.channels_first else pixels[20, 20]
    red = middle[2 if form.bgr else 0]
    assert red == pytest.approx((255 / form.divisor - form.mean[0]) / form.deviation[0], rel=1e-5)


@pytest.mark.parametrize("kind", ["camie", "cl"])
def test_a_list_and_a_model_of_different_kinds_are_refused(tmp_path: Path, write_tagger: Writer, kind: str) -> None:
    folder = write_tagger(tmp_path / "mine", kind=kind)
    other = write_tagger(tmp_path / "other")
    next(folder.glob("*.onnx")).write_bytes((other / "model.onnx").read_bytes())
    with pytest.raises(BadModel, match=r"not what a tagger with .*json takes: one square picture"):
        opened(folder)


def test_an_unknown_input_names_what_is_read(tmp_path: Path, write_tagger: Writer) -> None:
    folder = write_tagger(tmp_path / "mine", kind="camie")
    (folder / "camie-tagger-v2-metadata.json").write_text('{"tags": {"a": 1}}')
    with pytest.raises(BadModel, match="is not a tagger's list of tags"):
        opened(folder)
    for text in ("[]", "3", "null", '{"0": {"tag": 3}}', "{", '{"dataset_info": {}}'):
        (folder / "camie-tagger-v2-metadata.json").write_text(text)
        with pytest.raises(BadModel, match="metadata"):
            opened(folder)


def test_both_forms_of_a_mapping_and_kinds_that_only_some_taggers_know(tmp_path: Path) -> None:
    names = {"3": "kie_rose", "0": "rating_explicit", "1": "best_quality", "2": "some_work_(series)"}
    kinds = {"kie_rose": "Artist", "rating_explicit": "rating", "best_quality": "Quality", "some_work_(series)": "odd"}
    file = tmp_path / "tag_mapping.json"
    file.write_text(json.dumps({"idx_to_tag": names, "tag_to_category": kinds}))
    rows = (("explicit", "rating"), ("best quality", "quality"), ("some work (series)", "meta"), ("kie rose", "artist"))
    labels = read_labels(file)
    assert labels.rows == rows
    assert labels.json_format == CL
    file.write_text(json.dumps({i: {"tag": tag, "category": kinds[tag]} for i, tag in names.items()}))
    assert read_labels(file) == labels
    file.write_text(json.dumps({"idx_to_tag": {"2": "a"}, "tag_to_category": {}}))
    assert read_labels(file).rows == (None, None, ("a", "general"))


def test_taggers_of_other_packs_lie_side_by_side(tmp_path: Path, write_tagger: Writer) -> None:
    """`name.onnx` with `name.csv`: the way of the WD tagger node."""
    made = write_tagger(tmp_path / "made")
    packs = tmp_path / "pack" / "models"
    packs.mkdir(parents=True)
    (made / "model.onnx").rename(packs / "wd-moat.onnx")
    (made / "selected_tags.csv").rename(packs / "wd-moat.csv")
    (packs / "yolo.onnx").write_bytes(b"not a tagger")
    assert list_taggers([packs])[0] == "wd-moat"
    assert "yolo" not in list_taggers([packs])
    files = find_tagger("wd-moat", [tmp_path / "nowhere", packs])
    assert files is not None
    assert open_tagger(files).format == WD
    assert "red background" in known_tags([packs])
    assert "general" not in known_tags([packs])
    assert known_tags([tmp_path / "nowhere"]) == frozenset()
    # The first folder wins: the user's own.
    write_tagger(tmp_path / "own" / "wd-moat", kind="pixai")
    found = find_tagger("owner/wd-moat", [tmp_path / "own", packs])
    assert found is not None
    assert open_tagger(found).format == PIXAI


def test_one_tagger_is_told_from_another_by_content(tmp_path: Path, write_tagger: Writer) -> None:
    first = get_tagger("a", [write_tagger(tmp_path / "one" / "a").parent])
    same = get_tagger("b", [write_tagger(tmp_path / "two" / "b").parent])
    other = get_tagger("c", [write_tagger(tmp_path / "three" / "c", sigmoid=False).parent])
    assert tagger_mark(first) == tagger_mark(same) != tagger_mark(other)
