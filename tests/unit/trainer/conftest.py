"""A hand-written stand-in for the host: a linear network that predicts noise, and pictures of one colour."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.trainer import loop
from lora_kiln.trainer.formats import load_file
from lora_kiln.trainer.groups import Amount, Buckets, Captions, Network, Optimizer
from lora_kiln.trainer.ports import Asked, BlockCounts, Layer, ModelTraits, StepReport, View
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.runs import RunFolder
from lora_kiln.trainer.values import Run

WORDS = 16


class EpsSchedule:
    """Noise prediction: x_t = x0 + s * noise, x0 = x_t - s * out."""

    def __init__(self, levels: Sequence[float] = (0.5, 1.0, 2.0)) -> None:
        self._levels = torch.tensor(levels)

    def sigmas(self) -> Tensor:
        return self._levels

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        return x0 + sigma.view(-1, 1, 1, 1) * noise

    def denoised_from(self, sigma: Tensor, output: Tensor, x_t: Tensor) -> Tensor:
        return x_t - sigma.view(-1, 1, 1, 1) * output


class FakeModel:
    """A convolution and two linear layers; `bad_calls` are the calls of `denoise` that answer with NaN."""

    def __init__(self, bad_calls: Sequence[int] = ()) -> None:
        draw = torch.Generator().manual_seed(1)
        # Without PyTorch's own initial weights, which would draw from the global generator.
        self.conv = nn.utils.skip_init(nn.Conv2d, 4, 8, 3, padding=1)
        self.mix, self.words = nn.utils.skip_init(nn.Linear, 8, 4), nn.utils.skip_init(nn.Linear, WORDS, 8)
        for module in self.modules():
            for parameter in module.parameters():
                parameter.data.normal_(0, 0.2, generator=draw)
                parameter.requires_grad_(False)
        self.schedule = EpsSchedule()
        self.bad_calls = bad_calls
        self.calls = 0
        self.is_open = False
        self.encoded: list[str] = []
        self.readers = self.readings = 0
        self.views: list[View] = []
        self.seen: list[View] = []

    def modules(self) -> tuple[nn.Module, ...]:
        return self.conv, self.mix, self.words

    def snapshot(self) -> list[Tensor]:
        """A copy of every weight."""
        return [p.detach().clone() for module in self.modules() for p in module.parameters()]

    def layers(self) -> list[Layer]:
        return [
            Layer(key="lora_unet_conv", module=self.conv, part="unet", conv=True),
            Layer(key="lora_unet_mix", module=self.mix, part="unet", conv=False),
            Layer(key="lora_te_words", module=self.words, part="text", conv=False),
        ]

    @contextlib.contextmanager
    def open(self, *, precision: str, checkpointing: bool, text: bool = True) -> Iterator[None]:
        self.is_open = True
        try:
            yield
        finally:
            self.is_open = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        self.readers += 1
        yield
        self.readers -= 1
        self.readings += not self.readers

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        x = nn.functional.avg_pool2d(pixels.permute(0, 3, 1, 2), 8) * 2 - 1
        return torch.cat([x, x.mean(dim=1, keepdim=True)], dim=1)

    def encode_text(
        self, captions: Sequence[str], views: Sequence[View], *, clip_skip: int, max_tokens: int, **_: Any
    ) -> list[Any]:
        self.encoded += captions
        self.views += views
        bags = torch.zeros(len(captions), WORDS)
        for row, caption in enumerate(captions):
            for word in caption.split(", "):
                bags[row, zlib.crc32(word.encode()) % WORDS] += 1
        return list(self.words(bags))

    def seen_as(self, cond: Any, view: View) -> Any:
        self.seen.append(view)
        return cond

    def denoise(self, x_t: Tensor, sigma: Tensor, conds: Sequence[Any]) -> Tensor:
        assert self.is_open
        self.calls += 1
        scale = sigma.view(-1, 1, 1, 1)
        hidden = self.conv(x_t / (scale**2 + 1).sqrt()) + torch.stack(list(conds))[:, :, None, None]
        out = self.mix(hidden.movedim(1, -1)).movedim(-1, 1)
        if self.calls in self.bad_calls:
            out = out * float("nan")
        return x_t - scale * out

    def blocks(self) -> BlockCounts | None:
        return None

    def pixel_mark(self) -> str:
        return "averages of eight by eight pixels"

    def sample(
        self,
        prompt: str,
        *,
        negative: str,
        width: int,
        height: int,
        steps: int,
        cfg: float,
        seed: int,
        clip_skip: int,
    ) -> Tensor:
        level = zlib.crc32(f"{prompt} {seed}".encode()) % 256 / 255
        return torch.full((height, width, 3), level) + self.mix(torch.ones(8)).mean() * 0

    def traits(self) -> ModelTraits:
        return ModelTraits(device="cpu", clip_layers=12, weight_bytes=1000)

    def memory(self) -> int:
        return 5000

    def facts(self) -> dict[str, str]:
        return {"ss_base_model_version": "fake", "modelspec.prediction_type": "epsilon"}


class FakeReporter:
    """Remembers what it hears; raises `KeyboardInterrupt` at step `stop_at`. `wishes` are what is asked at a step."""

    def __init__(self, stop_at: int = 0, wishes: Mapping[int, Asked] | None = None) -> None:
        self.stop_at, self.wishes = stop_at, wishes or {}
        self.begins: list[tuple[str, int, int]] = []
        self.stages: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self.paintings: list[Path] = []
        self.steps: list[StepReport] = []
        self.files: list[Path] = []

    def begun(self, folder: Path, step: int, steps: int) -> None:
        self.begins.append((folder.name, step, steps))

    def asked(self) -> Asked:
        return self.wishes.get(self.steps[-1].step, Asked()) if self.steps else Asked()

    def stage(self, words: str, done: int, total: int) -> None:
        self.stages.append((done, total))

    def note(self, words: str) -> None:
        self.notes.append(words)

    def painted(self, step: int, files: Sequence[Path]) -> None:
        self.paintings += files

    def step(self, report: StepReport) -> None:
        self.steps.append(report)
        if report.step == self.stop_at:
            raise KeyboardInterrupt

    def saved(self, epoch: int, file: Path) -> None:
        self.files.append(file)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors here are tiny: several threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def fake_model() -> type[FakeModel]:
    return FakeModel


@pytest.fixture
def fake_reporter() -> type[FakeReporter]:
    return FakeReporter


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Dataset]:
    """Writes one-colour pictures and returns them as a dataset."""

    def make(*colors: str, size: tuple[int, int] = (64, 64), **fields: Any) -> Dataset:
        records = []
        for color in colors:
            file = tmp_path / "pictures" / f"{color}.png"
            file.parent.mkdir(exist_ok=True)
            Image.new("RGB", size, color).save(file)
            records.append(Record(image=file, size=size, **{"tags": ("kiln", color), **fields}))
        return Dataset(records=tuple(records), trigger="kiln")

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., RunFolder]:
    """A run's folder by its name, fresh or again."""

    def make(name: str, mark: str = "mark") -> RunFolder:
        return RunFolder(tmp_path / "runs" / name, name, mark, Dataset(trigger="kiln"))

    return make


