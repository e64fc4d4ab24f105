"""Datasets written as folders and read back: nothing is lost, nothing foreign is touched, nothing gets out."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_kiln.dataset.errors import DatasetError
from lora_kiln.dataset.images import open_image, open_mask, save_derived
from lora_kiln.dataset.load import load_dataset
from lora_kiln.dataset.names import parts_of, safe_name, unused_name
from lora_kiln.dataset.save import SaveOptions, save_dataset
from lora_kiln.dataset.toml_file import load_toml
from lora_kiln.dataset.values import Box, Dataset, Record

TOLD = (
    "tags", "prose", "repeats", "group", "is_reg", "weight", "origin", "pruned", "given", "own", "background",
    "view_size",
)  # fmt: skip


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small pictures of several kinds, 12 x 8 pixels upright, and a mask."""
    folder = tmp_path_factory.mktemp("sources")
    noise = Image.effect_noise((12, 8), 90).convert("RGB")
    clear = noise.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((12, 8)))
    turned = Image.Exif()
    turned[0x0112] = 6
    noise.save(folder / "a.png")
    noise.save(folder / "same.jpg")
    clear.save(folder / "clear.webp", lossless=True)
    clear.quantize(16).save(folder / "palette.gif", transparency=0)
    noise.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=turned)
    noise.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=turned)
    Image.new("I;16", (12, 8), 4000).save(folder / "deep.png")
    noise.convert("CMYK").save(folder / "print.tif")
    Image.linear_gradient("L").resize((12, 8)).save(folder / "mask.png")
    return {path.name: path for path in folder.iterdir()}


def assert_same(given: Dataset, found: Dataset) -> None:
    """Everything that training sees, and everything that the pack remembers, but for where the files lie."""
    assert found.trigger == given.trigger
    assert len(found) == len(given)
    for old, new in zip(given, found, strict=True):
        assert {name: getattr(new, name) for name in TOLD} == {name: getattr(old, name) for name in TOLD}
        assert open_image(new).tobytes() == open_image(old).tobytes()
        masks = open_mask(old), open_mask(new)
        assert [mask and mask.tobytes() for mask in masks] == [masks[0] and masks[0].tobytes()] * 2


def full(sources: dict[str, Path]) -> Dataset:
    """One record of every kind."""
    names = sorted(name for name in sources if name != "mask.png")
    plain = [Record(image=sources[name], size=(12, 8), tags=("1girl", name), group="kie", repeats=9) for name in names]
    crop = Box(left=2, top=1, right=9, bottom=7)
    records = [
        *plain,
        *(dataclasses.replace(record, crop=crop, origin=(f"crop:face of {record.image.name}",)) for record in plain),
        dataclasses.replace(
            plain[0], mask=sources["mask.png"], repeats=5, pruned=("red hair",), given=("from behind",), weight=0.25
        ),
        dataclasses.replace(plain[1], mask=sources["mask.png"], crop=crop, tags=(), prose="She waits.\nIt rains."),
        dataclasses.replace(plain[2], is_reg=True, group="", tags=(), background=(1, 2, 3)),
        plain[0],
    ]
    return Dataset(records=tuple(records), trigger="kierose", words=("kr-dress",))


@pytest.mark.parametrize("layout", ["kohya", "flat"])
def test_every_kind_of_record_comes_back(tmp_path: Path, sources: dict[str, Path], layout: str) -> None:
    dataset = full(sources)
    folder, report = save_dataset(dataset, tmp_path, SaveOptions(name="set/one", layout=layout))
    assert folder == tmp_path / "set" / "one"
    assert f"{len(dataset)} pictures" in report
    found, problems = load_dataset(folder)
    assert problems == ()
    assert_same(dataset, found)
    if layout == "kohya":
        found, problems = load_toml(folder / "dataset.toml")
        assert problems == ()
        assert_same(dataset, found)
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["one"]


