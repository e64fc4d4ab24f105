"""Character sheets and groups: several figures on one plain background, with the truth of what is where."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from .draw import HEAD, HEAD_RADII, PixelBox, draw
from .figure import Figure, random_figure

PAPERS = ((255, 255, 255), (250, 248, 244), (232, 232, 236), (196, 214, 240), (250, 214, 226), (142, 150, 158))
ORDERS = (("front", "from side", "from behind"), ("front", "from behind"), ("front", "from behind", "from side"))
_INK = (70, 60, 70)
# Where views begin and end on the body, in figure units: crown, fringe, chin, shoulders, chest, waist, hips, knees.
_LINES: dict[str, tuple[float, float]] = {
    "full body": (0.0, 1.0),
    "cowboy shot": (0.0, 0.8),
    "upper body": (0.0, 0.66),
    "portrait": (0.0, 0.5),
    "lower body": (0.56, 1.0),
    "chest": (0.4, 0.6),
    "waist": (0.5, 0.71),
}


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (area - width * height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """One figure without a background: RGBA, and where figure point (0, 0) lies and how large a unit is, in pixels."""

    image: Image.Image
    figure: Figure
    unit: float
    origin: tuple[float, float]

    def mask(self) -> np.ndarray:  # type: ignore[type-arg]
        """Her pixels, bool [height, width]."""
        return np.asarray(self.image.getchannel("A")) >= 128

    def truth(self) -> dict[str, PixelBox]:
        """The box of each view as the drawing code knows it: lines of the body, and what is drawn between them."""
        mask, (x, y), unit = self.mask(), self.origin, self.unit
        rows, ends = np.flatnonzero(mask.any(axis=1)), mask.shape
        found = {}
        for name, (top, bottom) in _LINES.items():
            high = int(rows[0]) if top == 0.0 else round(y + top * unit)
            low = int(rows[-1]) + 1 if bottom == 1.0 else round(y + bottom * unit)
            if name == "portrait":
                # Lifted arms are no part of head and shoulders.
                high = max(high, round(y))
            left, right = _across(mask[high:low])
            if name == "portrait":
                left, right = max(left, round(x - 0.35 * unit)), min(right, round(x + 0.35 * unit))
            found[name] = (left, high, right, low)
        skull = x - HEAD_RADII[0] * unit, x + HEAD_RADII[0] * unit
        chin = y + (HEAD[1] + HEAD_RADII[1]) * unit
        face = (skull[0], y + 0.08 * unit, skull[1], chin)
        bangs = (skull[0], y + 0.03 * unit, skull[1], y + 0.31 * unit)
        for name, box in (("face", face), ("bangs", bangs)):
            limits = (ends[1], ends[0], ends[1], ends[0])
            left, high, right, low = (min(limit, max(0, round(v))) for v, limit in zip(box, limits, strict=True))
            found[name] = (left, high, right, low)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A picture of several figures (RGB), with the box of what is seen of each and her view, in reading order.

    `parts` are the boxes of the views (full body, portrait, ...) of each, in pixels of the sheet.
    """

    image: Image.Image
    boxes: tuple[PixelBox, ...]
    views: tuple[str, ...]
    parts: tuple[dict[str, PixelBox], ...]


def cut_out(figure: Figure, *, side: int) -> Cutout:
    """The figure, seen in full, without what is behind her.

    She is drawn on two backgrounds: what differs by as much as they do is background.
    """
    whole = replace(figure, framing="full body")
    white = draw(replace(whole, background="white background"), side=side)
    blue = draw(replace(whole, background="blue background"), side=side)
    one, other = (np.asarray(drawing.image, dtype=np.float64) for drawing in (white, blue))
    apart = one[0, 0, 0] - other[0, 0, 0]
    ramp = (one[:, :1, 0] - other[:, :1, 0]) if figure.style == "gradient" else apart
    alpha = np.clip(1 - (one[..., 0] - other[..., 0]) / ramp, 0, 1)
    paper = one[:, :1] if figure.style == "gradient" else one[0, 0]
    color = np.clip((one - (1 - alpha[..., None]) * paper) / np.maximum(alpha[..., None], 1e-3), 0, 255)
    rgba = np.dstack([color, alpha * 255]).round().astype(np.uint8)
    return Cutout(image=Image.fromarray(rgba, "RGBA"), figure=whole, unit=white.unit, origin=white.origin)


