"""Folders into datasets: order, repeats, captions, and every file that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image, features

from lora_kiln.dataset.content import SAMPLE, content_mark
from lora_kiln.dataset.errors import BadImage, DatasetError, EmptyFolder
from lora_kiln.dataset.images import open_alpha, open_image, open_mask, read_size, save_derived
from lora_kiln.dataset.load import LoadOptions, folder_fingerprint, load_dataset
from lora_kiln.dataset.report import dataset_report
from lora_kiln.dataset.values import Box, Dataset, Record


def picture(path: Path, size: tuple[int, int] = (40, 60), color: str = "red", caption: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def test_kohya_folders_nested_and_in_natural_order(tmp_path: Path) -> None:
    for name in ("10.png", "9.png", "1.png"):
        picture(tmp_path / "set" / "9_kierose" / name, caption="kierose, long_hair")
    picture(tmp_path / "set" / "5_kierose" / "back.webp")
    picture(tmp_path / "deep" / "3_characters~screenshots~Anisphia+Tilty" / "a.jpg")
    picture(tmp_path / "reg" / "1_girl" / "g.png", caption="1girl")
    dataset, problems = load_dataset(tmp_path)
    assert problems == ()
    rows = [(record.group, record.repeats, record.is_reg, record.image.name) for record in dataset]
    assert rows == [
        ("characters~screenshots~Anisphia+Tilty", 3, False, "a.jpg"),
        ("girl", 1, True, "g.png"),
        ("kierose", 5, False, "back.webp"),
        ("kierose", 9, False, "1.png"),
        ("kierose", 9, False, "9.png"),
        ("kierose", 9, False, "10.png"),
    ]
    assert dataset.images_per_epoch == 3 + 1 + 5 + 27
    assert dataset.records[3].tags == ("kierose", "long hair")
    report = dataset_report(dataset, problems)
    assert "kierose: 3 x 9 = 27" in report
    assert "2 missing" in report
    assert "long hair 3" in report


def test_the_kohya_folder_itself_and_own_repeats(tmp_path: Path) -> None:
    picture(tmp_path / "4_cat" / "a.png")
    assert load_dataset(tmp_path / "4_cat")[0].records[0].repeats == 4
    assert load_dataset(tmp_path, LoadOptions(repeats=7))[0].records[0].repeats == 7
    assert load_dataset(tmp_path, LoadOptions(regularization=True))[0].records[0].is_reg


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("no pictures")
    with pytest.raises(EmptyFolder) as caught:
        load_dataset(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert ".webp" in str(caught.value)
    assert "1 other files" in str(caught.value)
    with pytest.raises(EmptyFolder, match="is not there"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(EmptyFolder, match="is a file"):
        load_dataset(tmp_path / "notes.md")


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.webp", "cut.gif", "cut.bmp", "noise.png", "empty.png"])
def test_a_damaged_picture_is_named_and_left_out(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    picture(tmp_path / "good.png", caption="1girl")
    bad = tmp_path / name
    if name.startswith("cut"):
        noise = Image.effect_noise((200, 200), 90).convert("RGB")
        noise.save(bad)
        bad.write_bytes(bad.read_bytes()[: bad.stat().st_size * 2 // 3])
    else:
        bad.write_bytes(b"not a picture" if name == "noise.png" else b"")
    dataset, problems = load_dataset(tmp_path)
    assert [record.image.name for record in dataset] == ["good.png"]
    assert [problem.path.name for problem in problems] == [name]
    assert name in dataset_report(dataset, problems)
    assert name in caplog.text
    with pytest.raises(DatasetError, match=name):
        load_dataset(tmp_path, LoadOptions(on_problem="stop"))
    with pytest.raises(BadImage, match=name):
        open_image(bad)


def test_only_damaged_pictures_are_an_error_that_names_one(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(EmptyFolder, match=r"all 1 have a problem.*bad\.png"):
        load_dataset(tmp_path)


def test_damage_inside_is_found_when_everything_is_read(tmp_path: Path) -> None:
    good = tmp_path / "inside.png"
    Image.effect_noise((100, 100), 90).save(good)
    data = bytearray(good.read_bytes())
    data[len(data) // 2] ^= 0xFF
    good.write_bytes(bytes(data))
    picture(tmp_path / "other.png")
    _, problems = load_dataset(tmp_path, LoadOptions(read_all=True))
    assert [problem.path.name for problem in problems] == ["inside.png"]
    with pytest.raises(BadImage, match=r"inside\.png"):
        open_image(good)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20000, 5000)).save(bomb)
    with pytest.raises(BadImage, match="pixels"):
        read_size(bomb)


def test_captions_with_another_ending_are_not_lost_silently(tmp_path: Path) -> None:
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.wd14").write_text("1girl")
    picture(tmp_path / "c.png", caption="1girl")
    picture(tmp_path / "d.png")
    (tmp_path / "d.json").write_text('{"width": 3}')
    (tmp_path / "lonely.txt").write_text("1girl")
    (tmp_path / "notes.md").write_text("of no use")
    dataset, problems = load_dataset(tmp_path)
    assert len(dataset) == 4
    assert "no tags and no caption in it, only: width" in str(problems[0])
    assert "2 pictures have no .txt or .caption or .json or .jsonl caption, but a .wd14 file" in str(problems[1])
    assert problems[2].path.name == "lonely.txt"
    assert "passed over: .md 1" in str(problems[3])
    assert [problem.minor for problem in problems] == [False, False, False, True]


def test_caption_endings_encodings_and_kinds(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.png.txt").write_text("\ufefflong_hair", encoding="utf-8")
    picture(tmp_path / "b.png")
    (tmp_path / "b.CAPTION").write_text("A girl stands in the rain.", encoding="utf-8")
    picture(tmp_path / "c.png")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\x00broken")
    dataset, problems = load_dataset(tmp_path)
    assert [record.caption for record in dataset] == ["long hair", "A girl stands in the rain.", ""]
    assert dataset.records[1].prose
    (tmp_path / "c.txt").write_bytes("\ufefflong hair, hat".encode("utf-16-le"))
    assert load_dataset(tmp_path)[0].records[2].tags == ("long hair", "hat")
    assert problems[0].path.name == "c.txt"
    tags = load_dataset(tmp_path, LoadOptions(captions="tags", caption_extensions=("caption",)))[0]
    assert tags.records[1].tags == ("A girl stands in the rain.",)


def test_masks_and_files_that_are_not_read(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (20, 20))
    Image.new("L", (20, 20), 128).save(tmp_path / "a-masklabel.png")
    (tmp_path / "b.psd").write_bytes(b"8BPS")
    dataset, problems = load_dataset(tmp_path)
    (record,) = dataset
    mask = open_mask(record)
    assert mask is not None
    assert mask.getpixel((0, 0)) == 128
    assert [problem.path.name for problem in problems] == ["b.psd"]


def test_the_fingerprint_follows_the_content_of_the_folder(tmp_path: Path) -> None:
    path = picture(tmp_path / "set" / "a.png", caption="1girl, hat")
    marks = [folder_fingerprint(tmp_path / "set")]
    for file in (path, path.with_suffix(".txt")):
        file.write_bytes(file.read_bytes())
        os.utime(file, (1, 1))
    assert folder_fingerprint(tmp_path / "set") == marks[0]
    path.with_suffix(".txt").write_text("1girl, cat")
    marks.append(folder_fingerprint(tmp_path / "set"))
    picture(path, color="blue")
    marks.append(folder_fingerprint(tmp_path / "set"))
    path.rename(path.with_name("b.png"))
    marks.append(folder_fingerprint(tmp_path / "set"))
    marks.append(folder_fingerprint(tmp_path / "set", LoadOptions(repeats=2)))
    marks.append(folder_fingerprint(tmp_path / "nowhere"))
    assert len(set(marks)) == 6
    assert marks[-1].startswith("not there")


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp"])
def test_a_changed_pixel_in_a_large_picture_changes_the_mark(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    noise = Image.effect_noise((400, 400), 90).convert("RGB")
    noise.save(path)
    assert path.stat().st_size > 2 * SAMPLE
    first = content_mark(path)
    os.utime(path, (1, 1))
    assert content_mark(path) == first
    noise.paste("red", (200, 200, 216, 216))
    noise.save(path)
    assert content_mark(path) != first


def test_weights_that_differ_in_the_middle_alone_have_another_mark(tmp_path: Path) -> None:
    path, weights = tmp_path / "a.safetensors", bytearray(4 << 20)
    path.write_bytes(weights)
    first = content_mark(path)
    weights[1 << 20 : 3 << 20] = b"x" * (2 << 20)
    path.write_bytes(weights)
    assert content_mark(path) != first


def test_quality_folders_and_folders_of_a_number_alone(tmp_path: Path) -> None:
    for name in ("4", "8", "high quality", "Low", "0", "2024", "20240131_party", "9_kierose/16"):
        picture(tmp_path / "cafe" / name / "a.png", caption="x")
    dataset, problems = load_dataset(tmp_path / "cafe")
    rows = {record.image.parent.relative_to(tmp_path).as_posix(): (record.group, record.repeats) for record in dataset}
    assert rows == {
        "cafe/4": ("cafe", 4),
        "cafe/8": ("cafe", 8),
        "cafe/high quality": ("cafe", 16),
        "cafe/Low": ("cafe", 4),
        "cafe/2024": ("2024", 1),
        "cafe/20240131_party": ("20240131_party", 1),
        "cafe/9_kierose/16": ("kierose", 16),
    }
    assert [(problem.path.name, problem.minor) for problem in problems] == [("0", True)]
    assert "0 repeats leave out its 1 pictures" in str(problems[0])
    plain = load_dataset(tmp_path / "cafe", LoadOptions(quality_repeats=""))[0]
    assert {record.group for record in plain if record.repeats == 1} >= {"high quality", "Low"}
    assert {record.repeats for record in load_dataset(tmp_path / "cafe", LoadOptions(repeats=2))[0]} == {2}


def test_transparency_is_shown_over_the_chosen_colour(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.png")
    [record] = load_dataset(tmp_path, LoadOptions(background="#0a141e"))[0]
    assert record.background == (10, 20, 30)
    assert open_image(record).getpixel((0, 0)) == (10, 20, 30)
    with pytest.raises(ValueError, match="background is 'blau'"):
        LoadOptions(background="blau")


@pytest.mark.parametrize("name", ["a.webp", "a.avif", "a.bmp", "a.gif", "a.tif", "a.jfif", "a.tga"])
def test_other_formats_load(tmp_path: Path, name: str) -> None:
    if name.endswith("avif") and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    Image.new("RGB", (12, 8), "red").save(tmp_path / name, format="JPEG" if name.endswith("jfif") else None)
    [record] = load_dataset(tmp_path)[0]
    assert record.size == (12, 8)
    assert open_image(record).getpixel((3, 3))[0] > 240


def test_folders_that_are_not_looked_into_are_named(tmp_path: Path) -> None:
    """Downloaders name folders by the artist's handle; only those of the system are left out."""
    for name in ("@artist", "2_@other", "@eaDir", "__MACOSX", ".hidden"):
        picture(tmp_path / name / "a.png", (8, 8), caption="x")
    dataset, problems = load_dataset(tmp_path)
    assert {record.group for record in dataset} == {"@artist", "@other"}
    assert {(problem.path.name, problem.minor) for problem in problems} == {
        ("@eaDir", True), ("__MACOSX", True), (".hidden", True),
    }  # fmt: skip
    assert load_dataset(tmp_path / "@artist", inner=False)[1] == ()


