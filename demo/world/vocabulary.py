"""What a figure of the world can have, the colour of each, and what only strangers have.

The base model learns `HAIR_COLORS`, `GARMENTS`, ... . What stands in a name that starts with
`STRANGE_` belongs to characters from outside: the tagger knows it, the base model has never seen it.
"""

from __future__ import annotations

RGB = tuple[int, int, int]

HAIR_COLORS: dict[str, RGB] = {
    "black": (45, 42, 54),
    "brown": (128, 78, 46),
    "blonde": (245, 210, 96),
    "red": (200, 48, 44),
    "blue": (66, 104, 214),
    "pink": (246, 140, 186),
    "white": (236, 238, 244),
}
STRANGE_HAIR_COLORS: dict[str, RGB] = {
    "green": (64, 172, 84),
    "orange": (244, 134, 32),
    "purple": (142, 70, 184),
    "aqua": (74, 208, 212),
}
HAIR_STYLES = ("short hair", "long hair", "twintails", "ponytail", "double bun")

EYE_COLORS: dict[str, RGB] = {
    "blue": (36, 92, 232),
    "green": (24, 158, 66),
    "red": (222, 26, 40),
    "yellow": (248, 196, 0),
    "purple": (150, 44, 200),
}

CLOTH_COLORS: dict[str, RGB] = {
    "red": (214, 52, 52),
    "blue": (58, 96, 206),
    "green": (56, 148, 76),
    "yellow": (246, 210, 66),
    "pink": (246, 150, 190),
    "black": (52, 50, 60),
    "white": (246, 246, 246),
}
# An outfit is one garment, or one above and one below.
OUTFITS: tuple[tuple[str, ...], ...] = (
    ("dress",),
    ("kimono",),
    ("shirt", "skirt"),
    ("shirt", "pants"),
    ("hoodie", "shorts"),
)
STRANGE_PATTERNS = ("checkered", "striped", "polka dot")
STRANGE_EXTRAS = ("sash", "half cape", "mismatched sleeves")

ACCESSORIES = ("glasses", "beret", "hair bow", "scarf")
EXPRESSIONS = ("smile", "open mouth", "frown", "closed eyes")
POSES = ("standing", "arms up", "waving", "hands on hips", "sitting")
FRAMINGS = ("full body", "cowboy shot", "upper body", "portrait")
VIEWS = ("front", "from side", "from behind")
BACKGROUNDS = (
    "white background",
    "blue background",
    "pink background",
    "forest",
    "beach",
    "night sky",
    "indoors",
)
STYLES = ("flat color", "sketch", "gradient", "pastel colors")

SKIN: RGB = (255, 224, 200)
INK: RGB = (48, 36, 44)
