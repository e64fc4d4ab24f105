"""The picture in a saved LoRA and beside it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops

from lora_kiln.trainer.cover import cover_metadata, last_sample, save_preview
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.export import SaveOptions, export
from lora_kiln.trainer.formats import load_file, save_file
from lora_kiln.trainer.values import Checkpoint, Run

SIZES = [(64, 64), (832, 1216), (1216, 832), (2000, 300), (3, 1000)]


def pictured(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def halves(size: tuple[int, int]) -> Image.Image:
    """Red above, blue below."""
    picture = Image.new("RGB", size, "blue")
    picture.paste("red", (0, 0, size[0], size[1] // 2))
    return picture


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_the_thumbnail_is_a_small_square_jpeg_in_a_data_url(size: tuple[int, int], mode: str) -> None:
    metadata = cover_metadata(halves(size).convert(mode))
    kind, _, content = metadata["modelspec.thumbnail"].partition(",")
    assert kind == "data:image/jpeg;base64"
    with pictured(content) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (256, 256))


@pytest.mark.parametrize("size", SIZES)
def test_the_cover_is_the_whole_picture_in_its_proportions(size: tuple[int, int]) -> None:
    [content] = json.loads(cover_metadata(halves(size))["ssmd_cover_images"])
    with pictured(content) as cover:
        assert cover.size == tuple(max(1, round(side * min(1, 512 / max(size)))) for side in size)
        if min(cover.size) > 8:
            assert cover.getpixel((2, 2)) == pytest.approx((254, 0, 0), abs=3)
            assert cover.getpixel((2, cover.height - 2)) == pytest.approx((0, 0, 254), abs=3)


def test_pictures_full_of_detail_stay_small() -> None:
    """The host reads 8 MB of a header at most, and loaders read all of it for each file in a list."""
    noise = Image.effect_noise((2048, 2048), 100)
    assert sum(map(len, cover_metadata(Image.merge("RGB", [noise] * 3)).values())) < 500_000


@pytest.fixture
def run(tmp_path: Path) -> Run:
    checkpoints = []
    for epoch in (1, 2, 3):
        file = tmp_path / "run" / f"cat-{epoch}.safetensors"
        save_file({"x.alpha": torch.tensor(1.0)}, {"ss_epoch": str(epoch), "trained_words": "cat"}, file)
        checkpoints.append(Checkpoint(epoch=epoch, step=10 * epoch, file=file))
    (tmp_path / "run" / "samples").mkdir()
    for step, color in ((10, "red"), (20, "lime"), (25, "navy")):
        for number, shade in enumerate((color, "black")):
            Image.new("RGB", (64, 64), shade).save(tmp_path / "run" / "samples" / f"step{step:08d}-{number:02d}.png")
    return Run(folder=tmp_path / "run", name="cat", checkpoints=tuple(checkpoints))


def color_of(file: Path) -> Any:
    [content] = json.loads(load_file(file)[1]["ssmd_cover_images"])
    with pictured(content) as cover:
        return cover.getpixel((30, 30))


@pytest.mark.parametrize(("epoch", "color"), [(1, (254, 0, 0)), (2, (0, 255, 1)), (3, (0, 0, 128)), (0, (0, 0, 128))])
def test_without_a_cover_the_last_sample_up_to_the_epoch_stands_in(
    run: Run, tmp_path: Path, epoch: int, color: tuple[int, ...]
) -> None:
    file = export(run, SaveOptions(epoch=epoch), tmp_path / "loras")
    assert color_of(file) == pytest.approx(color, abs=2)
    # A picture that the user has put there is not replaced unasked.
    assert [one.name for one in file.parent.iterdir()] == ["cat.safetensors"]


def test_a_run_without_samples_has_no_cover(run: Run, tmp_path: Path) -> None:
    for file in (run.folder / "samples").iterdir():
        file.unlink()
    assert last_sample(run.folder, 30) is None
    _, metadata = load_file(export(run, SaveOptions(), tmp_path / "loras"))
    assert not {"modelspec.thumbnail", "ssmd_cover_images"} & set(metadata)


@pytest.mark.parametrize("name", ["cat", "people/cat v1.5", "cat.old"])
def test_a_given_cover_is_written_into_the_file_and_beside_it(run: Run, tmp_path: Path, name: str) -> None:
    cover = halves((128, 192))
    file = export(run, SaveOptions(file_name=name), tmp_path / "loras", cover)
    beside = tmp_path / "loras" / f"{name}.png"
    assert beside == file.with_suffix(".png")
    with Image.open(beside) as found:
        assert ImageChops.difference(found.convert("RGB"), cover).getbbox() is None
    assert color_of(file) == pytest.approx((254, 0, 0), abs=2)
    assert sorted(one.suffix for one in file.parent.iterdir()) == [".png", ".safetensors"]


def test_a_preview_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cat.png").mkdir()
    with pytest.raises(KilnError, match=r"cat\.png could not be written"):
        save_preview(halves((8, 8)), tmp_path / "cat.safetensors")


def test_the_hashes_do_not_depend_on_the_cover(run: Run, tmp_path: Path) -> None:
    """kohya's tools strip everything but ss_* before they hash."""

    def hashes(cover: Callable[..., Any] | None) -> list[str]:
        file = export(run, SaveOptions(), tmp_path / "loras", halves((64, 64)) if cover else None)
        return [load_file(file)[1][key] for key in ("sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256")]

    assert hashes(None) == hashes(halves)
