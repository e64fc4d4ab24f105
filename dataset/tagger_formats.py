"""How each kind of tagger wants its pictures, and how it names its scores.

| kind | pictures | scores | tags |
| --- | --- | --- | --- |
| WD v2, v3 | NHWC, BGR 0 to 255, padded to a white square | probabilities | `selected_tags.csv` |
| pixai | NCHW, RGB, stretched to a square, mean and deviation 0.5 | probabilities | `selected_tags.csv` |
| camie v2 | NCHW, RGB, padded with ImageNet's mean, its mean and deviation | logits | `*metadata.json` |
| cl_tagger v1 | NCHW, BGR, padded to a white square, mean and deviation 0.5 | logits | `tag_mapping.json` |
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import BadModel
from .tags import clean_tag

KINDS = ("rating", "general", "character", "copyright", "artist", "meta", "quality", "model", "year")
"""Kinds of tags that taggers tell apart; WD taggers know the first three."""

_CSV_KINDS = {9: "rating", 0: "general", 4: "character", 3: "copyright", 1: "artist", 5: "meta"}
_WHITE = (255, 255, 255)

Pixels = np.ndarray[Any, np.dtype[np.float32]]
Row = tuple[str, str] | None
"""(tag, kind), or None for a score without a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """The pictures of one kind of tagger. `side` in pixels is used where the model does not say its own."""

    name: str
    side: int
    channels_first: bool = True
    bgr: bool = False
    ground: tuple[int, int, int] | None = _WHITE
    """The colour of the square that a picture is padded to; None: it is stretched to the square."""
    resample: Image.Resampling = Image.Resampling.BICUBIC
    divisor: float = 255.0
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    deviation: tuple[float, float, float] = (0.5, 0.5, 0.5)
    logits: bool = False

    def prepare(self, image: Image.Image, side: int) -> Pixels:
        """An RGB picture of any size as the model takes it: (side, side, 3), or (3, side, side)."""
        square = image
        if self.ground is not None:
            longest = max(image.size)
            square = Image.new("RGB", (longest, longest), self.ground)
            square.paste(image, ((longest - image.width) // 2, (longest - image.height) // 2))
        if square.size != (side, side):
            square = square.resize((side, side), self.resample)
        pixels_HWC: Pixels = np.asarray(square, dtype=np.float32) / np.float32(self.divisor)
        if self.bgr:
            pixels_HWC = pixels_HWC[:, :, ::-1]
        mean, deviation = (np.array(values, dtype=np.float32) for values in (self.mean, self.deviation))
        pixels_HWC = (pixels_HWC - mean) / deviation
        return np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1) if self.channels_first else pixels_HWC)

    def side_of(self, shape: Sequence[Any]) -> int:
        """The side in pixels of a model's input of that shape."""
        side = shape[2]
        return side if isinstance(side, int) else self.side


WD = Format(
    name="WD", side=448, channels_first=False, bgr=True, divisor=1.0, mean=(0.0, 0.0, 0.0), deviation=(1.0, 1.0, 1.0)
)
PIXAI = Format(name="pixai", side=448, ground=None, resample=Image.Resampling.BILINEAR)
CAMIE = Format(
    name="camie", side=512, ground=(124, 116, 104), resample=Image.Resampling.LANCZOS, logits=True,
    mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225),
)  # fmt: skip
CL = Format(name="cl_tagger", side=448, bgr=True, logits=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What each score of a model is. `json_format` is the kind of tagger that such a list belongs to; a csv has none:
    WD and pixai share its form and are told apart by the model's input."""

    rows: tuple[Row, ...]
    json_format: Format | None = None

    def format_for(self, shape: Sequence[Any]) -> Format | None:
        """The kind of tagger that has these tags and an input of this shape, or None."""
        if len(shape) != 4:
            return None
        last, first = shape[3] == 3, shape[1] == 3
        if self.json_format is not None:
            return self.json_format if first and _square(shape[2], shape[3]) else None
        if last and _square(shape[1], shape[2]):
            return WD
        return PIXAI if first and _square(shape[2], shape[3]) else None


def _square(height: Any, width: Any) -> bool:
    return height == width or not (isinstance(height, int) and isinstance(width, int))


def read_labels(path: Path) -> Labels:
    """The tags of a tagger from its csv or JSON. Raises BadModel for a file of another form."""
    try:
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file)
                return Labels(rows=tuple((_tag(row["name"]), _csv_kind(row["category"])) for row in rows))
        return _json_labels(json.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise BadModel(
            f"{path} is not a tagger's list of tags ({error!r}). It must be a csv with the columns tag_id, name, "
            "category, count (WD, pixai), camie's metadata or cl_tagger's tag_mapping.json; download it again"
        ) from error


def _tag(name: str) -> str:
    # A comma would part the tag in two; no booru allows one, but a list may have been edited.
    return clean_tag(name.replace(",", " "))


def _csv_kind(category: str) -> str:
    return _CSV_KINDS.get(int(category), "meta")


def _json_labels(data: Any) -> Labels:
    if "dataset_info" in data:
        mapping = data["dataset_info"]["tag_mapping"]
        return Labels(rows=_indexed(mapping["idx_to_tag"], mapping["tag_to_category"]), json_format=CAMIE)
    if "idx_to_tag" in data:
        return Labels(rows=_indexed(data["idx_to_tag"], data["tag_to_category"]), json_format=CL)
    names = {place: about["tag"] for place, about in data.items()}
    kinds = {about["tag"]: about["category"] for about in data.values()}
    return Labels(rows=_indexed(names, kinds), json_format=CL)


def _indexed(names: Mapping[str, str], kinds: Mapping[str, str]) -> tuple[Row, ...]:
    places = {int(place): name for place, name in names.items()}
    rows: list[Row] = [None] * (max(places, default=-1) + 1)
    for place, name in places.items():
        kind = str(kinds.get(name, "general")).casefold()
        # camie writes its ratings as rating_general: the kind is said twice.
        short = name.removeprefix("rating_") if kind == "rating" else name
        rows[place] = (_tag(short), kind if kind in KINDS else "meta")
    return tuple(rows)
