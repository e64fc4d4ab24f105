"""A run that is stopped and gone on with ends as one that never stopped, to the bit."""

from __future__ import annotations

import io
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer import loop, writing
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.groups import Network
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.state import load_state

TAGS = ("kiln", "a", "b", "c")
# Where the run is judged and saved in between, so that a stop can fall everywhere.
SAVING = {
    "save_every": "3 steps",
    "validation_share": 0.25,
    "validate_every": "2 steps",
    "sample_prompts": ("kiln", "kiln, a"),
    "sample_every": "4 steps",
    "sample_steps": 1,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "draws": {"shuffle_caption": True, "tag_dropout": 0.3, "flip_aug": True, "random_crop": True, "color_aug": True},
    "average": {"ema_decay": 0.9},
    "accumulation": {"accumulation": 2, "batch_size": 1},
    "text stop": {"stop_text_at": "5 steps", "ema_decay": 0.9},
    "cosine": {"lr_scheduler": "cosine_with_restarts", "cycles": 2, "warmup": "2"},
    "Prodigy": {"optimizer_type": "Prodigy", "unet_lr": 1.0, "text_lr": 1.0, "optimizer_args": ("d0=0.001",)},
    "schedule-free": {"optimizer_type": "AdamWScheduleFree", "stop_text_at": "5 steps"},
    "dropouts": {"network_dropout": 0.3, "rank_dropout": 0.3, "module_dropout": 0.3, "scale_weight_norms": 0.3},
    "LoHa": {"network_type": "LoHa", "rank_dropout": 0.3, "module_dropout": 0.3, "scale_weight_norms": 0.2},
    "DyLoRA": {"network_type": "DyLoRA", "ema_decay": 0.9},
    "DoRA": {"dora": True, "optimizer_type": "CAME"},
    "keep last": {"keep_last": 1, "save_every": "2 steps"},
    "max steps": {"max_train_steps": 5, "noise_offset": 0.1, "ip_noise_gamma": 0.1},
}


class Stopped(Exception):
    """What ends a run in these tests."""


