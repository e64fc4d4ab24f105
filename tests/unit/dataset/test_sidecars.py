"""Captions in JSON: boorus' answers, hydrus, taggers, kohya's metadata, lines for many pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_kiln.dataset.load import LoadOptions, load_dataset
from lora_kiln.dataset.sidecars import NoCaption, Reader


@pytest.mark.parametrize(
    ("value", "tags"),
    [
        # Danbooru: by kind, between spaces.
        (
            {
                "id": 1,
                "rating": "g",
                "tag_string": "1girl cup kafka_(honkai:_star_rail) someone",
                "tag_string_general": "1girl cup",
                "tag_string_character": "kafka_(honkai:_star_rail)",
                "tag_string_copyright": "honkai:_star_rail",
                "tag_string_artist": "someone",
                "tag_string_meta": "highres",
            },
            ("kafka (honkai: star rail)", "honkai: star rail", "1girl", "cup"),
        ),
        # What a downloader makes of it, as lists.
        ({"tags_general": ["1girl", "long_hair"], "tags_artist": ["x"], "tags": "all"}, ("1girl", "long hair")),
        # Gelbooru and moebooru tell no kinds.
        ({"id": 5, "md5": "0", "tags": "1girl long_hair ^_^"}, ("1girl", "long hair", "^_^")),
        # e621: tags by kind.
        ({"tags": {"general": ["cup"], "species": ["cat"], "invalid": ["x"], "artist": []}}, ("cat", "cup")),
        # A tagger's tags with their scores.
        ({"tags": {"hat": 0.4, "1girl": 0.9}}, ("1girl", "hat")),
        # kohya's metadata.
        ({"tags": "1girl, long hair", "train_resolution": [512, 512]}, ("1girl", "long hair")),
        ({"tags": "long hair"}, ("long hair",)),
        ({"caption": "1girl, hat", "tags": "hat, cup"}, ("1girl", "hat", "cup")),
        # hydrus: plain tags, and tags with their namespace.
        (["character:rem", "creator:x", "1girl", "series:re:zero", ":d"], ("rem", "re:zero", "1girl", ":d")),
        # Szurubooru: tags with names.
        ({"tags": [{"names": ["long_hair", "hair"], "category": "general"}]}, ("long hair",)),
        ({"post": {"id": 3, "tags": "a b"}}, ("a", "b")),
        ("1girl, hat", ("1girl", "hat")),
    ],
)
def test_what_programs_write_is_read(value: Any, tags: tuple[str, ...]) -> None:
    assert Reader().value(value).tags == tags


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("1girl kafka_(honkai:_star_rail) long_hair ^_^", ("1girl", "kafka (honkai: star rail)", "long hair", "^_^")),
        ("long hair", ("long hair",)),
        ("long_hair", ("long hair",)),
        ("long_hair, red eyes", ("long hair", "red eyes")),
        ("smile ^_^", ("smile", "^_^")),
        ("a_b and a cat", ("a b and a cat",)),
    ],
)
def test_tags_between_spaces_are_told_from_tags_with_spaces(text: str, tags: tuple[str, ...]) -> None:
    assert Reader(how="tags").text(text).tags == tags


def test_kinds_are_taken_in_the_order_that_is_asked() -> None:
    value = {"tags_general": ["1girl"], "tags_artist": ["x"], "tags_character": ["rem"]}
    assert Reader(kinds=("general", "artist")).value(value).tags == ("1girl", "x")


def test_prose_stays_prose_and_tags_follow_it_as_in_kohyas_scripts() -> None:
    assert Reader().value({"caption": "A girl stands in the rain."}).prose == "A girl stands in the rain."
    both = Reader().value({"caption": "A girl stands in the rain.", "tags": "hat, cup"})
    assert both.prose == "A girl stands in the rain., hat, cup"


@pytest.mark.parametrize("value", [{}, {"width": 3}, 5, None, True])
def test_no_caption_is_said(value: Any) -> None:
    with pytest.raises(NoCaption):
        Reader().value(value)


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(folder / name)
    return folder


def captions(folder: Path, **options: Any) -> dict[str, str]:
    dataset, _ = load_dataset(folder, LoadOptions(**options))
    return {record.image.relative_to(folder).as_posix(): record.caption for record in dataset}


def test_sidecars_beside_pictures(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.jpg", "c.png", "d.png", "e.png")
    (tmp_path / "a.json").write_text('{"tags": "1girl, a"}')
    (tmp_path / "b.jpg.json").write_text('{"tags_general": ["b"]}')
    (tmp_path / ".c_meta.json").write_text('{"tags": {"c": 0.9}}')
    (tmp_path / "d.jsonl").write_text('\n{"text": "d"}\n{"text": "later"}\n')
    (tmp_path / "e.txt").write_text("e")
    (tmp_path / "e.json").write_text('{"tags": "not this"}')
    assert captions(tmp_path) == {"a.png": "1girl, a", "b.jpg": "b", "c.png": "c", "d.png": "d", "e.png": "e"}
    assert load_dataset(tmp_path)[1] == ()
    assert captions(tmp_path, caption_extensions=(".json",))["e.png"] == "not this"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("meta_cap.json", {"9_x/a": {"tags": "1girl, a"}, "/train/set/9_x/b.png": {"caption": "b"}}),
        ("captions.json", {"a.png": "1girl, a", "b": "b"}),
        (
            "list.json",
            [{"file_name": "9_x/a.png", "text": "1girl, a"}, {"filename": "b", "extension": "png", "tags": "b"}],
        ),
    ],
)
def test_one_json_for_many_pictures(tmp_path: Path, name: str, content: Any) -> None:
    pictures(tmp_path, "9_x/a.png", "9_x/b.png")
    (tmp_path / name).write_text(json.dumps(content))
    assert captions(tmp_path) == {"9_x/a.png": "1girl, a", "9_x/b.png": "b"}
    assert load_dataset(tmp_path)[1] == ()


def test_lines_for_many_pictures_and_those_that_fit_none(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    rows = [("a.png", "a\u2028b, c"), ("gone.png", "x"), ("../../etc/passwd", "x"), ("a.png", "again"), ("b.png", "b")]
    text = "\n".join(json.dumps({"file_name": name, "text": words}, ensure_ascii=False) for name, words in rows)
    (tmp_path / "metadata.jsonl").write_text(text, encoding="utf-8")
    assert captions(tmp_path) == {"a.png": "a b, c", "b.png": "b"}
    said = [str(problem) for problem in load_dataset(tmp_path)[1]]
    assert any("2 of the 5 pictures that it describes are not there" in line for line in said)
    assert any("1 pictures that it describes were described before" in line for line in said)


@pytest.mark.parametrize("text", ["{", '{"file_name": ', "[" * 100_000, "\x00", '{"a": 1e999999}', "\ud800"])
def test_broken_json_is_named(tmp_path: Path, text: str) -> None:
    pictures(tmp_path, "a.png", "b.png")
    for name in ("a.json", "many.jsonl"):
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    dataset, problems = load_dataset(tmp_path)
    assert len(dataset) == 2
    assert tmp_path / "a.json" in {problem.path for problem in problems}


def test_a_caption_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(5 << 20)
    dataset, problems = load_dataset(tmp_path)
    assert dataset.records[0].caption == ""
    assert "too many for a caption" in str(problems[0])
