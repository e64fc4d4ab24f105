"""Painting, keeping and reporting a sweep's cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image, PngImagePlugin

from lora_kiln.sweep.axes import columns, rows
from lora_kiln.sweep.blocks import Part, pick_presets
from lora_kiln.sweep.choose import choose
from lora_kiln.sweep.marks import Marks
from lora_kiln.sweep.render import Plan, render
from lora_kiln.sweep.report import report, table
from lora_kiln.sweep.store import CellStore
from lora_kiln.sweep.values import WIRED, Column, Grid, Painting, Places
from lora_kiln.trainer.formats import save_file
from lora_kiln.trainer.ports import BlockCounts
from lora_kiln.trainer.values import Checkpoint, Run

Heard = list[tuple[int, int]]


class CountingPainter:
    """`sweep.render.Painter` whose picture tells the LoRA's strength and the seed; counts how often one is put on."""

    def __init__(self, mark: str = "model", unmatched: tuple[str, ...] = ()) -> None:
        self._mark, self._unmatched = mark, unmatched
        self.columns: list[tuple[float | None, float]] = []
        self.prompts: list[str] = []
        self.read: list[list[str]] = []

    def mark(self) -> str:
        return self._mark

    def places(self) -> Places:
        return Places(of={"x": ("down", 1), "t": ("text", 0)}, counts=BlockCounts(down=12, mid=1, up=12))

    def column(self, parts: Sequence[Part], strength: float, prompts: Sequence[str]) -> Callable[[str, int], Painting]:
        self.read.append(list(prompts))
        tensors = [
            (float(tensors["x.lora_up.weight"]), factor) for tensors, factor in parts if "x.lora_up.weight" in tensors
        ]
        self.columns.append((tensors[0][0] if tensors else None, strength))
        shade = round(10 * strength * sum(epoch * factor for epoch, factor in tensors))

        def paint(prompt: str, seed: int) -> Painting:
            assert prompt in prompts
            self.prompts.append(prompt)
            return Painting(picture=Image.new("RGB", (8, 8), (shade, len(prompt), seed)), unmatched=self._unmatched)

        return paint


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Three epochs whose only tensors are the epoch's number."""
    checkpoints = []
    for epoch in (1, 2, 3):
        file = tmp_path / f"{epoch}.safetensors"
        save_file({"x.lora_up.weight": torch.tensor([float(epoch)]), "t.alpha": torch.tensor(1.0)}, {}, file)
        checkpoints.append(Checkpoint(epoch=epoch, step=epoch, file=file))
    return Run(folder=tmp_path, name="cat", checkpoints=tuple(checkpoints))


def plan(
    run: Run, epochs: str, strengths: str, prompts: Sequence[str], presets: Sequence[str] = (), **more: object
) -> Plan:
    chosen = {preset.name: preset for preset in pick_presets(presets)}
    return Plan(
        bases=more.get("bases", (WIRED,)),  # type: ignore[arg-type]
        columns=columns(run, epochs, strengths, tuple(chosen)),
        rows=rows([(prompt, prompt) for prompt in prompts], more.get("seeds", (5,))),  # type: ignore[arg-type]
        presets=chosen,
    )


def shades(grid: Grid, base: str = WIRED) -> list[list[tuple[int, int, int]]]:
    def first(column: Column, row: int) -> tuple[int, int, int]:
        with Image.open(grid.column(base, column)[row].file) as picture:
            return picture.getpixel((0, 0))  # type: ignore[return-value]

    return [[first(column, row) for column in grid.columns] for row in range(len(grid.rows))]


def test_a_lora_is_put_on_once_for_all_prompts_of_its_column(run: Run, tmp_path: Path) -> None:
    painter, heard = CountingPainter(), Heard()
    asked = plan(run, "2,3", "0.5 1", ("a", "bb", "ccc"))
    grid = render(run, asked, lambda _: painter, CellStore(tmp_path), lambda *at: heard.append(at))
    assert painter.columns == [(None, 0.0), (2.0, 0.5), (2.0, 1.0), (3.0, 0.5), (3.0, 1.0)]
    assert painter.prompts == ["a", "bb", "ccc"] * 5
    assert heard == [(done, 15) for done in range(16)]
    assert shades(grid) == [[(shade, length, 5) for shade in (0, 10, 20, 15, 30)] for length in (1, 2, 3)]


def test_what_was_painted_is_found_again_after_a_stop_and_in_a_larger_sweep(run: Run, tmp_path: Path) -> None:
    painter, store = CountingPainter(), CellStore(tmp_path)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    small = plan(run, "1", "1", ("a", "bb", "ccc"))
    with pytest.raises(KeyboardInterrupt):
        render(run, small, lambda _: painter, store, stop)
    assert painter.prompts == ["a", "bb", "ccc", "a"]
    render(run, small, lambda _: painter, store, lambda *_: None)
    assert painter.prompts[4:] == ["bb", "ccc"]
    # The column without the LoRA was whole, so it was not opened again.
    assert painter.columns == [(None, 0.0), (1.0, 1.0), (1.0, 1.0)]
    # Nor was a prompt read whose picture is there.
    assert painter.read == [["a", "bb", "ccc"], ["a", "bb", "ccc"], ["bb", "ccc"]]
    large = plan(run, "1,2", "1", ("a", "bb", "dddd"))
    grid = render(run, large, lambda _: painter, store, lambda *_: None)
    assert painter.prompts[6:] == ["dddd", "dddd", "a", "bb", "dddd"]
    assert shades(grid)[1] == [(0, 2, 5), (10, 2, 5), (20, 2, 5)]


