"""The grid, the plot, and the painting of a sweep's cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageChops
from torch import Tensor

from lora_kiln.sweep.axes import columns
from lora_kiln.sweep.grid import labelled_grid
from lora_kiln.sweep.plot import loss_plot
from lora_kiln.sweep.render import render, report
from lora_kiln.trainer.formats import save_file
from lora_kiln.trainer.values import Checkpoint, Run

COLORS = [["red", "lime", "blue"], ["cyan", "magenta", "yellow"]]


@pytest.mark.parametrize("size", [(64, 64), (128, 96)])
def test_each_cell_of_the_grid_stands_in_its_row_and_column(size: tuple[int, int]) -> None:
    rows = [[Image.new("RGB", size, color) for color in row] for row in COLORS]
    sheet = labelled_grid(rows, ["no LoRA", "epoch 1", "epoch 2"], ["a cat", "a long prompt that needs more lines"])
    width, height = size
    assert sheet.width >= 4 * width
    assert sheet.height >= 2 * height + 12
    boxes = {}
    for r, row in enumerate(COLORS):
        for c, color in enumerate(row):
            match = Image.new("RGB", sheet.size, color)
            other = ImageChops.difference(sheet, match).convert("L").point([255] + [0] * 255)
            box = other.getbbox()
            assert box is not None
            assert (box[2] - box[0], box[3] - box[1]) == size
            boxes[r, c] = box
    for r, c in boxes:
        left, top = boxes[r, c][:2]
        assert boxes[0, c][0] == left
        assert boxes[r, 0][1] == top
    assert boxes[0, 0][0] < boxes[0, 1][0] < boxes[0, 2][0]
    assert boxes[0, 0][3] <= boxes[1, 0][1]


def test_labels_are_written_above_the_columns_and_left_of_the_rows() -> None:
    cell = Image.new("RGB", (64, 64), "white")
    empty, named = (labelled_grid([[cell]], [label], [prompt]) for label, prompt in (("", ""), ("epoch 7", "a cat")))
    box = ImageChops.difference(empty, named).getbbox()
    assert box is not None
    left, top = named.width - 68, named.height - 68
    assert box[0] < left
    assert box[1] < top
    inked = ImageChops.difference(empty, named).convert("L")
    assert inked.crop((left, top, named.width, named.height)).getbbox() is None


class CountingPainter:
    """`sweep.render.Painter` whose picture tells the LoRA's strength; counts how often a LoRA is put on."""

    def __init__(self) -> None:
        self.columns: list[tuple[float | None, float]] = []
        self.prompts: list[str] = []

    def column(self, lora: dict[str, Tensor] | None, strength: float) -> Callable[[str], Image.Image]:
        mark = None if lora is None else float(lora["x"].sum())
        self.columns.append((mark, strength))

        def paint(prompt: str) -> Image.Image:
            self.prompts.append(prompt)
            shade = round(10 * (mark or 0) * strength)
            return Image.new("RGB", (8, 8), (shade, len(prompt), 0))

        return paint


@pytest.fixture
def run(tmp_path: Path) -> Run:
    checkpoints = []
    for epoch in (1, 2, 3):
        file = tmp_path / f"{epoch}.safetensors"
        save_file({"x": torch.tensor([float(epoch)])}, {}, file)
        checkpoints.append(Checkpoint(epoch=epoch, step=epoch, file=file))
    return Run(folder=tmp_path, name="cat", checkpoints=tuple(checkpoints))


def test_a_lora_is_put_on_once_for_all_prompts_of_its_column(run: Run) -> None:
    painter, heard = CountingPainter(), []
    across, prompts = columns(run, "2,3", "0.5 1"), ("a", "bb", "ccc")
    rows = render(run, across, prompts, painter, lambda done, total: heard.append((done, total)))
    assert painter.columns == [(None, 0.0), (2.0, 0.5), (2.0, 1.0), (3.0, 0.5), (3.0, 1.0)]
    assert painter.prompts == list(prompts) * 5
    assert heard == [(done, 15) for done in range(16)]
    found = [[picture.getpixel((0, 0))[:2] for picture in row] for row in rows]  # type: ignore[index]
    assert found == [[(shade, length) for shade in (0, 10, 20, 15, 30)] for length in (1, 2, 3)]


def test_a_progress_that_raises_stops_the_painting(run: Run) -> None:
    painter = CountingPainter()

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(run, columns(run, "all", "1"), ("a", "b", "c"), painter, stop)
    assert painter.prompts == ["a", "b"]


def test_the_report_warns_of_a_column_that_equals_no_lora_and_of_unmatched_names(run: Run) -> None:
    across, prompts = columns(run, "1,2", "1"), ("a", "b")
    plain, other = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    quiet = report(run, across, prompts, [[plain, other, other], [plain, other, other]], ())
    assert "Warning" not in quiet
    assert "2 columns with the LoRA, 2 prompts" in quiet
    loud = report(run, across, prompts, [[plain, plain, other], [plain, other, other]], ("lora_b", "lora_a", "lora_b"))
    assert "epoch 1  x1 equals no LoRA for 1 of 2 prompts" in loud
    assert "epoch 2" not in loud
    assert "2 names in the file match no layer of this model, first lora_a" in loud


@pytest.mark.parametrize("losses", [[], [0.5], [0.5, 0.5], [1.0, 0.5, 0.25], [0.1] * 500 + [9.0]])
def test_a_plot_can_be_drawn_of_any_run(losses: list[float]) -> None:
    sheet = loss_plot(losses, size=(320, 200))
    assert sheet.size == (320, 200)


@pytest.mark.parametrize("bad", [{}, {30: float("nan"), 70: float("inf")}])
def test_a_falling_loss_falls_on_the_plot_also_past_steps_without_a_loss(bad: dict[int, float]) -> None:
    sheet = loss_plot([bad.get(i, 1 - i / 100) for i in range(100)])
    line = [(x, y) for x in range(62, 620) for y in range(sheet.height) if sheet.getpixel((x, y)) == (36, 82, 160)]
    left, middle, right = ([y for x, y in line if low <= x < low + 60] for low in (70, 310, 560))
    assert max(left) < min(middle)
    assert max(middle) < min(right)
