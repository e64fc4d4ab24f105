"""Every architecture that is tried, those that cannot be trained among them; and the page about them."""

from __future__ import annotations

from . import images, others, unets, videos
from .family import Family

# The host whose classes these tables cover.
WRITTEN_FOR = "0.3.75"
_ALL = {family.name: family for room in (unets, images, videos, others) for family in room.FAMILIES}
FAMILIES: dict[str, Family] = {name: family for name, family in _ALL.items() if not family.fails}
EXCLUDED: dict[str, Family] = {name: family for name, family in _ALL.items() if family.fails}

_HEAD = f"""# Families

ComfyUI runs every architecture through one call, and the trainer asks for no more than that. Each row below is a test:
a tiny network of that architecture with random weights, of the classes of ComfyUI {WRITTEN_FOR}, is trained for a few
steps on one latent and one conditioning of the family's shape. Core's loader takes every name in the saved file, the
loss on fixed noise is lower with that file loaded, and the model is as it was before. So the family can be trained; how
well a real model of it learns, no test here can say.

"Predicts" is what the network was trained to put out, as the pack reads it from ComfyUI's own noise schedule; `other`
is a family's own form. Text encoders and autoencoders are left out here; SD 1.5, SDXL and SD3 have tests with theirs.

"""
_FOOT = """
`tests/host/test_architectures.py` compares this page with its tables; `KILN_WRITE_DOCS=1` in its environment writes it.
"""


def page() -> str:
    """`docs/families.md`."""
    rows = [("family", "ComfyUI's class", "latent channels", "predicts", "a layer in the file", "")]
    rows += [("---",) * 6]
    for family in FAMILIES.values():
        channels = str(family.latent[0])
        rows.append((family.title, f"`{family.host}`", channels, family.prediction, f"`{family.key}`", family.note))
    reasons = [("family", "ComfyUI's class", "why"), ("---",) * 3]
    reasons += [(family.title, f"`{family.host}`", family.note) for family in EXCLUDED.values()]
    return f"{_HEAD}{_table(rows)}\n## Not trainable\n\n{_table(reasons)}{_FOOT}"


def _table(rows: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
