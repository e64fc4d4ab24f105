"""`python dev.py study NAME`: do the ideas hold on the miniature world, and are the sweep's scores true?

A study writes docs/studies/NAME.md and NAME.json, and a picture. Everything on the way (runs, pictures, tags) is kept
in .host/study, so that a study that is stopped goes on; some take hours.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from .mount import ROOT, mount
from .study_cast import cast

CHOICE = "sweep_choice"
PAGES, KEPT = ROOT / "docs" / "studies", ROOT / ".host" / "study"
CHARACTERS, SHOTS = 6, 40


def main(arguments: list[str]) -> int:
    """Run a study; 0 when it is done, whatever it shows."""
    mount()
    from . import study_choice, study_ideas
    from .study_work import Studio

    names = (CHOICE, *study_ideas.ideas())
    parser = argparse.ArgumentParser(prog="dev.py study", description=__doc__)
    parser.add_argument("name", choices=names)
    parser.add_argument("--quick", action="store_true", help="two characters and few pictures: to see that it runs")
    parser.add_argument("--out", type=Path, default=PAGES, help="where the report goes")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where runs and pictures are kept")
    options = parser.parse_args(arguments)
    studio = Studio(kept=options.kept.resolve())
    started = time.monotonic()
    if options.name == CHOICE:
        found = study_choice.measure(studio, quick=options.quick)
        title, text, sheet = "Does the sweep choose the right epoch?", study_choice.lines(found), None
    else:
        idea = study_ideas.ideas()[options.name]
        characters, count = cast(2 if options.quick else CHARACTERS), 8 if options.quick else SHOTS
        seen = 240 if options.quick else study_ideas.SEEN
        found = study_ideas.measure(studio, options.name, characters, count=count, seen=seen)
        found |= study_ideas.verdict(found, rises=idea.rises)
        title, text = idea.claim, idea_lines(found, idea.source)
        sheet = study_ideas.sheet(studio, options.name, characters[0], count=8, seen=seen)
    # Of this call: what was kept from before took no time.
    found |= {"quick": options.quick, "seconds": round(time.monotonic() - started)}
    write(options.out, options.name, title, text, found, sheet)
    print(options.out / f"{options.name}.md")
    return 0


def idea_lines(found: dict[str, Any], source: str) -> list[str]:
    """The page of an idea: what was counted, by character and arm, and whether the claim is shown."""
    from .study_ideas import BASE, LEARNED

    arms = found["arms"]
    heads = [BASE, *arms]
    rows = [
        f"| {row['character']} | " + " | ".join("-" if row[one] is None else f"{row[one]:.3f}" for one in heads) + " |"
        for row in found["rows"]
    ]
    learned = ", ".join(f"{arm} {sum(row[LEARNED][arm] for row in found['rows']) / len(rows):.3f}" for arm in arms)
    said = (
        "The claim is shown." if found["shown"]
        else "**The claim is not shown here**: the interval does not lie on its side."
    )  # fmt: skip
    return [
        f"Claimed in {source}. Counted: {found['measure']}.",
        "",
        f"| character | {' | '.join(heads)} |",
        "| --- |" + " --- |" * len(heads),
        *rows,
        "",
        f"Difference of *{arms[-1]}* from *{arms[0]}*: {found['difference']:+.3f} (95 % interval {found['low']:+.3f} "
        f"to {found['high']:+.3f}, over {len(rows)} characters). {said}",
        "",
        "How much of her the LoRAs of each arm have learned (her traits, found when only the trigger says them): "
        f"{learned}.",
    ]


def write(
    folder: Path, name: str, title: str, text: list[str], found: dict[str, Any], sheet: Image.Image | None
) -> None:
    """The report as a page, as JSON, and a picture where there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = []
    if sheet is not None:
        sheet.quantize(256, dither=Image.Dither.NONE).save(folder / f"{name}.png", optimize=True)
        picture = ["", f"![Above the base model, then each arm]({name}.png)"]
    quick = ["", "A quick run: too few characters and pictures to prove anything."] if found["quick"] else []
    again = ["", f"Reproduce with `python dev.py study {name}`; the numbers are in [{name}.json]({name}.json)."]
    page = "\n".join([f"# {title}", "", *text, *quick, *picture, *again]) + "\n"
    (folder / f"{name}.md").write_text(page, encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
