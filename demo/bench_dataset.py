"""The bench's part on datasets: what a folder of ten thousand pictures costs in time and memory, and whether it grows
in step with their number.

Each round is a process of its own, which reads a folder that was written before; few and many pictures take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from .mount import ROOT

FEW, MANY = 1_000, 10_000
ROUNDS = 3
SIDE = 256
COPY_EVERY = 50
"""Every so many pictures, one is a smaller copy of the one before."""


def measure() -> dict[str, Any]:
    """Medians of seconds and bytes, by the number of pictures and the step."""
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as name:
        folder = Path(name)
        with ProcessPoolExecutor() as pool:
            parts = range(MANY // FEW)
            list(pool.map(write_pictures, [folder / f"part {part}" for part in parts], parts))
        rounds: dict[int, list[dict[str, Any]]] = {FEW: [], MANY: []}
        for _ in range(ROUNDS):
            for count, found in rounds.items():
                found.append(_child(folder / "part 0" if count == FEW else folder))
    for count, found in rounds.items():
        assert all(one["pictures"] == count for one in found), f"{count} pictures became {found[0]['pictures']}"
    return {
        "side": SIDE,
        "rounds": ROUNDS,
        "seconds": {str(count): _medians([one["seconds"] for one in found]) for count, found in rounds.items()},
        "bytes": {str(count): _medians([one["bytes"] for one in found]) for count, found in rounds.items()},
    }


def ratios(found: Mapping[str, Any]) -> dict[str, float]:
    """How much longer ten times as many pictures take, the seconds of the many, and the memory of one at the peak."""
    few, many = str(FEW), str(MANY)
    times = {
        f"dataset_{step}_10k_vs_1k": found["seconds"][many][step] / found["seconds"][few][step]
        for step in found["seconds"][few]
    }
    whole = {f"dataset_{step}_s_10k": seconds for step, seconds in found["seconds"][many].items()}
    memory = {"dataset_peak_bytes_a_picture": found["bytes"][many]["peak"] / MANY}
    return {name: round(value, 3) for name, value in {**times, **whole, **memory}.items()}


def page(found: Mapping[str, Any], machine: str) -> str:
    """The table, as Markdown."""
    few, many = str(FEW), str(MANY)
    lines = [
        "# A large dataset",
        "",
        f"{machine}; drawn pictures of {found['side']} x {found['side']} pixels as JPEG, each with a caption file. "
        f"Medians of {found['rounds']} rounds. Written by `python dev.py bench --parts dataset`.",
        "",
        f"| step | {FEW:,} pictures | {MANY:,} pictures | ratio |",
        "| --- | --- | --- | --- |",
    ]
    for step, seconds in found["seconds"][few].items():
        more = found["seconds"][many][step]
        lines.append(f"| {step} | {seconds:.3f} s | {more:.3f} s | {more / seconds:.1f} |")
    for name, used in found["bytes"][few].items():
        more = found["bytes"][many][name]
        lines.append(
            f"| memory: {name} | {used / 2**20:.1f} MiB | {more / 2**20:.1f} MiB | {more / max(1, used):.1f} |"
        )
    return "\n".join([*lines, ""])


def write(found: Mapping[str, Any], folder: Path, machine: str) -> None:
    """`dataset.json` and the page beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({**ratios(found), "machine": machine, **found}, indent=2)
    (folder / "dataset.json").write_text(content + "\n", encoding="utf-8")
    (folder / "dataset.md").write_text(page(found, machine), encoding="utf-8")


def steps(folder: Path) -> dict[str, Any]:
    """In the child: every step once, with its seconds; bytes are those beyond what the process took before."""
    from .bench_measure import memory_peak
    from .mount import mount

    mount()
    from lora_kiln.dataset.contact import SheetOptions
    from lora_kiln.dataset.duplicates import DuplicateOptions, remove_duplicates
    from lora_kiln.dataset.keys import record_keys
    from lora_kiln.dataset.load import folder_fingerprint, load_dataset
    from lora_kiln.dataset.overview import overview
    from lora_kiln.dataset.select import SelectOptions, select
    from lora_kiln.trainer.bucket_use import bucket_use
    from lora_kiln.trainer.groups import Buckets

    def quiet(done: int, total: int) -> None:
        """Nobody looks."""

    dataset: Any = None
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        seconds[name] = time.perf_counter() - started
        return result

    filter = SelectOptions(filter="1girl AND (short:>=256 OR group:part*) AND NOT (*hat OR tokens:>75)")
    with memory_peak() as peak:
        before = peak()
        dataset, _ = timed("load", lambda: load_dataset(folder))
        held = peak() - before
        timed("fingerprint", lambda: folder_fingerprint(folder))
        timed("names", lambda: record_keys(dataset))
        timed("select", lambda: select(dataset, filter))
        uses = timed("buckets", lambda: bucket_use(dataset, Buckets()))
        timed("duplicates", lambda: remove_duplicates(dataset, DuplicateOptions(), quiet))
        work = SheetOptions(pages=1)
        timed("report", lambda: overview(dataset, uses, work, batch=1, most_tags=40, progress=quiet))
        highest = peak() - before
    return {"pictures": len(dataset), "seconds": seconds, "bytes": {"the dataset": held, "peak": highest}}


def write_pictures(folder: Path, part: int, count: int = FEW) -> None:
    """Pictures of all strangers with the tags that the drawing knows; each `part` has others."""
    from .world.characters import characters
    from .world.draw import draw

    cast, rng = list(characters().values()), random.Random(part)
    folder.mkdir()
    image = None
    for number in range(count):
        file = folder / f"{number:04d}.jpg"
        if image is not None and number % COPY_EVERY == COPY_EVERY - 1:
            image.resize((SIDE // 2, SIDE // 2)).save(file, quality=80)
            continue
        drawing = draw(rng.choice(cast).picture(part * FEW + number), side=SIDE)
        image = drawing.image.convert("RGB")
        image.save(file, quality=90)
        file.with_suffix(".txt").write_text(", ".join(drawing.tags), encoding="utf-8")


def _child(folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "demo.bench_dataset", str(folder)]
    # Without a GPU in sight the process's own memory is what is measured.
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    print(json.dumps(steps(parser.parse_args().folder)))
