"""Pictures as latents: what is seen of them, and the files that all runs share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from lora_kiln.dataset.values import Box, Dataset, Record
from lora_kiln.trainer.buckets import cover
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.groups import Buckets
from lora_kiln.trainer.latents import LatentStore, centred, drawn, is_fixed, load_mask, load_pixels, mirrored
from lora_kiln.trainer.ports import View


def gradient(width: int, height: int) -> np.ndarray:
    """Red grows to the right, green downwards, blue is noise."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    noise = np.random.default_rng(0).integers(0, 255, (height, width))
    return np.stack([x, y, noise], axis=-1).astype(np.uint8)


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Record]:
    """A picture that is unlike its mirror image."""

    def make(width: int = 96, height: int = 64, name: str = "a", **fields: Any) -> Record:
        file = tmp_path / f"{name}.png"
        Image.fromarray(gradient(width, height)).save(file)
        return Record(image=file, size=(width, height), **fields)

    return make


class Encoder:
    """Averages of eight by eight pixels, and how often they were asked for."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, pixels: Tensor) -> Tensor:
        self.calls += 1
        return torch.nn.functional.avg_pool2d(pixels.permute(0, 3, 1, 2), 8)


def store_in(folder: Path, mark: str = "mark") -> tuple[LatentStore, Encoder]:
    encoder = Encoder()
    return LatentStore(folder, mark, encoder), encoder


@pytest.mark.parametrize("bucket", [(64, 64), (128, 128), (192, 64), (96, 64)])
def test_a_picture_is_scaled_by_lanczos_or_bicubic_and_cut(
    record: Callable[..., Record], bucket: tuple[int, int]
) -> None:
    one = record()
    view = centred(one, bucket)
    size, (left, top) = cover((96, 64), bucket)
    how = Image.Resampling.LANCZOS if size[0] < 96 else Image.Resampling.BICUBIC
    expected = np.asarray(Image.open(one.image).resize(size, how), dtype=np.float32)
    expected = expected[top : top + bucket[1], left : left + bucket[0]] / 255
    np.testing.assert_array_equal(load_pixels(one, view).numpy(), expected)
    np.testing.assert_array_equal(load_pixels(one, view, flipped=True).numpy(), expected[:, ::-1])
    assert view == View(original=(96, 64), crop=(left, top), target=bucket)


def test_a_drawn_crop_is_inside_the_picture_and_reaches_both_of_its_ends(record: Callable[..., Record]) -> None:
    one = record(200, 64)
    generator = torch.Generator().manual_seed(0)
    views = [drawn(one, (64, 64), generator) for _ in range(1500)]
    assert {view.crop[0] for view in views} == set(range(200 - 64 + 1))
    assert {view.crop[1] for view in views} == {0}
    assert {(view.original, view.target) for view in views} == {((200, 64), (64, 64))}
    whole = np.asarray(Image.open(one.image), dtype=np.float32) / 255
    for view in views[:5]:
        left = view.crop[0]
        np.testing.assert_array_equal(load_pixels(one, view).numpy(), whole[:, left : left + 64])


def test_a_records_own_crop_comes_first(record: Callable[..., Record]) -> None:
    one = record(200, 128, crop=Box(left=40, top=32, right=168, bottom=96))
    view = centred(one, (64, 64))
    assert view == View(original=(128, 64), crop=(32, 0), target=(64, 64))
    whole = np.asarray(Image.open(one.image), dtype=np.float32) / 255
    np.testing.assert_array_equal(load_pixels(one, view).numpy(), whole[32:96, 72:136])


def test_colours_move_a_little_by_the_generator_and_shapes_stay(record: Callable[..., Record]) -> None:
    one = record(64, 64)
    view = centred(one, (64, 64))

    def seen(seed: int) -> np.ndarray:
        return load_pixels(one, view, colors=torch.Generator().manual_seed(seed)).numpy()

    plain = load_pixels(one, view).numpy()
    assert np.array_equal(seen(1), seen(1))
    moved = [np.abs(seen(i) - plain).mean() for i in range(12)]
    assert len(set(moved)) == 12
    assert 0.005 < np.mean(moved) < 0.12
    for i in range(12):
        picture = seen(i)
        assert 0 <= picture.min() <= picture.max() <= 1
        # Bright stays bright and dark stays dark.
        assert np.corrcoef(picture.sum(axis=2).ravel(), plain.sum(axis=2).ravel())[0, 1] > 0.9


def test_the_crop_of_a_mirrored_view_begins_where_it_ends_in_the_picture(record: Callable[..., Record]) -> None:
    one = record(200, 70)
    whole = np.asarray(Image.open(one.image).transpose(Image.Transpose.FLIP_LEFT_RIGHT), dtype=np.float32) / 255
    for corner in ((0, 0), (10, 0), (119, 0)):
        view = View(original=(200, 70), crop=corner, target=(64, 64))
        scale = 70 / 64
        told = mirrored(view)
        left, top = told.crop
        assert (told.original, told.target, top) == (view.original, view.target, corner[1])
        assert left == round(200 / scale) - 64 - corner[0]
        assert mirrored(told) == view
    same = View(original=(200, 70), crop=(30, 0), target=(136, 70))
    left, _ = mirrored(same).crop
    np.testing.assert_array_equal(load_pixels(one, same, flipped=True).numpy(), whole[:, left : left + 136])


@pytest.mark.parametrize(
    ("settings", "fixed"),
    [
        (Buckets(), True),
        (Buckets(flip_aug=True), True),
        (Buckets(random_crop=True), False),
        (Buckets(color_aug=True), False),
    ],
)
def test_latents_are_kept_while_pictures_always_look_the_same(settings: Buckets, fixed: bool) -> None:
    assert is_fixed(settings) == fixed


def test_a_latent_is_encoded_once_and_shared_by_all_runs(record: Callable[..., Record], tmp_path: Path) -> None:
    one = record()
    view = centred(one, (64, 64))
    store, encoder = store_in(tmp_path / "latents")
    store.make(one, view, False)
    first = store.get(one, view, False)
    store.make(one, view, False)
    assert encoder.calls == 1
    other, untouched = store_in(tmp_path / "latents")
    assert torch.equal(other.get(one, view, False), first)
    assert untouched.calls == 0
    pixels = load_pixels(one, view).numpy().transpose(2, 0, 1)
    expected = pixels.reshape(3, 8, 8, 8, 8).mean(axis=(2, 4))
    np.testing.assert_allclose(first.numpy(), expected, atol=1e-6)
    assert not list((tmp_path / "latents").rglob("*.partial"))


def test_whatever_changes_a_latent_has_a_file_of_its_own(record: Callable[..., Record], tmp_path: Path) -> None:
    one = record()
    view = centred(one, (64, 64))
    store, _ = store_in(tmp_path)
    files = {
        "plain": store.file(one, view, False),
        "mirrored": store.file(one, view, True),
        "elsewhere": store.file(one, dataclasses.replace(view, crop=(0, 0)), False),
        "larger": store.file(one, centred(one, (128, 128)), False),
        "cropped": store.file(dataclasses.replace(one, crop=Box(left=0, top=0, right=64, bottom=64)), view, False),
        "another autoencoder": store_in(tmp_path, "other")[0].file(one, view, False),
        "another picture": store.file(record(96, 65, name="b"), view, False),
        "another background": store.file(dataclasses.replace(one, background=(0, 0, 0)), view, False),
    }
    assert store.file(record(name="copy"), view, False) == files["plain"]
    one.image.write_bytes(one.image.read_bytes() + b"edited")
    files["edited"] = store.file(one, view, False)
    assert len(set(files.values())) == len(files)
    again = dataclasses.replace(one, tags=("other",), repeats=3, is_reg=True)
    assert store.file(again, view, False) == files["edited"]


def test_a_mirrored_latent_is_that_of_the_mirrored_picture(record: Callable[..., Record], tmp_path: Path) -> None:
    one = record()
    view = centred(one, (64, 64))
    store, _ = store_in(tmp_path / "latents")
    plain, mirrored = store.get(one, view, False), store.get(one, view, True)
    torch.testing.assert_close(mirrored, plain.flip(-1))
    assert not torch.allclose(mirrored, plain)


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "zeros", "noise", "text", "other"])
def test_a_damaged_file_is_made_again(record: Callable[..., Record], tmp_path: Path, damage: str) -> None:
    one = record()
    view = centred(one, (64, 64))
    store, encoder = store_in(tmp_path / "latents")
    latent, file = store.get(one, view, False), store.file(one, view, False)
    whole = file.read_bytes()
    contents = {
        "empty": b"", "cut": whole[: len(whole) // 2], "zeros": bytes(len(whole)), "noise": b"\xff" * len(whole),
        "text": b"no latent", "other": whole.replace(b"latent", b"potent"),
    }  # fmt: skip
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(contents[damage])
    assert torch.equal(store.get(one, view, False), latent)
    assert encoder.calls == 2
    assert file.read_bytes() == whole
    file.write_bytes(contents["cut"])
    store.make(one, view, False)
    assert file.read_bytes() == whole


def full_disk(content: object, target: Path) -> None:
    """A write that stops in the middle."""
    target.write_bytes(b"half")
    raise safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def test_a_full_disk_says_where_and_what_to_do_and_leaves_nothing(
    record: Callable[..., Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = record()
    view = centred(one, (64, 64))
    store, _ = store_in(tmp_path / "latents")
    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    with pytest.raises(KilnError, match=r"latents.*safetensors could not be written: .*No space left.*Free space"):
        store.make(one, view, False)
    assert not [path for path in (tmp_path / "latents").rglob("*") if path.is_file()]
    monkeypatch.undo()
    store.make(one, view, False)
    (tmp_path / "file").write_text("no folder")
    blocked, _ = store_in(tmp_path / "file")
    with pytest.raises(KilnError, match=r"file.*could not be written"):
        blocked.get(one, view, False)


def test_two_processes_may_make_one_latent_at_once(
    record: Callable[..., Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins and ends while the first is writing; what a killed one left goes too."""
    one = record()
    view = centred(one, (64, 64))
    first, second = (store_in(tmp_path / "latents")[0] for _ in range(2))
    file = first.file(one, view, False)
    names, save_file = [], safetensors.torch.save_file

    def writing(content: Any, target: Path) -> None:
        names.append(target)
        if len(names) == 1:
            target.write_bytes(b"half")
            second.make(one, view, False)
        else:
            file.with_name(f"{file.stem}.killed.partial").write_bytes(b"half")
        save_file(content, target)

    monkeypatch.setattr(safetensors.torch, "save_file", writing)
    latent = first.get(one, view, False)
    assert len(set(names)) == 2
    assert torch.equal(safetensors.torch.load_file(file)["latent"], latent)
    assert [path for path in (tmp_path / "latents").rglob("*") if path.is_file()] == [file]


