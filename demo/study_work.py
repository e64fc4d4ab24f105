"""What every study does: strangers as datasets, LoRAs of them, pictures, marks. Each is kept, so that a study that
was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .bench_recall import painted
from .bench_work import MINIATURE_FILE, start_host
from .graphs import CFG, CONTROLNET, SAMPLER, SCHEDULER, SIDE
from .marking import found_tags
from .mount import ROOT
from .shots import Shot
from .silent import Silent
from .world.characters import Character
from .world.draw import draw
from .world.figure import Figure

CONTROL_FILE = ROOT / "demo" / "models" / "controlnet" / CONTROLNET
BATCH = 8
TOGETHER = 16
"""Pictures painted at once."""
STEPS = 10
"""Of the sampler: with 20 the tagger found the same shares (0.80 of the traits, 0.72 of what prompts asked for)."""
# Those of the pack's example workflow.
SETTINGS: dict[str, Any] = {
    "batch_size": BATCH, "dim": 32, "alpha": 32.0, "conv_dim": 8, "conv_alpha": 8.0, "unet_lr": 2e-3, "text_lr": 2e-3,
    "resolution": SIDE, "min_bucket": 64, "debiased_estimation": True,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Studio:
    """A host in this process and a folder where everything is kept."""

    kept: Path

    @cached_property
    def loaded(self) -> tuple[Any, Any, Any]:
        """MODEL, CLIP and VAE of the miniature world, under inference mode, as in a prompt."""
        start_host(self.kept / "base")
        import comfy.sd

        with torch.inference_mode():
            found = comfy.sd.load_checkpoint_guess_config(str(MINIATURE_FILE), output_vae=True, output_clip=True)
        return found[0], found[1], found[2]

    @cached_property
    def control_net(self) -> Any:
        """The world's canny ControlNet."""
        _ = self.loaded
        import comfy.controlnet

        with torch.inference_mode():
            return comfy.controlnet.load_controlnet(str(CONTROL_FILE))

    def defaults(self, node: Any) -> dict[str, Any]:
        """A node's inputs as its page would show them."""
        given = {}
        for one in node.define_schema().inputs:
            options = getattr(one, "options", None)
            if getattr(one, "default", None) is not None:
                given[one.id] = one.default
            elif options and not one.optional:
                given[one.id] = options[0]
        return given

    def record(self, figure: Figure, tags: Sequence[str] = (), **more: Any) -> Any:
        """A drawing as a record with its own tags, or others."""
        from lora_kiln.dataset.images import save_derived
        from lora_kiln.dataset.values import Record

        drawing = draw(figure)
        file = save_derived(drawing.image, self.kept / "pictures")
        return Record(image=file, size=drawing.image.size, tags=tuple(tags) or drawing.tags, **more)

    def pruned(self, character: Character, records: Sequence[Any], **rules: Any) -> Any:
        """A dataset of her, pruned as the example workflow does."""
        from lora_kiln.dataset.prune import PruneRules, prune_tags
        from lora_kiln.dataset.values import Dataset

        chosen = {"trigger": character.trigger, "class_tag": "1girl", "patterns": character.outfit_patterns, **rules}
        return prune_tags(Dataset(records=tuple(records)), PruneRules(**chosen))[0]

    def train(self, name: str, dataset: Any, **settings: Any) -> Any:
        """The run of that name: found again, gone on with, or begun."""
        _ = self.loaded
        from lora_kiln.host.marks import training_mark
        from lora_kiln.host.model import HostModel
        from lora_kiln.trainer.recipe import Recipe
        from lora_kiln.trainer.task import Task

        task = Task(
            model=HostModel(*self.loaded), mark=training_mark(*self.loaded), dataset=dataset,
            recipe=Recipe().with_settings(**{**SETTINGS, **settings}), root=self.kept / "runs", name=name,
        )  # fmt: skip
        return task.run(Words(name), fork=False)

    def paint(self, shots: Sequence[Shot], lora: Path | None) -> list[Image.Image]:
        """The shots with a LoRA on, or none; pictures that are kept are not painted again."""
        files = [self._file(shot, lora) for shot in shots]
        missing = [i for i, file in enumerate(files) if not file.is_file()]
        if missing:
            _ = self.loaded
            from lora_kiln.trainer.formats import load_file

            tensors = load_file(lora)[0] if lora else {}
            for start in range(0, len(missing), TOGETHER):
                some = missing[start : start + TOGETHER]
                # `painted` asks its work for nothing but the loaded models.
                for i, picture in zip(some, painted(self, tensors, [shots[i] for i in some], STEPS), strict=True):  # type: ignore[arg-type]
                    _save(picture, files[i])
        return [Image.open(file).convert("RGB") for file in files]

    def marks(self, shots: Sequence[Shot], lora: Path | None) -> list[set[str]]:
        """The tags that the world's tagger finds in each shot."""
        return found_tags(self.paint(shots, lora))

    def sweep(self, run: Any, prompts: Sequence[str], *, seeds: str) -> Any:
        """The pack's own sweep of a run, with the world's tagger, as its node does it."""
        _ = self.loaded
        from lora_kiln.dataset.score_cache import ScoreCache
        from lora_kiln.dataset.tagger import TaggerOnDemand, get_tagger, tagger_mark
        from lora_kiln.dataset.tagger_formats import read_labels
        from lora_kiln.dataset.tags import tag_key
        from lora_kiln.host.sampling import Sampling
        from lora_kiln.host.sweeping import SweepBases
        from lora_kiln.sweep.judging import JUDGED, Judges
        from lora_kiln.sweep.options import SweepOptions
        from lora_kiln.sweep.session import Axes, plan_of, sweep

        from .marking import TAGGER, TAGGERS

        sampling = Sampling(steps=STEPS, cfg=CFG, sampler=SAMPLER, scheduler=SCHEDULER)
        bases = SweepBases(*self.loaded, negative="", sampling=sampling, size=(SIDE, SIDE))
        files = get_tagger(TAGGER, [TAGGERS])
        known = frozenset(tag_key(row[0]) for row in read_labels(files.tags).rows if row and row[1] in JUDGED)
        judges = Judges(
            tagger=TaggerOnDemand(files=files), known=known,
            scores=ScoreCache(self.kept / "tags", tagger_mark(files)), threshold=0.35,
        )  # fmt: skip
        options = SweepOptions(seeds=seeds)
        plan = plan_of(run, Axes(prompts="\n".join(prompts), epochs="all", strengths="1", seed=0), options, bases)
        with torch.inference_mode():
            return sweep(
                run, plan, bases, judges, options, dataset=None, cache=self.kept / "cells", progress=lambda *_: None
            )

    def _file(self, shot: Shot, lora: Path | None) -> Path:
        mark = hashlib.sha256(lora.read_bytes()).hexdigest() if lora else "none"
        name = hashlib.sha256(json.dumps([mark, shot.prompt, shot.seed]).encode()).hexdigest()
        return self.kept / "painted" / name[:2] / f"{name}.png"


def say(words: str) -> None:
    """A line of progress."""
    print(words, file=sys.stderr, flush=True)


class Words(Silent):
    """A line now and then."""

    def __init__(self, name: str) -> None:
        self._name = name

    def step(self, report: Any) -> None:
        """Four in a training."""
        if report.step % max(1, report.steps // 4) == 0:
            say(f"  {self._name}: step {report.step} of {report.steps}, loss {report.loss:.4f}")


def _save(picture: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    picture.save(partial, "PNG")
    partial.replace(file)