def test_another_model_file_seed_or_strength_is_another_cell(run: Run, tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    painters = {"": CountingPainter("one"), "other": CountingPainter("two")}
    asked = plan(run, "1", "1", ("a",), bases=("", "other"), seeds=(5, 6))
    grid = render(run, asked, lambda base: painters[base], store, lambda *_: None)
    assert len({cell.file for cell in grid.cells.values()}) == len(grid.cells) == 8
    assert shades(grid, "other") == [[(0, 1, seed), (10, 1, seed)] for seed in (5, 6)]
    save_file({"x.lora_up.weight": torch.tensor([9.0])}, {}, run.checkpoint(1).file)
    painter = CountingPainter("one")
    retrained = render(run, plan(run, "1", "1", ("a",)), lambda _: painter, store, lambda *_: None)
    assert painter.columns == [(9.0, 1.0)]
    assert shades(retrained) == [[(0, 1, 5), (90, 1, 5)]]


@pytest.mark.parametrize("harm", ["cut in its head", "cut in its pixels", "other pixels"])
def test_a_damaged_cell_is_painted_again(run: Run, tmp_path: Path, harm: str) -> None:
    painter, store = CountingPainter(), CellStore(tmp_path)
    asked = plan(run, "1", "1", ("a",))
    first = render(run, asked, lambda _: painter, store, lambda *_: None)
    broken = first.column(WIRED, first.columns[1])[0].file
    content = broken.read_bytes()
    if harm == "other pixels":
        with Image.open(broken) as picture:
            notes = PngImagePlugin.PngInfo()
            notes.add_text("kiln", picture.info["kiln"])
            Image.new("RGB", picture.size, "lime").save(broken, "PNG", pnginfo=notes)
    else:
        # The text stands before the pixels.
        broken.write_bytes(content[:40] if "head" in harm else content[: content.index(b"IDAT") + 8])
    render(run, asked, lambda _: painter, store, lambda *_: None)
    assert painter.columns == [(None, 0.0), (1.0, 1.0), (1.0, 1.0)]


def test_a_cell_remembers_its_flaws_and_what_it_was_made_from(tmp_path: Path) -> None:
    store = CellStore(tmp_path)
    made = {"prompt": "\u8d64, 1girl", "seed": 3}
    written = store.write(store.key(made), Painting(picture=Image.new("RGB", (4, 6), "red"), broken=0.25), made)
    assert store.read(store.key(made)) == written
    assert (written.size, written.broken) == ((4, 6), 0.25)
    assert store.read(store.key({**made, "seed": 4})) is None
    with Image.open(written.file) as picture:
        assert "\\u8d64, 1girl" in picture.info["kiln"]


def test_block_weights_reach_the_painter_as_parts(run: Run, tmp_path: Path) -> None:
    painter = CountingPainter()
    half = "half: 1,1,0.5" + ",1" * 23
    grid = render(
        run, plan(run, "2", "1", ("a",), ("NONE", half)), lambda _: painter, CellStore(tmp_path), lambda *_: None
    )
    # The text encoder, then each block: the third number is that of the second down block, where x is.
    assert [shade for shade, *_ in shades(grid)[0]] == [0, 20, 0, 10]


def column_marks(grid: Grid) -> dict[Column, Marks]:
    return {column: Marks(traits=0.1 * column.epoch, flexibility=0.9) for column in grid.columns}


def test_the_report_warns_of_equal_cells_and_unmatched_names(run: Run, tmp_path: Path) -> None:
    painter = CountingPainter(unmatched=("lora_b", "lora_a"))
    asked = plan(run, "all", "0 1", ("a", "b"))
    for _ in range(2):
        # The second time nothing is painted, and the warning stays.
        grid = render(run, asked, lambda _: painter, CellStore(tmp_path), lambda *_: None)
    choice = choose(column_marks(grid))
    loud = report(run, grid, choice)
    assert "Run cat: 6 columns with the LoRA, 2 prompts." in loud
    assert "Warning: epoch 1  x0 equals no LoRA for 2 of 2 prompts." in loud
    assert "epoch 1  x1 equals" not in loud
    assert "Warning: 2 names in the file match no layer of this model, first lora_a." in loud
    assert choice.reason in loud
    again = render(
        run, plan(run, "1", "1", ("a",)), lambda _: CountingPainter("x"), CellStore(tmp_path), lambda *_: None
    )
    assert "Warning" not in report(run, again, choice)


def test_columns_that_paint_the_same_are_named(run: Run, tmp_path: Path) -> None:
    save_file({"x.lora_up.weight": torch.tensor([1.0])}, {}, run.checkpoint(2).file)
    grid = render(
        run, plan(run, "all", "1", ("a", "b")), lambda _: CountingPainter(), CellStore(tmp_path), lambda *_: None
    )
    said = report(run, grid, choose(column_marks(grid)))
    assert "Warning: epoch 1  x1 and epoch 2  x1 paint the same pictures." in said
    assert "epoch 3" not in said.split("Warning")[1]


def test_the_table_has_a_line_for_each_column_and_dashes_for_what_was_not_measured() -> None:
    plain, one = Column(epoch=0, strength=0.0), Column(epoch=4, strength=0.8)
    marks = {plain: Marks(traits=0.0, flexibility=1.0), one: Marks(traits=0.5, flexibility=0.75, corrupt=0.1)}
    lines = table(marks, choose(marks)).splitlines()
    assert [cell.strip() for cell in lines[3].split("|")[1:-1]] == [
        "epoch 4  x0.8", "0.50", "0.75", "1.25", "-", "-", "-", "0.10", "best",
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1
