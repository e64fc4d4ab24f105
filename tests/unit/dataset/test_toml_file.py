"""sd-scripts' dataset files: read as they are, and back from what is written."""

from __future__ import annotations

import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_kiln.dataset.errors import DatasetError, EmptyFolder
from lora_kiln.dataset.load import LoadOptions
from lora_kiln.dataset.subsets import Subset
from lora_kiln.dataset.toml_file import load_toml, read_toml, toml_fingerprint, write_toml

TOML = """
[general]
caption_extension = '.txt'
shuffle_caption = true

[[datasets]]
resolution = 768

  [[datasets.subsets]]
  image_dir = 'reg/1_girl'
  is_reg = true

  [[datasets.subsets]]
  image_dir = 'nine'
  num_repeats = 9
  class_tokens = 'kierose'
  conditioning_data_dir = 'masks'

[[datasets]]
  [[datasets.subsets]]
  image_dir = '0_off'
  num_repeats = 2
  metadata_file = 'meta.json'
"""


def picture(path: Path, caption: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    picture(tmp_path / "nine" / "10.png", "ten")
    picture(tmp_path / "nine" / "9.png")
    picture(tmp_path / "nine" / "inner" / "never.png", "never")
    picture(tmp_path / "masks" / "9.png")
    picture(tmp_path / "reg" / "1_girl" / "g.png", "1girl")
    picture(tmp_path / "0_off" / "a.png")
    (tmp_path / "meta.json").write_text('{"0_off/a": {"tags": "of the json"}}')
    path = tmp_path / "set.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


def test_a_toml_is_a_dataset(file: Path) -> None:
    dataset, problems = load_toml(file)
    rows = [(r.image.name, r.caption, r.repeats, r.is_reg, r.group, r.mask and r.mask.name) for r in dataset]
    assert rows == [
        ("9.png", "kierose", 9, False, "nine", "9.png"),
        ("10.png", "ten", 9, False, "nine", None),
        ("a.png", "of the json", 2, False, "off", None),
        ("g.png", "1girl", 1, True, "girl", None),
    ]
    assert [(problem.what, problem.minor) for problem in problems] == [
        ("settings of the training are not read here: resolution, shuffle_caption", True)
    ]
    own = LoadOptions(repeats=3, background="black", on_problem="stop")
    assert {(record.repeats, record.background) for record in load_toml(file, own)[0]} == {(3, (0, 0, 0))}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("'nine'", "'gone'"), "image_dir is 'gone', and there is no such folder"),
        (("'masks'", "'gone'"), "conditioning_data_dir"),
        (("class_tokens", "class_token"), "keys that are not known: class_token"),
        (("image_dir = '0_off'", ""), "has no image_dir"),
        (("'reg/1_girl'", "'nine'"), "stands there twice"),
    ],
)
def test_what_is_not_there_or_not_known_is_named(file: Path, change: tuple[str, str], said: str) -> None:
    file.write_text(TOML.replace(*change), encoding="utf-8")
    dataset, problems = load_toml(file)
    assert len(dataset) >= 1
    assert [problem for problem in problems if not problem.minor and said in problem.what]
    with pytest.raises(DatasetError, match="on_problem is stop"):
        load_toml(file, LoadOptions(on_problem="stop"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no \\[\\[datasets.subsets\\]\\]"),
        ("datasets = 3", "write tables"),
        ("a = ", "no TOML"),
        ("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'nine'\nnum_repeats = 0", "num_repeats is 0"),
        ("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'nine'\nnum_repeats = true", "num_repeats is True"),
        ('[[datasets]]\n[[datasets.subsets]]\nimage_dir = "a\\u0000b"', "is no path"),
        ("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'gone'", "no picture"),
    ],
)
def test_a_toml_of_another_form_is_refused(file: Path, text: str, said: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises((DatasetError, EmptyFolder), match=said):
        load_toml(file)


def test_nothing_is_read_that_may_not_be(file: Path) -> None:
    asked: list[Path] = []

    def check(path: Path) -> None:
        asked.append(path)
        if path.name == "masks":
            raise ValueError("not open")

    with pytest.raises(ValueError, match="not open"):
        load_toml(file, check=check)
    assert file.parent / "nine" in asked
    assert toml_fingerprint(file, check=check) == "not open"


def test_a_refusal_does_not_tell_what_is_there(file: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing outside is looked at: a folder that is there and one that is not are refused in the same words."""
    elsewhere = tmp_path_factory.mktemp("private")

    def check(path: Path) -> None:
        if path != file.parent and file.parent not in path.parents:
            raise ValueError(f"{path} is not open")

    said = []
    for name in ("there", "gone"):
        picture(elsewhere / "there" / "a.png")
        place = elsewhere / name
        for key in ("image_dir", "metadata_file"):
            other = f"{key} = {str(place)!r}" + ("\nimage_dir = 'nine'" if key == "metadata_file" else "")
            file.write_text(f"[[datasets]]\n[[datasets.subsets]]\n{other}\n")
            with pytest.raises(ValueError, match="is not open") as caught:
                load_toml(file, check=check)
            said.append(str(caught.value).replace(str(place), "X"))
    assert set(said) == {"X is not open"}
    for user in ("~nobody-of-this-name/x", "~/x"):
        file.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{user}'\n")
        with pytest.raises(ValueError, match=f"^{user} is not open$"):
            load_toml(file, check=check)
    # A dataset that was moved here from there is found by the end of its path.
    file.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{elsewhere.as_posix()}/nine'\n")
    assert len(load_toml(file, check=check)[0]) == 2


@pytest.mark.parametrize("text", ["~nobody-of-this-name/x", "x" * 300])
def test_what_can_be_no_path_is_named(file: Path, text: str) -> None:
    file.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{text}'\n")
    with pytest.raises(DatasetError, match=f"'{text}' cannot be looked for.*Give the path"):
        load_toml(file)


def test_one_group_of_two_subsets_is_told(file: Path) -> None:
    for name in ("A", "B"):
        picture(file.parent / name / "5_dress" / "a.png")
    rows = "".join(f"[[datasets.subsets]]\nimage_dir = '{name}/5_dress'\n" for name in ("A", "B"))
    file.write_text(f"[[datasets]]\n{rows}")
    dataset, problems = load_toml(file)
    assert {record.group for record in dataset} == {"dress"}
    [problem] = problems
    assert problem.minor
    assert all(str(file.parent / name / "5_dress") in str(problem) for name in ("A", "B"))


def test_the_fingerprint_follows_captions_masks_and_the_file(file: Path) -> None:
    marks = [toml_fingerprint(file)]
    (file.parent / "nine" / "10.txt").write_text("ten!")
    marks.append(toml_fingerprint(file))
    Image.new("RGB", (8, 8), "blue").save(file.parent / "masks" / "9.png")
    marks.append(toml_fingerprint(file))
    (file.parent / "meta.json").write_text("{}")
    marks.append(toml_fingerprint(file))
    file.write_text(TOML.replace("num_repeats = 2", "num_repeats = 3"), encoding="utf-8")
    marks.append(toml_fingerprint(file))
    assert len(set(marks)) == 5
    picture(file.parent / "nine" / "inner" / "more.png")
    assert toml_fingerprint(file) == marks[-1]


NAMES = st.text(string.printable + "äé日本😀'\"\\", min_size=1, max_size=20).map(
    lambda s: s.replace("/", "_").strip(". ")
)
WORDS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "name": NAMES.filter(
                    lambda s: s.strip() == s and s not in ("", ".", "..", "None") and len(s.encode()) < 200
                ),
                "repeats": st.integers(1, 10**6),
                "is_reg": st.booleans(),
                "class_tokens": WORDS,
                "caption_prefix": WORDS,
                "caption_suffix": WORDS,
                "masked": st.booleans(),
            }
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda each: each["name"],
    )
)
def test_any_subsets_come_back(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        subsets = []
        for row in rows:
            folder = root / row["name"]
            folder.mkdir(exist_ok=True)
            words = {key: row[key] for key in ("class_tokens", "caption_prefix", "caption_suffix")}
            words = {key: "" if text == "None" else text for key, text in words.items()}
            mask = folder if row["masked"] else None
            subsets.append(
                Subset(folder=folder, repeats=row["repeats"], is_reg=row["is_reg"], mask_folder=mask, **words)
            )
        file = root / "x" / "set.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(write_toml(subsets, notes=["two\nlines"]), encoding="utf-8", newline="\n")
        found, problems = read_toml(file)
    assert problems == []
    assert sorted(found, key=repr) == sorted(subsets, key=repr)
