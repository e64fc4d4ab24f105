"""Line art and edges."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from lora_kiln.dataset.lines import blurred, edge_agreement, edges, line_art


def scene(move: int = 0, paper: str = "white", ink: str = "black") -> Image.Image:
    image = Image.new("RGB", (160, 120), paper)
    pen = ImageDraw.Draw(image)
    pen.ellipse((30 + move, 20, 90 + move, 80), outline=ink, width=2)
    pen.line((10 + move, 110, 150 + move, 90), fill=ink, width=2)
    return image


def test_a_gaussian_is_the_convolution_that_its_formula_says() -> None:
    plane = np.zeros((15, 17))
    plane[7, 8] = 1.0
    found = blurred(plane, 1.3)
    row = np.exp(-0.5 * (np.arange(-4, 5) / 1.3) ** 2)
    row /= row.sum()
    wanted = np.zeros_like(plane)
    wanted[3:12, 4:13] = np.outer(row, row)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_allclose(blurred(np.full((5, 6, 3), 7.0), 2.0), 7.0)


def test_line_art_draws_lines_white_on_black() -> None:
    art = line_art(scene())
    assert (art.mode, art.size) == ("L", (160, 120))
    assert art.getpixel((60, 21)) > 200
    assert art.getpixel((60, 50)) < 10
    drawn = np.asarray(art) > 127
    dark = np.asarray(scene().convert("L")) < 128
    assert drawn[dark].mean() > 0.9
    assert drawn[~dark].mean() < 0.05


def test_line_art_finds_the_border_of_two_flat_colours_but_fills_none() -> None:
    image = Image.new("RGB", (100, 100), "white")
    image.paste((60, 20, 20), (50, 0, 100, 100))
    art = np.asarray(line_art(image))
    assert art[:, 50].min() > 200
    assert art[:, 56:].max() < 10
    assert art[:, :49].max() < 10
    assert np.asarray(line_art(image, threshold=0.5)).max() <= art.max()


def test_edges_are_thin_and_where_the_picture_changes() -> None:
    image = Image.new("RGB", (60, 40), (200, 40, 40))
    image.paste((40, 40, 200), (30, 0, 60, 40))
    found = edges(image)
    assert set(np.flatnonzero(found.any(axis=0))) <= {29, 30}
    assert found.any(axis=1).all()
    assert found.sum() <= 40 + 2


def test_agreement_is_one_for_the_same_lines_and_falls_as_they_move() -> None:
    assert edge_agreement(scene(), scene()) == 1.0
    assert edge_agreement(scene(), ImageEnhance.Brightness(scene()).enhance(0.6)) > 0.95
    # Other colours, the same lines.
    assert edge_agreement(scene(), scene(paper="navy", ink="yellow")) > 0.9
    moved = [edge_agreement(scene(), scene(move)) for move in (0, 1, 6, 25)]
    assert moved == sorted(moved, reverse=True)
    assert moved[1] > 0.9
    assert moved[3] < 0.5


def test_agreement_of_pictures_without_lines() -> None:
    blank = Image.new("RGB", (160, 120), "grey")
    assert edge_agreement(blank, blank) == 1.0
    assert edge_agreement(scene(), blank) == 0.0


def test_only_the_given_part_counts() -> None:
    other = scene()
    ImageDraw.Draw(other).rectangle((110, 5, 150, 60), outline="black", width=2)
    left = np.zeros((12, 16), dtype=bool)
    left[:, :10] = True
    assert edge_agreement(scene(), other) < 0.95
    assert edge_agreement(scene(), other, left) == pytest.approx(1.0, abs=0.02)