def test_the_report_names_every_file_with_a_problem(tmp_path: Path) -> None:
    for number in range(45):
        picture(tmp_path / f"bare {number}.png", (8, 8))
        (tmp_path / f"bad {number}.png").write_bytes(b"")
    report = f"{dataset_report(*load_dataset(tmp_path))}\n"
    assert "Problems (45)" in report
    for number in range(45):
        assert f"bad {number}.png: " in report
        assert f"/bare {number}.png\n" in report


def test_one_group_in_two_folders_is_told(tmp_path: Path) -> None:
    for name in ("A/5_dress", "B/5_dress", "9_rose", "5_rose", "reg/1_rose", "cafe/4", "cafe/8"):
        picture(tmp_path / name / "a.png", (8, 8), caption="x")
    dataset, problems = load_dataset(tmp_path)
    assert len(dataset.groups()["dress"]) == 2
    [problem] = problems
    assert problem.minor
    for name in ("A", "B"):
        assert str(tmp_path / name / "5_dress") in str(problem)
    picture(tmp_path / "C" / "cafe" / "x.png", (8, 8), caption="x")
    picture(tmp_path / "C" / "3_cafe" / "x.png", (8, 8), caption="x")
    told = [str(problem) for problem in load_dataset(tmp_path)[1]]
    assert any(str(tmp_path / "cafe") in line and str(tmp_path / "C" / "3_cafe") in line for line in told)
    assert len(told) == 2