def test_a_moved_folder_comes_back_too(tmp_path: Path, sources: dict[str, Path]) -> None:
    dataset = full(sources)
    folder, _ = save_dataset(dataset, tmp_path / "old", SaveOptions(name="set"))
    shutil.move(folder, tmp_path / "new")
    for found, problems in (load_dataset(tmp_path / "new"), load_toml(tmp_path / "new" / "dataset.toml")):
        assert problems == ()
        assert_same(dataset, found)


def test_kohyas_layout_is_what_kohyas_scripts_take(tmp_path: Path, sources: dict[str, Path]) -> None:
    folder, _ = save_dataset(full(sources), tmp_path, SaveOptions(name="set"))
    assert {path.name for path in folder.iterdir()} == {
        "9_kie", "9_kie masked", "5_kie masked", "reg", "masks", "dataset.toml", "metadata.jsonl", "kiln.json",
    }  # fmt: skip
    for picture in (path for name in ("9_kie", "9_kie masked", "5_kie masked") for path in (folder / name).iterdir()):
        assert picture.suffix in (".png", ".jpg", ".webp", ".txt")
        if picture.suffix != ".txt":
            assert len(picture.with_suffix(".txt").read_text(encoding="utf-8").splitlines()) == 1
    masked = {path.stem for path in (folder / "9_kie masked").iterdir()}
    assert masked == {path.stem for path in (folder / "masks" / "9_kie masked").iterdir()}
    copied = folder / "9_kie" / "same.jpg"
    assert copied.read_bytes() == sources["same.jpg"].read_bytes()


def test_pictures_with_settings_of_their_own_lie_apart(tmp_path: Path, sources: dict[str, Path]) -> None:
    one = Record(image=sources["a.png"], size=(12, 8), group="kie")
    other = dataclasses.replace(one, image=sources["same.jpg"], own=("flip_aug=true",))
    folder, report = save_dataset(Dataset(records=(one, other)), tmp_path, SaveOptions(name="set"))
    assert len({path.parent for path in folder.glob("*/*") if path.suffix in (".png", ".jpg")}) == 2
    assert "Settings of single pictures are in metadata.jsonl alone" in report
    _, plain = save_dataset(Dataset(records=(one,)), tmp_path, SaveOptions(name="plain"))
    assert "single pictures" not in plain


def test_what_was_edited_by_hand_counts(tmp_path: Path, sources: dict[str, Path]) -> None:
    folder, _ = save_dataset(full(sources), tmp_path, SaveOptions(name="set"))
    (folder / "9_kie" / "a.txt").write_text("1girl, a.png, hat", encoding="utf-8")
    (folder / "9_kie" / "same.jpg").unlink()
    (folder / "dataset.toml").write_text(
        (folder / "dataset.toml").read_text(encoding="utf-8").replace("num_repeats = 9", "num_repeats = 4"),
        encoding="utf-8",
    )
    found, problems = load_dataset(folder)
    assert found.records[0].tags == ("1girl", "a.png", "hat")
    assert found.records[0].repeats == 9
    assert len(found) == len(full(sources)) - 1
    assert "1 of the 20 pictures that it describes are not there" in str(problems[0])
    assert {record.repeats for record in load_toml(folder / "dataset.toml")[0]} == {4, 5}


