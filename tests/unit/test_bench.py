"""The bench's own arithmetic: rounds, medians, ratios, bars and tables."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from demo import (  # noqa: E402
    bench,
    bench_augment,
    bench_dataset,
    bench_measure,
    bench_parts,
    bench_peers,
    bench_results,
    bench_sweep,
)
from demo.bench_results import CORE, DIFFUSERS, OURS  # noqa: E402
from demo.family import UNET  # noqa: E402

PARTS: dict[str, Any] = {
    "about": {
        "model": "miniature", "device": "cpu", "machine": "2 cores of a CPU", "torch": "2.0", "precision": "fp32",
        "rank": 8, "side": 128,
    },
    "speed": {
        "images_per_s": {
            "1": {OURS: 10.0, CORE: 5.0, DIFFUSERS: 8.0},
            "4": {OURS: 30.0, CORE: 10.0, DIFFUSERS: 20.0},
            "8": {OURS: 40.0, CORE: 8.0, DIFFUSERS: 40.0},
        },
        "trained": {name: {"layers": 96, "parameters": 1234} for name in (OURS, CORE, DIFFUSERS)},
    },
    "memory": {
        "batch": 4,
        "peak_bytes": {OURS: 2**30, CORE: 2**31, DIFFUSERS: 2**30},
        "seconds_to_first_step": {OURS: 1.0, CORE: 2.0, DIFFUSERS: 3.0},
    },
    "records": {
        "batch": 4,
        "seconds_a_step": {"100": 0.5, "10000": 0.51},
        "peak_bytes": {"100": 1000, "10000": 1100},
    },
    "lycoris": {
        "batch": 4,
        "seconds_a_step": {"LoHa": {"engine": 1.1, "bare": 1.0}, "LoKr": {"engine": 1.0, "bare": 1.25}},
    },
    "overhead": {"share": {"1": 0.04, "8": 0.01}},
    "recall": {
        "images": 2000,
        "trait_recall": {"without a LoRA": 0.9, OURS: 0.7, f"{CORE} at 0.0005": 0.25, f"{CORE} at 0.002": 0.3},
    },
}  # fmt: skip
FOUND = {
    "images_per_s_vs_core_b1": 2.0,
    "images_per_s_vs_core_b4": 3.0,
    "images_per_s_vs_core_b8": 5.0,
    "images_per_s_vs_diffusers": 1.0,
    "peak_memory_vs_core": 0.5,
    "step_time_10k_vs_100_records": 1.02,
    "peak_memory_10k_vs_100_records": 1.1,
    "lycoris_step_time_vs_bare": 1.1,
    "overhead_share": 0.04,
    "trait_recall_minus_core": 0.4,
}


def test_ratios_take_the_worst_batch_and_cores_best_rate() -> None:
    assert bench_results.ratios(PARTS) == pytest.approx(FOUND)


@pytest.mark.parametrize("part", [name for name in PARTS if name != "about"])
def test_what_was_not_measured_has_no_ratio(part: str) -> None:
    found = bench_results.ratios({name: value for name, value in PARTS.items() if name != part})
    assert set(found) < set(FOUND)


def test_missed_bars_are_named_with_what_they_ask() -> None:
    words = bench_results.missed(FOUND)
    assert [line.split()[0] for line in words] == [
        "images_per_s_vs_diffusers",
        "peak_memory_10k_vs_100_records",
        "lycoris_step_time_vs_bare",
    ]
    assert words[0] == "images_per_s_vs_diffusers is 1, and must be 1.25 or more."
    assert words[1].endswith("must be 1.05 or less.")
    assert not bench_results.missed(
        {**FOUND, **{line.split()[0]: bar for line, (bar) in zip(words, (1.3, 1, 1), strict=True)}}
    )


def test_the_json_and_the_page_hold_everything(tmp_path: Path) -> None:
    bench_results.write(PARTS, tmp_path)
    content = json.loads((tmp_path / "miniature-cpu.json").read_text())
    assert {key: content[key] for key in FOUND} == pytest.approx(FOUND)
    assert content["speed"] == PARTS["speed"]
    page = (tmp_path / "miniature-cpu.md").read_text()
    assert f"| {OURS} | 96 | 1,234 | 10.00 | 30.00 | 40.00 |" in page
    assert f"| {CORE} | 2,048 MiB | 2.00 s |" in page
    assert "| 10,000 | 510.0 ms |" in page
    assert "| LoHa | 1000.0 ms | 1100.0 ms | 1.100 |" in page
    assert "| `trait_recall_minus_core` | 0.4 | at least 0.25 |" in page
    assert "## LyCORIS" not in bench_results.page({"about": PARTS["about"]})


def test_medians_and_rates() -> None:
    seconds = {"a": [0.1, 0.2, 9.0], "b": [0.4, 0.4]}
    assert bench_measure.medians(seconds) == pytest.approx({"a": 0.2, "b": 0.4})
    assert bench_measure.images_per_second(4, seconds) == pytest.approx({"a": 20, "b": 10})


def test_what_comes_before_the_counted_updates_is_in_none_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1.0]
    monkeypatch.setattr(bench_measure.time, "perf_counter", lambda: now[0])
    clock = bench_measure.Clock(warm=2)
    for step in range(6):
        now[0] += 0.5 if step < 3 else 0.25
        clock()
    assert clock.seconds == [0.25] * 3


def test_the_benchs_own_work_after_an_update_is_in_no_updates_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1.0]

    def work() -> None:
        now[0] += 0.5

    monkeypatch.setattr(bench_measure.time, "perf_counter", lambda: now[0])
    clock = bench_measure.Clock(warm=0, after=work)
    for _ in range(4):
        now[0] += 0.25
        clock()
    assert clock.seconds == [0.25] * 3
    assert clock.first == 1.25


def test_the_first_update_of_a_turn_is_cold_and_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    now = [0.0]
    monkeypatch.setattr(bench_measure.time, "perf_counter", lambda: now[0])
    clock = bench_measure.Clock(warm=0, turn=3, after=lambda: waits.append(1))
    for step in range(9):
        now[0] += 0.05 if step % 3 == 0 else 0.001
        clock()
    assert len(waits) == 3
    assert len(clock.seconds) == 6
    assert max(clock.seconds) < 0.04


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU its own memory counts")
def test_a_peak_is_seen_after_it_has_passed() -> None:
    with bench_measure.memory_peak() as peak:
        before = peak()
        held = torch.ones(64 * 2**20, dtype=torch.uint8)
        time.sleep(0.1)
        del held
        assert peak() - before > 48 * 2**20


def test_leaves_are_the_trainable_tensors_behind_an_output() -> None:
    a, b, c = (torch.ones(2, requires_grad=trained) for trained in (True, True, False))
    assert {id(t) for t in bench_parts._leaves((a * b).sum() + (a * c).sum())} == {id(a), id(b)}


def test_batches_pass_over_every_picture_before_any_comes_again() -> None:
    rows = bench_peers._batches(6, 4, torch.Generator().manual_seed(0))
    seen = [row for _ in range(3) for row in next(rows)]
    assert len(seen) == 12
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_diffusers_gets_the_published_shape_of_sd15() -> None:
    from demo.bench_work import _FULL_UNETS, _SHARED_UNET, FULL

    config = bench_peers.diffusers_config({**_SHARED_UNET, **_FULL_UNETS[FULL]})
    assert config["block_out_channels"] == [320, 640, 1280, 1280]
    assert config["down_block_types"] == [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"]
    assert config["up_block_types"] == ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3]
    assert (config["attention_head_dim"], config["cross_attention_dim"], config["layers_per_block"]) == (8, 768, 2)
    assert "addition_embed_type" not in config


def test_diffusers_gets_sdxls_and_the_miniatures() -> None:
    from demo.bench_work import _FULL_UNETS, _SHARED_UNET, LARGE

    config = bench_peers.diffusers_config({**_SHARED_UNET, **_FULL_UNETS[LARGE]})
    assert config["down_block_types"] == ["DownBlock2D", *["CrossAttnDownBlock2D"] * 2]
    assert config["transformer_layers_per_block"] == [1, 2, 10]
    assert config["attention_head_dim"] == [5, 10, 20]
    assert config["projection_class_embeddings_input_dim"] == 2816
    small = bench_peers.diffusers_config({**UNET, "adm_in_channels": None})
    assert small["up_block_types"] == ["CrossAttnUpBlock2D"] * 3
    assert small["attention_head_dim"] == 4


@pytest.mark.parametrize(("words", "complaint"), [("--model=sd16", "sd16"), ("--parts=speed,heat", "heat")])
def test_unknown_words_are_refused_with_the_known_ones(
    words: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        bench.main([words])
    said = capsys.readouterr().err
    assert complaint in said
    assert "known are" in said


LARGE_DATASET: dict[str, Any] = {
    "side": 256,
    "rounds": 3,
    "seconds": {"1000": {"load": 0.1, "duplicates": 2.0}, "10000": {"load": 1.1, "duplicates": 30.0}},
    "bytes": {"1000": {"the dataset": 2**20, "peak": 2**21}, "10000": {"the dataset": 2**23, "peak": 2**24}},
}


def test_a_large_dataset_is_compared_with_a_tenth_of_it(tmp_path: Path) -> None:
    found = bench_dataset.ratios(LARGE_DATASET)
    assert found["dataset_load_10k_vs_1k"] == pytest.approx(11.0)
    assert found["dataset_load_s_10k"] == pytest.approx(1.1)
    assert found["dataset_peak_bytes_a_picture"] == pytest.approx(2**24 / 10_000, abs=0.01)
    assert [line.split()[0] for line in bench_results.missed(found)] == ["dataset_duplicates_10k_vs_1k"]
    bench_dataset.write(LARGE_DATASET, tmp_path, "2 cores")
    page = (tmp_path / "dataset.md").read_text()
    assert "| duplicates | 2.000 s | 30.000 s | 15.0 |" in page
    assert "| memory: peak | 2.0 MiB | 16.0 MiB | 8.0 |" in page
    assert json.loads((tmp_path / "dataset.json").read_text())["seconds"] == LARGE_DATASET["seconds"]


def test_every_step_of_the_large_dataset_is_taken(tmp_path: Path) -> None:
    bench_dataset.write_pictures(tmp_path / "part 0", 0, count=bench_dataset.COPY_EVERY)
    found = bench_dataset.steps(tmp_path)
    assert found["pictures"] == bench_dataset.COPY_EVERY
    assert set(found["seconds"]) == {
        "load", "fingerprint", "names", "select", "buckets", "duplicates", "report",
    }  # fmt: skip
    assert all(seconds > 0 for seconds in found["seconds"].values())


def test_a_sweep_is_compared_with_plain_sampling_and_with_fewer_cells(tmp_path: Path) -> None:
    parts = {
        "columns": 4, "few_cells": 16, "many_cells": 64, "patches": 3, "side": 128, "steps": 20,
        "peak_bytes": {"few": 1000, "many": 1030},
        "rounds": [{"sweep": s, "plain": 10.0, "many": 4.4 * s} for s in (10.2, 10.4, 30.0)],
    }  # fmt: skip
    found = bench_sweep.ratios(parts)
    assert found == {
        "sweep_vs_plain_sampling": 1.04, "sweep_cell_time_many_vs_few": 1.1, "sweep_peak_memory_many_vs_few": 1.03,
        "sweep_patches_a_column": 1.0,
    }  # fmt: skip
    assert [words.split()[0] for words in bench_results.missed(found)] == ["sweep_cell_time_many_vs_few"]
    assert bench_results.missed({**found, "sweep_patches_a_column": 4.0})[-1].startswith("sweep_patches_a_column is 4")
    bench_sweep.write(parts, tmp_path, "a machine")
    assert "| Epoch Sweep | 16 | 0.650 s |" in (tmp_path / "sweep.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))["patches"] == 3


def test_an_augmentation_is_compared_with_plain_sampling_and_with_fewer_variants(tmp_path: Path) -> None:
    parts = {
        "few_pictures": 6, "many_pictures": 24, "side": 128, "steps": 25, "denoise": 0.6,
        "peak_bytes": {"few": 1000, "many": 1010},
        "seconds": {"few": 10.0, "many": 41.0},
        "rounds": [{"augment": s, "plain": 10.0} for s in (10.1, 10.3, 40.0)],
    }  # fmt: skip
    found = bench_augment.ratios(parts)
    assert found == {
        "augment_vs_plain_sampling": 1.03, "augment_picture_time_many_vs_few": 1.025,
        "augment_peak_memory_many_vs_few": 1.01,
    }  # fmt: skip
    assert bench_results.missed(found) == []
    slow = bench_results.missed({**found, "augment_vs_plain_sampling": 1.06})
    assert [words.split()[0] for words in slow] == ["augment_vs_plain_sampling"]
    bench_augment.write(parts, tmp_path, "a machine")
    assert "| ControlNet Style Augment | 24 |" in (tmp_path / "augment.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "augment.json").read_text(encoding="utf-8"))["many_pictures"] == 24
