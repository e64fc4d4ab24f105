"""The words of our panels: every sentence of the modules has a Chinese one, with the same places to fill in."""

from __future__ import annotations

import json
import re
from pathlib import Path

MODULES = ("training*.js", "sweep*.js", "zoom.js")
SAID = re.compile(r"\bsay\(\s*\"((?:[^\"\\]|\\.)*)\"")
PLACE = re.compile(r"\{\w+\}")


def test_every_sentence_of_the_panels_is_translated(root: Path) -> None:
    files = [file for pattern in MODULES for file in (root / "web").glob(pattern)]
    said = {words for file in files for words in SAID.findall(file.read_text(encoding="utf-8"))}
    assert len(said) > 40
    chinese = json.loads((root / "locales" / "zh" / "main.json").read_text(encoding="utf-8"))["kiln"]
    assert sorted(said - set(chinese)) == []
    for words, translated in chinese.items():
        assert sorted(PLACE.findall(translated)) == sorted(PLACE.findall(words)), words