@pytest.mark.parametrize(
    ("name", "repeats", "doubted"),
    [
        ("0324_party", 324, True), ("1000_party", 1000, True), ("05_party", 5, True), ("0007/x", 7, True),
        ("324_party", 324, False), ("20240131_party", 1, False), ("7", 7, False),
    ],
)  # fmt: skip
def test_repeats_that_may_be_a_date_are_told(tmp_path: Path, name: str, repeats: int, doubted: bool) -> None:
    picture(tmp_path / name / "a.png", (8, 8), caption="x")
    dataset, problems = load_dataset(tmp_path)
    assert dataset.records[0].repeats == repeats
    told = [(str(problem.path), problem.minor) for problem in problems if f"{repeats} repeats" in problem.what]
    assert told == ([(str(tmp_path / name.removesuffix("/x")), True)] if doubted else [])
    assert load_dataset(tmp_path, LoadOptions(repeats=2))[1] == ()
    assert bool(load_dataset(tmp_path / name.removesuffix("/x"))[1]) == doubted


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes in folders")
def test_links_and_pipes_are_named_and_waited_for_by_nobody(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png")
    picture(tmp_path / "else" / "b.png")
    os.mkfifo(tmp_path / "set" / "pipe.png")
    (tmp_path / "set" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "else")
    (tmp_path / "set" / "round.png").symlink_to(tmp_path / "set" / "round.png")
    dataset, problems = load_dataset(tmp_path / "set")
    assert [record.image.name for record in dataset] == ["a.png"]
    assert {problem.path.name for problem in problems} == {"pipe.png", "gone.png", "linked", "round.png"}
    assert len(folder_fingerprint(tmp_path / "set")) == 64


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    for number in range(30):
        picture(tmp_path / f"{number}.png", (8, 8))
    seen: list[tuple[int, int]] = []
    load_dataset(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (30, 30)
    assert seen == sorted(seen)


def test_exif_alpha_crop_and_16_bits(tmp_path: Path) -> None:
    turned = Image.new("RGB", (30, 20), "red")
    turned.putpixel((0, 0), (0, 0, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("turned.png", "turned.webp", "turned.tif"):
        path = tmp_path / name
        turned.save(path, exif=exif, lossless=True) if name.endswith("webp") else turned.save(path, exif=exif)
        assert read_size(path) == (20, 30)
        assert open_image(path).getpixel((19, 0)) == (0, 0, 255)
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(clear)
    assert open_image(clear).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(clear, (0, 0, 0)).getpixel((0, 0)) == (0, 0, 0)
    alpha = open_alpha(clear)
    assert alpha is not None
    assert alpha.getpixel((0, 0)) == 0
    record = Record(image=tmp_path / "turned.png", size=(20, 30), crop=Box(left=10, top=0, right=20, bottom=5))
    assert open_image(record).size == (10, 5)
    assert open_image(record).getpixel((9, 0)) == (0, 0, 255)
    with pytest.raises(BadImage, match="was 30 x 30 pixels and is 20 x 30 now"):
        open_image(Record(image=record.image, size=(30, 30)))
    grey = tmp_path / "grey.png"
    Image.new("I;16", (4, 4), 32768).save(grey)
    assert open_image(grey).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": Path("a.png")}, "relative path"),
        ({"size": (0, 5)}, "size is"),
        ({"crop": Box(left=0, top=0, right=9, bottom=5)}, "reaches outside"),
        ({"repeats": 0}, "repeats is 0"),
        ({"weight": float("nan")}, "weight is nan"),
        ({"tags": ("a, b",)}, "not one tag"),
    ],
)
def test_records_check_themselves(changes: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"image": Path("/a.png").absolute(), "size": (8, 8)}
    with pytest.raises(ValueError, match=message):
        Record(**(good | changes))  # type: ignore[arg-type]


def test_boxes_are_not_empty() -> None:
    with pytest.raises(ValueError, match="is empty"):
        Box(left=3, top=0, right=3, bottom=4)


def test_a_datasets_fingerprint(tmp_path: Path) -> None:
    derived = save_derived(Image.new("RGB", (8, 8), "red"), tmp_path / "cache")
    assert save_derived(Image.new("RGB", (8, 8), "red"), tmp_path / "cache") == derived
    assert len(list(derived.parent.iterdir())) == 1
    record = Record(image=derived, size=(8, 8), tags=("1girl",))
    before = Dataset(records=(record,)).fingerprint()
    os.utime(derived, (1, 1))
    assert Dataset(records=(record,)).fingerprint() == before
    assert Dataset(records=(record,), trigger="x").fingerprint() != before
    # What steps know of a record is for taggers; training does not see it.
    known = Record(image=derived, size=(8, 8), tags=("1girl",), given=("portrait",))
    assert Dataset(records=(known,)).fingerprint() == before
    plain = Record(image=picture(tmp_path / "a.png"), size=(40, 60))
    first = Dataset(records=(plain,)).fingerprint()
    os.utime(plain.image, (1, 1))
    assert Dataset(records=(plain,)).fingerprint() == first
    picture(plain.image, color="blue")
    assert Dataset(records=(plain,)).fingerprint() != first
    plain.image.unlink()
    with pytest.raises(DatasetError, match=r"a\.png"):
        Dataset(records=(plain,)).fingerprint()
