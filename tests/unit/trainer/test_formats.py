"""Files that every UI loads: whole or not at all, kohya's keys, hashes and metadata."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.export import SaveOptions, export
from lora_kiln.trainer.formats import describe, load_file, save_file
from lora_kiln.trainer.groups import Network
from lora_kiln.trainer.noise_groups import Loss
from lora_kiln.trainer.plan import make_plan
from lora_kiln.trainer.recipe import Recipe
from lora_kiln.trainer.values import Checkpoint, Run

METADATA = {"ss_network_dim": "4", "modelspec.title": "猫 cat", "ss_tag_frequency": '{"1_a": {"smile": 2}}'}


def tensors(size: int = 8) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {
        "lora_unet_x.lora_up.weight": torch.randn(size, 4, generator=draw),
        "lora_unet_x.lora_down.weight": torch.randn(4, size, generator=draw),
        "lora_unet_x.alpha": torch.tensor(2.0),
    }


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "a.safetensors"
    save_file(tensors(), METADATA, file)
    found, metadata = load_file(file)
    assert set(found) == set(tensors())
    assert all(torch.equal(found[key], value) for key, value in tensors().items())
    assert METADATA.items() <= metadata.items()
    assert set(metadata) - set(METADATA) == {"sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256"}


def test_the_hashes_are_kohyas(tmp_path: Path) -> None:
    """SHA-256 after the header, and over 64 KiB from 1 MiB on, of the file with its ss_ metadata alone."""
    big = tensors(200_000)
    save_file(big, METADATA, tmp_path / "a.safetensors")
    plain = tmp_path / "plain.safetensors"
    safetensors.torch.save_file(big, plain, {key: value for key, value in METADATA.items() if key.startswith("ss_")})
    content = plain.read_bytes()
    (header,) = struct.unpack("<Q", content[:8])
    _, metadata = load_file(tmp_path / "a.safetensors")
    assert metadata["sshs_model_hash"] == hashlib.sha256(content[8 + header :]).hexdigest()
    assert metadata["modelspec.hash_sha256"] == f"0x{metadata['sshs_model_hash']}"
    assert metadata["sshs_legacy_hash"] == hashlib.sha256(content[1 << 20 : (1 << 20) + (1 << 16)]).hexdigest()[:8]


def test_a_failed_write_leaves_the_old_file_and_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.safetensors"
    save_file(tensors(), METADATA, file)
    before = file.read_bytes()

    def full_disk(content: object, target: Path, metadata: object) -> None:
        target.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    with pytest.raises(KilnError, match=r"a\.safetensors could not be written.*No space left"):
        save_file(tensors(), METADATA, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("content", [b"", b"no safetensors", b"\xff" * 100])
def test_a_file_that_is_no_lora_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.safetensors"
    file.write_bytes(content)
    with pytest.raises(KilnError, match=r"broken\.safetensors"):
        load_file(file)
    with pytest.raises(KilnError, match=r"missing\.safetensors"):
        load_file(tmp_path / "missing.safetensors")


def test_the_metadata_says_how_it_was_trained(pictures: Callable[..., Dataset]) -> None:
    dataset = pictures("red", "blue", repeats=3, group="kierose")
    reg = [dataclasses.replace(record, is_reg=True, repeats=1, group="girl") for record in pictures("lime")]
    dataset = dataset.replace_records([*dataset, *reg])
    recipe = Recipe(network=Network(dim=8, alpha=4.0, conv_dim=2), loss=Loss(min_snr_gamma=5.0), seed=9)
    metadata = describe(recipe, dataset, make_plan(dataset, recipe), {"modelspec.architecture": "x/lora"})
    expected = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "8",
        "ss_network_alpha": "4.0",
        "ss_unet_lr": "0.0001",
        "ss_text_encoder_lr": "5e-05",
        "ss_num_epochs": "10",
        "ss_seed": "9",
        "ss_min_snr_gamma": "5.0",
        "ss_max_train_steps": "120",
        "ss_num_train_images": "6",
        "ss_num_reg_images": "6",
        "modelspec.architecture": "x/lora",
        "modelspec.resolution": "1024x1024",
        "modelspec.trigger_phrase": "kiln",
        "trained_words": "kiln",
    }
    assert expected.items() <= metadata.items()
    assert all(isinstance(value, str) for value in metadata.values())
    assert json.loads(metadata["ss_network_args"])["conv_dim"] == 2
    assert json.loads(metadata["ss_tag_frequency"]) == {"3_kierose": {"kiln": 2, "red": 1, "blue": 1}}
    assert json.loads(metadata["ss_dataset_dirs"]) == {"3_kierose": {"n_repeats": 3, "img_count": 2}}
    assert json.loads(metadata["ss_reg_dataset_dirs"]) == {"1_girl": {"n_repeats": 1, "img_count": 1}}
    assert json.loads(metadata["ss_bucket_info"])["buckets"]["0"] == {"resolution": [1024, 1024], "count": 12}
    [listed] = json.loads(metadata["ss_datasets"])
    assert (listed["num_train_images"], listed["num_reg_images"], listed["resolution"]) == (6, 6, [1024, 1024])
    assert listed["tag_frequency"] == {"3_kierose": {"kiln": 2, "red": 1, "blue": 1}}
    rows = [(row["image_dir"], row["num_repeats"], row["img_count"], row["is_reg"]) for row in listed["subsets"]]
    assert rows == [("kierose", 3, 2, False), ("girl", 1, 1, True)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two saved epochs; the second one's weights are twice the first one's."""
    checkpoints = []
    for epoch in (1, 2):
        file = tmp_path / "run" / f"cat-{epoch}.safetensors"
        save_file({key: value * epoch for key, value in tensors().items()}, {**METADATA, "ss_epoch": str(epoch)}, file)
        checkpoints.append(Checkpoint(epoch=epoch, step=10 * epoch, file=file))
    return Run(folder=tmp_path / "run", name="cat", checkpoints=tuple(checkpoints))


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("", "cat.safetensors"),
        ("my lora", "my lora.safetensors"),
        ("my lora.safetensors", "my lora.safetensors"),
        ("people/cat v2", "people/cat v2.safetensors"),
        ("people\\cat", "people/cat.safetensors"),
    ],
)
def test_an_epoch_is_saved_under_the_given_name(run: Run, tmp_path: Path, file_name: str, expected: str) -> None:
    file = export(run, SaveOptions(file_name=file_name), tmp_path / "loras")
    assert file == tmp_path / "loras" / expected
    _, metadata = load_file(file)
    assert metadata["ss_output_name"] == metadata["modelspec.title"] == Path(expected).stem
    assert metadata["ss_epoch"] == "2"
    assert "sshs_model_hash" in metadata


