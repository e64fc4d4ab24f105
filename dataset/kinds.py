"""What kind of thing a tag names, so that a prompt's tag can stand against a trait of the same kind."""

from __future__ import annotations

from .colors import color_of
from .garments import FEET, HIPS, LEGS, OUTFIT, TORSO
from .tag_tables import ACCESSORIES, BODY, CHEST, EARS, EYES, HAIR, TagGroup, any_of
from .tags import tag_key

BACKGROUND = TagGroup(
    "where she is: backgrounds and scenery",
    take=(
        any_of("background", "backdrop", "wallpaper"),
        "indoors|outdoors|scenery|(?:[a-z]+ )?sky|(?:[a-z]+ )?clouds?|sunset|sunrise|starry sky|night",
        any_of("forest", "beach", "ocean", "sea", "lake", "river", "mountains?", "field", "garden", "park", "desert"),
        any_of("cityscape", "city", "street", "alley", "town", "village", "castle", "ruins", "shrine", "church"),
        any_of("room", "bedroom", "bathroom", "classroom", "kitchen", "library", "cafe", "hallway", "interior"),
        any_of("rooftop", "balcony", "stage", "underwater", "snow", "space", "cherry blossoms", "studio"),
    ),
    leave=("(?:looking|holding|reading) .*",),
)
STYLE = TagGroup(
    "how it is drawn: media, colouring, schools",
    take=(
        r".+ \((?:style|medium)\)",
        any_of("sketch", "lineart", "line art", "monochrome", "greyscale", "sepia", "watercolor", "oil painting"),
        any_of(
            "flat color", "flat colors", "pastel colors", "gradient", "cel shading", "limited palette", "muted color"
        ),
        any_of("screencap", "coloring", "artstyle", "art style", "official art", "game cg", "key visual", "pixel art"),
        "realistic|photorealistic|photo|3d|chibi|comic|manga|anime|traditional media|spot color|halftone|screentones"
        "|impressionism|ukiyo-e|unfinished|partially colored|no lineart|thick outlines|bold outline|concept art",
    ),
)
_EYES = ("eyes", "eyes colour", "pupils colour", "sclera colour")
_WORN = ("clothes", "legwear", "footwear")
HIDDEN: dict[str, tuple[str, ...]] = {
    "from behind": _EYES,
    "facing away": _EYES,
    "closed eyes": _EYES,
    "head out of frame": (*_EYES, "hair", "hair colour", "bangs colour", "ears", "ears colour"),
    "portrait": _WORN,
    "close-up": _WORN,
    "face": _WORN,
    "upper body": ("lower clothes", "legwear", "footwear"),
    "cowboy shot": ("footwear",),
}
"""Kinds that a prompted view cannot show."""


def kind_of(tag: str) -> str:
    """A name for what the tag is about; two tags of one kind exclude each other in a prompt. Others are of their own.

    A trait is not expected where the prompt asks for something else of its kind: a red dress takes the kimono's place.
    """
    key = tag_key(tag)
    if colored := color_of(key):
        return f"{colored[0]} colour"
    for name, group in (("background", BACKGROUND), ("style", STYLE)):
        if group.has(key):
            return name
    for name, group in (("hair", HAIR), ("eyes", EYES), ("ears", EARS), ("chest", CHEST)):
        if group.has(key):
            return name
    if ACCESSORIES.has(key) or BODY.has(key):
        return f"its {key.rpartition(' ')[2]}"
    if OUTFIT.has(key):
        return _garment(key)
    return key


def hides(prompted: frozenset[str], tag: str) -> bool:
    """Whether the view that a prompt asks for cannot show what the tag names."""
    lower = HIPS.has(tag) and not TORSO.has(tag)
    kinds = (kind_of(tag), *(("lower clothes",) if lower else ()))
    return any(one in hidden for view, hidden in HIDDEN.items() if view in prompted for one in kinds)


def _garment(key: str) -> str:
    if FEET.has(key):
        return "footwear"
    if LEGS.has(key):
        return "legwear"
    return "clothes" if TORSO.has(key) or HIPS.has(key) else f"its {key.rpartition(' ')[2]}"
