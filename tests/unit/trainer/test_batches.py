"""Batches: everything about number n follows from the seed and n, wherever a run goes on."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lora_kiln.dataset.values import Dataset, Record
from lora_kiln.trainer.batches import Batch, Batches, Update
from lora_kiln.trainer.latents import LatentStore, centred, load_pixels, mirrored
from lora_kiln.trainer.plan import make_plan
from lora_kiln.trainer.ports import View
from lora_kiln.trainer.recipe import Recipe

TAGS = ("kiln", "a", "b", "c", "d", "e")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Seven pictures of three shapes; the last is for regularisation, the first has a mask."""
    draw, records = np.random.default_rng(0), []
    Image.new("L", (80, 64), 128).save(tmp_path / "mask.png")
    for i, size in enumerate([(80, 64), (64, 64), (64, 128), (70, 140), (64, 64), (140, 70), (64, 66)]):
        file = tmp_path / f"{i}.png"
        Image.fromarray(draw.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(file)
        records.append(Record(image=file, size=size, tags=(*TAGS, f"n{i}"), is_reg=i == 6, weight=1 + i / 10))
    records[0] = dataclasses.replace(records[0], mask=tmp_path / "mask.png")
    return Dataset(records=tuple(records))


@pytest.fixture
def batches(dataset: Dataset, tmp_path: Path) -> Callable[..., Batches]:
    def make(**settings: Any) -> Batches:
        recipe = Recipe().with_settings(
            **{
                "resolution": 96,
                "bucket_step": 32,
                "min_bucket": 64,
                "max_bucket": 128,
                "batch_size": 2,
                "epochs": 3,
                **settings,
            }
        )
        store = LatentStore(tmp_path / "latents", "mark", lambda p: p.permute(0, 3, 1, 2)[:, :, ::8, ::8])
        return Batches(make_plan(dataset, recipe), recipe, store)

    return make


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    return bool(a == b)


def assert_equal(mine: Update, other: Update) -> None:
    assert (mine.step, mine.epoch, len(mine.batches)) == (other.step, other.epoch, len(other.batches))
    for a, b in zip(mine.batches, other.batches, strict=True):
        for field in dataclasses.fields(Batch):
            assert same(getattr(a, field.name), getattr(b, field.name)), field.name


EVERYTHING = {
    "tag_dropout": 0.3,
    "caption_dropout": 0.2,
    "flip_aug": True,
    "noise_offset": 0.1,
    "multires_noise_iterations": 3,
    "ip_noise_gamma": 0.1,
    "timestep_sampling": "logit_normal",
    "masked_loss": True,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "everything on kept latents": EVERYTHING,
    "everything on live pictures": {**EVERYTHING, "random_crop": True, "color_aug": True},
    "accumulation": {"accumulation": 3},
    "caption variants": {"caption_variants": 2},
    "cut short": {"max_train_steps": 7, "validation_share": 0.2},
    "words come and go": {"token_warmup": "50 %", "caption_dropout_every_n_epochs": 2},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_an_update_is_the_same_from_the_start_or_gone_on_with(batches: Callable[..., Batches], name: str) -> None:
    made = batches(**SETTINGS[name])
    whole = list(made.updates(1))
    steps = made.plan.steps
    assert [update.step for update in whole] == list(range(1, steps + 1))
    assert [update.epoch for update in whole] == [-(-i // made.plan.steps_an_epoch) for i in range(1, steps + 1)]
    assert [b.number for update in whole for b in update.batches] == list(range(sum(len(u.batches) for u in whole)))
    for first in (2, steps // 2, steps):
        later = list(batches(**SETTINGS[name]).updates(first))
        assert [update.step for update in later] == list(range(first, steps + 1))
        for mine, other in zip(later, whole[first - 1 :], strict=True):
            assert_equal(mine, other)
    assert list(made.updates(steps + 1)) == []


def test_no_two_batches_share_their_draws(batches: Callable[..., Batches]) -> None:
    found = [batch for update in batches(**EVERYTHING).updates(1) for batch in update.batches]
    for name in ("noise", "more_noise", "levels"):
        values = [tuple(getattr(batch, name).flatten()[:1].tolist()) for batch in found]
        assert len(set(values)) == len(values), name
    assert not any(torch.equal(batch.noise, batch.more_noise) for batch in found if batch.more_noise is not None)
    other = next(iter(batches(**EVERYTHING, seed=1).updates(1))).batches[0]
    assert not torch.equal(other.levels, found[0].levels)


def test_a_batch_holds_its_pictures_captions_views_weights_and_masks(
    batches: Callable[..., Batches], dataset: Dataset
) -> None:
    made = batches(shuffle_caption=False, masked_loss=True, prior_loss_weight=0.5)
    seen: Counter[int] = Counter()
    for update in made.updates(1):
        for batch in update.batches:
            count = len(batch.x0)
            assert batch.noise.shape == batch.x0.shape
            assert batch.more_noise is None
            assert batch.levels.shape == batch.weights.shape == (count,)
            assert batch.mask is not None
            assert batch.mask.shape == (count, 1, *batch.x0.shape[2:])
            for row, caption in enumerate(batch.captions):
                index = int(caption[-1])
                record = dataset.records[index]
                seen[index] += 1
                assert caption == record.caption
                assert batch.views[row].original == record.size
                assert batch.views[row].target == made.plan.buckets[index]
                assert batch.x0.shape[2:] == (made.plan.buckets[index][1] // 8, made.plan.buckets[index][0] // 8)
                assert float(batch.weights[row]) == pytest.approx(record.weight * (0.5 if record.is_reg else 1))
                assert float(batch.mask[row].mean()) == pytest.approx(128 / 255 if index == 0 else 1)
    assert seen == {i: 3 * repeats for i, repeats in enumerate(made.plan.repeats)}
    assert next(iter(batches().updates(1))).batches[0].mask is None


def test_half_of_the_pictures_are_seen_mirrored_and_their_masks_with_them(batches: Callable[..., Batches]) -> None:
    made = batches(flip_aug=True, epochs=20, shuffle_caption=False)
    plain: dict[str, Tensor] = {}
    for index in range(7):
        trial = made.store.get(made.plan.records[index], _view(made, index), False)
        plain[made.plan.records[index].caption] = trial
    turned = [
        not torch.equal(batch.x0[row], plain[caption])
        for update in made.updates(1)
        for batch in update.batches
        for row, caption in enumerate(batch.captions)
    ]
    assert sum(turned) / len(turned) == pytest.approx(0.5, abs=0.11)


def test_what_is_told_of_a_mirrored_crop_is_where_it_lies_in_the_mirrored_picture(
    batches: Callable[..., Batches],
) -> None:
    """SDXL's size ids: as in sd-scripts, the crop's left edge is that of the mirrored picture."""
    made = batches(flip_aug=True, random_crop=True, epochs=4, shuffle_caption=False)
    records = {record.caption: record for record in made.plan.records}
    told = Counter[tuple[bool, bool]]()
    for update in made.updates(1):
        for batch in update.batches:
            for x0, caption, view in zip(batch.x0, batch.captions, batch.views, strict=True):
                plain = load_pixels(records[caption], view)
                flipped = load_pixels(records[caption], mirrored(view), flipped=True)
                kinds = tuple(torch.equal(x0, made.store.encode(pixels)) for pixels in (plain, flipped))
                told[kinds[0], kinds[1]] += 1
    assert set(told) == {(True, False), (False, True)}
    assert min(told.values()) > 5


def _view(made: Batches, index: int) -> View:
    return centred(made.plan.records[index], made.plan.buckets[index])


def forms(made: Batches) -> dict[str, Counter[str]]:
    """How often each form of each record's caption came up, by the record's own tag."""
    found: dict[str, Counter[str]] = {}
    for update in made.updates(1):
        for batch in update.batches:
            for caption, view in zip(batch.captions, batch.views, strict=True):
                own = next((tag for tag in caption.split(", ") if tag.startswith("n")), str(view.original))
                found.setdefault(own, Counter())[caption] += 1
    return found


def test_captions_have_at_most_so_many_forms_and_all_of_them_come_up(batches: Callable[..., Batches]) -> None:
    found = forms(batches(caption_variants=3, epochs=30))
    assert len(found) == 7
    for counts in found.values():
        assert 2 <= len(counts) <= 3
        assert min(counts.values()) >= 3
    assert min(len(counts) for counts in forms(batches(epochs=30)).values()) > 15


def test_variants_of_a_caption_that_does_not_vary_are_one(batches: Callable[..., Batches]) -> None:
    found = forms(batches(caption_variants=3, shuffle_caption=False, epochs=4))
    assert {len(counts) for counts in found.values()} == {1}


def test_live_pictures_are_read_ahead_and_encoded_where_the_model_is(
    batches: Callable[..., Batches], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, read, encoded = batches(random_crop=True), list[str](), list[str]()
    second = threading.Event()

    def reading(*args: Any, **kwargs: Any) -> Tensor:
        read.append(threading.current_thread().name)
        if len(read) > made.recipe.setting("batch_size"):
            second.set()
        return load_pixels(*args, **kwargs)

    def encoding(pixels: Tensor) -> Tensor:
        encoded.append(threading.current_thread().name)
        assert second.wait(60)
        return pixels.permute(0, 3, 1, 2)[:, :, ::8, ::8]

    monkeypatch.setattr("lora_kiln.trainer.batches.load_pixels", reading)
    monkeypatch.setattr(made.store, "_to_latent", encoding)
    updates = made.updates(1)
    next(updates)
    updates.close()
    assert set(encoded) == {threading.current_thread().name}
    assert all(name.startswith("kiln-batches") for name in read)


def test_a_trial_is_no_batch_of_the_run(batches: Callable[..., Batches]) -> None:
    made = batches()
    trial, again = made.trial([1, 1]), made.trial([1, 1])
    assert trial.number == -1
    assert torch.equal(trial.noise, again.noise)
    firsts = [float(batch.levels[0]) for update in made.updates(1) for batch in update.batches]
    assert float(trial.levels[0]) not in firsts


def test_an_epoch_without_captions_has_none_and_nothing_is_read_beforehand_too(
    batches: Callable[..., Batches],
) -> None:
    made = batches(caption_dropout_every_n_epochs=2, shuffle_caption=False)
    empty = {update.epoch: {not c for batch in update.batches for c in batch.captions} for update in made.updates(1)}
    assert empty == {1: {False}, 2: {True}, 3: {False}}
    assert [caption for caption, _ in made.captions(1)].count("") == 1
    assert "" not in [caption for caption, _ in batches(shuffle_caption=False).captions(1)]


def test_captions_grow_over_the_first_updates(batches: Callable[..., Batches]) -> None:
    made = batches(token_warmup="1 epoch", token_warmup_min=0, shuffle_caption=False, keep_tokens=1)
    counts = {u.step: max(len(c.split(", ")) for b in u.batches for c in b.captions) for u in made.updates(1)}
    assert counts[1] == 1
    full = max(len(record.tags) for record in made.plan.records)
    assert max(counts[step] for step in counts if step > made.plan.steps_an_epoch) == full > 1


def test_pictures_with_settings_of_their_own_are_seen_by_them(dataset: Dataset, tmp_path: Path) -> None:
    """Beside others in the same batches: mirrored, of other colours, without a caption, at another size."""
    own = {0: ("flip_aug=true",), 1: ("color_aug=true",), 2: ("caption_dropout=1.0",), 3: ("resolution=64",)}
    mixed = Dataset(
        records=tuple(dataclasses.replace(record, own=own.get(i, ())) for i, record in enumerate(dataset.records))
    )
    recipe = Recipe().with_settings(
        resolution=96, bucket_step=32, min_bucket=64, max_bucket=128, batch_size=2, epochs=12, shuffle_caption=False
    )
    store = LatentStore(tmp_path / "latents", "mark", lambda p: p.permute(0, 3, 1, 2)[:, :, ::8, ::8])
    plan = make_plan(mixed, recipe)
    plain = make_plan(dataset, recipe)
    assert [i for i, (a, b) in enumerate(zip(plan.buckets, plain.buckets, strict=True)) if a != b] == [3]
    seen: dict[int, set[tuple[Any, ...]]] = {}
    rows = iter([rows for job in Batches(plan, recipe, store)._schedule() for rows in job.rows])
    for update in Batches(plan, recipe, store).updates(1):
        for batch in update.batches:
            for place, index in enumerate(next(rows)):
                view = batch.views[place]
                looks = batch.x0[place].numpy().tobytes()
                seen.setdefault(index, set()).add((batch.captions[place], view.crop, looks))
    assert {looks[0] for looks in seen[2]} == {""}
    assert all("" not in {looks[0] for looks in seen[i]} for i in seen if i != 2)
    assert len(seen[0]) == 2
    assert len(seen[1]) > 2
    assert all(len(seen[i]) == 1 for i in seen if i not in (0, 1))
