"""What the page is shown of a dataset: kept by id, edited and filtered by the engine, chosen by clicks."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora_kiln.dataset.browse import chosen_by, file_mark, listed, look
from lora_kiln.dataset.edits import apply_edits, parse_edits
from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.picking import with_choices
from lora_kiln.dataset.registry import MOST, Registry, dataset_text, read_dataset
from lora_kiln.dataset.select import SelectOptions, read_selection
from lora_kiln.dataset.values import Box, Dataset, Record


def words(text: str) -> int:
    return len(text.split())


def record(name: str, *tags: str, **more: Any) -> Record:
    return Record(image=Path(f"/p/{name}").absolute(), size=(64, 48), tags=tags, **more)


DATA = Dataset(
    records=(
        record("a.png", "kierose", "1girl", "long_hair", group="dress"),
        record("b.png", "kierose", "1girl", "hat", group="dress", crop=Box(left=1, top=2, right=30, bottom=40)),
        record("c.png", prose="A girl in a hat.", group="armour", origin=("upscaled",), is_reg=True),
    ),
    trigger="kierose",
)
REMOVE = json.dumps([{"do": "remove", "tags": "1girl"}])


def test_a_dataset_survives_its_file(tmp_path: Path) -> None:
    strange = record("\udcff é 花.png", "花", mask=Path("/p/m.png").absolute(), weight=0.5, background=(1, 2, 3))
    full = dataclasses.replace(
        strange, repeats=3, pruned=("red eyes",), given=("from side",), origin=("crop:face of x.png", "two")
    )
    data = Dataset(records=(*DATA.records, strange, full), trigger="a, b")
    assert read_dataset(dataset_text(data)) == data
    registry = Registry(folder=tmp_path / "kept")
    name = registry.add(data)
    assert registry.add(data) == name
    assert Registry(folder=tmp_path / "kept").get(name) == data
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [f"{name}.json"]


def test_two_copies_of_a_folder_are_two_datasets(tmp_path: Path) -> None:
    registry = Registry(folder=tmp_path)
    copy = DATA.replace_records(dataclasses.replace(r, image=Path("/q").absolute() / r.image.name) for r in DATA)
    assert registry.add(copy) != registry.add(DATA)


@pytest.mark.parametrize("name", ["", "0" * 32, "../secret", "a" * 31, "A" * 32, "0" * 33, "x\0"])
def test_an_id_that_nobody_gave_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.json").write_text("{}")
    with pytest.raises(DatasetError, match="not known here any more"):
        Registry(folder=tmp_path / "kept").get(name)


def test_a_file_that_somebody_else_wrote_is_refused(tmp_path: Path) -> None:
    name = "0123456789abcdef" * 2
    (tmp_path / f"{name}.json").write_text(dataset_text(DATA))
    with pytest.raises(DatasetError, match="does not fit its name"):
        Registry(folder=tmp_path).get(name)


def test_only_the_latest_are_kept(tmp_path: Path) -> None:
    registry = Registry(folder=tmp_path)
    for number in range(MOST):
        (tmp_path / f"{number:032x}.json").write_text("{}")
        os.utime(tmp_path / f"{number:032x}.json", (number, number))
    name = registry.add(DATA)
    assert len(list(tmp_path.iterdir())) == MOST
    assert (tmp_path / f"{name}.json").exists()
    assert not (tmp_path / f"{0:032x}.json").exists()


def test_pictures_are_listed_with_crop_and_bucket() -> None:
    found = listed(DATA, lambda record: (record.view_size[0] * 2, record.view_size[1] * 2))
    assert found["trigger"] == "kierose"
    first, second, third = found["pictures"]
    assert (first["key"], first["size"], first["crop"], first["bucket"]) == ("dress/a.png", (64, 48), None, (128, 96))
    assert (second["crop"], second["bucket"]) == ((1, 2, 30, 40), (58, 76))
    assert (third["prose"], third["tags"], third["reg"]) == ("A girl in a hat.", (), True)
    assert json.loads(json.dumps(found))["pictures"][0]["tags"] == ["kierose", "1girl", "long_hair"]


def test_a_files_mark_follows_its_content_and_a_link_has_none(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    assert file_mark(record("gone.png")) == ""
    Image.new("RGB", (64, 48)).save(file)
    here = Record(image=file, size=(64, 48))
    first = file_mark(here)
    os.utime(file, (5, 5))
    assert first != file_mark(here) != ""
    (tmp_path / "link.png").symlink_to(file)
    assert file_mark(Record(image=tmp_path / "link.png", size=(64, 48))) == ""


def test_a_look_is_what_the_node_would_do() -> None:
    edits = '[{"do": "replace", "tags": "hat", "with": "cap"}]'
    found = look(DATA, edits, "", "1girl", words)
    edited, _ = apply_edits(DATA, parse_edits(edits))
    assert found["captions"] == {"1": {"tags": edited.records[1].tags, "prose": ""}}
    assert found["shown"] == [0, 1]
    assert found["tags"] == [("1girl", 2), ("kierose", 2), ("cap", 1), ("long_hair", 1)]
    assert found["edits"]["done"] == [{"words": "replace hat -> 'cap'", "meant": 3, "changed": 1, "missing": ()}]
    # The filter sees what the edits left.
    assert look(DATA, edits, "", "hat", words)["shown"] == []
    assert look(DATA, edits, "", "cap", words)["shown"] == [1]


def test_edits_on_trial_change_neither_filter_nor_captions() -> None:
    found = look(DATA, "[]", REMOVE, "1girl", words)
    assert (found["shown"], found["captions"]) == ([0, 1], {})
    assert found["trial"]["captions"] == {
        "0": {"tags": ("kierose", "long_hair"), "prose": ""}, "1": {"tags": ("kierose", "hat"), "prose": ""},
    }  # fmt: skip
    assert found["trial"]["done"][0]["changed"] == 2


def test_what_is_half_written_is_told_and_nothing_is_raised() -> None:
    found = look(DATA, "[", '[{"do": "ad"}]', "(hat", words)
    assert "not JSON" in found["edits"]["error"]
    assert "Choose one of" in found["trial"]["error"]
    assert "never closed" in found["filter"]["error"]
    assert found["filter"]["place"] == 0
    assert found["shown"] == [0, 1, 2]


def test_a_selection_is_told_beside_what_the_filter_alone_takes() -> None:
    options = SelectOptions(filter="hat", by_hand="+ dress/a.png\n- dress/b.png\n- gone.png")
    found = chosen_by(DATA, options, words)
    hand = {"dress/a.png": True, "dress/b.png": False, "gone.png": False}
    assert found == {"chosen": [0], "filtered": [1], "hand": hand, "missing": ["gone.png"]}
    assert chosen_by(DATA, dataclasses.replace(options, only_kept=True), words)["filtered"] == []


def test_a_click_writes_a_line_and_another_takes_it_back() -> None:
    text = "# mine\n+ a.png\nb.png\n- c d.png"
    assert with_choices(text, {"b.png": False}) == "# mine\n+ a.png\n- c d.png\n- b.png"
    assert with_choices(text, {"a.png": None, "c d.png": True}) == "# mine\nb.png\n+ c d.png"
    assert with_choices("", {"#odd": True}) == "+ #odd"
    with pytest.raises(DatasetError, match="has no name after its sign"):
        with_choices("+", {"a": True})


NAMES = st.sampled_from(["a.png", "+b.png", "dress/c d.png", "#e"])
FORMS = st.sampled_from(["", "# note\n", '{"keep": ["a.png", "x"], "reject": ["+b.png"]}', "- a.png\n+ x\n"])


@given(FORMS, st.dictionaries(NAMES, st.none() | st.booleans()))
def test_choices_are_what_is_read_and_others_stay(text: str, choices: dict[str, bool | None]) -> None:
    before, after = read_selection(text), read_selection(with_choices(text, choices))
    for name, kept in choices.items():
        assert (name in after.keep, name in after.reject) == (kept is True, kept is False)
    assert {*after.keep} - {*choices} == {*before.keep} - {*choices}
    assert {*after.reject} - {*choices} == {*before.reject} - {*choices}
    assert with_choices(text, {}) in (text.removesuffix("\n"), read_selection(text).to_json())
