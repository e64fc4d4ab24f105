"""`python dev.py bench`: how fast the engine trains beside core's TrainLoraNode and the loop of diffusers and peft, and
what a large dataset costs.

Everything is measured on this machine, the peers taking turns, and written into docs/benchmarks/. A part that was
measured before stays as it was when --parts leaves it out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from .bench_jobs import Job, serve
from .bench_results import BATCHES, missed, ratios, write
from .bench_work import FULL, LARGE, MINIATURE, RANK, SIDES, Work, start_host
from .mount import ROOT

PARTS = ("speed", "memory", "records", "lycoris", "overhead", "recall")
# A full-size model takes seconds an update on a CPU, and knows no characters.
FULL_PARTS = ("speed", "memory", "overhead")
# Asks for no model.
DATASET = "dataset"
# Ask for the miniature model alone.
SWEEP, AUGMENT = "sweep", "augment"
BESIDE = (DATASET, SWEEP, AUGMENT)
TABLES = ROOT / "docs" / "benchmarks"
KEPT = ROOT / ".host" / "bench"
MEMORY_UPDATES = 5


def main(arguments: list[str]) -> int:
    """Measure, write, print; 0 when every bar that was measured on a CPU is met."""
    options = _options(arguments)
    if options.device == "cpu":
        # Before PyTorch looks; the processes of single peers inherit it.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        print("--device is cuda, and PyTorch sees no NVIDIA GPU; leave it out to measure on the CPU", file=sys.stderr)
        return 2
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = options.precision or ("bf16" if device == "cuda" else "fp32")
    if options.job:
        serve(Job(**json.loads(options.job)), options.kept)
        return 0
    models = options.model.split(",") if options.model else [MINIATURE, FULL, *([LARGE] if device == "cuda" else [])]
    found: dict[str, Any] = {}
    if DATASET in options.parts.split(",") or not (options.parts or options.model or options.quick):
        found |= _dataset(options.out)
    asked = [part for part in options.parts.split(",") if part]
    if asked and set(asked) <= set(BESIDE):
        models = []
    painted = [part for part in (SWEEP, AUGMENT) if part in asked or not (asked or options.model or options.quick)]
    with tempfile.TemporaryDirectory(prefix="kiln-bench-") as folder:
        if models or painted:
            start_host(Path(folder) / "base")
        for part in painted:
            found |= _painted(part, Path(folder), precision, options)
        for model in models:
            (Path(folder) / model).mkdir()
            work = Work(model_name=model, folder=Path(folder) / model, precision=precision, kept=options.kept)
            parts = _measured(work, device, options)
            found |= ratios(parts) if model == MINIATURE else {model: ratios(parts)}
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))
    failures = missed({k: v for k, v in found.items() if isinstance(v, float)}) if device == "cpu" else []
    for failure in failures:
        print(f"Bar missed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the ratios to this file")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: the GPU where there is one")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="default: bf16 on a GPU, fp32 on a CPU")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no training of a character")
    parser.add_argument("--model", default="", help=f"some of {', '.join(SIDES)}, with commas")
    parser.add_argument("--parts", default="", help=f"some of {', '.join((*PARTS, *BESIDE))}, with commas")
    parser.add_argument("--out", type=Path, default=TABLES, help="where the tables go")
    # One peer by itself, in a process of its own.
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--kept", type=Path, default=KEPT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for name, known in (("model", SIDES), ("parts", (*PARTS, *BESIDE))):
        if unknown := [word for word in getattr(options, name).split(",") if word and word not in known]:
            parser.error(f"--{name} has {', '.join(unknown)}; known are {', '.join(known)}")
    return options


def _measured(work: Work, device: str, options: argparse.Namespace) -> dict[str, Any]:
    """What was measured before, with the parts that are asked for measured anew; the tables grow part by part."""
    from . import bench_parts as parts
    from .bench_measure import WARM
    from .bench_recall import trait_recall

    small = work.model_name == MINIATURE
    wanted = [part for part in options.parts.split(",") if part and part not in BESIDE] or list(
        PARTS if small else FULL_PARTS
    )
    if options.quick and "recall" in wanted and not options.parts:
        wanted.remove("recall")
    slow = not small and device == "cpu"
    batches = (1,) if slow else BATCHES if small else (1, 4)
    updates, warm = (2, 1) if slow else (16, WARM) if options.quick else (60, WARM)
    batch = batches[len(batches) // 2]
    file = options.out / f"{work.model_name}-{device}.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    found = {"about": _about(work, device), **{name: found[name] for name in PARTS if name in found}}
    measure: dict[str, Any] = {
        "speed": lambda: parts.speed(work, batches, updates=updates, warm=warm, together=not slow),
        "memory": lambda: parts.memory(work, batch, updates=MEMORY_UPDATES),
        "records": lambda: parts.records(work, batch, updates=updates),
        "lycoris": lambda: parts.lycoris(work, batch, updates=updates),
        "overhead": lambda: parts.overhead(work, batches, updates=updates, warm=warm),
        "recall": lambda: trait_recall(work),
    }
    for part in wanted:
        print(f"{work.model_name}: measuring {part}", file=sys.stderr, flush=True)
        found[part] = measure[part]()
        write(found, options.out)
    return found


def _dataset(out: Path) -> dict[str, float]:
    """What a large dataset costs, measured and written; its ratios."""
    from . import bench_dataset

    print("dataset: writing and reading 10,000 pictures", file=sys.stderr, flush=True)
    parts = bench_dataset.measure()
    bench_dataset.write(parts, out, _processor())
    return bench_dataset.ratios(parts)


def _painted(part: str, folder: Path, precision: str, options: argparse.Namespace) -> dict[str, float]:
    """What a sweep or an augmentation costs beside plain sampling, measured and written; its ratios."""
    from . import bench_augment, bench_sweep

    print(f"{part}: painting", file=sys.stderr, flush=True)
    (folder / part).mkdir()
    work = Work(model_name=MINIATURE, folder=folder / part, precision=precision, kept=options.kept)
    bench = {SWEEP: bench_sweep, AUGMENT: bench_augment}[part]
    parts = bench.measure(work)
    bench.write(parts, options.out, _processor())
    return bench.ratios(parts)


def _processor() -> str:
    return f"{os.cpu_count()} cores of a {platform.machine()} CPU"


def _about(work: Work, device: str) -> dict[str, Any]:
    import torch

    machine = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return {
        "model": work.model_name, "device": device, "machine": machine, "torch": torch.__version__,
        "precision": work.precision, "rank": RANK, "side": work.side,
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
