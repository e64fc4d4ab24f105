"""The words of the page: what is served, and that no language lacks one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from demo import locales
from demo.hosting import Host


@pytest.fixture(scope="module")
def english(host: Host) -> dict[str, str]:
    """Every text of our nodes as the server tells it, by flat key."""
    return locales.words_of(host.object_info())


@pytest.fixture(params=locales.TRANSLATED)
def folder(request: pytest.FixtureRequest, root: Path) -> Path:
    """The folder of one language."""
    return root / "locales" / str(request.param)


def test_every_node_input_and_output_says_what_it_is(english: dict[str, str]) -> None:
    assert len({key.split(".")[0] for key in english}) >= 35
    assert [key for key, text in english.items() if not text.strip()] == []


def test_the_english_words_are_those_of_the_nodes(english: dict[str, str], root: Path) -> None:
    written = locales.flat(locales.read(root / "locales" / "en" / locales.NODES))
    assert written == locales.served(english), "run: python dev.py locales"


def test_no_language_lacks_a_text_or_has_an_old_one(english: dict[str, str], folder: Path) -> None:
    texts = locales.flat(locales.read(folder / locales.NODES))
    found = locales.compare(english, texts, locales.read(folder / locales.MARKS))
    assert found.lines() == [], "run: python dev.py locales"


def test_every_help_page_is_translated_from_the_english_one_of_today(folder: Path) -> None:
    marks = locales.read(folder / locales.MARKS)
    assert len(locales.help_pages(folder.name)) >= 35
    assert locales.help_findings(folder.name, marks) == [], "run: python dev.py locales"


def test_what_is_written_in_chinese_is_chinese_and_says_the_same_numbers(english: dict[str, str], root: Path) -> None:
    texts = locales.flat(locales.read(root / "locales" / "zh" / locales.NODES))
    assert locales.untranslated(texts) == []
    assert locales.differing(english, texts) == {}


def test_the_languages_have_the_same_words_for_the_page(folder: Path, root: Path) -> None:
    ours = locales.flat(locales.read(root / "locales" / "en" / locales.PAGE))
    content = locales.read(folder / locales.PAGE)
    panels = content.pop(locales.PANELS)
    theirs = locales.flat(content)
    assert set(ours) == set(theirs)
    assert [key for key, text in (ours | theirs).items() if not text.strip() or locales.SIGNS.search(text)] == []
    assert locales.panel_findings(panels, root / "web") == []
    # What has letters beside its places to fill in is written in Chinese.
    assert [key for key, text in panels.items() if not locales.CHINESE.search(text) and key != "{shown} of {all}"] == []


def test_the_server_gives_them_to_the_page(host: Host, root: Path) -> None:
    served: dict[str, Any] = requests.get(f"{host.url}/i18n", timeout=30).json()
    for language in ("en", *locales.TRANSLATED):
        file = root / "locales" / language / locales.NODES
        assert json.loads(file.read_text(encoding="utf-8")).items() <= served[language]["nodeDefs"].items()
        assert served[language]["nodeCategories"]["recipe"]


def test_findings_name_every_kind_of_fault() -> None:
    english = {
        "A.description": "Two 4 pictures below output/kiln.",
        "A.inputs.x.name": "steps_of",
        "B.description": "b",
    }
    texts = {"A.description": "三张图", "A.inputs.x.name": "步数", "C.description": "{多余}"}
    marks = {"A.description": locales.mark("Two 3 pictures."), "A.inputs.x.name": locales.mark("steps_of")}
    found = locales.compare(english, texts, marks)
    assert (found.missing, found.left_over) == (("B.description",), ("C.description",))
    assert (found.stale, found.broken) == (("A.description",), ("C.description",))
    assert len(found.lines()) == 4
    assert locales.differing(english, texts) == {"A.description": {"4", "output/kiln"}}
    assert locales.untranslated({"A.inputs.v.name": "VAE", "A.inputs.w.name": "width", "A.description": "VAE"}) == [
        "A.inputs.w.name",
        "A.description",
    ]


def test_what_the_scripts_say_is_found(tmp_path: Path) -> None:
    script = (
        'say("one"); say(on ? "two, or so" : "three", { n }); say("a " +\n "b {n}", '
        'f({ n: say("in \\"it\\"") })); say(w)'
    )
    (tmp_path / "a.js").write_text(script, encoding="utf-8")
    assert locales.said(tmp_path) == {"one", "two, or so", "three", "a b {n}", 'in "it"'}
    words = {"one": "一", "two, or so": "二", "three": "三", "a b {n}": "甲", "four": "四"}
    assert locales.panel_findings(words, tmp_path) == [
        "'in \"it\"': missing",
        "'four': said by no script",
        "'a b {n}': fills in other places",
    ]


def test_the_search_knows_nodes_by_other_words_where_the_host_does(inside: Path, host: Host) -> None:
    from lora_kiln.nodes.search import ALIASES

    assert inside.is_dir()
    info = {name: about for name, about in host.object_info().items() if name.startswith("Kiln")}
    assert set(ALIASES) == set(info)
    told = {name: about["search_aliases"] for name, about in info.items() if about.get("search_aliases")}
    assert told in ({}, {name: list(words) for name, words in ALIASES.items()})


def test_a_setting_may_be_called_by_its_translated_name() -> None:
    english = {"A.inputs.text_lr.name": "text_lr", "A.inputs.clip.tooltip": "Trained when text_lr is above 0."}
    texts = {"A.inputs.text_lr.name": "文本学习率", "A.inputs.clip.tooltip": "文本学习率大于 0 时训练。"}
    assert locales.differing(english, texts) == {}
    assert locales.differing(english, {**texts, "A.inputs.clip.tooltip": "大于 0 时训练。"}) != {}
    signs = {"A.inputs.clip.tooltip": "{a|b} draws one of 2."}
    assert locales.served(signs) == {}
    assert locales.differing(signs, {"A.inputs.clip.tooltip": "随机取一项"}) == {}
