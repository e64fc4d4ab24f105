"""The bench's peers do the same work on the same network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("peft")


@pytest.fixture
def work(inside: Path, tmp_path: Path) -> Any:
    """The miniature model and its pictures."""
    from demo.bench_work import MINIATURE, Work

    return Work(model_name=MINIATURE, folder=tmp_path, precision="fp32", kept=tmp_path)


def test_diffusers_unet_is_the_hosts(work: Any) -> None:
    """The same noise is predicted for the same input, at three noise levels."""
    import torch

    from demo.bench_peers import diffusers_unet

    model, draw = work.loaded[0].model, torch.Generator().manual_seed(0)
    x, context = torch.randn(3, 4, 16, 16, generator=draw), torch.randn(3, 77, 128, generator=draw)
    t = torch.tensor([10, 500, 990])
    unet = diffusers_unet(work).eval()
    with torch.no_grad():
        mine = unet(x, t, context, return_dict=False)[0]
        theirs = model.diffusion_model(x, t.float(), context=context)
    assert theirs.std() > 0.1
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


def test_ours_and_diffusers_train_the_same_layers_and_core_more(work: Any) -> None:
    from demo.bench_measure import Clock
    from demo.bench_peers import Core, Diffusers, Ours

    found = []
    for peer in (Ours(), Diffusers(), Core()):
        clock = Clock(warm=0)
        found.append(peer.train(work, 2, 3, clock))
        assert len(clock.seconds) == 2
    ours, diffusers, core = found
    assert ours == diffusers
    assert ours.layers > 50
    assert core.layers > 2 * ours.layers
    assert core.parameters > ours.parameters


def test_what_an_update_does_outside_the_network_is_measured(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from demo.bench_parts import overhead
    from lora_kiln.trainer import step

    report = step._report

    def slow(*given: Any) -> None:
        time.sleep(1.0)
        report(*given)

    [plain] = overhead(work, [2], updates=4)["share"].values()
    monkeypatch.setattr(step, "_report", slow)
    [share] = overhead(work, [2], updates=4)["share"].values()
    assert 0 <= plain < share < 1
    # A second beside the network, whose own pass takes a tenth of one.
    assert share > 0.5


def test_lycoris_in_a_bare_loop_trains_what_the_engine_trains(work: Any) -> None:
    from demo.bench_bare import Bare
    from demo.bench_peers import Ours

    for kind in ("LoHa", "LoKr"):
        bare = Bare(kind).train(work, 2, 1, lambda: None)
        assert bare.layers == Ours(settings={"network_type": kind}).train(work, 2, 1, lambda: None).layers


def test_peers_in_processes_of_their_own_take_turns(work: Any, tmp_path: Path) -> None:
    from demo.bench_jobs import take_turns
    from demo.bench_parts import PEERS, job

    found = take_turns({name: job(work, name, 1, 2, warm=1) for name in PEERS}, kept=tmp_path)
    assert list(found) == list(PEERS)
    for one in found.values():
        assert len(one["seconds"]) == 2
        assert one["peak_bytes"] > 2**27
        assert one["seconds_to_first_step"] > max(one["seconds"]) / 2


def test_a_process_that_fails_is_named(work: Any, tmp_path: Path) -> None:
    from demo.bench_jobs import take_turns
    from demo.bench_parts import job

    with pytest.raises(RuntimeError, match="nobody ended with exit code 1"):
        take_turns({"nobody": job(work, "nobody", 1, 1)}, kept=tmp_path)


def test_more_records_than_pictures_share_them(work: Any) -> None:
    import dataclasses

    many = dataclasses.replace(work, records=100).dataset
    assert len(many.records) == 100
    assert {record.image for record in many} == {record.image for record in work.dataset}
    assert all("mirelva" in record.tags and not record.prose for record in many)


def test_shots_are_painted_together_with_a_lora(work: Any) -> None:
    import numpy as np
    import torch

    from demo.bench_peers import Ours
    from demo.bench_recall import painted
    from demo.shots import trait_shots
    from demo.world.characters import characters

    shots = trait_shots(characters()["mirelva"], 2)
    ours = Ours()
    ours.train(work, 2, 1, lambda: None)
    strong = {key: value if key.endswith("alpha") else value + 0.05 for key, value in ours.tensors.items()}
    with torch.inference_mode():
        plain, changed = (np.stack(painted(work, lora, shots)).astype(float) for lora in ({}, strong))
    assert plain.shape == (2, 128, 128, 3)
    assert plain.std() > 20
    assert np.abs(plain - changed).mean() > 1