def test_somebody_elses_file_is_not_replaced_and_an_own_one_is(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "loras" / "cat.safetensors"
    file.parent.mkdir()
    file.write_text("no safetensors")
    with pytest.raises(KilnError, match=r"cat\.safetensors is there already.*file_name"):
        export(run, SaveOptions(), tmp_path / "loras")
    assert file.read_text() == "no safetensors"
    save_file(tensors(), {"ss_output_name": "cat"}, file)
    with pytest.raises(KilnError, match="does not say that LoRA Kiln made it"):
        export(run, SaveOptions(), tmp_path / "loras")
    file.write_bytes(b"")
    export(run, SaveOptions(), tmp_path / "loras")
    save_file(tensors(), {"trained_words": "kiln"}, file)
    assert load_file(export(run, SaveOptions(), tmp_path / "loras"))[1]["ss_epoch"] == "2"


@pytest.mark.parametrize("name", ["../out", "a/../../out", "..", "/etc/out", "C:/out", "a:b", "a/b\x00"])
def test_a_name_that_leads_out_of_the_folder_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(KilnError, match="file_name"):
        export(run, SaveOptions(file_name=name), tmp_path / "loras")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_the_chosen_epoch_is_saved_in_the_chosen_precision(
    run: Run, tmp_path: Path, precision: str, dtype: torch.dtype
) -> None:
    found, _ = load_file(export(run, SaveOptions(epoch=1, precision=precision), tmp_path / "loras"))
    for key, value in tensors().items():
        assert found[key].dtype == dtype
        torch.testing.assert_close(found[key].float(), value, rtol=0.01, atol=0.01)


def test_an_epoch_that_was_not_saved_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(KilnError, match=r"no epoch 7; saved are 1, 2"):
        export(run, SaveOptions(epoch=7), tmp_path / "loras")