class Bomb:
    """Counts what a run does and raises at one of the counts."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.count = at, 0

    def tick(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise Stopped

    def under(self, thing: Any, *names: str) -> Any:
        """The same thing, ticking before each of these calls."""
        for name in names:
            setattr(thing, name, self._ticking(getattr(thing, name)))
        return thing

    def _ticking(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def ticking(*args: Any, **kwargs: Any) -> Any:
            self.tick()
            return call(*args, **kwargs)

        return ticking


@pytest.fixture
def dataset(pictures: Callable[..., Dataset]) -> Dataset:
    return pictures("red", "blue", "lime", "navy", tags=TAGS)


@pytest.fixture
def recipe_of(small_recipe: Callable[..., Recipe]) -> Callable[..., Recipe]:
    def make(**settings: Any) -> Recipe:
        small = small_recipe(epochs=4, network=Network(dim=2, alpha=2.0, conv_dim=2, conv_alpha=2.0))
        return small.with_settings(**{**SAVING, **settings})

    return make


@pytest.fixture
def attempt(train: Callable[..., Any], dataset: Dataset, fake_model: Any, fake_reporter: Any) -> Callable[..., bool]:
    """Trains until the run is done or the bomb goes off; says which."""

    def run(recipe: Recipe, name: str, bomb: Bomb) -> bool:
        model = bomb.under(fake_model(), "denoise", "encode_text", "sample")
        reporter = bomb.under(fake_reporter(), "stage", "note", "step", "saved", "painted")
        try:
            train(dataset, recipe, name, model=model, reporter=reporter)
        except Stopped:
            return False
        return True

    return run


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_stopped_anywhere_ends_as_one_that_never_stopped(
    attempt: Any, recipe_of: Any, folder: Any, outcome: Any, variant: str
) -> None:
    recipe, whole = recipe_of(**VARIANTS[variant]), Bomb()
    assert attempt(recipe, "whole", whole)
    expected = outcome(folder("whole").folder)
    assert [row["step"] for row in expected["metrics"]] == list(range(1, len(expected["metrics"]) + 1))
    assert expected["left over"] == []
    draw = random.Random(variant)
    name = "stopped"
    for _ in range(4):
        if attempt(recipe, name, Bomb(draw.randrange(whole.count // 4, whole.count + 1))):
            break
    else:
        assert attempt(recipe, name, Bomb())
    found = outcome(folder(name).folder)
    renamed = {key.replace("whole", name): value for key, value in expected["tensors"].items()}
    assert found["tensors"] == renamed
    for key in ("metrics", "validation", "samples", "left over"):
        assert found[key] == expected[key], key
    assert [(row["epoch"], row["step"]) for row in found["checkpoints"]] == [
        (row["epoch"], row["step"]) for row in expected["checkpoints"]
    ]


def test_no_moment_of_a_run_is_a_bad_one_to_stop_it(attempt: Any, recipe_of: Any, folder: Any, outcome: Any) -> None:
    """Before every fourth thing that the run does, with all that it writes switched on."""
    recipe, whole = recipe_of(ema_decay=0.9, optimizer_type="AdamWScheduleFree", keep_last=2), Bomb()
    assert attempt(recipe, "run", whole)
    expected = outcome(folder("run").folder)
    assert whole.count > 40
    for at in range(2, whole.count + 1, 4):
        (folder("run").folder / "run.json").unlink()
        assert not attempt(recipe, "run", Bomb(at))
        assert attempt(recipe, "run", Bomb())
        found = outcome(folder("run").folder)
        assert found == expected, f"stopped before number {at} of {whole.count}"


def test_a_run_goes_on_from_its_last_step_and_says_so(
    train: Any, recipe_of: Any, dataset: Dataset, fake_reporter: Any, fake_model: Any
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(dataset, recipe_of(), reporter=fake_reporter(stop_at=5))
    reporter, model = fake_reporter(), fake_model()
    train(dataset, recipe_of(), model=model, reporter=reporter)
    assert [step.step for step in reporter.steps] == [6, 7, 8]
    assert "Going on after step 5 of 8." in reporter.notes


def test_a_kill_between_the_state_and_its_lora_loses_nothing(
    attempt: Any, recipe_of: Any, folder: Any, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of step 6, an epoch's end, is there and the last LoRA is still that of step 3."""
    recipe = recipe_of(keep_last=1)
    assert attempt(recipe, "run", Bomb())
    expected = outcome(folder("run").folder)
    (folder("run").folder / "run.json").unlink()
    save, saved = writing.save_file, []

    def killed(tensors: Any, metadata: dict[str, str], file: Path) -> None:
        saved.append(int(metadata["ss_steps"]))
        if saved[-1] > 3:
            raise Stopped
        save(tensors, metadata, file)

    monkeypatch.setattr(writing, "save_file", killed)
    assert not attempt(recipe, "run", Bomb())
    assert saved == [3, 6]
    state = load_state(folder("run").folder)
    assert state is not None
    assert state["step"] == 6
    monkeypatch.undo()
    assert attempt(recipe, "run", Bomb())
    assert outcome(folder("run").folder) == expected


