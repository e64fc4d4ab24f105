"""`python dev.py locales`: the words of the nodes for the page's languages, from the schemas of the nodes themselves.

English (`locales/en/nodeDefs.json`) is written anew each time. Another language is written by hand; beside its texts
`written_from.json` keeps a mark of the English text that each was made from, so that a changed tooltip shows. With
`--written` the marks are set: every text of the other languages says what the English one says now.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .hosting import Host
from .mount import ROOT

LOCALES = ROOT / "locales"
TRANSLATED = ("zh",)
NODES, PAGE, MARKS = "nodeDefs.json", "main.json", "written_from.json"
SIGNS = re.compile(r"[{}@|]")
"""What the page's translator reads as syntax: a text with one of these would be shown broken, or not at all."""
KEPT = re.compile(r"(?:models|output)/[\w/<>]+|<\w+>|__\w+__|#rrggbb|\d+(?:\.\d+)?|\b[A-Za-z][\w-]*_[\w]+\b")
"""What a translation says in the same letters: paths, placeholders, numbers, names of settings and tags."""
UNCHANGED = re.compile(r"(?:VAE|CLIP|CFG|LoRA|DoRA|ControlNet|CCIP|alpha|beta[12]|Min-SNR gamma)(?: \d)?")
"""Names that Chinese trainers write as they are."""
CHINESE = re.compile(r"[\u4e00-\u9fff]")

STRING = re.compile(r"\"((?:[^\"\\]|\\.)*)\"")
"""A string of a script, in double quotes as its formatter writes them."""
PANELS = "kiln"
"""Where `main.json` has the words of our own panels, by the English sentence."""
HELP = ROOT / "web" / "docs"
"""Help pages: English ones by the node's id, another language's in a folder of that name."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is wrong with the words of one language: keys such as `KilnRecipe.inputs.dim.tooltip`."""

    missing: tuple[str, ...]
    left_over: tuple[str, ...]
    stale: tuple[str, ...]
    """Texts whose English has changed since they were written."""
    broken: tuple[str, ...]
    """Texts that hold the translator's own signs."""

    def lines(self) -> list[str]:
        """One line for each finding."""
        named = (
            ("missing", self.missing),
            ("of nothing that the nodes have", self.left_over),
            ("written from an older English text", self.stale),
            ("with one of { } @ |, which the page reads as syntax", self.broken),
        )
        return [f"{key}: {words}" for words, keys in named for key in keys]


def main(arguments: list[str]) -> int:
    """Write the English words, say what the other languages lack; 0 when they lack nothing."""
    parser = argparse.ArgumentParser(prog="dev.py locales", description=__doc__)
    parser.add_argument("--written", action="store_true", help="the other languages say what the English says now")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kiln-locales-") as folder, Host(Path(folder)) as host:
        english = words_of(host.object_info())
    write(LOCALES / "en" / NODES, nested(served(english)))
    worst = 0
    for language in TRANSLATED:
        folder_of = LOCALES / language
        texts = flat(read(folder_of / NODES))
        if options.written:
            written = {**english, **help_pages()}
            write(
                folder_of / MARKS,
                {key: mark(written[key]) for key in written if key in {**texts, **help_pages(language)}},
            )
        marks = read(folder_of / MARKS)
        found = compare(english, texts, marks).lines() + help_findings(language, marks)
        found += panel_findings(read(folder_of / PAGE).get(PANELS, {}), ROOT / "web")
        print(f"{language}: {len(texts)} texts, {len(found)} to mend", *found, sep="\n  ")
        worst = max(worst, int(bool(found)))
    return worst


def words_of(object_info: Mapping[str, Any]) -> dict[str, str]:
    """Every text of the pack's nodes by its flat key, from the server's `/object_info`."""
    found: dict[str, str] = {}
    for name, about in sorted(object_info.items()):
        if not name.startswith("Kiln"):
            continue
        found[f"{name}.display_name"], found[f"{name}.description"] = about["display_name"], about["description"]
        for group in ("required", "optional"):
            for field, (_, *rest) in about["input"].get(group, {}).items():
                found[f"{name}.inputs.{field}.name"] = field
                found[f"{name}.inputs.{field}.tooltip"] = (rest[0] if rest else {}).get("tooltip", "")
        for number, (output, tip) in enumerate(zip(about["output_name"], about["output_tooltips"], strict=True)):
            found[f"{name}.outputs.{number}.name"] = output
            found[f"{name}.outputs.{number}.tooltip"] = tip or ""
    return found


def served(english: Mapping[str, str]) -> dict[str, str]:
    """What the page may translate: where a text holds its signs, the page shows the schema's own."""
    return {key: text for key, text in english.items() if not SIGNS.search(text)}


