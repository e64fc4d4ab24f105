"""One list of tags for an outfit, minus what each picture does not show.

Taggers see `gloves` in one picture and `black gloves` in the next; training then learns two outfits. Here the pictures
of a group get the same words, and only those whose garments can be in the picture.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .changes import before_after
from .framing import VIEWS, view_of
from .garments import FEET, HIPS, LEGS, OUTFIT, TORSO, WAIST
from .implied import drop_implied
from .keys import fits, is_called
from .report import counted, listed_lines
from .settings import check_settings, setting
from .tag_tables import ACCESSORIES, TagGroup, any_of
from .tags import compile_globs, distinct_tags, matches_any, parse_tags, tag_key
from .values import Dataset, Record

AUTO = "auto"
REPLACE, ADD = "replace garments", "only add"
SHARE = 0.35
"""A garment in more than this share of the pictures that can show it belongs to the outfit (`auto`)."""

_NECK_AND_HANDS = any_of("choker", "necklace", "pendant", "brooch", "bracelet", "bangles?", "anklet", "armlet", "ring",
                         "wristwatch", "wristband", "collar", "neck (?:bell|ribbon)")  # fmt: skip
HEADWEAR = TagGroup("what is worn on the head", take=ACCESSORIES.take, leave=(*ACCESSORIES.leave, _NECK_AND_HANDS))
FRONT = TagGroup(
    "what only the front shows",
    take=(
        any_of("necktie", "bowtie", "bow tie", "ascot", "cravat", "neckerchief", "brooch", "pendant", "lapels"),
        any_of(
            "buttons?", "zipper", "chest bow", "front bow", "neck ribbon", "cross", "glasses", "eyewear", "eyepatch"
        ),
        any_of("monocle", "goggles", "mask", "buckle", "cleavage", "pelvic curtain", "apron"),
    ),
)
FOOTWEAR = TagGroup("what feet wear", take=FEET.take, leave=(any_of("anklet", "feet", "foot", "toes", "soles"),))

_HIDES: dict[str, tuple[TagGroup, ...]] = {
    "cowboy shot": (FEET,),
    "upper body": (FEET, LEGS, HIPS),
    "portrait": (FEET, LEGS, HIPS, WAIST),
    "close-up": (FEET, LEGS, HIPS, WAIST, TORSO),
    "face": (FEET, LEGS, HIPS, WAIST, TORSO),
    "lower body": (TORSO, HEADWEAR),
    "head out of frame": (HEADWEAR,),
    "feet out of frame": (FEET,),
    "cropped legs": (FEET,),
    "cropped torso": (FEET, LEGS, HIPS),
    "from behind": (FRONT,),
    "facing away": (FRONT,),
    "barefoot": (FOOTWEAR,),
    "nude": (OUTFIT,),
    "completely nude": (OUTFIT,),
}
"""What a picture with this tag does not show of an outfit."""
_CLOSE, _HEADLESS, _OF_FACES = ("close-up", "face"), "head out of frame", ("", "face", "bangs")
"""A close-up is one of a face, unless the head is out of it or it was cropped to something else."""
_DENIES = re.compile(r"(?:no|missing|unworn|removed) (.+)|(.+) removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignOptions:
    """The outfits, and how far captions follow them."""

    outfits: tuple[str, ...] = setting(
        (),
        "One outfit a line, as group: tags (race*: yellow necktie, black gloves, black skirt); * for any text in the "
        f"group's name. group: {AUTO} takes what the tagger found most. Other groups stay as they are.",
        split="lines",
    )
    existing: str = setting(
        REPLACE,
        f"{REPLACE}: garments in the caption that the outfit does not have go, so that all captions agree; {ADD}: they "
        "stay beside the outfit's.",
        choices=(REPLACE, ADD),
    )
    keep: tuple[str, ...] = setting(
        (), "Garments that stay in any case, * for any text (holding *, open coat).", split="tags"
    )
    not_seen: tuple[str, ...] = setting(
        (),
        "What single pictures do not show, one a line, as file name: tags (03*.png: belt, shoes). What camera tags "
        "(portrait, from behind), barefoot and 'no shoes' say is known without.",
        split="lines",
    )

    def __post_init__(self) -> None:
        check_settings(self)
        for name in ("outfits", "not_seen"):
            for line in getattr(self, name):
                if not all(part.strip() for part in line.partition(":")):
                    raise ValueError(f"AlignOptions.{name} has the line {line!r}; write name: tag, tag")


def align_tags(dataset: Dataset, options: AlignOptions) -> tuple[Dataset, str]:
    """The dataset with each group's outfit in the same words, and a report.

    Tags that a caption already has count as seen, whatever the camera says. Prose and regularisation pictures stay.
    Without a line in `outfits` nothing changes, and the report proposes lists.
    """
    outfits = _outfits(dataset, options)
    keep = compile_globs((*options.keep, *dataset.triggers))
    records = [_align(record, outfits.get(record.group, ()), keep, options) for record in dataset]
    result = dataset.replace_records(records)
    return result, _report(dataset, result, outfits, options)


def propose_outfit(records: Sequence[Record], share: float = SHARE) -> tuple[str, ...]:
    """The garments that pictures of one outfit have in common: in more than `share` of those that can show them."""
    shown = [record for record in records if not record.is_reg and not record.prose]
    counts = Counter(tag for record in shown for tag in record.tags if _is_garment(tag))
    found = [
        tag
        for tag, count in counts.most_common()
        if count > share * sum(is_seen(tag, record) for record in shown) and (count > 1 or len(shown) < 3)
    ]
    return drop_implied(found)


def is_seen(tag: str, record: Record) -> bool:
    """Whether a picture can show a garment: its caption names it, or nothing in the caption speaks against it."""
    keys = {tag_key(other) for other in record.tags}
    key = tag_key(tag)
    if key in keys:
        return True
    view = view_of(record)
    groups = [*VIEWS[view].hides] if view in VIEWS else []
    detail = not keys.isdisjoint(_CLOSE) and (_HEADLESS in keys or view not in _OF_FACES)
    for other in keys:
        groups += () if detail and other in _CLOSE else _HIDES.get(other, ())
    if any(group.has(key) for group in groups):
        return False
    # Of which part of the clothes a close-up is, only its caption says.
    if detail and view not in VIEWS and not any(_last_word(key) == _last_word(other) for other in keys):
        return False
    denied = [(match[1] or match[2]) for other in keys if (match := _DENIES.fullmatch(other))]
    return not any(key == other or key.endswith(f" {other}") for other in denied)


def _last_word(tag: str) -> str:
    """What kind of thing a tag names: the gloves of black gloves."""
    return tag_key(tag).rpartition(" ")[2]


def _is_garment(tag: str) -> bool:
    return OUTFIT.has(tag) or ACCESSORIES.has(tag)


def _outfits(dataset: Dataset, options: AlignOptions) -> dict[str, tuple[str, ...]]:
    """Group name to the outfit of the first line that fits it."""
    found = {}
    for group, records in dataset.groups().items():
        for line in options.outfits:
            name, _, tags = line.partition(":")
            if fits(group, name):
                auto = tags.strip().casefold() == AUTO
                found[group] = propose_outfit(records) if auto else parse_tags(tags)
                break
    return found


def _align(record: Record, outfit: tuple[str, ...], keep: Sequence[re.Pattern[str]], options: AlignOptions) -> Record:
    if not outfit or record.is_reg or record.prose:
        return record
    hidden = compile_globs(tag for line in options.not_seen for tag in _hidden_by_hand(line, record))
    worn = tuple(tag for tag in outfit if is_seen(tag, record) and not matches_any(tag, hidden))
    own = {tag_key(tag) for tag in outfit}
    # What the outfit calls by another name and the camera seems to hide: the caption has seen it, so it stays.
    seen = {_last_word(tag) for tag in outfit if tag not in worn and not matches_any(tag, hidden)}
    stay: list[str] = []
    place: int | None = None
    for tag in record.tags:
        replaced = options.existing == REPLACE and OUTFIT.has(tag) and not matches_any(tag, keep)
        goes = tag_key(tag) in own or (replaced and _last_word(tag) not in seen)
        if goes and place is None:
            place = len(stay)
        stay += [] if goes else [tag]
    place = len(stay) if place is None else place
    tags = distinct_tags((*stay[:place], *worn, *stay[place:]))
    # A trait that stands in the caption again is not left for the trigger to absorb.
    return dataclasses.replace(record, tags=tags, pruned=tuple(tag for tag in record.pruned if tag not in tags))


def _hidden_by_hand(line: str, record: Record) -> tuple[str, ...]:
    name, _, tags = line.partition(":")
    return parse_tags(tags) if is_called(record, name) else ()


def _report(before: Dataset, after: Dataset, outfits: dict[str, tuple[str, ...]], options: AlignOptions) -> str:
    lines = [f"{group or '(no name)'}: {', '.join(outfit) or '(nothing)'}" for group, outfit in outfits.items()]
    parts = [listed_lines("Outfits", lines)] if lines else ["No group has an outfit: give a line such as group: auto"]
    open_groups = {group: records for group, records in before.groups().items() if group not in outfits}
    proposed = {group: propose_outfit(records) for group, records in open_groups.items()}
    rows = [f"{group or '*'}: {', '.join(tags)}" for group, tags in proposed.items() if tags]
    if rows:
        parts.append(listed_lines("Groups without one; what their captions have in common", rows))
    for line in options.not_seen:
        if not any(_hidden_by_hand(line, record) for record in before):
            parts.append(f"Warning: no file is called {line.partition(':')[0].strip()!r} (not_seen)")
    gone = Counter(tag for old, new in zip(before, after, strict=True) for tag in set(old.tags) - set(new.tags))
    if gone:
        rows = [f"{tag}: {count}" for tag, count in gone.most_common()]
        parts.append(listed_lines("Tags that went, by pictures", rows))
    left = [record for record in before if record.prose and record.group in outfits]
    if left:
        parts.append(f"{counted(len(left), 'caption')} of prose stayed as written")
    parts.append(before_after(before.records, after.records))
    return "\n\n".join(parts)
