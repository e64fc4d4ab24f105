"""The grid and the plots."""

from __future__ import annotations

import itertools

import pytest
from PIL import Image, ImageChops, ImageDraw

from lora_kiln.dataset.lettering import Lettering
from lora_kiln.sweep import trade
from lora_kiln.sweep.choose import choose
from lora_kiln.sweep.grid import Open, labelled_grid
from lora_kiln.sweep.marks import Marks
from lora_kiln.sweep.plot import loss_plot
from lora_kiln.sweep.trade import trade_plot
from lora_kiln.sweep.values import Column

COLORS = [["red", "lime", "blue"], ["cyan", "magenta", "yellow"]]


def plain(size: tuple[int, int], color: str) -> Open:
    return lambda: Image.new("RGB", size, color)


@pytest.mark.parametrize("size", [(64, 64), (128, 96)])
def test_each_cell_of_the_grid_stands_in_its_row_and_column(size: tuple[int, int]) -> None:
    rows = [[plain(size, color) for color in row] for row in COLORS]
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
    cell = plain((64, 64), "white")
    empty, named = (labelled_grid([[cell]], [label], [prompt]) for label, prompt in (("", ""), ("epoch 7", "a cat")))
    box = ImageChops.difference(empty, named).getbbox()
    assert box is not None
    left, top = named.width - 68, named.height - 68
    assert box[0] < left
    assert box[1] < top
    inked = ImageChops.difference(empty, named).convert("L")
    assert inked.crop((left, top, named.width, named.height)).getbbox() is None


def test_labels_of_any_script_stand_apart_and_large_cells_are_scaled_down() -> None:
    cells = [[plain((800, 400), "red"), plain((800, 400), "blue")]]
    one, other = (labelled_grid(cells, ["a", label], ["x"], most=200) for label in ("\u00e9\u00df", "\u00fc\u00e6"))
    assert one.size == other.size
    box = ImageChops.difference(one, other).getbbox()
    assert box is not None
    assert box[3] < one.height - 100
    red = ImageChops.difference(one, Image.new("RGB", one.size, "red")).convert("L").point([255] + [0] * 255).getbbox()
    assert red is not None
    assert (red[2] - red[0], red[3] - red[1]) == (200, 100)


def test_cells_are_opened_one_at_a_time_and_once_each() -> None:
    heard: list[int] = []

    def opening(number: int) -> Open:
        return lambda: heard.append(number) or Image.new("RGB", (32, 32), "red")

    labelled_grid([[opening(0), opening(1)], [opening(2), opening(3)]], ["a", "b"], ["x", "y"])
    assert heard == [0, 1, 2, 3]


def marks(**values: tuple[float, float]) -> dict[Column, Marks]:
    found = {Column(epoch=0, strength=0.0): Marks(traits=0.0, flexibility=1.0)}
    for name, (traits, flexible) in values.items():
        found[Column(epoch=int(name[1:]), strength=1.0)] = Marks(traits=traits, flexibility=flexible)
    return found


def test_the_trade_plot_puts_more_traits_to_the_right_and_more_flexibility_above() -> None:
    scored = marks(e1=(0.2, 0.9), e2=(0.7, 0.8), e3=(0.6, 0.3))
    sheet = trade_plot(scored, choose(scored), size=(720, 560))
    ring = [(x, y) for x in range(sheet.width) for y in range(sheet.height) if sheet.getpixel((x, y)) == (196, 72, 40)]
    x, y = (sum(values) / len(values) for values in zip(*ring, strict=True))
    # By hand: 0.2 to 0.7 lie on 72..680 across, and 0.3 to 0.9 on 488..56 upwards.
    assert abs(x - 680) < 12
    assert abs(y - 128) < 12
    assert sheet.getpixel((72, 56)) == (36, 82, 160)
    assert sheet.getpixel((558, 488)) == (150, 160, 178)


def test_points_that_lie_on_each_other_share_a_label_and_no_label_covers_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scored = marks(**{f"e{e}": (0.3 + 0.05 * min(e, 7), 1.0) for e in range(1, 11)})
    scored |= {Column(epoch=e, strength=0.5): Marks(traits=0.3, flexibility=1.0) for e in (1, 2, 3, 9, 10)}
    scored[Column(epoch=4, strength=0.5, blocks="OUTD")] = Marks(traits=0.61, flexibility=0.97)
    written: dict[str, tuple[float, float, float, float]] = {}

    class Recorded(Lettering):
        def draw(self, pen: ImageDraw.ImageDraw, place: tuple[float, float], line: str, fill: str) -> None:
            written[line] = (*place, place[0] + self.width(line), place[1] + self.height)
            super().draw(pen, place, line, fill)

    monkeypatch.setattr(trade, "Lettering", Recorded)
    trade_plot(scored, choose(scored))
    # Epoch 8 is chosen: 7 has a poorer neighbour.
    labels = {"1", "2", "3", "4", "5", "6", "8", "7, 9-10", "1-3, 9-10 x0.5", "4 x0.5 OUTD"}
    assert labels <= set(written)
    assert "no LoRA" not in written
    boxes = [written[label] for label in sorted(labels)]
    for a, b in itertools.combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert all(left >= 0 and top >= 0 and right <= 720 and bottom <= 560 for left, top, right, bottom in boxes)


def test_without_scores_the_trade_plot_says_so() -> None:
    unmeasured = {Column(epoch=e, strength=1.0): Marks() for e in (0, 1)}
    measured = marks(e1=(0.5, 0.5))
    one, other = (trade_plot(scored, choose(scored), size=(320, 240)) for scored in (unmeasured, measured))
    assert ImageChops.difference(one, other).getbbox() is not None


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