@pytest.mark.parametrize("layout", ["kohya", "flat"])
@pytest.mark.parametrize("moved", [False, True])
def test_the_mask_of_a_lost_picture_is_no_picture(
    tmp_path: Path, sources: dict[str, Path], layout: str, moved: bool
) -> None:
    """A bad picture is deleted, or put elsewhere; its mask has the same name and stays."""
    given = full(sources)
    folder, _ = save_dataset(given, tmp_path, SaveOptions(name="set", layout=layout))
    masks = set((folder / "masks").rglob("*.png"))
    lines = map(json.loads, (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines())
    line = next(line for line in lines if line["kiln"]["mask"])
    lost, mask = folder / line["file_name"], folder / line["kiln"]["mask"]
    if moved:
        (folder / "3_else").mkdir()
        lost.rename(folder / "3_else" / lost.name)
    else:
        lost.unlink()
    found, problems = load_dataset(folder)
    assert not {record.image for record in found} & masks
    assert len(found) == len(given) - (not moved)
    [told] = [problem for problem in problems if "masks" in problem.what]
    assert (told.path, told.minor) == (mask.parent, True)


@pytest.mark.parametrize("beside", ["kiln.json", "dataset.toml"])
def test_without_its_lines_masks_are_paired_by_their_places(
    tmp_path: Path, sources: dict[str, Path], beside: str
) -> None:
    given = full(sources)
    folder, _ = save_dataset(given, tmp_path, SaveOptions(name="set"))
    for name in {"metadata.jsonl", "kiln.json", "dataset.toml"} - {beside}:
        (folder / name).unlink()
    # Loaded from above too, as one who loads all of his datasets does.
    for root in (folder, tmp_path):
        found, problems = load_dataset(root)
        assert len(found) == len(given)
        assert {record.image.parent.name for record in found if record.mask} == {"9_kie masked", "5_kie masked"}
        assert [record for record in found if record.mask and record.mask.stem != record.image.stem] == []
        assert sum(record.mask is not None for record in found) == 2
        assert not [problem for problem in problems if not problem.minor]
    for mask in (folder / "masks" / "9_kie masked").iterdir():
        mask.rename(mask.with_name("other.png"))
    found, problems = load_dataset(folder)
    assert len(found) == len(given)
    assert [problem.minor for problem in problems if problem.path == folder / "masks" / "9_kie masked"] == [True]


def test_saving_again_replaces_its_own_and_nothing_else(tmp_path: Path, sources: dict[str, Path]) -> None:
    dataset = full(sources)
    own = SaveOptions(name="set")
    folder, _ = save_dataset(dataset, tmp_path, own)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert "as it was already" in save_dataset(dataset, tmp_path, own)[1]
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    less = Dataset(records=dataset.records[:3], trigger="kie")
    save_dataset(less, tmp_path, own)
    assert_same(less, load_dataset(folder)[0])
    with pytest.raises(DatasetError, match="is there already"):
        save_dataset(less, tmp_path, SaveOptions(name="set", when_there="stop"))
    assert save_dataset(less, tmp_path, SaveOptions(name="set", when_there="number"))[0].name == "set-2"


@pytest.mark.parametrize("change", ["foreign", "edited", "no manifest", "a file"])
def test_foreign_files_are_left_alone(tmp_path: Path, sources: dict[str, Path], change: str) -> None:
    dataset = full(sources)
    folder = tmp_path / "set"
    if change == "a file":
        folder.write_text("mine")
    else:
        save_dataset(dataset, tmp_path, SaveOptions(name="set"))
    if change == "foreign":
        (folder / "9_kie" / "mine.txt").write_text("mine")
    elif change == "edited":
        (folder / "9_kie" / "a.txt").write_text("mine")
    elif change == "no manifest":
        (folder / "kiln.json").unlink()
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(DatasetError, match="left alone"):
        save_dataset(Dataset(records=dataset.records[:1]), tmp_path, SaveOptions(name="set"))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == kept


def test_a_dataset_is_not_saved_over_its_own_pictures(tmp_path: Path, sources: dict[str, Path]) -> None:
    folder, _ = save_dataset(full(sources), tmp_path, SaveOptions(name="set"))
    with pytest.raises(DatasetError, match="holds pictures of this dataset"):
        save_dataset(load_dataset(folder)[0], tmp_path, SaveOptions(name="set"))


def test_a_picture_that_is_gone_leaves_nothing_behind(tmp_path: Path, sources: dict[str, Path]) -> None:
    gone = Record(image=tmp_path / "gone.png", size=(12, 8))
    with pytest.raises(DatasetError, match=r"gone\.png"):
        save_dataset(Dataset(records=(*full(sources).records, gone)), tmp_path / "out", SaveOptions(name="set"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", "../x", "/x", "a/../../x", "C:\\x", "a\0b", ".hidden", "con", "x" * 200])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name is"):
        SaveOptions(name=name)


def test_a_name_is_folders_in_folders() -> None:
    assert parts_of(" rose/version 2/ ") == parts_of("rose\\version 2") == ("rose", "version 2")


TEXT = st.text(max_size=40) | st.sampled_from(
    ["..", "../..", "/etc/passwd", "C:\\x", "a\nb", "😀" * 80, "é", "é", "con", "x" * 255]
)
TAG = TEXT.filter(lambda tag: bool(tag.strip()) and "," not in tag and "\n" not in tag)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a record, all that a graph can make of them."""
    prose = draw(st.just("") | TEXT)
    return {
        "tags": () if prose else tuple(draw(st.lists(TAG, max_size=4))),
        "prose": prose,
        "repeats": draw(st.integers(1, 1000)),
        "group": draw(TEXT),
        "is_reg": draw(st.booleans()),
        "weight": draw(st.floats(0, 10, allow_nan=False)),
        "origin": tuple(draw(st.lists(TEXT, max_size=2))),
        "pruned": tuple(draw(st.lists(TEXT, max_size=2))),
        "own": tuple(draw(st.lists(TEXT, max_size=2))),
        "background": draw(st.tuples(*[st.integers(0, 255)] * 3)),
        "crop": draw(st.none() | st.just(Box(left=1, top=2, right=8, bottom=7))),
        "masked": draw(st.booleans()),
        "name": draw(st.sampled_from(["a.png", "same.jpg", "clear.webp", "turned.jpg"])),
    }


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder).resolve()


@pytest.mark.parametrize("layout", ["kohya", "flat"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.lists(records(), min_size=1, max_size=5), trigger=TEXT)
def test_any_dataset_comes_back(
    scratch: Path, sources: dict[str, Path], layout: str, fields: list[dict[str, Any]], trigger: str
) -> None:
    made = []
    for each in fields:
        mask = sources["mask.png"] if each["masked"] else None
        rest = {key: value for key, value in each.items() if key not in ("masked", "name")}
        made.append(Record(image=sources[each["name"]], size=(12, 8), mask=mask, **rest))
    dataset = Dataset(records=tuple(made), trigger=trigger)
    folder, _ = save_dataset(dataset, scratch, SaveOptions(name=layout, layout=layout))
    assert_same(dataset, load_dataset(folder)[0])
    if layout == "kohya":
        assert_same(dataset, load_toml(folder / "dataset.toml")[0])


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(TEXT, max_size=6))
def test_names_are_short_plain_and_told_apart(texts: list[str]) -> None:
    taken: dict[str, int] = {}
    names = [unused_name(safe_name(text, "x"), taken) for text in texts]
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert 0 < len(name.encode("utf-8")) < 200
        assert not set('<>:"/\\|?*\0\n\t').intersection(name)
        assert not name.startswith((".", " "))
        assert not name.endswith((".", " "))
        assert parts_of(safe_name(name, "x")) == (safe_name(name, "x"),)


def strange_texts(count: int) -> list[str]:
    """Captions and names as no person would write them, the same ones each time."""
    draw = random.Random(5)
    parts = [
        "..", "/", "\\", "../" * 8, "/etc/passwd", "C:\\Windows", "\0", "\n", "\r\n", "\u2028", "\u202e", "\ufeff",
        "😀", "👩‍👩‍👧", "e\u0301", "ｆｕｌｌ", "日本語", "\ud800", "a" * 255, "é" * 127, ",", "、", "(", "\\(", "%s",
        "{}", "~", "$HOME", "con", "nul.txt", ".hidden", "__MACOSX", "-masklabel", ".mask", ".png", "metadata", "kiln",
        "9_x", "0_x", "reg", "1girl", "long_hair", " ", "\t", "\x1b[31m", "'", '"', '{"tags": 1}', "[",
        "She waits. It rains.",
    ]  # fmt: skip
    return ["".join(draw.choice(parts) for _ in range(draw.randint(0, 5))) for _ in range(count)]


def test_five_thousand_strange_captions_and_names_stay_inside(tmp_path: Path) -> None:
    texts = strange_texts(5000)
    root = tmp_path / "a" / "root"
    root.mkdir(parents=True)
    image = save_derived(Image.new("RGB", (2, 2), "red"), tmp_path / "cache")
    made = []
    for number in range(0, len(texts), 10):
        step, group, *words = texts[number : number + 10]
        tags = tuple(tag for text in words for tag in text.replace("\n", ",").split(",") if tag.strip())
        place = group if number % 40 == 0 else "g"
        made.append(Record(image=image, size=(2, 2), tags=tags, group=place, origin=(f"crop:{step} of x.png",)))
    dataset = Dataset(records=tuple(made), trigger=texts[0])
    outside = sorted(path for path in tmp_path.rglob("*") if root not in path.parents)
    folder, _ = save_dataset(dataset, root, SaveOptions(name="set"))
    assert sorted(path for path in tmp_path.rglob("*") if root not in path.parents) == outside
    assert [path.name for path in root.iterdir()] == ["set"]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".png" for path in files) == len(made)
    assert all(folder in path.resolve().parents and len(os.fsencode(path.name)) <= 255 for path in files)
    found, problems = load_dataset(folder)
    assert problems == ()
    assert [record.tags for record in found] == [record.tags for record in dataset]
    assert [record.group for record in found] == [record.group for record in dataset]


def test_five_thousand_strange_names_are_one_plain_name_each(tmp_path: Path) -> None:
    for text in strange_texts(5000):
        name = safe_name(text, "x")
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
        assert len(os.fsencode(name)) <= 125
        assert parts_of(name) == (name,)
        try:
            parts = parts_of(text)
        except ValueError:
            continue
        assert tmp_path.resolve() in tmp_path.joinpath(*parts).resolve().parents


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses such names itself")
def test_strange_files_and_captions_load(tmp_path: Path) -> None:
    source = tmp_path / "source.png"
    Image.new("RGB", (2, 2)).save(source)
    folder = tmp_path / "set"
    folder.mkdir()
    made = 0
    for number, text in enumerate(strange_texts(400)):
        plain = (
            text.replace("/", "_").replace("\0", "_").encode("utf-8", "surrogateescape" if number % 2 else "replace")
            if not any("\ud800" <= c <= "\udfff" for c in text)
            else b"\xff\xfe" + str(number).encode()
        )
        name = (plain[:240] or b"x") + b".png"
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        if not path.exists():
            os.link(source, path)
            path.with_suffix(".txt").write_bytes(text.encode("utf-8", "surrogatepass"))
            made += 1
    (folder / "captions.json").write_text(json.dumps({text: text for text in strange_texts(300)}))
    dataset, problems = load_dataset(folder)
    named = sum(problem.path.suffix == ".png" for problem in problems)
    hidden = sum(path.name.startswith(".") and path.suffix == ".png" for path in folder.iterdir())
    masks = sum(path.stem.endswith(("-masklabel", ".mask")) for path in folder.iterdir())
    assert made > 200
    assert made - hidden - named - masks <= len(dataset) <= made
    assert all(record.image.parent == folder for record in dataset)
    assert all(str(problem).encode("utf-8") for problem in problems)
    save_dataset(dataset, tmp_path / "out", SaveOptions(name="set"))
    assert_same(dataset, load_dataset(tmp_path / "out" / "set")[0])