def half(width: int, height: int) -> Image.Image:
    """Nothing on the left, everything on the right."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[:, width // 2 :] = 255
    return Image.fromarray(mask)


def test_a_mask_comes_from_its_file_at_the_latents_size(record: Callable[..., Record], tmp_path: Path) -> None:
    half(96, 64).save(tmp_path / "mask.png")
    one = record(mask=tmp_path / "mask.png")
    view = centred(one, (64, 64))
    mask = load_mask(one, view, (8, 8)).numpy()
    assert mask.shape == (1, 8, 8)
    np.testing.assert_array_equal(mask[0], np.repeat([[0.0] * 4 + [1.0] * 4], 8, axis=0))
    np.testing.assert_array_equal(load_mask(one, view, (8, 8), flipped=True).numpy(), mask[:, :, ::-1])
    left = View(original=(96, 64), crop=(0, 0), target=(64, 64))
    assert load_mask(one, left, (8, 8)).mean() == pytest.approx(0.25)
    # A cell of the latent that the edge goes through counts by its share.
    assert load_mask(one, left, (1, 1)).tolist() == [[[0.25]]]


def test_without_a_mask_the_pictures_own_alpha_counts_and_the_mask_goes_before_it(tmp_path: Path) -> None:
    picture = Image.new("RGB", (64, 64), "red")
    picture.putalpha(half(64, 64))
    picture.save(tmp_path / "a.png")
    Image.new("L", (64, 64), 51).save(tmp_path / "mask.png")
    one = Record(image=tmp_path / "a.png", size=(64, 64))
    view = centred(one, (64, 64))
    assert load_mask(one, view, (4, 4))[0, 0].tolist() == [0, 0, 1, 1]
    masked = dataclasses.replace(one, mask=tmp_path / "mask.png")
    np.testing.assert_allclose(load_mask(masked, view, (4, 4)).numpy(), 0.2, atol=1e-6)


def test_a_picture_without_either_counts_wholly(record: Callable[..., Record]) -> None:
    one = record()
    assert load_mask(one, centred(one, (64, 64)), (8, 4)).tolist() == [[[1.0] * 4] * 8]


def test_two_runs_share_their_latents(pictures: Any, small_recipe: Any, train: Any, fake_model: Any) -> None:
    dataset: Dataset = pictures("red", "blue", "lime")
    calls = []

    def counted() -> Any:
        model = fake_model()
        encode = model.encode_pixels

        def counting(pixels: Tensor) -> Tensor:
            calls.append(1)
            return torch.as_tensor(encode(pixels))

        model.encode_pixels = counting
        return model

    train(dataset, small_recipe(), "first", model=counted())
    assert len(calls) == 3
    train(dataset, small_recipe(seed=1), "second", model=counted())
    assert len(calls) == 3
    flips = small_recipe().with_settings(flip_aug=True)
    train(dataset, flips, "third", model=counted())
    assert len(calls) == 6
