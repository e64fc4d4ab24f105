"""Which tags belong to a part of the body, a garment, a pose: patterns that match whole tags in lower case.

Substring rules are the field's classic mistake: `hat` takes `hat ribbon` away, `ears` takes `bears`. A tag is in a
group when one of its `take` patterns matches all of the tag and none of its `leave` patterns does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .tags import tag_key

_LEAD = r"(?:[a-z0-9'\-/]+ )*"
_WORDS = r"(?:[a-z0-9'\-]+ ){1,3}"

_VERBS = (
    "hold|adjust|remov|wear|ty|unty|putt|tugg|touch|grabb|bit|eat|play|pull|lift|tipp|cover|brush|comb|wash|dry|cutt"
    "|flipp|twirl|strok|pett|rubb|wip|clos|open|shak|spread|fix|fluff|smell|sniff|lick|suck|kiss|squeez|grop|press"
    "|wring|styl|point|show|undress|clutch|wagg|rais|hugg|hid|us|twist|fiddl|sharpen|expos"
)
ACTS = (
    rf"(?:{_VERBS})ing .*",
    r".*\b(?:own|another's)\b.*",
    r".* (?:in|on|through|with|over|under|between|for|out of|against|from|around) .*",
    r"(?:no|missing|unworn|alternate|removed|fake|toy) .*",
)
"""What somebody does with a thing, where it lies or that it is absent is not how it looks."""


@dataclass(frozen=True, slots=True)
class TagGroup:
    """Patterns of the tags in a group, and of those that only look like it."""

    help: str
    take: tuple[str, ...]
    leave: tuple[str, ...] = ()

    def has(self, tag: str) -> bool:
        """Whether the tag, in any spelling, belongs to the group."""
        key = tag_key(tag)
        return _matches(self.take, key) and not _matches(self.leave, key)


def _matches(patterns: Iterable[str], key: str) -> bool:
    return any(re.fullmatch(pattern, key) for pattern in patterns)


def any_of(*words: str) -> str:
    """A pattern for tags that end in one of the words (themselves patterns), whatever words stand in front."""
    return _LEAD + "(?:" + "|".join(words) + ")"


HAIR = TagGroup(
    "hair colour, length and style (not what is worn in it)",
    take=(
        _WORDS + "hair",
        any_of("bangs", "bangs pinned back", "sidelocks", "ahoge", "twintails", "ponytail", "pigtails", "updo"),
        any_of("braids?", "braided ponytail", "hair bun", "double bun", "single bun", "bun head", "hair rings"),
        any_of("hime cut", "bob cut", "pixie cut", "bowl cut", "wolf cut", "buzz cut", "crew cut", "undercut"),
        any_of("drills?", "ringlets", "dreadlocks", "cornrows", "mohawk", "mullet", "afro", "pompadour", "bald"),
        "(?:one|two) side up|hair (?:intakes|flaps|horns|up|down|slicked back|pulled back)|widow's peak",
        "hair between eyes|hair over (?:one eye|both eyes|eyes|shoulder|one shoulder)|hair behind ear",
    ),
    leave=(
        *ACTS[:2],
        r".* (?:in|on|through|with|under|from|over) (?:[a-z'\-]+ )*hair",
        r"(?:no|alternate|wet|floating|facial|body|chest|leg|arm|armpit|pubic|wind-?blown) hair.*",
        r"(?:(?:hand|power|electric) )?drill",
    ),
)
EYES = TagGroup(
    "eye colour and shape, pupils, lashes (not where she looks or whether they are closed)",
    take=(
        _WORDS + "eyes",
        any_of("pupils", "sclera", "eyelashes", "eyebrows", "iris", "irises"),
        "heterochromia|tsurime|tareme|sanpaku|glowing eyes?|(?:third|extra|single) eyes?|cyclops",
    ),
    leave=(
        r"[a-z\-]*(?:clos|cover|roll|rubb|wip|narrow|widen|bleed|cry|tear|spark)[a-z]* (?:[a-z'\-]+ )*eyes",
        r".*\b(?:own|another's)\b.*",
        r".* (?:in|on|through|with|over|under|between|from|to) (?:[a-z'\-]+ )*eyes",
        r"(?:half-closed|wide|crazy|empty|hollow|blank|sleepy|teary|heart-shaped|spiral|x-shaped|hidden) eyes",
        r"(?:[a-z]+ )?(?:button|googly|solid circle|solid oval|dashed|no|missing) eyes",
        r"(?:constricted|dilated) pupils|(?:raised|furrowed|v-shaped|crooked) eyebrows",
    ),
)
EARS = TagGroup(
    "ears: animal, pointed, their colour (not earrings)",
    take=(_WORDS + "ears", "animal ear fluff|ears|kemonomimi mode"),
    leave=ACTS,
)
CHEST = TagGroup(
    "chest size",
    take=("flat chest", r"(?:[a-z\-]+ ){0,2}breasts", r"(?:[a-z\-]+ )?pectorals"),
    leave=(
        *ACTS,
        r"(?:bare|exposed|covered|bouncing|hanging|grabbed|bandaged|between) breasts",
    ),
)
_SPECIES = (
    "cat|dog|fox|wolf|horse|rabbit|bunny|cow|sheep|goat|dragon|demon|angel|slime|plant|monster|bird|mouse|lion|tiger"
    "|bear|squirrel|raccoon|panda|snake|shark|fish|bat|spider|insect|robot|elf|oni|vampire|fairy|mermaid|harpy|lamia"
)
BODY = TagGroup(
    "skin, horns, tail, wings, halo, moles, fangs, marks, build",
    take=(
        any_of("horns?", "tails?", "wings", "halo", "antennae", "fins?", "gills", "claws", "hooves", "tusks"),
        any_of("fangs?", "freckles", "whiskers", "scars?", "tattoos?", "birthmark", "facial hair", "beard"),
        "mustache|stubble|goatee|sideburns|(?:body|chest|leg|arm|armpit|pubic) hair|skin-covered horns",
        r"mole(?: (?:under|above|below|on|near|between) [a-z' ]+)?|moles",
        r"scars? (?:on|across|over) [a-z ]+",
        "(?:very )?(?:dark|pale|tan|tanned|colored|two-tone|multicolored|black|blue|green|grey|pink|purple|red|white"
        "|yellow|orange|brown) skin",
        r"dark-skinned (?:female|male)|tan|tanlines?|(?:facial|forehead|cheek|body|whisker|eye) mark(?:ing)?s?",
        r"bags under eyes|(?:thick|full|dark) lips|(?:sharp|pointy|shark) teeth|pointy teeth|skin fangs?",
        r"(?:very )?muscular(?: (?:female|male))?|abs|toned|curvy|plump|petite|(?:wide|narrow) (?:hips|waist)",
        r"(?:thick|huge|skinny) thighs|(?:extra|prosthetic|mechanical|robot|animal) (?:arms?|legs?|hands?|feet)",
        rf"(?:{_SPECIES}) (?:girl|boy)|elf|oni|kitsune|centaur|lamia|mermaid|furry (?:female|male)",
    ),
    leave=(
        *ACTS[:2],
        r"(?:fake|costume|plush|toy|no|missing|detached|aircraft|rocket) .*",
    ),
)
ACCESSORIES = TagGroup(
    "what she always wears on head, neck and hands: hair ornaments, headwear, glasses, jewellery",
    take=(
        any_of(
            "hair (?:ornament|ribbon|bow|flower|tie|bobbles|scrunchie|beads|bell|stick|tubes)", "hairpin", "hairclip"
        ),
        any_of("hairband", "hairpods", "headband", "headdress", "headpiece"),
        any_of("hat", "cap", "beret", "crown", "tiara", "headwear", "hat (?:ribbon|bow|flower|ornament|feather)"),
        any_of("bonnet", "veil", "circlet", "headphones", "headset", "helmet", "forehead protector", "hachimaki"),
        any_of("glasses", "sunglasses", "goggles", "monocle", "eyewear", "eyepatch", "(?:fox|gas|mouth|oni) mask"),
        any_of("earrings?", "necklace", "choker", "pendant", "brooch", "bracelet", "bangles?", "anklet", "armlet"),
        any_of("piercings?", "jewelry", "wristwatch", "earclip", "wristband", "scrunchie", "hair bun cover"),
        r"(?:animal|cat|dog|spiked|studded|bell|leather|neck) collar|neck (?:bell|ribbon)|(?:wedding )?ring",
        r"fake (?:animal|cat|rabbit|dog|fox|wolf) (?:ears|tail)",
    ),
    leave=(*ACTS[:3], "(?:no|missing|unworn|alternate|removed) .*"),
)
POSE = TagGroup(
    "posture, hands, where she looks: what a pose LoRA must absorb",
    take=(
        "standing|sitting|kneeling|squatting|lying|walking|running|jumping|leaning.*|crouching|crawling|dancing",
        r"(?:standing|sitting|lying|kneeling|sleeping) .+|on (?:back|stomach|side)|all fours|fetal position|seiza",
        r"(?:index finger|arm|leg|hand|knee|finger|foot|thumb)s? (?:up|down|raised|on|in|to|behind|between|at|together"
        r"|out|around|over|under)\b.*",
        r"(?:crossed|outstretched|raised|spread|bent|interlocked|v|steepled) (?:arms?|legs?|hands?|fingers?)|v",
        r"head (?:tilt|rest|back|down)|contrapposto|arched back|bent over|stretching?|pointing.*|waving|salute",
        r"(?:own hands|fingers|hands) (?:together|clasped)|holding .+|reaching.*|index fingers together|(?:paw|peace)"
        r" (?:pose|sign)|double v|\\m/|wariza|indian style|pigeon-toed|tiptoes|profile|straddling|hug(?:ging .+)?",
    ),
)
