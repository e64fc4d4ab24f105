"""Captions in the files that downloaders, taggers and trainers leave beside pictures: text, JSON, JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .tags import looks_like_prose, parse_tags, unique_tags

KINDS = ("artist", "copyright", "character", "species", "general", "meta")
"""Kinds of booru tags, by the names that Danbooru and e621 give them."""

_KIND_OF = {
    "creator": "artist", "director": "artist", "series": "copyright", "parody": "copyright", "franchise": "copyright",
    "studio": "copyright", "person": "character", "tag": "general", "clothing": "general", "metadata": "meta",
    "medium": "meta", "rating": "meta", "deprecated": "meta", "faults": "meta", "lore": "meta", "invalid": "meta",
    "contributor": "artist", "circle": "artist", "title": "meta", "page": "meta", "source": "meta",
} | {kind: kind for kind in KINDS}  # fmt: skip
"""What other boorus and hydrus call the kinds."""
_TEXTS = ("caption", "text", "prompt")
_RECORDS = ("post", "danbooru", "gelbooru", "safebooru", "konachan", "yande", "e621", "zerochan", "sankaku", "pixiv")
"""Keys under which a whole answer of a booru may be kept."""
_SENTENCE = re.compile(r"[,\n\uff0c\u3001]|[.!?](\s|$)|\b(a|an|the|is|are|with|and|of|in|on)\b", re.IGNORECASE)
"""What stands between tags that are no list of a booru's, or in a sentence."""
_OF_A_BOORU = ("md5", "file_url", "rating", "id", "post_id", "source", "score", "creator_id", "uploader_id")


class NoCaption(ValueError):
    """A sidecar without a caption that is known here; the message says what stands in it instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A caption: its tags or, where it is written in sentences, its prose."""

    tags: tuple[str, ...] = ()
    prose: str = ""

    def __bool__(self) -> bool:
        return bool(self.tags or self.prose)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How captions are read: `how` is auto, tags or prose; `kinds` are the booru tags that are taken, in order."""

    how: str = "auto"
    kinds: tuple[str, ...] = ("character", "copyright", "species", "general")

    def text(self, text: str) -> Words:
        """A caption as a person or a trainer writes it."""
        text = text.strip().lstrip("\ufeff")
        if self.how != "prose" and _is_spaced(text):
            return Words(tags=unique_tags(text.split()))
        if self.how == "prose" or (self.how == "auto" and looks_like_prose(text)):
            return Words(prose=" ".join(text.split()))
        return Words(tags=parse_tags(text))

    def sidecar(self, text: str, *, lines: bool = False) -> Words:
        """The caption in the text of a `.json` or, with `lines`, a `.jsonl` file. Raises NoCaption, and ValueError."""
        first = next((line for line in text.split("\n") if line.strip()), "") if lines else text
        return self.value(parse_json(first))

    def value(self, value: Any) -> Words:
        """The caption in what a JSON file holds for one picture. Raises NoCaption."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            if len(value) == 1 and isinstance(value[0], dict) and not _names(value[0]):
                return self.value(value[0])
            return Words(tags=self._listed(value))
        if not isinstance(value, dict):
            raise NoCaption(f"it holds {value!r}, neither tags nor a caption")
        return self._object(value)

    def _object(self, value: Mapping[str, Any]) -> Words:
        """kohya's metadata, a line of a dataset's JSON, or a booru's answer."""
        caption = next((value[key] for key in _TEXTS if isinstance(value.get(key), str) and value[key].strip()), "")
        tags = self._tags(value)
        if not caption:
            if tags is None and not any(key in value for key in _TEXTS):
                inner = next((value[key] for key in _RECORDS if isinstance(value.get(key), dict)), None)
                if inner is not None:
                    return self._object(inner)
                raise NoCaption(
                    f"there are no tags and no caption in it, only: {', '.join(list(value)[:8]) or 'nothing'}"
                )
            return Words(tags=tags or ())
        words = self.text(caption)
        # kohya's scripts put the tags behind the caption.
        if tags and words.prose:
            return Words(prose=", ".join((words.prose, *tags)))
        return Words(tags=unique_tags((*words.tags, *tags))) if tags else words

    def _tags(self, value: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The tags of an object by kind where it tells kinds, else all of them; None without any key for tags."""
        found: dict[str, list[str]] = {}
        for key, content in value.items():
            kind = _kind_of_key(key)
            if kind and isinstance(content, str | list):
                found.setdefault(kind, []).extend(_split(content))
        by_kind = value.get("tags")
        if isinstance(by_kind, dict) and any(isinstance(content, list) for content in by_kind.values()):
            for name, content in by_kind.items():
                found.setdefault(_KIND_OF.get(name, "general"), []).extend(_split(content))
        if found:
            return unique_tags(tag for kind in self.kinds for tag in found.get(kind, ()))
        for key in ("tags", "tag_string", "tag", "keywords"):
            content = value.get(key)
            if isinstance(content, dict):  # a tagger's tags with their scores
                return unique_tags(sorted(content, key=lambda tag: -_score(content[tag])))
            if isinstance(content, list):
                return self._listed(content)
            if isinstance(content, str):
                spaced = key == "tag_string" or any(name in value for name in _OF_A_BOORU)
                return unique_tags(content.split()) if spaced and "," not in content else parse_tags(content)
        return None

    def _listed(self, values: Iterable[Any]) -> tuple[str, ...]:
        """Tags one by one: plain, as hydrus writes them (`character:rem`), or with their names and category."""
        found: dict[str, list[str]] = {}
        for value in values:
            if isinstance(value, dict):
                names, category = _names(value), str(value.get("category") or value.get("type") or "general").lower()
                found.setdefault(_KIND_OF.get(category, "general"), []).extend(names[:1])
            elif isinstance(value, str):
                space, colon, tag = value.partition(":")
                kind = _KIND_OF.get(space.strip().lower()) if colon and tag.strip() else None
                found.setdefault(kind or "general", []).extend(_split([tag if kind else value]))
        return unique_tags(tag for kind in self.kinds for tag in found.get(kind, ()))


def parse_json(text: str) -> Any:
    """JSON as a value. Raises ValueError with the place of what is wrong."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _is_spaced(text: str) -> bool:
    """Whether these are a booru's tags between spaces, as downloaders write them: `1girl long_hair`."""
    words = text.split()
    joined = any(part and rest for part, _, rest in (word.strip("_").partition("_") for word in words))
    return len(words) > 1 and joined and not _SENTENCE.search(text)


def _kind_of_key(key: str) -> str | None:
    """`tag_string_general` (Danbooru) and `tags_general` (what downloaders make of others)."""
    for start in ("tag_string_", "tags_"):
        if key.startswith(start):
            return _KIND_OF.get(key.removeprefix(start))
    return None


def _split(content: str | Sequence[Any]) -> list[str]:
    """Tags of a string between spaces, as boorus write them, or of a list; a comma inside one splits it."""
    if isinstance(content, str):
        return [tag for part in content.split() for tag in part.split(",")]
    return [part for tag in content if isinstance(tag, str) for part in parse_tags(tag)]


def _names(value: Mapping[str, Any]) -> list[str]:
    """The names of a tag that a booru describes by an object."""
    names = value.get("names") or value.get("name") or []
    return [part for name in ([names] if isinstance(names, str) else names) for part in parse_tags(str(name))]


def _score(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
