"""More pictures from the ones there are: every view painted again in other styles, colours and lines held."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from .choice import Scores, verdicts
from .easel import Easel
from .errors import DatasetError
from .images import open_mask, save_derived
from .keys import record_keys, source_name
from .regions import DRAWN, fitted
from .report import counted, listed_lines
from .style_captions import SOURCE, Style, draw_style, variant_words
from .styles import Plan, Studio
from .tags import distinct_tags
from .values import Dataset, Progress, Record
from .views import check_masks


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One variant: the number of its source in the dataset (from 0), what it was painted from and how it was
    measured, and why it is rejected ("": it is kept). `fault` is why its scores alone would reject it."""

    number: int
    style: Style
    seed: int
    denoise: float
    file: Path
    scores: Scores
    why: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmented:
    """The dataset with its variants, the rejected ones, a report, and all scores as CSV.

    `shown` are records in the order of a contact sheet, each source before its variants, with what is said of them;
    `judged` has the variant at each of these places, and None for a source.
    """

    dataset: Dataset
    rejected: Dataset
    report: str
    table: str
    shown: tuple[tuple[Record, str], ...]
    judged: tuple[Variant | None, ...]


@dataclass(slots=True, kw_only=True)
class _Count:
    """What was done in one run. `fresh` are variants for which the sampler ran, `runs` how often it did."""

    fresh: int = 0
    runs: int = 0
    unknown: list[str] = dataclasses.field(default_factory=list)


def augment(dataset: Dataset, plan: Plan, studio: Studio, progress: Progress) -> Augmented:
    """The dataset with style variants of each of its pictures; regularisation pictures stay as they are.

    A variant is a file in `studio.cache`, named by all that it was made from: a second run makes only what is missing,
    and what was done before a cancel stays. Raises DatasetError, BadImage, and what the painter raises.
    """
    for masks in (studio.masks, studio.hold_masks):
        check_masks(masks, dataset)
    if not studio.hold_masks and (plan.hold.hold_mask or DRAWN in plan.choice.compare):
        what = f"hold_mask is {plan.hold.hold_mask:g}" if plan.hold.hold_mask else f"compare has {DRAWN!r}"
        raise DatasetError(
            f"{what}, but no hold_masks are wired; wire masks that show that part white, or take it back"
        )
    count = _Count()
    variants = list(_variants(dataset, plan, studio, progress, count))
    plain = [_record(dataset.records[variant.number], variant, plan, studio) for variant in variants]
    names = _names(dataset, variants, plain)
    variants, lost = _by_hand(variants, names, plan)
    records = _captioned(dataset, variants, plain, plan, studio)
    kept = [source for source in dataset if plan.styles.keep_originals or source.is_reg]
    rejected: list[Record] = []
    shown: list[tuple[Record, str]] = []
    judged: list[Variant | None] = []
    for number, source in enumerate(dataset):
        own = [pair for pair in zip(variants, records, strict=True) if pair[0].number == number]
        shown += [(source, "the source")] if own else []
        judged += [None] if own else []
        for variant, record in own:
            (rejected if variant.why else kept).append(record)
            shown.append((record, f"{_verdict(variant)}; {variant.scores.words()}"))
            judged.append(variant)
    return Augmented(
        dataset=dataset.replace_records(kept),
        rejected=dataset.replace_records(rejected),
        report=_report(dataset, variants, names, count, studio, lost),
        table=_table(record_keys(dataset), variants),
        shown=tuple(shown),
        judged=tuple(judged),
    )


def _variants(dataset: Dataset, plan: Plan, studio: Studio, progress: Progress, count: _Count) -> Iterator[Variant]:
    """Every variant of every picture, painted or found, and chosen from."""
    # The same line again would paint the same pictures.
    lines = tuple(dict.fromkeys(plan.styles.styles))
    total = sum(not record.is_reg for record in dataset) * len(lines) * plan.styles.variants
    studio.cache.mkdir(parents=True, exist_ok=True)
    done = 0
    # Leaving the block waits for what is being written, so a cancel keeps every painted picture.
    with ThreadPoolExecutor(1) as desk:
        for number, (record, key) in enumerate(zip(dataset, record_keys(dataset), strict=True)):
            if record.is_reg:
                continue
            easel = Easel(number, record, dataset.triggers, plan, studio, desk)
            if easel.regions.why:
                count.unknown.append(f"{key}: {easel.regions.why}")
            for line in lines:
                made: list[tuple[Style, int, float, Path, Future[Scores]]] = []
                for place in range(plan.styles.variants):
                    progress(done, total)
                    before, seed = easel.painted, plan.styles.seed + place
                    style = draw_style(line, studio.wildcards, seed, key)
                    made.append((style, seed, *easel.variant(style, seed, plan.styles.tries(place))))
                    count.fresh += easel.painted > before
                    done += 1
                for style, seed, denoise, file, scores in made:
                    yield Variant(
                        number=number, style=style, seed=seed, denoise=denoise, file=file, scores=scores.result()
                    )
            count.runs += easel.painted
    progress(total, total)


def _names(dataset: Dataset, variants: Sequence[Variant], records: Sequence[Record]) -> list[str]:
    """What each variant is called, as the contact sheet and the page have it: each source before its variants."""
    listed: list[Record] = []
    places: list[int] = []
    for number, own in itertools.groupby(range(len(variants)), key=lambda i: variants[i].number):
        listed.append(dataset.records[number])
        for i in own:
            places.append(len(listed))
            listed.append(records[i])
    keys = record_keys(Dataset(records=tuple(listed)))
    return [keys[place] for place in places]


