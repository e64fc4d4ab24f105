"""Files that are whole or not there, on a disk that really is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from PIL import Image

from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.files import Log, whole, write_text
from lora_kiln.trainer.formats import load_file, save_file
from lora_kiln.trainer.state import FILE, load_state, save_state

ROOM = 128 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Any:
    """A file system of 128 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root, to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def write_lora(folder: Path, size: int) -> None:
    save_file({"a": torch.full((size // 4,), size)}, {}, folder / "lora.safetensors")


def write_state(folder: Path, size: int) -> None:
    adapter: Any = torch.nn.Module()
    adapter.parameters = [torch.full((size // 4,), float(size))]
    placed: Any = torch.nn.Module()
    placed.adapter = adapter
    optimizer = torch.optim.SGD(adapter.parameters)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    save_state(
        folder, step=size, placed=[placed], optimizer=optimizer, schedule=schedule, average=None, counts={"skipped": 0}
    )


def write_words(folder: Path, size: int) -> None:
    write_text(folder / "run.json", "x" * size)


def write_picture(folder: Path, size: int) -> None:
    with whole(folder / "picture.png") as partial:
        Image.frombytes("L", (256, size // 256), os.urandom(size // 256 * 256)).save(partial, "PNG")


WRITERS = {
    "lora.safetensors": write_lora,
    FILE: write_state,
    "run.json": write_words,
    "picture.png": write_picture,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_named_with_the_mend_and_the_older_file_stays(name: str, disk: Path) -> None:
    write: Callable[[Path, int], None] = WRITERS[name]
    write(disk, 32 * 1024)
    before = (disk / name).read_bytes()
    with pytest.raises(KilnError, match=rf"{name}.* could not be written: .*No space left on device.*Free space"):
        write(disk, 2 * ROOM)
    assert [file.name for file in disk.iterdir()] == [name]
    assert (disk / name).read_bytes() == before
    if name == FILE:
        state = load_state(disk)
        assert state
        assert state["step"] == 32 * 1024
    if name == "lora.safetensors":
        assert int(load_file(disk / name)[0]["a"][0]) == 32 * 1024


def test_a_line_that_finds_no_room_is_told(disk: Path) -> None:
    log = Log(disk / "metrics.jsonl")
    log.add(b"x" * 1000)
    assert (disk / "metrics.jsonl").read_bytes() == b"x" * 1000
    with pytest.raises(KilnError, match=r"metrics\.jsonl could not be written: .*No space left"):
        log.add(b"y" * 2 * ROOM)
    assert (disk / "metrics.jsonl").read_bytes().startswith(b"x" * 1000)
    log.close()


def test_what_is_stopped_while_it_writes_leaves_the_older_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.safetensors"
    with whole(file) as partial:
        safetensors.torch.save_file({"a": torch.ones(3)}, partial)
        assert not file.exists()
    before = file.read_bytes()
    with pytest.raises(KeyboardInterrupt), whole(file) as partial:  # noqa: PT012 - the block is what is tested
        partial.write_bytes(b"half")
        raise KeyboardInterrupt
    assert [one.name for one in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before