def test_a_full_disk_keeps_the_older_state_and_says_what_to_do(
    attempt: Any, recipe_of: Any, folder: Any, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of()
    assert attempt(recipe, "run", Bomb())
    expected = outcome(folder("run").folder)
    (folder("run").folder / "run.json").unlink()
    state = folder("run").folder / "state.pt"
    save, whole = torch.save, []

    def full(content: Any, file: Any) -> None:
        if content["step"] > 3:
            whole.append(state.read_bytes())
            file.write(whole[0][:100])
            raise OSError(28, "No space left on device")
        save(content, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(KilnError, match=r"state\.pt could not be written.*No space left.*Free space"):
        attempt(recipe, "run", Bomb())
    assert state.read_bytes() == whole[0]
    assert not list(folder("run").folder.glob("*.partial"))
    monkeypatch.undo()
    assert attempt(recipe, "run", Bomb())
    assert outcome(folder("run").folder) == expected


@pytest.mark.parametrize(("name", "line"), [("metrics.jsonl", 4), ("validation.jsonl", 2)])
def test_a_line_that_cannot_be_written_is_written_when_the_run_goes_on(
    attempt: Any,
    recipe_of: Any,
    folder: Any,
    outcome: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    line: int,
) -> None:
    recipe = recipe_of()
    assert attempt(recipe, "run", Bomb())
    expected = outcome(folder("run").folder)
    (folder("run").folder / "run.json").unlink()
    lines: list[bytes] = []

    class Full(io.FileIO):
        def write(self, content: Any) -> int:
            if Path(str(self.name)).name == name:
                lines.append(content)
                if len(lines) == line:
                    raise OSError(28, "No space left on device")
            return super().write(content)

    monkeypatch.setattr(io, "FileIO", Full)
    with pytest.raises(KilnError, match=rf"{re.escape(name)} could not be written.*No space left"):
        attempt(recipe, "run", Bomb())
    monkeypatch.undo()
    assert attempt(recipe, "run", Bomb())
    assert outcome(folder("run").folder) == expected


def broken_states() -> dict[str, bytes]:
    file = io.BytesIO()
    torch.save({"step": 5, "weights": []}, file)
    other = io.BytesIO()
    torch.save([1, 2], other)
    return {
        "empty": b"", "zeros": bytes(4000), "text": b"no state at all\n" * 50,
        "noise": random.Random(0).randbytes(4000),
        "half": file.getvalue()[: len(file.getvalue()) // 2], "another version's": file.getvalue(),
        "something else": other.getvalue(), "pickle": b"\x80\x02cos\nsystem\nq\x00.",
    }  # fmt: skip


@pytest.mark.parametrize("kind", broken_states())
def test_a_state_that_cannot_be_read_begins_anew(
    attempt: Any,
    recipe_of: Any,
    folder: Any,
    outcome: Any,
    train: Any,
    dataset: Dataset,
    fake_reporter: Any,
    kind: str,
) -> None:
    recipe = recipe_of(max_train_steps=3)
    assert attempt(recipe, "run", Bomb())
    expected = outcome(folder("run").folder)
    (folder("run").folder / "run.json").unlink()
    with pytest.raises(KeyboardInterrupt):
        train(dataset, recipe, reporter=fake_reporter(stop_at=2))
    (folder("run").folder / "state.pt").write_bytes(broken_states()[kind])
    reporter = fake_reporter()
    train(dataset, recipe, reporter=reporter)
    assert [step.step for step in reporter.steps] == [1, 2, 3]
    assert outcome(folder("run").folder) == expected


def test_another_runs_state_in_the_folder_is_never_taken_for_ones_own(
    train: Any, recipe_of: Any, dataset: Dataset, folder: Any, fake_model: Any, fake_reporter: Any, tmp_path: Path
) -> None:
    """Also when the new run is stopped before it wrote a state of its own."""
    with pytest.raises(KeyboardInterrupt):
        train(dataset, recipe_of(seed=1), reporter=fake_reporter(stop_at=5))

    def other(model: Any) -> list[int]:
        reporter, place = fake_reporter(), folder("run", "another mark")
        loop.train(model, dataset, recipe_of(), place, reporter, latents=tmp_path / "latents")
        return [step.step for step in reporter.steps]

    with pytest.raises(Stopped):
        # The first call is the preflight's.
        other(Bomb(2).under(fake_model(), "denoise"))
    assert other(fake_model()) == list(range(1, 9))