def compare(english: Mapping[str, str], texts: Mapping[str, str], marks: Mapping[str, str]) -> Findings:
    """What another language lacks beside the English words."""
    return Findings(
        missing=tuple(key for key in english if not texts.get(key, "").strip()),
        left_over=tuple(key for key in texts if key not in english),
        stale=tuple(key for key in texts if key in english and marks.get(key) != mark(english[key])),
        broken=tuple(key for key, text in texts.items() if SIGNS.search(text)),
    )


def help_pages(language: str = "") -> dict[str, str]:
    """The text of every help page by `<node>.page`; without a language the English ones."""
    if not language:
        return {f"{file.stem}.page": file.read_text(encoding="utf-8") for file in sorted(HELP.glob("*.md"))}
    files = sorted(HELP.glob(f"*/{language}.md"))
    return {f"{file.parent.name}.page": file.read_text(encoding="utf-8") for file in files}


def help_findings(language: str, marks: Mapping[str, str]) -> list[str]:
    """What one language's help pages lack, or say of an older English page."""
    found = compare(help_pages(), help_pages(language), marks)
    # They are pages, not texts of the translator's, and may hold its signs.
    return replace(found, broken=()).lines()


def untranslated(texts: Mapping[str, str]) -> list[str]:
    """Keys of texts without a Chinese sign, but for names that the field writes as they are."""
    plain = (key for key, text in texts.items() if not CHINESE.search(text))
    return [key for key in plain if not (key.endswith(".name") and UNCHANGED.fullmatch(texts[key]))]


def differing(english: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, set[str]]:
    """By key, the numbers, paths and placeholders of the English text that another language's text lacks.

    A setting may be called by its translated name. A text that holds the translator's signs is told in words.
    """
    called: dict[str, set[str]] = {}
    for key in (key for key in english if key.endswith(".name")):
        called.setdefault(english[key], set()).add(texts.get(key, english[key]))
    lacking = {
        key: {
            kept
            for kept in KEPT.findall(english[key])
            if kept not in text and not any(name in text for name in called.get(kept, ()))
        }
        for key, text in texts.items()
        if key in english and not key.endswith("name") and not SIGNS.search(english[key])
    }
    return {key: each for key, each in lacking.items() if each}


def said(folder: Path) -> set[str]:
    """Every sentence that the scripts of a folder say: the strings in the first argument of `say`."""
    found: set[str] = set()
    for file in sorted(folder.glob("*.js")):
        script = file.read_text(encoding="utf-8")
        for call in re.finditer(r"\bsay\(", script):
            strings, rest = _first_argument(script[call.end() :])
            found |= {"".join(strings)} if "?" not in rest else set(strings)
    return found - {""}


def panel_findings(words: Mapping[str, str], web: Path) -> list[str]:
    """What is wrong with the words of our panels in one language: missing, of no script, or other places to fill in."""
    missing, left_over = said(web) - set(words), set(words) - strings_of(web)
    places = re.compile(r"\{\w+\}")
    other = [key for key, text in words.items() if sorted(places.findall(key)) != sorted(places.findall(text))]
    named = (("missing", missing), ("said by no script", left_over), ("fills in other places", other))
    return [f"{key!r}: {fault}" for fault, keys in named for key in sorted(keys)]


def strings_of(folder: Path) -> set[str]:
    """Every string in the scripts of a folder, also those that are joined with +."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.js"))]
    joined = (re.sub(r'"\s*\+\s*"', "", text) for text in texts)
    return {_plain(found) for text in joined for found in STRING.findall(text)}


def mark(text: str) -> str:
    """A short mark of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def flat(defs: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested words by flat keys."""
    return dict(_flat(defs, prefix))


def nested(words: Mapping[str, str]) -> Json:
    """Flat keys as the page's nested objects."""
    found: Json = {}
    for key, text in words.items():
        *path, last = key.split(".")
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[last] = text
    return found


def read(file: Path) -> Json:
    """A JSON file, or nothing where there is none yet."""
    content: Json = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content


def write(file: Path, content: Mapping[str, Any]) -> None:
    """A JSON file as people edit it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _first_argument(script: str) -> tuple[list[str], str]:
    """The strings of a call's first argument, and what stands between them."""
    strings: list[str] = []
    rest, at, depth = "", 0, 0
    while at < len(script):
        text = STRING.match(script, at)
        if text:
            strings.append(_plain(text.group(1)))
            at = text.end()
            continue
        sign = script[at]
        if (sign == "," and not depth) or (sign == ")" and not depth):
            break
        depth += (sign in "([{") - (sign in ")]}")
        rest, at = rest + sign, at + 1
    return strings, rest


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _flat(defs: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in defs.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
