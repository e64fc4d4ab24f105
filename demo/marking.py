"""Marking pictures with the world's tagger."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from .graphs import Prompt, shots_graph
from .hosting import Host
from .live import Live
from .mount import mount
from .shots import Shot

TAGGERS = Path(__file__).resolve().parent / "models" / "taggers"
TAGGER = "kiln-world-tagger"
THRESHOLD = 0.35


def paint(host: Host, shots: Sequence[Shot], words: str, *, lora: str = "") -> list[Image.Image]:
    """The shots' pictures, painted by the host; `words` stand before the progress."""
    return painted(host, shots_graph(shots, lora=lora), len(shots), words)


def painted(host: Host, graph: Prompt, count: int, words: str) -> list[Image.Image]:
    """The pictures of the nodes `show0`, `show1`, ... of a graph."""
    entry = host.run(graph, on_progress=Live(words, total=count))
    pictures = []
    for i in range(count):
        [image] = entry["outputs"][f"show{i}"]["images"]
        pictures.append(Image.open(io.BytesIO(host.view(image))).convert("RGB"))
    return pictures


def found_tags(pictures: Sequence[Image.Image]) -> list[set[str]]:
    """The tags that the tagger finds in each picture."""
    mount()
    from lora_kiln.dataset.tagger import get_tagger, open_tagger

    tagger = open_tagger(get_tagger(TAGGER, [TAGGERS]))
    scores = tagger.tag(list(pictures))
    return [{tag for tag, score in each.general.items() if score > THRESHOLD} for each in scores]


def recall(shots: Sequence[Shot], pictures: Sequence[Image.Image]) -> float:
    """Share of the wanted tags that are found, over all shots."""
    found = found_tags(pictures)
    hits = sum(len(set(shot.wanted) & tags) for shot, tags in zip(shots, found, strict=True))
    return hits / sum(len(shot.wanted) for shot in shots)


def recall_by_tag(shots: Sequence[Shot], pictures: Sequence[Image.Image]) -> dict[str, float]:
    """The same for each wanted tag."""
    asked: dict[str, list[bool]] = {}
    for shot, tags in zip(shots, found_tags(pictures), strict=True):
        for tag in shot.wanted:
            asked.setdefault(tag, []).append(tag in tags)
    return {tag: sum(hits) / len(hits) for tag, hits in asked.items()}
