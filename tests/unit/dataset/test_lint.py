"""Triggers that mean something already: in the captions, in tag lists, to the tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_kiln.dataset.lint import Lexicon, lint_trigger
from lora_kiln.dataset.tags import parse_tags
from lora_kiln.dataset.values import Dataset, Record

TAGS = frozenset(("rose", "red rose", "blue rose", "holding rose", "penguin", "penguin hood", "hatsune miku", "1girl"))
# Some of CLIP's own pieces.
PIECES = {
    "kie": ("kie ",), "rose": ("rose ",), "kierose": ("kie", "rose "), "mirelva": ("mi", "rel", "va "),
    "penguin": ("penguin ",), "tag999": ("tag", "9", "9", "9 "),
}  # fmt: skip


def dataset(*captions: str) -> Dataset:
    path = Path("/p/a.png").absolute()
    return Dataset(records=tuple(Record(image=path, size=(8, 8), tags=parse_tags(each)) for each in captions))


def about(trigger: str, lexicon: Lexicon | None = None, *captions: str) -> str:
    return "\n".join(lint_trigger(trigger, dataset(*captions), lexicon))


def test_words_of_the_captions() -> None:
    assert "contains 'rose', a word of other tags: the two will bleed" in about("kie rose", None, "1girl, red rose")
    assert about("kierose", None, "1girl, red rose") == ""
    # The trigger itself in the captions is no fault.
    assert about("kie rose", None, "kie_rose, 1girl") == ""


def test_words_of_tag_lists() -> None:
    found = about("kie rose", Lexicon(tags=TAGS))
    assert "'rose', a word of tags that taggers know (rose, red rose, blue rose)" in found
    assert "'penguin'" in about("penguin tag999", Lexicon(tags=TAGS))
    assert about("mirelva", Lexicon(tags=TAGS)) == ""
    # Whole words only: no tag has the word `rosemary`.
    assert about("rosemarie", Lexicon(tags=TAGS)) == ""
    assert "is a tag that taggers and many models know" in about("hatsune_miku", Lexicon(tags=TAGS))


def test_words_that_the_tables_know_without_any_list() -> None:
    assert "'hat', a tag of its own" in about("kie hat")
    assert "'twintails', a tag of its own" in about("mirelva twintails")


def test_words_of_the_tokenizer() -> None:
    lexicon = Lexicon(pieces=lambda text: PIECES[text])
    assert "contains 'rose', a word that the text encoder knows" in about("kie rose", lexicon)
    found = about("kierose", lexicon)
    assert "reads 'kierose' of the trigger 'kierose' as kie + rose, and knows 'rose' as a word" in found
    # Ends of made-up words are syllables, and numbers say nothing.
    assert about("mirelva", lexicon) == ""
    assert "999" not in about("penguin tag999", lexicon).replace("penguin tag999", "")


@pytest.mark.parametrize("trigger", ["", "  "])
def test_no_trigger_no_warning(trigger: str) -> None:
    assert about(trigger, Lexicon(tags=TAGS), "1girl") == ""


def test_short_triggers() -> None:
    assert "very short" in about("abc")
    assert about("abcd") == ""
