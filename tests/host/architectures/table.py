"""Every architecture that is tried, and every one that is not, with the reason; and the page about them."""

from __future__ import annotations

from . import images, others, unets, videos
from .family import Family

# The host whose classes these tables cover.
WRITTEN_FOR = "0.3.75"
FAMILIES: dict[str, Family] = {
    family.name: family for room in (unets, images, videos, others) for family in room.FAMILIES
}
EXCLUDED: dict[str, str] = others.EXCLUDED

_HEAD = f"""# Families

ComfyUI runs every architecture through one call, and the trainer asks for no more than that. Each row below is a test:
a tiny network of that architecture with random weights, of the classes of ComfyUI {WRITTEN_FOR}, is trained for a few
steps on one latent and one conditioning of the family's shape. Core's loader takes every name in the saved file, the
loss on fixed noise is lower with that file loaded, and the model is as it was before. So the family can be trained; how
well a real model of it learns, no test here can say.

"Predicts" is what the network was trained to put out, as the pack reads it from ComfyUI's own noise schedule; `other`
is a family's own form. Text encoders and autoencoders are left out here; SD 1.5, SDXL and SD3 have tests with theirs.

"""
_MISSING = """
## Not trainable

| ComfyUI's class | why |
| --- | --- |
"""
_FOOT = """
`tests/host/test_architectures.py` compares this page with its tables; `KILN_WRITE_DOCS=1` in its environment writes it.
"""


def page() -> str:
    """`docs/families.md`."""
    rows = [("family", "ComfyUI's class", "latent", "predicts", "a layer in the file", "")]
    rows += [("---",) * 6]
    for family in FAMILIES.values():
        shape = "x".join(str(size) for size in family.latent)
        rows.append((family.title, f"`{family.host}`", shape, family.prediction, f"`{family.key}`", family.note))
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    missing = "\n".join(f"| `{host}` | {why} |" for host, why in EXCLUDED.items())
    return f"{_HEAD}{table}\n{_MISSING}{missing}\n{_FOOT}"
