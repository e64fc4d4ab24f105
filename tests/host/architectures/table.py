"""Every architecture that is tried, those that cannot be trained among them; and the page about them."""

from __future__ import annotations

from typing import Any

from . import images, newer, newer_videos, others, unets, videos
from .family import Family
from .texts import READ, TEXTS

# The hosts whose classes these tables cover, and a class that tells the newer from the older.
OLDER, NEWER, ONLY_IN_NEWER = "0.3.75", newer.SINCE, "Anima"
_ALL = {
    family.name: family for room in (unets, images, videos, others, newer, newer_videos) for family in room.FAMILIES
}
FAMILIES: dict[str, Family] = {name: family for name, family in _ALL.items() if not family.fails}
EXCLUDED: dict[str, Family] = {name: family for name, family in _ALL.items() if family.fails}
UNTRIED = {untried.host: untried for untried in newer_videos.UNTRIED}

WRITE = "KILN_WRITE_DOCS=1 python -m pytest tests/host/test_architectures.py -k page"
_HEAD = f"""# Families

ComfyUI runs every architecture through one call, and the trainer asks for no more than that. Each row below is a test:
a tiny network of that architecture with random weights is trained for a few steps on one latent and one conditioning
of the family's shape. Core's loader takes every name in the saved file, the loss on fixed noise is lower with that file
loaded, and the model is as it was before. Two pictures in one batch get what each gets alone, blocks computed again in
backward give the same gradients, and bf16 nearly the same loss. So the family can be trained; how well a real model of
it learns, no test here can say.

"From" is the first of the two ComfyUIs that these tables were written for, {OLDER} and {NEWER}, which has the class in
that form. "Predicts" is what the network was trained to put out, as the pack reads it from ComfyUI's own noise
schedule; `other` is a family's own form.

"""
_TEXTS = """
## Text encoders

These train, at a `text_lr` above 0: a tiny one learns, core's loader takes every name, and the caption read with the
saved tensors is the one in training.

"""
_READ = """
Core has no LoRA names for the rest, such as {}.
They are read only, and each caption's answer is kept: see `trainer/conditioning.py`. The same goes for all of them at a
`text_lr` of 0.
"""
_FOOT = f"""
`tests/host/test_architectures.py` compares this page with its tables. This command writes it:

    {WRITE}
"""


def has(supported: Any, since: str) -> bool:
    """Whether a host, by its `comfy.supported_models`, is new enough for a row of the tables."""
    return not since or hasattr(supported, ONLY_IN_NEWER)


def page() -> str:
    """`docs/families.md`."""
    rows = [("family", "ComfyUI's class", "from", "latent channels", "predicts", "a layer in the file", "")]
    rows += [("---",) * 7]
    for one in FAMILIES.values():
        channels, since = str(one.latent[0]), one.since or OLDER
        rows.append((one.title, f"`{one.host}`", since, channels, one.prediction, f"`{one.key}`", one.note))
    reasons = [("family", "ComfyUI's class", "from", "why"), ("---",) * 4]
    reasons += [(o.title, f"`{o.host}`", o.since or OLDER, o.note) for o in (*EXCLUDED.values(), *UNTRIED.values())]
    texts = [("encoder", "read by", "from", "layers in the file"), ("---",) * 4]
    for text in TEXTS.values():
        keys = ", ".join(f"`{key}`" for key in text.keys)
        texts.append((text.encoder, text.families, text.since or OLDER, keys))
    read = ", ".join(f"{one.encoder} ({one.families})" for one in READ.values())
    without = f"\n## Not trainable\n\n{_table(reasons)}"
    return f"{_HEAD}{_table(rows)}{_TEXTS}{_table(texts)}{_READ.format(read)}{without}{_FOOT}"


def _table(rows: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
