"""The words around the code: help pages, the README, links, example workflows."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

# What the examples use of ComfyUI itself. Types of other packs do not belong in an example.
CORE = {
    "CheckpointLoaderSimple", "ControlNetLoader", "ImageScaleBy", "KSampler", "LoadImage", "LoraLoader",
    "LossGraphNode", "MarkdownNote", "Note", "PreviewAny", "PreviewImage", "SaveImage", "VAEDecode",
}  # fmt: skip
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def node_classes(root: Path) -> list[str]:
    """Names of the classes in `nodes/extension.py`'s list, read without importing it."""
    tree = ast.parse((root / "nodes" / "extension.py").read_text(encoding="utf-8"))
    [value] = [n.value for n in tree.body if isinstance(n, ast.AnnAssign) and ast.unparse(n.target) == "NODES"]
    assert isinstance(value, ast.Tuple)
    return [ast.unparse(each) for each in value.elts]


def schema_words(root: Path) -> dict[str, dict[str, str]]:
    """Class name to its `node_id` and `display_name`, read from the sources of `nodes/`."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted((root / "nodes").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                words = [k for k in ast.walk(node) if isinstance(k, ast.keyword) and isinstance(k.value, ast.Constant)]
                found[node.name] = {str(k.arg): k.value.value for k in reversed(words)}
    return found


@pytest.fixture(scope="module")
def node_names(root: Path) -> dict[str, str]:
    """Node id to display name, of every node of the pack."""
    words = schema_words(root)
    return {words[name]["node_id"]: words[name]["display_name"] for name in node_classes(root)}


def pages(root: Path) -> list[Path]:
    """Every page that people read."""
    return [root / "README.md", root / "CHANGELOG.md", *sorted((root / "docs").rglob("*.md"))]


def test_every_node_has_a_help_page(root: Path, node_names: dict[str, str]) -> None:
    assert len(node_names) >= 9
    files = {file.stem: file for file in (root / "web" / "docs").glob("*.md")}
    assert set(files) == set(node_names)
    for name, display_name in node_names.items():
        text = files[name].read_text(encoding="utf-8")
        assert text.startswith(f"# {display_name}\n"), name
        assert "**Common mistakes**" in text, name
        assert "**Out**" in text, name


MARKUP = re.compile(r"\s*(#+|-|\||\*\*|)")
CODE = re.compile(r"`[^`]*`")


def shape(line: str) -> tuple[str, int, list[str]]:
    """What a translation keeps of a line: what it begins with, its columns, and its words in backticks."""
    begins = MARKUP.match(line)
    return begins[1] if begins else "", line.count("|"), sorted(CODE.findall(line))


def test_a_chinese_help_page_says_what_the_english_one_does(root: Path, node_names: dict[str, str]) -> None:
    names = json.loads((root / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    for name in node_names:
        english = (root / "web" / "docs" / f"{name}.md").read_text(encoding="utf-8").splitlines()
        chinese = (root / "web" / "docs" / name / "zh.md").read_text(encoding="utf-8").splitlines()
        assert chinese[0] == f"# {names[name]['display_name']}"
        assert len(chinese) == len(english), name
        for theirs, ours in zip(chinese, english, strict=True):
            assert shape(theirs) == shape(ours), f"{name}: {theirs}"
            assert not ours.strip() or re.search(r"[\u4e00-\u9fff]|^[|\s:-]+$|^ {4}|`", theirs), f"{name}: {theirs}"


def test_the_readme_names_every_node(root: Path, node_names: dict[str, str]) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    assert [name for name in node_names if f"`{name}`" not in text] == []


def test_every_relative_link_leads_somewhere(root: Path) -> None:
    for page in pages(root):
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if target.startswith(("https://", "http://", "#", "mailto:")):
                continue
            file = page.parent / unquote(target.split("#")[0])
            assert file.exists(), f"{page.relative_to(root)} links to {target}"
            assert root in file.resolve().parents, f"{page.relative_to(root)} links out of the repository: {target}"


def test_every_picture_is_small_enough(root: Path) -> None:
    for picture in (root / "docs" / "images").iterdir():
        assert picture.stat().st_size < 400_000, picture.name


def examples(root: Path) -> dict[str, dict[str, Any]]:
    files = sorted((root / "example_workflows").glob("*.json"))
    return {file.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def test_the_examples_need_no_other_pack(root: Path, node_names: dict[str, str]) -> None:
    found = examples(root)
    assert "character_lora.json" in found
    for name, workflow in found.items():
        assert workflow["version"] == 0.4, name
        types = {node["type"] for node in workflow["nodes"]}
        assert types <= CORE | set(node_names), f"{name}: {types - CORE - set(node_names)}"


def test_the_examples_links_join_what_they_say(root: Path) -> None:
    for name, workflow in examples(root).items():
        nodes = {node["id"]: node for node in workflow["nodes"]}
        assert len(nodes) == len(workflow["nodes"]), name
        for number, origin, output, target, slot, kind in workflow["links"]:
            source, end = nodes[origin]["outputs"][output], nodes[target]["inputs"][slot]
            # An input that takes anything gives its wire no type of its own.
            assert {source["type"], end["type"]} <= {source["type"], kind, "*"}, f"{name}: link {number}"
            assert end["link"] == number, f"{name}: link {number}"
            assert number in source["links"], f"{name}: link {number}"