def turnaround(rng: random.Random, *, side: int = 112) -> Sheet:
    """One character from the front, the side and behind, with the titles and swatches that such sheets have."""
    figure = replace(random_figure(rng, strange=0.3), pose=rng.choice(("standing", "hands on hips", "standing")))
    views = rng.choice(ORDERS)
    cutouts = [cut_out(replace(figure, view=view, seed=rng.getrandbits(32)), side=side) for view in views]
    return _sheet(cutouts, rng, side=side, decoys=rng.random() < 0.6)


def group(rng: random.Random, *, side: int = 112) -> Sheet:
    """Two to five people who stand side by side, of different sizes, some of them touching."""
    style = rng.choice(("flat color", "sketch", "pastel colors"))
    figures = [replace(random_figure(rng, strange=0.3), style=style) for _ in range(rng.choice((2, 2, 3, 3, 4, 5)))]
    cutouts = [cut_out(figure, side=round(side * rng.uniform(0.75, 1.0))) for figure in figures]
    return _sheet(cutouts, rng, side=side, decoys=False)


def _sheet(cutouts: list[Cutout], rng: random.Random, *, side: int, decoys: bool) -> Sheet:
    """The cutouts side by side from left to right, the later ones in front."""
    widths = [_across(cutout.mask()) for cutout in cutouts]
    # On most sheets all stand apart, on some they touch: a hand on an elbow, a skirt behind a skirt.
    touching = rng.random() < 0.3
    gaps = [side * (rng.uniform(-0.04, 0.02) if touching else rng.uniform(0.02, 0.3)) for _ in cutouts]
    margin, head = round(side * 0.12), round(side * 0.28) if decoys else round(side * 0.06)
    places, x = [], float(margin)
    for (left, right), gap in zip(widths, gaps, strict=True):
        places.append(round(x - left))
        x += right - left + gap
    size = round(x - gaps[-1] + margin), head + side + round(side * 0.1)
    # Drawings without outlines are not seen on pale paper: white hair and skin would be lost on it.
    pale = any(cutout.figure.style == "pastel colors" for cutout in cutouts)
    image = Image.new("RGB", size, rng.choice(PAPERS[3:] if pale else PAPERS))
    seen = np.zeros((len(cutouts), size[1], size[0]), dtype=bool)
    parts = []
    for number, (cutout, left) in enumerate(zip(cutouts, places, strict=True)):
        top = head + side - cutout.image.height + rng.randint(-2, 2)
        image.paste(cutout.image, (left, top), cutout.image)
        mask = Image.new("L", size)
        mask.paste(cutout.image.getchannel("A"), (left, top))
        drawn = np.asarray(mask) >= 128
        seen[:number] &= ~drawn
        seen[number] = drawn
        parts.append({name: _moved(box, left, top) for name, box in cutout.truth().items()})
    if decoys:
        _decoys(image, rng, side)
    boxes = tuple(_bounds(mask) for mask in seen)
    views = tuple(cutout.figure.view for cutout in cutouts)
    return Sheet(image=image, boxes=boxes, views=views, parts=tuple(parts))


def _decoys(image: Image.Image, rng: random.Random, side: int) -> None:
    """A title, colour swatches and a small head: what stands on sheets and is no figure."""
    pen = ImageDraw.Draw(image)
    pen.text((4, 3), rng.choice(("CHARACTER SHEET", "turnaround v2", "REF - front side back")), fill=_INK)
    step = round(side * 0.11)
    for number in range(rng.randint(3, 6)):
        color = tuple(rng.randrange(256) for _ in range(3))
        x = image.width - 4 - (number + 1) * (step + 2)
        pen.rectangle((x, 3, x + step, 3 + step), fill=color, outline=_INK)
    if rng.random() < 0.5:
        x, y, r = image.width // 2, 2 + step, step * 0.7
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(255, 224, 200), outline=_INK)


def _moved(box: PixelBox, x: int, y: int) -> PixelBox:
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def _across(mask: np.ndarray) -> tuple[int, int]:  # type: ignore[type-arg]
    columns = np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(columns[-1]) + 1


def _bounds(mask: np.ndarray) -> PixelBox:  # type: ignore[type-arg]
    rows = np.flatnonzero(mask.any(axis=1))
    left, right = _across(mask)
    return left, int(rows[0]), right, int(rows[-1]) + 1
