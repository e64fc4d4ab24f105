"""Figures and their views: on drawn chibi and tall figures whose proportions the drawing code knows."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from demo.world.draw import draw
from demo.world.figure import random_figure
from demo.world.sheets import overlap
from lora_kiln.dataset.figure import Figure, find_figure
from lora_kiln.dataset.framing import VIEWS, shown_tags
from lora_kiln.dataset.images import open_image
from lora_kiln.dataset.masks import label_parts
from lora_kiln.dataset.sheets import crop_sheets
from lora_kiln.dataset.values import Box, Dataset, Record
from lora_kiln.dataset.view_options import ViewOptions
from lora_kiln.dataset.views import crop_record, crop_views

SMALL = ViewOptions(minimum_size=16)
PLAIN = ("white background", "blue background", "pink background")


def seen_in(name: str, tags: tuple[str, ...]) -> tuple[str, ...]:
    """What a view keeps of a caption, with its own tags."""
    return shown_tags(tags, VIEWS[name].hides, VIEWS[name].tags)


def tall(heads: float, *, hair: str = "short", side: int = 480, background: str = "white") -> tuple[Image.Image, float]:
    """A drawn figure `heads` heads tall, and the row of her chin in pixels."""
    image = Image.new("RGB", (side, side), background)
    pen = ImageDraw.Draw(image)
    head, x, y = side * 0.9 / heads, side / 2, side * 0.05
    if hair == "long":
        pen.rounded_rectangle((x - head * 0.55, y, x + head * 0.55, y + head * 2.2), head * 0.5, fill="brown")
    if hair == "tails":
        for turn in (-1, 1):
            points = [(0.4, 0.3), (1.0, 0.6), (0.8, 2.5)]
            pen.polygon([(x + turn * head * a, y + head * b) for a, b in points], fill="brown")
    pen.ellipse((x - head * 0.46, y, x + head * 0.46, y + head), fill="brown")
    pen.rectangle((x - head * 0.15, y + head * 0.9, x + head * 0.15, y + head * 1.3), fill="pink")
    pen.rounded_rectangle((x - head * 0.9, y + head * 1.25, x + head * 0.9, y + head * 3.2), head * 0.3, fill="navy")
    pen.rectangle((x - head * 0.6, y + head * 3.1, x + head * 0.6, y + head * heads), fill="grey")
    return image, y + head


def figure_in(image: Image.Image) -> Figure:
    found = find_figure(image)
    assert isinstance(found, Figure), found
    return found


@pytest.mark.parametrize("hair", ["short", "long", "tails"])
@pytest.mark.parametrize("heads", [4.5, 6.0, 7.2])
def test_the_chin_of_tall_figures(heads: float, hair: str) -> None:
    image, chin = tall(heads, hair=hair)
    figure = figure_in(image)
    head = image.height * 0.9 / heads
    assert abs(figure.head.bottom - chin) < 0.35 * head
    assert abs((figure.head.left + figure.head.right) / 2 - image.width / 2) < 0.25 * head
    assert not figure.cut


def test_heads_and_bodies_of_the_miniature_world() -> None:
    rng = random.Random(7)
    chins, boxes = [], []
    for _ in range(60):
        drawing = draw(replace(random_figure(rng, strange=0.3), background=rng.choice(PLAIN), framing="full body"))
        figure = figure_in(drawing.image)
        head = drawing.head_box[3] - drawing.head_box[1]
        chins.append(abs(figure.head.bottom - drawing.head_box[3]) / head)
        truth = drawing.figure_box
        boxes.append(overlap((0, figure.box.top, 1, figure.box.bottom), (0, truth[1], 1, truth[3])))
    assert np.mean(boxes) > 0.95
    assert np.median(chins) < 0.15
    assert np.quantile(chins, 0.9) < 0.4


def test_close_views_on_white_paper_are_no_scenery_and_scenery_is() -> None:
    rng = random.Random(11)
    paper, scenes = [], []
    for _ in range(60):
        figure = replace(
            random_figure(rng, strange=0.3), style="sketch", framing=rng.choice(("portrait", "upper body"))
        )
        paper.append(find_figure(draw(replace(figure, background="white background")).image))
        scene = rng.choice(("forest", "beach", "indoors"))
        scenes.append(find_figure(draw(replace(figure, background=scene)).image))
    assert sum(isinstance(found, str) for found in paper) <= 2
    assert sum(isinstance(found, str) for found in scenes) >= 58


def test_a_tag_of_a_plain_background_is_believed(tmp_path: Path) -> None:
    image, _ = tall(6.0, background="skyblue", hair="tails")
    close = image.crop((175, 20, 305, 200))
    close.save(tmp_path / "a.png")
    bare = Record(image=tmp_path / "a.png", size=close.size, tags=("1girl", "portrait"))
    assert crop_record(bare, SMALL).why == "its background is not plain"
    tagged = replace(bare, tags=("1girl", "portrait", "blue background"))
    assert crop_record(tagged, SMALL).why != "its background is not plain"


def test_views_of_a_tall_figure_end_where_they_should(tmp_path: Path) -> None:
    image, chin = tall(6.5)
    image.save(tmp_path / "front.png")
    options = replace(SMALL, full_body=True, lower_body=True, bangs=True, chest=True, waist=True, padding=0.0)
    record = Record(image=tmp_path / "front.png", size=image.size, tags=("kierose", "standing", "full body"), repeats=9)
    crops = {crop.origin[-1]: crop for crop in crop_record(record, options).crops}
    assert set(crops) == {f"crop:{name.replace('_', ' ')} of front.png" for name in VIEWS}
    bottoms = {name: crop.crop.bottom for name, crop in crops.items() if crop.crop}
    soles = image.height * 0.95
    for name, share in (("cowboy shot", 0.68), ("upper body", 0.40), ("portrait", 0.17), ("full body", 1.0)):
        expected = chin + share * (soles - chin)
        assert bottoms[f"crop:{name} of front.png"] == pytest.approx(expected, abs=0.05 * image.height), name
    for crop in crops.values():
        assert crop.crop is not None
        assert 0.49 <= crop.crop.width / crop.crop.height <= 2.01
        assert crop.repeats == 9
        assert open_image(crop).size == crop.view_size
    assert crops["crop:portrait of front.png"].tags == ("kierose", "portrait")
    assert crops["crop:full body of front.png"].tags == ("kierose", "standing", "full body")


def test_tags_that_a_view_cannot_show_go() -> None:
    tags = (
        "kierose", "1girl", "red hair", "smile", "white shirt", "red necktie", "white gloves", "black skirt",
        "thighhighs", "brown boots", "standing", "holding cup", "white background", "full body",
    )  # fmt: skip
    seen = {name: set(tags) - set(seen_in(name, tags)) - {"full body"} for name in VIEWS}
    assert seen["full_body"] == set()
    assert seen["cowboy_shot"] == {"brown boots"}
    assert seen["upper_body"] == {"brown boots", "thighhighs", "black skirt", "standing"}
    assert seen["portrait"] == {*seen["upper_body"], "white gloves", "holding cup"}
    assert seen["face"] == {*seen["portrait"], "white shirt", "red necktie"}
    # The neck is in the picture.
    assert seen["chest"] == {"red hair", "smile", "black skirt", "thighhighs", "brown boots", "standing"}
    assert seen["lower_body"] == {"red hair", "smile", "white shirt", "red necktie"}
    assert seen_in("face", tags)[0] == "kierose"
    assert seen_in("face", tags)[-1] == "close-up"
    assert seen_in("lower_body", tags)[-2:] == ("lower body", "head out of frame")
    assert seen_in("face", ()) == ("close-up",)
    assert seen_in("face", ("upper body", "from behind")) == ("from behind", "close-up")
    assert seen_in("face", ("kie_rose", "long_hair", "boots")) == ("kie_rose", "long_hair", "close-up")


def test_a_crop_forgets_traits_that_it_cannot_show(tmp_path: Path) -> None:
    image, _ = tall(6.0)
    image.save(tmp_path / "a.png")
    record = Record(image=tmp_path / "a.png", size=image.size, tags=("kierose",), pruned=("red hair", "cat tail"))
    crops = {crop.origin[-1].split(" of ")[0]: crop.pruned for crop in crop_record(record, SMALL).crops}
    assert crops["crop:face"] == ("red hair",)
    assert crops["crop:cowboy shot"] == ("red hair", "cat tail")


@pytest.mark.parametrize(
    ("tag", "views"),
    [
        ("full body", ["cowboy shot", "upper body", "portrait", "face"]),
        ("upper body", ["portrait", "face"]),
        ("portrait", ["face"]),
        ("close-up", []),
    ],
)
def test_only_tighter_views_of_what_is_a_view_already(tmp_path: Path, tag: str, views: list[str]) -> None:
    image, _ = tall(6.0)
    # Cut below the shoulders where the tag says that it is.
    if tag != "full body":
        image = image.crop((60, 0, 420, 230))
    image.save(tmp_path / "a.png")
    record = Record(image=tmp_path / "a.png", size=image.size, tags=("1girl", tag))
    crops = [crop.origin[-1] for crop in crop_record(record, SMALL).crops]
    assert crops == [f"crop:{view} of a.png" for view in views]


def test_an_untagged_picture_that_is_cut_gets_only_views_near_the_head(tmp_path: Path) -> None:
    image = tall(6.0)[0].crop((60, 0, 420, 230))
    image.save(tmp_path / "a.png")
    cropped = crop_record(Record(image=tmp_path / "a.png", size=image.size), SMALL)
    assert {crop.origin[-1].split(" of ")[0] for crop in cropped.crops} == {"crop:portrait", "crop:face"}
    assert "upper body is not in the picture" in cropped.why


def test_crops_of_a_crop_stay_inside_it(tmp_path: Path) -> None:
    image, _ = tall(6.0)
    wide = Image.new("RGB", (1000, 600), "white")
    wide.paste(image, (400, 100))
    wide.save(tmp_path / "sheet.png")
    part = Box(left=400, top=100, right=880, bottom=580)
    record = Record(image=tmp_path / "sheet.png", size=wide.size, crop=part, origin=("split:1 of sheet.png",))
    crops = crop_record(record, SMALL).crops
    assert len(crops) == 4
    for crop in crops:
        assert crop.crop is not None
        assert part.left <= crop.crop.left < crop.crop.right <= part.right
        assert part.top <= crop.crop.top < crop.crop.bottom <= part.bottom
        assert len(crop.origin) == 2


def test_transparent_and_shaded_backgrounds(tmp_path: Path) -> None:
    image, _ = tall(6.0)
    plain = figure_in(image).box
    rgba = np.dstack([np.asarray(image), np.where(np.asarray(image).min(axis=2) < 250, 255, 0).astype(np.uint8)])
    noisy = np.random.default_rng(1).integers(0, 255, rgba.shape, dtype=np.uint8)
    noisy[..., 3] = rgba[..., 3]
    by_alpha = find_figure(Image.fromarray(noisy[..., :3]), Image.fromarray(noisy[..., 3]))
    assert isinstance(by_alpha, Figure)
    assert overlap(by_alpha.box.as_tuple(), plain.as_tuple()) > 0.95
    ramp = np.linspace(255, 150, image.height)[:, None, None]
    shaded = np.where(np.asarray(image).min(axis=2, keepdims=True) > 250, ramp, np.asarray(image)).astype(np.uint8)
    assert overlap(figure_in(Image.fromarray(shaded)).box.as_tuple(), plain.as_tuple()) > 0.95


def test_pictures_without_one_figure_pass_unchanged_and_say_why(tmp_path: Path) -> None:
    Image.effect_noise((200, 200), 90).convert("RGB").save(tmp_path / "noise.png")
    Image.new("RGB", (200, 200), "white").save(tmp_path / "empty.png")
    two = Image.new("RGB", (900, 480), "white")
    two.paste(tall(6.0)[0].crop((100, 0, 380, 480)), (50, 0))
    two.paste(tall(6.0)[0].crop((100, 0, 380, 480)), (550, 0))
    two.save(tmp_path / "two.png")
    sizes = {"noise.png": (200, 200), "empty.png": (200, 200), "two.png": (900, 480)}
    records = tuple(Record(image=tmp_path / name, size=size) for name, size in sizes.items())
    steps: list[int] = []
    result, report, done = crop_views(Dataset(records=records), SMALL, lambda at, _: steps.append(at))
    assert result.records == records
    assert [one.why for one in done] == [
        "its background is not plain",
        "no figure stands out from its background",
        "it shows more than one figure; split it first",
    ]
    assert "two.png: it shows more than one figure" in report
    assert steps == [1, 2, 3]


def test_minimum_size_repeats_and_dropped_originals(tmp_path: Path) -> None:
    image, _ = tall(6.0)
    image.save(tmp_path / "a.png")
    data = Dataset(records=(Record(image=tmp_path / "a.png", size=image.size, tags=("1girl",), repeats=3),))
    result, report, _ = crop_views(data, ViewOptions(minimum_size=100, keep_originals=False, repeats=2))
    assert 0 < len(result) < 4
    assert all(min(record.view_size) >= 100 and record.repeats == 2 and record.crop for record in result)
    assert "fewer than 100" in report
    nothing, _, _ = crop_views(data, ViewOptions(minimum_size=2000, keep_originals=False))
    assert nothing == data
    with pytest.raises(ValueError, match="no view is chosen"):
        ViewOptions(cowboy_shot=False, upper_body=False, portrait=False, face=False)


def test_the_sheet_shows_the_boxes(tmp_path: Path) -> None:
    image, _ = tall(6.0)
    image.save(tmp_path / "名前.png")
    _, _, done = crop_views(Dataset(records=(Record(image=tmp_path / "名前.png", size=image.size),)), SMALL)
    [sheet] = crop_sheets(done)
    assert sheet.mode == "RGB"
    assert (np.asarray(sheet) == (0xD9, 0x48, 0x48)).all(axis=-1).sum() > 200
    assert crop_sheets(())[0].size[0] > 0


def test_label_parts() -> None:
    mask = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 0, 1], [0, 0, 0, 0, 1], [1, 0, 1, 1, 1]], dtype=bool)
    labels, areas = label_parts(mask)
    assert sorted(areas.tolist()) == [1, 3, 6]
    assert labels[0, 0] == labels[1, 2] != labels[0, 4]
    assert labels[3, 2] == labels[0, 4]
    assert label_parts(np.zeros((3, 3), dtype=bool))[1].tolist() == []
