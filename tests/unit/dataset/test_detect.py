"""Detectors and background models: real ONNX files with their contracts, and what the views make of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lora_kiln.dataset.cutout import cut_mask, get_cutter, list_cutters
from lora_kiln.dataset.detect import KINDS, NONE, DetectorFiles, detect, drop_doubles, get_detector, list_detectors
from lora_kiln.dataset.errors import BadModel, DatasetError, ModelMissing
from lora_kiln.dataset.finding import FigureModels, look_at, single_figure
from lora_kiln.dataset.images import open_image
from lora_kiln.dataset.split import SplitOptions, split_record
from lora_kiln.dataset.values import Box, Dataset, Record
from lora_kiln.dataset.view_options import ViewOptions
from lora_kiln.dataset.views import crop_record, crop_views
from lora_kiln.trainer.buckets import bucket_sizes
from lora_kiln.trainer.groups import Buckets

BODIES = ((10, 20, 200), (200, 20, 30), (20, 150, 40))
HEAD, FACE, EYES = (250, 0, 250), (250, 200, 0), (0, 250, 250)
Load = Callable[[str], ModuleType]


@pytest.fixture(scope="session")
def yolo(load_beside: Load) -> ModuleType:
    return load_beside("yolo_onnx")


def scenery(size: tuple[int, int]) -> Image.Image:
    """Greys in bands and spots: no plain background, and none of the colours that the detectors know."""
    rng = random.Random(5)
    image = Image.new("RGB", size, (90, 90, 90))
    pen = ImageDraw.Draw(image)
    for _ in range(120):
        x, y, r, shade = rng.randrange(size[0]), rng.randrange(size[1]), rng.randrange(5, 40), rng.randrange(40, 230)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(shade, shade, shade))
    return image


def person(image: Image.Image, box: tuple[int, int, int, int], color: tuple[int, int, int]) -> None:
    """A block of one colour with a head in it: head, face and eyes have their own colours at their edges."""
    left, top, right, bottom = box
    pen = ImageDraw.Draw(image)
    pen.rectangle((left, top, right - 1, bottom - 1), fill=color)
    width = right - left
    head = (left + width // 4, top + 4, right - width // 4 - 1, top + 4 + width // 2)
    pen.rectangle(head, fill=HEAD)
    face = (head[0] + 6, head[1] + 14, head[2] - 6, head[3] - 4)
    pen.rectangle(face, fill=FACE)
    pen.rectangle((face[0] + 3, face[1] + 6, face[2] - 3, face[1] + 10), fill=EYES)


def files(folder: Path, kind: str) -> DetectorFiles:
    return DetectorFiles(kind=kind, model=folder / "model.onnx")


@pytest.mark.parametrize("side", [160, "free"])
@pytest.mark.parametrize("end_to_end", [False, True])
def test_boxes_of_any_yolo_form_in_pixels_of_the_picture(
    tmp_path: Path, yolo: ModuleType, side: int | str, end_to_end: bool
) -> None:
    folder = yolo.write_detector(tmp_path / "head", BODIES[:2], side=side, end_to_end=end_to_end)
    image = Image.new("RGB", (300, 200), "white")
    image.paste(BODIES[0], (30, 40, 90, 160))
    image.paste(BODIES[1], (200, 20, 280, 100))
    found = detect(files(folder, "head"), image)
    assert len(found) == 2, "doubles and boxes of a low score are gone"
    for one, box in zip(
        sorted(found, key=lambda each: each.box.left), ((30, 40, 90, 160), (200, 20, 280, 100)), strict=True
    ):
        assert np.abs(np.array(one.box.as_tuple()) - box).max() <= 4
        assert one.score == pytest.approx(0.9)
        assert one.label == "head"
    assert detect(files(folder, "head"), Image.new("RGB", (50, 70), "white")) == ()


def test_the_threshold_beside_the_model_and_other_classes(tmp_path: Path, yolo: ModuleType) -> None:
    image = Image.new("RGB", (160, 160), "white")
    image.paste(BODIES[0], (30, 40, 90, 150))
    strict = yolo.write_detector(tmp_path / "strict", BODIES[:1], threshold=0.95)
    assert detect(files(strict, "head"), image) == ()
    other = yolo.write_detector(tmp_path / "other", BODIES[:1], names=("hand", "head"))
    assert detect(files(other, "head"), image) == (), "hands are no heads"
    free = yolo.write_detector(tmp_path / "free", BODIES[:1], names=("a", "b"))
    assert [one.label for one in detect(files(free, "head"), image)] == ["a"]
    (tmp_path / "strict" / "threshold.json").write_text("[]")
    strict_again = yolo.write_detector(tmp_path / "again", BODIES[:1])
    (strict_again / "threshold.json").write_text('{"f1": 1}')
    with pytest.raises(BadModel, match="threshold"):
        detect(files(strict_again, "head"), image)


def test_files_that_are_no_detector_are_named(
    tmp_path: Path, yolo: ModuleType, write_tagger: Callable[..., Path]
) -> None:
    folder = write_tagger(tmp_path / "head")
    with pytest.raises(BadModel, match="colours first"):
        detect(files(folder, "head"), Image.new("RGB", (32, 32)))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BadModel, match="cannot be opened"):
        detect(files(tmp_path / "broken", "head"), Image.new("RGB", (32, 32)))


def test_what_can_be_picked(tmp_path: Path, yolo: ModuleType) -> None:
    yolo.write_detector(tmp_path / "my_head_v3", BODIES[:1])
    assert list_detectors("head", [tmp_path]) == ("my_head_v3", *KINDS["head"].hub, NONE)
    assert "my_head_v3" not in list_detectors("face", [tmp_path])
    assert get_detector("head", "my_head_v3", [tmp_path]).model == tmp_path / "my_head_v3" / "model.onnx"
    for name in ("../my_head_v3", "gone", "..", ""):
        if name != "../my_head_v3":
            with pytest.raises(ModelMissing, match="There is no head detector"):
                get_detector("head", name, [tmp_path])
    assert list_cutters([tmp_path / "nowhere"])[-1] == NONE
    with pytest.raises(ModelMissing, match="background model"):
        get_cutter("gone", [tmp_path])


def test_doubles_go_and_the_order_is_that_of_the_scores() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30], [0, 0, 10, 10]], dtype=np.float32)
    scores = np.array([0.6, 0.9, 0.7, 0.6], dtype=np.float32)
    assert drop_doubles(boxes, scores, 0.5) == [1, 2]
    assert drop_doubles(boxes, scores, 0.9) == [1, 2, 0]
    assert drop_doubles(boxes[:0], scores[:0], 0.5) == []


def test_a_group_on_scenery_is_split_by_a_person_detector(tmp_path: Path, yolo: ModuleType) -> None:
    folder = yolo.write_detector(tmp_path / "person", BODIES, names=("person",))
    image = scenery((480, 320))
    boxes = ((180, 60, 260, 300), (20, 80, 100, 310), (350, 40, 440, 305))
    for box, color in zip(boxes, BODIES, strict=True):
        image.paste(color, box)
    image.save(tmp_path / "group.png")
    record = Record(image=tmp_path / "group.png", size=image.size, tags=("3girls", "outdoors"))
    options = SplitOptions(minimum_size=16, padding=0.0)
    assert "person detector" in split_record(record, options).why
    models = FigureModels(detectors=(files(folder, "person"),))
    done = split_record(record, options, models=models)
    found = [one.crop.as_tuple() for one in done.figures if one.crop]
    assert len(found) == 3
    for box, truth in zip(found, sorted(boxes), strict=True):
        assert np.abs(np.array(box) - truth).max() <= 6
    assert {one.tags for one in done.figures} == {("1girl", "solo", "outdoors")}
    assert all(one.image == record.image for one in done.figures), "boxes only"


def test_views_from_detectors_where_no_outline_helps(tmp_path: Path, yolo: ModuleType) -> None:
    image = scenery((320, 480))
    body = (100, 30, 220, 460)
    person(image, body, BODIES[0])
    image.save(tmp_path / "a.png")
    record = Record(image=tmp_path / "a.png", size=image.size, tags=("kierose", "full body"))
    options = ViewOptions(minimum_size=16, padding=0.0, max_aspect=4.0, bangs=True, chest=True)
    assert crop_record(record, options).why == "its background is not plain"
    colors = {"person": BODIES[0], "head": HEAD, "face": FACE, "eyes": EYES}
    detectors = []
    for kind, color in colors.items():
        names = (KINDS[kind].word,)
        detectors.append(files(yolo.write_detector(tmp_path / kind, (color,), names=names, side=480), kind))
    models = FigureModels(detectors=tuple(detectors))
    figure = single_figure(look_at(record, models))
    assert not isinstance(figure, str)
    assert figure.sure
    assert np.abs(np.array(figure.box.as_tuple()) - body).max() <= 8
    crops = {one.origin[-1].split(" of ")[0][5:]: one.crop for one in crop_record(record, options, models=models).crops}
    assert set(crops) == {"cowboy shot", "upper body", "portrait", "face", "bangs", "chest"}
    assert figure.face is not None
    assert figure.eyes is not None
    assert crops["face"] is not None
    assert crops["bangs"] is not None
    assert crops["chest"] is not None
    assert abs(crops["face"].bottom - figure.face.bottom) <= 1
    assert abs(crops["bangs"].bottom - figure.eyes.bottom) <= 1
    assert crops["chest"].top >= figure.face.bottom - 1


def test_masks_and_a_background_model_find_and_clear_figures(tmp_path: Path, yolo: ModuleType) -> None:
    image = scenery((200, 300))
    pen = ImageDraw.Draw(image)
    pen.ellipse((70, 20, 130, 90), fill=(220, 60, 60))
    pen.rectangle((85, 85, 115, 280), fill=(200, 30, 40))
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse((70, 20, 130, 90), fill=255)
    ImageDraw.Draw(mask).rectangle((85, 85, 115, 280), fill=255)
    image.save(tmp_path / "a.png")
    record = Record(image=tmp_path / "a.png", size=image.size, tags=("kierose", "full body", "outdoors", "blue sky"))
    data = Dataset(records=(record,))
    options = ViewOptions(minimum_size=16, background="white")
    cutter = yolo.write_cutter(tmp_path / "backgrounds" / "isnetis.onnx")
    assert get_cutter("isnetis", [tmp_path / "backgrounds"]) == cutter
    seen = np.asarray(cut_mask(cutter, image)) >= 128
    assert (seen == (np.asarray(mask) >= 128)).mean() > 0.97
    for helps in ({"masks": (mask,)}, {"models": FigureModels(cutter=cutter)}):
        result, _, [done] = crop_views(data, options, folder=tmp_path / "cache", **helps)
        assert len(done.crops) == 4, done.why
        whole = result.records[0]
        assert whole.tags == ("kierose", "full body", "simple background", "white background")
        assert whole.origin == ("cut out of a.png",)
        pixels = np.asarray(open_image(whole)).astype(int)
        assert (pixels[:15] == 255).all()
        assert (np.abs(pixels[150, 90:110] - (200, 30, 40)).max(axis=-1) < 12).all()
        assert {one.image for one in result} == {whole.image}, "crops are boxes of one file"
        assert result.records[1].origin[-1] == "crop:cowboy shot of a.png"
    again, _, _ = crop_views(data, options, folder=tmp_path / "cache", masks=(mask,))
    assert again == crop_views(data, options, folder=tmp_path / "cache", masks=(mask,))[0]
    with pytest.raises(DatasetError, match="2 masks for 1 picture"):
        crop_views(data, options, masks=(mask, mask))
    with pytest.raises(DatasetError, match="the mask is 200 x 100 pixels"):
        crop_views(data, options, masks=(mask.resize((200, 100)),), folder=tmp_path / "cache")
    stays = crop_views(data, options, folder=tmp_path / "cache")[2][0]
    assert stays.why == "its background stays, is not plain; its background is not plain"


def test_white_clothes_on_white_paper_are_not_background(tmp_path: Path) -> None:
    image = Image.new("RGB", (120, 200), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((40, 10, 80, 60), fill="brown")
    pen.rectangle((45, 60, 75, 185), fill="white", outline="black", width=3)
    image.save(tmp_path / "a.png")
    record = Record(image=tmp_path / "a.png", size=image.size, tags=("kierose", "full body"))
    done = crop_record(record, ViewOptions(minimum_size=16, background="#ff0000"), folder=tmp_path / "cache")
    pixels = np.asarray(open_image(done.source))
    assert pixels[120, 60].tolist() == [255, 255, 255]
    assert pixels[120, 10].tolist() == [255, 0, 0]
    assert done.source.tags[-2:] == ("simple background", "red background")


def test_custom_boxes_repeats_and_tags(tmp_path: Path) -> None:
    Image.effect_noise((400, 600), 90).convert("RGB").save(tmp_path / "front.png")
    record = Record(image=tmp_path / "front.png", size=(400, 600), tags=("kierose", "1girl"), repeats=2)
    options = ViewOptions(
        cowboy_shot=False, upper_body=False, portrait=False, face=False, minimum_size=16,
        custom=(
            "front.png | buckle | 40% 50% 60% 62% | close-up, belt", "*.png | hem | 0 500 400 600",
            "x.png | a | 0 0 9 9",
        ),
        view_repeats=("buckle: 7",), view_tags=("hem: close-up, frills",),
    )  # fmt: skip
    result, report, [done] = crop_views(Dataset(records=(record,)), options)
    assert [one.crop for one in done.crops] == [
        Box(left=160, top=300, right=240, bottom=372), Box(left=0, top=500, right=400, bottom=600)
    ]  # fmt: skip
    assert [one.repeats for one in result] == [2, 7, 2]
    assert done.crops[0].tags == ("kierose", "1girl", "close-up", "belt")
    assert done.crops[1].tags == ("kierose", "1girl", "close-up", "frills")
    assert done.why == ""
    assert "a: no picture is called x.png" in report
    for line in ("front.png | buckle", "a | b | 1 2 3", "a | b | 9 1 3 4", "a | b | 1 2 3 x"):
        with pytest.raises(ValueError, match="custom, line 1"):
            ViewOptions(custom=(line,))
    for wrong in ({"view_repeats": ("hair: 3",)}, {"view_repeats": ("face: no",)}, {"view_tags": ("face",)}):
        with pytest.raises(ValueError, match=r"view_(repeats|tags)"):
            ViewOptions(**wrong)
    with pytest.raises(ValueError, match="no colour"):
        ViewOptions(background="whitish-ish")


def test_a_box_is_cut_from_a_file_once(tmp_path: Path) -> None:
    Image.effect_noise((400, 600), 90).convert("RGB").save(tmp_path / "[a] front.png")
    whole = Record(image=tmp_path / "[a] front.png", size=(400, 600), tags=("kie_rose", "long_hair"))
    upper = replace(whole, crop=Box(left=0, top=0, right=400, bottom=400), origin=("crop:upper body of [a] front.png",))
    data = Dataset(records=(whole, upper))
    options = ViewOptions(
        cowboy_shot=False, upper_body=False, portrait=False, face=False, minimum_size=16,
        custom=("[a]*.png | badge | 40% 50% 60% 62%",),
    )  # fmt: skip
    result, report, done = crop_views(data, options)
    assert [len(one.crops) for one in done] == [1, 0]
    assert "badge is given by another part of its file" in report
    assert len({(one.image, one.crop) for one in result}) == len(result) == 3
    assert done[0].crops[0].tags == ("kie_rose", "long_hair", "close-up")
    # Of two figures of a sheet each has what is in it.
    upper = replace(upper, crop=Box(left=0, top=0, right=400, bottom=340))
    lower = replace(whole, crop=Box(left=0, top=330, right=400, bottom=600), origin=("split:2 of [a] front.png",))
    assert [len(one.crops) for one in crop_views(Dataset(records=(upper, lower)), options)[2]] == [1, 1]


def test_prose_stays_as_written_and_the_report_says_so(tmp_path: Path) -> None:
    image = Image.new("RGB", (200, 300), "white")
    person_shape(image)
    image.save(tmp_path / "a.png")
    record = Record(image=tmp_path / "a.png", size=image.size, prose="A girl in boots, full body.")
    result, report, _ = crop_views(
        Dataset(records=(record,)), ViewOptions(minimum_size=16, background="grey"), folder=tmp_path / "cache"
    )
    assert len(result) > 1
    assert {(one.caption, one.tags) for one in result} == {(record.prose, ())}
    assert "1 caption of prose stayed as written" in report
    plain = replace(record, prose="", tags=())
    assert "prose" not in crop_views(Dataset(records=(plain,)), ViewOptions(minimum_size=16))[1]


def test_an_uncaptioned_picture_has_the_tags_of_its_new_background(tmp_path: Path) -> None:
    image = Image.new("RGB", (200, 300), "white")
    person_shape(image)
    image.save(tmp_path / "a.png")
    for tags, first in (((), ()), (("kie_rose", "long_hair"), ("kie_rose", "long_hair"))):
        record = Record(image=tmp_path / "a.png", size=image.size, tags=tags)
        done = crop_record(record, ViewOptions(minimum_size=16, background="grey"), folder=tmp_path / "cache")
        assert done.source.tags == (*first, "simple background", "grey background")
        assert done.source.given == ("simple background", "grey background")


def person_shape(image: Image.Image) -> None:
    """A tall figure of one colour on what is there."""
    pen = ImageDraw.Draw(image)
    pen.ellipse((80, 20, 120, 70), fill="brown")
    pen.rectangle((75, 72, 125, 280), fill="navy")
    pen.rectangle((95, 60, 105, 80), fill="navy")


def test_bucket_shapes_and_scale(tmp_path: Path) -> None:
    image = Image.new("RGB", (500, 900), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((190, 60, 310, 190), fill="brown")
    pen.rectangle((225, 180, 275, 240), fill="pink")
    pen.rectangle((170, 235, 330, 840), fill="navy")
    image.save(tmp_path / "a.png")
    record = Record(image=tmp_path / "a.png", size=image.size, tags=("kierose", "full body"))
    plain = ViewOptions(minimum_size=16)
    shaped = crop_record(record, ViewOptions(minimum_size=16, bucket_resolution=512)).crops
    for before, after in zip(crop_record(record, plain).crops, shaped, strict=True):
        assert before.crop is not None
        assert after.crop is not None
        ratios = [w / h for w, h in bucket_sizes(Buckets(resolution=512, min_bucket=64, max_bucket=2048))]
        assert min(abs(after.crop.width / after.crop.height / ratio - 1) for ratio in ratios) < 0.01
        assert after.crop.left <= before.crop.left
        assert after.crop.bottom >= before.crop.bottom
    wider = crop_record(record, ViewOptions(minimum_size=16, scale=1.3)).crops
    assert wider[-1].crop is not None
    assert shaped[-1].crop is not None
    assert wider[-1].crop.area > 1.5 * crop_record(record, plain).crops[-1].crop.area  # type: ignore[union-attr]