def _by_hand(variants: Sequence[Variant], names: Sequence[str], plan: Plan) -> tuple[list[Variant], list[str]]:
    """The variants with their verdicts: by scores among those of one picture and style, and as a person decided, which
    counts for more; and the names by hand that none of them has.
    """
    hand = plan.hand.selection
    done: list[Variant] = []
    chosen = {**dict.fromkeys(hand.keep, ""), **dict.fromkeys(hand.reject, "you rejected it by hand")}
    for start in range(0, len(variants), plan.styles.variants):
        end = start + plan.styles.variants
        some, called = variants[start:end], names[start:end]
        out = [place for place, name in enumerate(called) if chosen.get(name)]
        faults = verdicts([variant.scores for variant in some], plan.choice, out)
        done += [
            dataclasses.replace(variant, why=chosen.get(name, why), fault=why)
            for variant, name, why in zip(some, called, faults, strict=True)
        ]
    return done, [name for name in chosen if name not in names]


def _captioned(
    dataset: Dataset, variants: Sequence[Variant], plain: Sequence[Record], plan: Plan, studio: Studio
) -> list[Record]:
    """A record for each variant. Those that are kept are looked at by the tagger where captions need it."""
    found: list[tuple[str, ...]] = [()] * len(plain)
    kept = [i for i, variant in enumerate(variants) if not variant.why]
    if plan.captions.tags != SOURCE and studio.tag is not None and kept:
        tagged = studio.tag(Dataset(records=tuple(plain[i] for i in kept)))
        for i, record in zip(kept, tagged, strict=True):
            found[i] = record.tags
    absorbed = distinct_tags(tag for record in dataset for tag in record.pruned)
    done = []
    for record, variant, tags in zip(plain, variants, found, strict=True):
        captions = plan.captions if tags else dataclasses.replace(plan.captions, tags=SOURCE)
        words = variant_words(
            dataset.records[variant.number], variant.style, captions, triggers=dataset.triggers, found=tags,
            absorbed=absorbed,
        )  # fmt: skip
        done.append(dataclasses.replace(record, tags=words.tags, prose=words.prose, pruned=words.pruned))
    return done


def _record(source: Record, variant: Variant, plan: Plan, studio: Studio) -> Record:
    """The variant as a record that still has its source's words."""
    with Image.open(variant.file) as image:
        size = image.size
    mask = open_mask(source)
    return dataclasses.replace(
        source,
        image=variant.file,
        size=size,
        crop=None,
        # Lines are held, so what the source's mask says holds for the variant too.
        mask=save_derived(fitted(mask, size), studio.cache) if mask else None,
        repeats=plan.styles.repeats,
        origin=(*source.origin, f"style:{variant.style.prompt} seed {variant.seed} of {source_name(source)}"),
    )


def _verdict(variant: Variant) -> str:
    if variant.why:
        return f"rejected: {variant.why}"
    return f"kept by hand, although {variant.fault}" if variant.fault else "kept"


def _report(
    dataset: Dataset, variants: Sequence[Variant], names: Sequence[str], count: _Count, studio: Studio,
    lost: Sequence[str],
) -> str:  # fmt: skip
    pictures = sum(not record.is_reg for record in dataset)
    found = len(variants) - count.fresh
    lines = [
        f"{counted(len(variants), 'variant')} of {counted(pictures, 'picture')}: {count.fresh} painted now, {found} "
        f"found in {studio.cache}."
    ]
    if count.runs > count.fresh:
        lines.append(f"The sampler ran {count.runs} times: held colours and ladders take more than one run.")
    if pictures < len(dataset):
        lines.append(f"{counted(len(dataset) - pictures, 'regularisation picture')} left as they are.")
    keys = record_keys(dataset)
    told = [
        f"{name}: {_verdict(v)}; denoise {v.denoise:g}, {v.scores.words()}"
        for name, v in zip(names, variants, strict=True)
    ]
    rejected = [line for line, variant in zip(told, variants, strict=True) if variant.why]
    kept = [line for line, variant in zip(told, variants, strict=True) if not variant.why]
    if rejected:
        lines.append(listed_lines(f"Rejected ({len(rejected)} of {len(variants)})", rejected, most=None))
    empty = sorted(
        {(v.number, v.style.prompt) for v in variants} - {(v.number, v.style.prompt) for v in variants if not v.why}
    )
    if empty:
        lines.append(listed_lines("No variant is left of", [f"{keys[n]} | {prompt}" for n, prompt in empty]))
    if kept:
        lines.append(listed_lines(f"Kept ({len(kept)})", kept))
    if count.unknown:
        title = "Parts of the body are not known, so these are compared, and not held, part by part"
        lines.append(listed_lines(title, count.unknown))
    if lost:
        lines.append(listed_lines(f"Named by hand and not among the variants ({len(lost)})", lost))
    return "\n".join(lines)


def _table(keys: Sequence[str], variants: Sequence[Variant]) -> str:
    """Every variant with its scores as CSV."""
    parts = list(dict.fromkeys(name for variant in variants for name in variant.scores.drift))
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ["picture", "style", "seed", "denoise", "kept", "why", "score", "structure", "drift",
         *(f"drift {part}" for part in parts), "file"]
    )  # fmt: skip
    for v in variants:
        drift = [f"{v.scores.drift[part]:.2f}" if part in v.scores.drift else "" for part in parts]
        rows.writerow(
            [keys[v.number], v.style.prompt, v.seed, v.denoise, int(not v.why), v.why, f"{v.scores.total:.3f}",
             f"{v.scores.structure:.3f}", f"{v.scores.mean_drift:.2f}", *drift, v.file.name]
        )  # fmt: skip
    return text.getvalue()
