"""What the bench found: the JSON with the issue's ratios, the bars they must clear, and the page of tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OURS, CORE, DIFFUSERS = "LoRA Kiln", "core's TrainLoraNode", "diffusers + peft"
BATCHES = (1, 4, 8)
# What a CPU run must reach: (key, bar, whether more is better).
BARS: tuple[tuple[str, float, bool], ...] = (
    ("images_per_s_vs_core_b1", 1.25, True),
    ("images_per_s_vs_core_b4", 2.0, True),
    ("images_per_s_vs_core_b8", 3.0, True),
    ("images_per_s_vs_diffusers", 1.25, True),
    ("step_time_10k_vs_100_records", 1.05, False),
    ("peak_memory_10k_vs_100_records", 1.05, False),
    ("lycoris_step_time_vs_bare", 1.05, False),
    ("overhead_share", 0.05, False),
    ("trait_recall_minus_core", 0.25, True),
    ("dataset_load_s_10k", 10.0, False),
    ("dataset_load_10k_vs_1k", 12.5, False),
    ("dataset_duplicates_10k_vs_1k", 12.5, False),
    ("dataset_peak_bytes_a_picture", 50_000.0, False),
    ("sweep_vs_plain_sampling", 1.05, False),
    ("sweep_cell_time_many_vs_few", 1.05, False),
    ("sweep_peak_memory_many_vs_few", 1.05, False),
    ("sweep_patches_a_column", 1.0, False),
    ("augment_vs_plain_sampling", 1.05, False),
    ("augment_picture_time_many_vs_few", 1.05, False),
    ("augment_peak_memory_many_vs_few", 1.05, False),
)


def ratios(parts: Mapping[str, Any]) -> dict[str, float]:
    """The figures that a reader compares, from what was measured; those of parts that were left out are not there."""
    found: dict[str, float] = {}
    if speed := parts.get("speed"):
        rows = {int(batch): row for batch, row in speed["images_per_s"].items()}
        for batch, row in rows.items():
            found[f"images_per_s_vs_core_b{batch}"] = row[OURS] / row[CORE]
        found["images_per_s_vs_diffusers"] = min(row[OURS] / row[DIFFUSERS] for row in rows.values())
    if memory := parts.get("memory"):
        found["peak_memory_vs_core"] = memory["peak_bytes"][OURS] / memory["peak_bytes"][CORE]
    if flat := parts.get("records"):
        few, many = sorted(flat["seconds_a_step"], key=int)
        found["step_time_10k_vs_100_records"] = flat["seconds_a_step"][many] / flat["seconds_a_step"][few]
        found["peak_memory_10k_vs_100_records"] = flat["peak_bytes"][many] / flat["peak_bytes"][few]
    if lycoris := parts.get("lycoris"):
        found["lycoris_step_time_vs_bare"] = max(
            row["engine"] / row["bare"] for row in lycoris["seconds_a_step"].values()
        )
    if overhead := parts.get("overhead"):
        found["overhead_share"] = max(overhead["share"].values())
    if recall := parts.get("recall"):
        core = max(value for name, value in recall["trait_recall"].items() if name.startswith(CORE))
        found["trait_recall_minus_core"] = recall["trait_recall"][OURS] - core
    return {name: round(value, 4) for name, value in found.items()}


def missed(found: Mapping[str, float]) -> list[str]:
    """One sentence for each bar that was measured and not reached."""
    return [
        f"{name} is {found[name]:.3g}, and must be {bar:g} or {'more' if more else 'less'}."
        for name, bar, more in BARS
        if name in found and (found[name] < bar if more else found[name] > bar)
    ]


def write(parts: Mapping[str, Any], folder: Path) -> None:
    """`<model>-<device>.json` and the page beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{parts['about']['model']}-{parts['about']['device']}"
    content = {**ratios(parts), **parts}
    (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(page(parts), encoding="utf-8")


def page(parts: Mapping[str, Any]) -> str:
    """The tables, as Markdown."""
    about, found = parts["about"], ratios(parts)
    lines = [
        f"# Training speed: {about['model']}, {about['device']}",
        "",
        f"{about['machine']}; PyTorch {about['torch']}, {about['precision']}, rank {about['rank']}, "
        f"{about['side']} pixels. Written by `python dev.py bench`; every ratio is of one run, in which the peers took "
        "turns. `docs/benchmarks/README.md` says what each line is.",
        "",
    ]
    for title, table in (
        ("Images a second", _speed(parts)),
        ("Memory and start", _memory(parts)),
        ("Records", _records(parts)),
        ("LyCORIS", _lycoris(parts)),
        ("Outside the model", _overhead(parts)),
        ("An unseen character", _recall(parts)),
        ("Ratios", _ratios(found)),
    ):
        if table:
            lines += [f"## {title}", "", *table, ""]
    return "\n".join(lines)


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table."""

    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    return [line(head), line(["---"] * len(head)), *map(line, rows)]


def _speed(parts: Mapping[str, Any]) -> list[str]:
    speed = parts.get("speed")
    if not speed:
        return []
    batches = list(speed["images_per_s"])
    rows = []
    for name in speed["images_per_s"][batches[0]]:
        trained = speed["trained"][name]
        rates = [f"{speed['images_per_s'][batch][name]:.2f}" for batch in batches]
        rows.append([name, f"{trained['layers']}", f"{trained['parameters']:,}", *rates])
    return table(["", "layers", "parameters", *(f"batch {batch}" for batch in batches)], rows)


def _memory(parts: Mapping[str, Any]) -> list[str]:
    memory = parts.get("memory")
    if not memory:
        return []
    rows = [
        [name, f"{peak / 2**20:,.0f} MiB", f"{memory['seconds_to_first_step'][name]:.2f} s"]
        for name, peak in memory["peak_bytes"].items()
    ]
    return table([f"batch {memory['batch']}", "peak", "to the first update"], rows)


def _records(parts: Mapping[str, Any]) -> list[str]:
    flat = parts.get("records")
    if not flat:
        return []
    rows = [
        [f"{int(count):,}", f"{seconds * 1000:.1f} ms", f"{flat['peak_bytes'][count] / 2**20:,.0f} MiB"]
        for count, seconds in flat["seconds_a_step"].items()
    ]
    return table(["records", f"an update, batch {flat['batch']}", "peak"], rows)


def _lycoris(parts: Mapping[str, Any]) -> list[str]:
    lycoris = parts.get("lycoris")
    if not lycoris:
        return []
    rows = [
        [name, f"{row['bare'] * 1000:.1f} ms", f"{row['engine'] * 1000:.1f} ms", f"{row['engine'] / row['bare']:.3f}"]
        for name, row in lycoris["seconds_a_step"].items()
    ]
    return table([f"batch {lycoris['batch']}", "bare modules", "the engine", "ratio"], rows)


def _overhead(parts: Mapping[str, Any]) -> list[str]:
    overhead = parts.get("overhead")
    if not overhead:
        return []
    rows = [[batch, f"{100 * share:.1f} %"] for batch, share in overhead["share"].items()]
    return table(["batch", "share of an update outside the model"], rows)


def _recall(parts: Mapping[str, Any]) -> list[str]:
    recall = parts.get("recall")
    if not recall:
        return []
    rows = [[name, f"{value:.3f}"] for name, value in recall["trait_recall"].items()]
    return table([f"after {recall['images']:,} images", "trait recall"], rows)


def _ratios(found: Mapping[str, float]) -> list[str]:
    bars = {name: f"{'at least' if more else 'at most'} {bar:g}" for name, bar, more in BARS}
    return table(
        ["", "found", "bar"], [[f"`{name}`", f"{value:g}", bars.get(name, "")] for name, value in found.items()]
    )