@pytest.fixture
def train(tmp_path: Path, folder: Callable[..., RunFolder]) -> Callable[..., Run]:
    """Trains a fresh model, with latents that all runs of a test share."""

    def run(
        dataset: Dataset,
        recipe: Recipe,
        name: str = "run",
        *,
        model: Any = None,
        reporter: Any = None,
        start: Any = None,
    ) -> Run:
        return loop.train(
            model or FakeModel(),
            dataset,
            recipe,
            folder(name),
            reporter or FakeReporter(),
            latents=tmp_path / "latents",
            start=start,
        )

    return run


@pytest.fixture
def trained(train: Callable[..., Run]) -> Callable[..., dict[str, Tensor]]:
    """Trains a fresh model and returns the last epoch's tensors."""

    def run(dataset: Dataset, recipe: Recipe, name: str) -> dict[str, Tensor]:
        return load_file(train(dataset, recipe, name).checkpoint(0).file)[0]

    return run


@pytest.fixture
def outcome() -> Callable[[Path], dict[str, Any]]:
    """All that a finished run left behind, apart from how long it took."""

    def rows(file: Path) -> list[dict[str, Any]]:
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [{k: v for k, v in json.loads(line).items() if k not in ("seconds", "it_s", "memory")} for line in lines]

    def read(folder: Path) -> dict[str, Any]:
        about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert about["finished"]
        names = [row["file"] for row in about["checkpoints"]]
        assert sorted(names) == sorted(file.name for file in folder.glob("*.safetensors"))
        return {
            "checkpoints": about["checkpoints"],
            "tensors": {name: {k: v.tolist() for k, v in load_file(folder / name)[0].items()} for name in names},
            "metrics": rows(folder / "metrics.jsonl"),
            "validation": rows(folder / "validation.jsonl"),
            "samples": {file.name: file.read_bytes() for file in folder.glob("samples/*")},
            "left over": sorted(file.name for kind in ("*.partial", "state.pt") for file in folder.rglob(kind)),
        }

    return read


@pytest.fixture
def small_recipe() -> Callable[..., Recipe]:
    """A recipe for pictures of 64 pixels: AdamW, rank 4 everywhere, constant rate."""

    def make(*, epochs: int = 2, batch: int = 2, text_lr: float = 0.01, seed: int = 0, **groups: Any) -> Recipe:
        values: dict[str, Any] = {
            "amount": Amount(epochs=epochs, batch_size=batch),
            "network": Network(dim=4, alpha=4.0, conv_dim=4, conv_alpha=4.0),
            "optimizer": Optimizer(unet_lr=0.01, text_lr=text_lr, lr_scheduler="constant"),
            "buckets": Buckets(resolution=64, bucket_step=64, min_bucket=64, max_bucket=64),
            "captions": Captions(shuffle_caption=False),
        }
        return Recipe(seed=seed, **{**values, **groups})

    return make
