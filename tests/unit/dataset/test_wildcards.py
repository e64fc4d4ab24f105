"""Prompts with wildcards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.wildcards import Wildcards


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "colors").mkdir()
    (tmp_path / "colors" / "warm.txt").write_text("red\n\n# a note\norange\n", encoding="utf-8")
    (tmp_path / "colors" / "cold.txt").write_text("blue", encoding="utf-8-sig")
    (tmp_path / "Hair_Style.txt").write_text("{long|short} hair, __colors/cold__ bow\n", encoding="utf-8")
    (tmp_path / "empty.txt").write_text("# nothing\n", encoding="utf-8")
    (tmp_path / "snake.txt").write_text("__snake__ again\n", encoding="utf-8")
    return tmp_path


def draws(wildcards: Wildcards, text: str, count: int = 400) -> Counter[str]:
    return Counter(wildcards.expand(text, seed, "here") for seed in range(count))


def test_choices() -> None:
    plain = Wildcards()
    assert plain.expand("1girl, (smile:1.2), \\(series\\)", 0, "") == "1girl, (smile:1.2), \\(series\\)"
    found = draws(plain, "a {red|blue|} hat")
    assert set(found) == {"a red hat", "a blue hat", "a hat"}
    assert min(found.values()) > 80
    assert set(draws(plain, "{a {b|c}|d}")) == {"a b", "a c", "d"}
    assert plain.expand("\\{a\\|b\\}", 0, "") == "{a|b}"
    assert plain.expand("{only}", 0, "") == "only"


def test_weights_and_several_at_once() -> None:
    plain = Wildcards()
    found = draws(plain, "{3::a|b}")
    assert 250 < found["a"] < 350
    assert set(found) == {"a", "b"}
    pairs = draws(plain, "{2$$x|y|z}")
    assert set(pairs) == {f"{a}, {b}" for a in "xyz" for b in "xyz" if a != b}
    assert set(draws(plain, "{1-2$$ and $$x|y}")) == {"x", "y", "x and y", "y and x"}
    assert plain.expand("{5$$x|y}", 0, "") in ("x, y", "y, x")


def test_files(folder: Path) -> None:
    wildcards = Wildcards([folder])
    assert set(draws(wildcards, "__colors/warm__")) == {"red", "orange"}
    assert set(draws(wildcards, "__colors/*__")) == {"red", "orange", "blue"}
    assert set(draws(wildcards, "__hair_style__ x")) == {"long hair, blue bow x", "short hair, blue bow x"}
    first = Wildcards([folder / "colors", folder])
    assert first.expand("__cold__ __colors/cold__", 0, "") == "blue blue"


def test_lists_of_the_graph_come_first(folder: Path) -> None:
    wildcards = Wildcards([folder], {"Colors/Warm": ["1girl, smile"]})
    assert wildcards.expand("__colors/warm__", 3, "") == "1girl, smile"


def test_draws_depend_on_seed_and_name_only(folder: Path) -> None:
    text = "{a|b|c|d|e|f|g|h} {a|b|c|d|e|f|g|h}"
    assert len({Wildcards().expand(text, 5, name) for name in ("one", "one")}) == 1
    assert len({Wildcards().expand(text, 5, name) for name in map(str, range(20))}) > 10
    # The numbers that Python's generator gives for a text are the same everywhere.
    assert Wildcards().expand(text, 5, "one") == Wildcards([folder]).expand(text, 5, "one")


def test_an_edited_file_has_another_mark(folder: Path) -> None:
    before = Wildcards([folder]).mark()
    assert before == Wildcards([folder]).mark()
    (folder / "empty.txt").write_text("now something\n", encoding="utf-8")
    assert Wildcards([folder]).mark() != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__haire_style__", "there is __hair_style__"),
        ("__../secret__", "There is no wildcard"),
        ("__empty__", "has no line"),
        ("__snake__", "lead into each other"),
        ("a {b|c", "character 3 is not closed"),
    ],
)
def test_what_cannot_be_drawn_is_told(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        Wildcards([folder]).expand(text, 0, "")
