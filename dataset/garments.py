"""Garments by the part of the figure that they cover: what an outfit is, and what a crop can still show."""

from __future__ import annotations

from .tag_tables import ACCESSORIES, ACTS, EARS, EYES, HAIR, TagGroup, any_of

_FOOTWEAR = (
    "footwear", "shoes", "boots", "sneakers", "sandals", "loafers", "heels", "slippers", "pumps", "socks", "geta",
    "tabi", "uwabaki", "mary janes", "flats", "(?:leg|ankle) warmers", "skates", "anklet",
)  # fmt: skip
_LEGWEAR = (
    "thighhighs?", "kneehighs?", "pantyhose", "stockings", "legwear", "leggings", "tights", "fishnets", "thigh ?strap",
    "garter straps", "garter belt", "garters?", "thighlet", "knee pads?", "leg ribbon", "hakama",
)  # fmt: skip
_BOTTOMS = (
    "skirt", "miniskirt", "overskirt", "pants", "jeans", "shorts", "trousers", "bloomers", "buruma", "panties",
    "underwear", "belt", "belts", "obi", "sash", "waist (?:bow|apron|cape)", "pelvic curtain", "fundoshi",
)  # fmt: skip
_TOPS = (
    "shirt", "t-shirt", "blouse", "jacket", "coat", "hoodie", "sweater", "cardigan", "vest", "waistcoat", "blazer",
    "robe", "dress", "sundress", "kimono", "yukata", "serafuku", "uniform", "leotard", "bodysuit", "swimsuit", "bikini",
    "armor", "sleeves", "capelet", "cape", "cloak", "poncho", "haori", "shawl", "jumpsuit", "overalls", "bra",
    "camisole", "top", "bustier", "epaulettes", "(?:chest|shoulder) strap", "harness", "collar", "lapels", "buttons?",
    "suit", "tunic",
    "frills?", "(?:lace|fur|gold|white|black) trim", "hood", "zipper", "(?:back|chest|front) bow", "costume",
)  # fmt: skip
_NECKWEAR = (
    "scarf", "neckerchief", "necktie", "bowtie", "bow tie", "ascot", "cravat", "neck ribbon", "choker", "necklace",
)  # fmt: skip
_HANDWEAR = ("gloves?", "gauntlets?", "mittens", "wrist cuffs", "bracelet", "wristwatch", "wristband", "ring")

OUTFIT = TagGroup(
    "garments (not what she wears on her head)",
    take=(
        any_of(*_FOOTWEAR, *_LEGWEAR, *_BOTTOMS, *_TOPS, *_NECKWEAR, *_HANDWEAR, "corset", "apron", "cross"),
        "bow|ribbon|(?:striped|red|blue|black|white|pink|green|yellow|purple) (?:bow|ribbon)",
    ),
    leave=(*ACTS[:3], "(?:no|missing|unworn|alternate|removed) .*", "hair .*"),
)
FEET = TagGroup(
    "feet and footwear",
    take=(
        any_of(*_FOOTWEAR, "feet", "foot", "toes", "toenails", "soles"),
        "barefoot|tiptoes|pigeon-toed|single shoe",
    ),
)
LEGS = TagGroup(
    "legs and legwear",
    take=(
        any_of(*_LEGWEAR, "legs?", "thighs?", "knees?", "thigh boots", "zettai ryouiki", "skindentation"),
        "(?:knees?|legs?) (?:up|together|apart|to chest|over .*)|knees together feet apart|on one knee",
    ),
)
HIPS = TagGroup("hips and what covers them", take=(any_of(*_BOTTOMS, "hips", "ass", "tails?", "crotch", "groin"),))
WAIST = TagGroup(
    "waist and hands",
    take=(
        any_of(
            *_HANDWEAR,
            "navel",
            "midriff",
            "stomach",
            "abs",
            "belly",
            "waist",
            "corset",
            "apron",
            "fingernails",
        ),
        any_of("nail polish", "fingers", "hands?"),
        "holding .+|(?:hands?|arms?) (?:on|in|at|behind) .+|v|double v|v arms|arms at sides|index fingers together",
    ),
)
STANCE = TagGroup(
    "posture of the whole figure",
    take=(
        "(?:standing|sitting|kneeling|lying|squatting|crouching|walking|running|jumping|dancing)(?: .*)?",
        "contrapposto|wariza|seiza|indian style|straddling|all fours|on (?:back|stomach|side)|fighting stance",
    ),
)
TORSO = TagGroup(
    "the upper body and what covers it",
    take=(
        any_of(*_TOPS, "breasts", "cleavage", "underboob", "sideboob", "flat chest", "pectorals", "armpits?"),
        any_of("necktie", "wings", "bare (?:shoulders|arms|back)", "collarbone", "shoulder blades", "shoulders"),
        "off shoulder|sleeveless|strapless|(?:arms?|hands?) up|crossed arms|outstretched arms?"
        "|waving|mismatched sleeves",
    ),
)
HEAD = TagGroup(
    "head and face: hair, eyes, ears, expression, what is worn there",
    take=(
        *HAIR.take,
        *EYES.take,
        *EARS.take,
        *ACCESSORIES.take,
        any_of(
            *_NECKWEAR,
            "smile",
            "mouth",
            "lips",
            "grin",
            "smirk",
            "frown",
            "pout",
            "blush",
            "tears",
            "teeth",
            "halo",
        ),
        any_of("horns?", "fangs?", "freckles", "makeup", "eyeliner", "eyeshadow", "whiskers", "beard", "head"),
        "closed eyes|one eye closed|half-closed eyes|expressionless|crying|tongue(?: out)?|light blush|full-face blush",
        r"(?:looking|facing) .+|mole .+|head tilt|[:;>x=^][a-z0-9<>()|\[\]_^]{1,3}|surprised"
        r"|angry|sad|happy|serious|nervous",
    ),
    leave=(any_of(*_HANDWEAR[:1], "bracelet", "wristwatch", "wristband", "anklet", "armlet", "ring"),),
)
ABOVE_NECK = TagGroup(
    "head and face without what is worn at the neck",
    take=HEAD.take,
    leave=(*HEAD.leave, any_of(*_NECKWEAR, "neck (?:bell|bow)", "collar", "pendant")),
)
CAMERA_TAGS = (
    "full body", "cowboy shot", "upper body", "lower body", "portrait", "close-up", "face", "wide shot",
    "very wide shot", "head out of frame", "feet out of frame", "cropped legs", "cropped torso",
)  # fmt: skip
"""Tags that say how much of the figure is in the picture; a crop gets its own and loses the others."""
