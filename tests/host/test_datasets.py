"""Datasets in, out and weighed, in a real ComfyUI: by its dropdown, by path, from its pictures and back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from demo.hosting import Host, HostError

Node = Callable[..., dict[str, Any]]


def said(host: Host, graph: dict[str, Any], **sources: tuple[str, int]) -> dict[str, str]:
    """Run a workflow, and give the texts of some outputs."""
    shows = {
        f"show {name}": {"class_type": "PreviewAny", "inputs": {"source": list(source)}}
        for name, source in sources.items()
    }
    outputs = host.run({**graph, **shows}, timeout=120)["outputs"]
    return {name: outputs[f"show {name}"]["text"][0] for name in sources}


def test_the_dropdown_lists_the_hosts_datasets(host: Host, pictures: Path) -> None:
    (host.base / "input" / "deep" / "9_inner").mkdir(parents=True, exist_ok=True)
    (host.base / "input" / "deep" / "set.toml").write_text("")
    kind, *about = host.object_info()["KilnLoadDataset"]["input"]["required"]["folder"]
    options = about[0]["options"] if kind == "COMBO" else kind
    assert {pictures.name, "deep", "deep/9_inner", "deep/set.toml"} <= set(options)
    assert not any(option.startswith(".") for option in options)


def test_any_path_is_read_on_a_server_for_this_machine(host: Host, node: Node, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "5_away").mkdir()
    for file in pictures.iterdir():
        (tmp_path / "5_away" / file.name).write_bytes(file.read_bytes())
    load = node("KilnLoadDataset", folder=pictures.name, path=str(tmp_path))
    text = said(host, {"load": load}, report=("load", 1))["report"]
    assert "away: 4 x 5 = 20" in text


def test_a_path_is_enough_where_the_host_has_no_dataset(host: Host, node: Node, pictures: Path, tmp_path: Path) -> None:
    """A fresh ComfyUI has no folder in its input: the choice is empty then, and stands first everywhere."""
    kind, *about = host.object_info()["KilnLoadDataset"]["input"]["required"]["folder"]
    assert (about[0]["options"] if kind == "COMBO" else kind)[0] == ""
    (tmp_path / "7_away").mkdir()
    (tmp_path / "7_away" / "0.png").write_bytes((pictures / "0.png").read_bytes())
    load = node("KilnLoadDataset", path=str(tmp_path))
    assert load["inputs"]["folder"] == ""
    assert "away: 1 x 7 = 7" in said(host, {"load": load}, report=("load", 1))["report"]
    with pytest.raises(HostError, match="folder is empty; give the folder"):
        host.queue({"load": node("KilnLoadDataset"), "show": node("PreviewAny", source=["load", 1])})


def test_a_dataset_keeps_its_kind_on_the_way_through_pictures(host: Host, node: Node, pictures: Path) -> None:
    """Its regularisation pictures stay what they are, and nothing gets a mask that had none."""
    graph: dict[str, Any] = {
        "load": node("KilnLoadDataset", folder=pictures.name),
        "class": node("KilnLoadDataset", folder=pictures.name, regularization=True),
        "merged": node("KilnMergeDatasets", dataset_1=["load", 0], dataset_2=["class", 0]),
        "out": node("KilnDatasetToImages", dataset=["merged", 0]),
        "again": node(
            "KilnImagesToDataset", images=["out", 0], masks=["out", 1], captions=["out", 2], repeats=["out", 3],
            group=["out", 4], regularization=["out", 6],
        ),
        "masked": node("KilnSelectImages", dataset=["again", 0], filter="is:masked"),
        "reg": node("KilnSelectImages", dataset=["again", 0], filter="is:reg"),
    }  # fmt: skip
    texts = said(host, graph, masked=("masked", 2), reg=("reg", 2))
    assert texts["masked"].startswith("0 of 8 pictures selected")
    assert texts["reg"].startswith("4 of 8 pictures selected")


def test_a_caption_runs_the_node_again_and_a_date_does_not(host: Host, node: Node, pictures: Path) -> None:
    graph = {
        "load": node("KilnLoadDataset", folder=pictures.name),
        "show": {"class_type": "PreviewAny", "inputs": {"source": ["load", 1]}},
    }

    def executed() -> set[str]:
        seen: set[str] = set()
        host.run(
            graph, lambda message: seen.add(str(message.data.get("node"))) if message.kind == "executing" else None
        )
        return seen

    assert "load" in executed()
    assert "load" not in executed()
    for file in pictures.iterdir():
        file.touch()
    assert "load" not in executed()
    caption = pictures / "0.txt"
    caption.write_text(caption.read_text(encoding="utf-8").replace("1girl", "1gorl"), encoding="utf-8")
    assert "load" in executed()


def test_generated_pictures_go_through_a_dataset_and_come_back(host: Host, node: Node) -> None:
    """Core's picture nodes on both sides: list, captions, repeats, group; saved, listed and loaded again."""
    made = {"class_type": "EmptyImage", "inputs": {"width": 40, "height": 24, "batch_size": 3, "color": 0xFF8000}}
    graph: dict[str, Any] = {
        "made": made,
        "set": node("KilnImagesToDataset", images=["made", 0], captions="1girl, long_hair", group="loop", repeats=4),
        "balanced": node("KilnBalanceRepeats", dataset=["set", 0], method="keep proportions", steps=60, epochs=2),
        "merged": node(
            "KilnMergeDatasets", dataset_1=["balanced", 0], dataset_2=["set", 0], same_picture="keep the first"
        ),
        "save": node("KilnSaveDataset", dataset=["merged", 0], name="loops/one"),
        "out": node("KilnDatasetToImages", dataset=["merged", 0], first=2),
        "again": node(
            "KilnImagesToDataset", images=["out", 0], masks=["out", 1], captions=["out", 2], repeats=["out", 3],
            group=["out", 4],
        ),
        "picture": {"class_type": "SaveImage", "inputs": {"images": ["out", 0], "filename_prefix": "loop"}},
        "back": node("KilnSaveDataset", dataset=["again", 0], name="loops/back", layout="flat"),
    }  # fmt: skip
    texts = said(host, graph, balance=("balanced", 1), merge=("merged", 1), folder=("save", 0), report=("back", 1))
    assert "loop: 3 x 10 = 30, was 4" in texts["balance"]
    assert "3 + 3 = 6 pictures" in texts["merge"]
    folder = Path(texts["folder"])
    assert folder == host.base / "output" / "kiln" / "datasets" / "loops" / "one"
    assert (folder / "dataset.toml").is_file()
    [captions] = {path.read_text(encoding="utf-8") for path in (folder / "10_loop").glob("*.txt")}
    assert captions == "1girl, long hair"
    with Image.open(sorted((folder / "10_loop").glob("*.png"))[0]) as picture:
        assert picture.size == (40, 24)
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 128, 0)
    for choice, wanted in (
        ("loops/one", "loop: 3 x 10 = 30"),
        ("loops/one/dataset.toml", "loop: 3 x 10 = 30"),
        ("loops/back", "loop: 2 x 10 = 20"),
    ):
        load = node("KilnLoadDataset", folder=choice)
        text = said(host, {"load": load}, report=("load", 1))["report"]
        assert wanted in text
        assert "Problems" not in text


def test_pictures_keep_their_own_settings_through_saving(host: Host, node: Node) -> None:
    """Two resolutions of one dataset, written, read again, and counted by the report's buckets."""
    made = {"class_type": "EmptyImage", "inputs": {"width": 256, "height": 256, "batch_size": 2, "color": 0xFF8000}}
    graph: dict[str, Any] = {
        "made": made,
        "set": node("KilnImagesToDataset", images=["made", 0], captions="1girl", group="loop"),
        "own": node("KilnOwnSettings", dataset=["set", 0], settings="resolution = 128\nflip_aug=true", groups="lo*"),
        "save": node("KilnSaveDataset", dataset=["own", 0], name="own", layout="flat"),
    }
    texts = said(host, graph, own=("own", 1), folder=("save", 0))
    assert texts["own"] == "2 pictures: flip_aug=true, resolution=128"
    lines = (Path(texts["folder"]) / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["kiln"]["own"] for line in lines] == [["flip_aug=true", "resolution=128"]] * 2
    recipe = node("KilnRecipe", resolution=256, min_bucket=64)
    again = {
        "load": node("KilnLoadDataset", folder="own"),
        "recipe": recipe,
        "report": node("KilnDatasetReport", dataset=["load", 0], recipe=["recipe", 0]),
    }
    assert "128 x 128" in said(host, again, report=("report", 3))["report"]


def test_a_setting_that_pictures_cannot_have_is_refused_before_anything_runs(host: Host, node: Node) -> None:
    made = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}}
    graph = {
        "made": made,
        "set": node("KilnImagesToDataset", images=["made", 0]),
        "own": node("KilnOwnSettings", dataset=["set", 0], settings="dim = 4"),
    }
    with pytest.raises(HostError, match="'dim = 4' is no setting of single pictures"):
        said(host, graph, report=("own", 1))


def test_a_saved_folder_that_was_edited_is_left_alone(host: Host, node: Node, pictures: Path) -> None:
    graph = {
        "load": node("KilnLoadDataset", folder=pictures.name),
        "save": node("KilnSaveDataset", dataset=["load", 0], name="edited"),
    }
    host.run(graph)
    edited = next((host.base / "output" / "kiln" / "datasets" / "edited").rglob("0.txt"))
    edited.write_text("mine")
    graph["load"]["inputs"]["repeats"] = 3
    with pytest.raises(HostError, match="is left alone") as caught:
        host.run(graph)
    assert caught.value.node_type == "KilnSaveDataset"
    assert edited.read_text() == "mine"


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../b"])
def test_no_name_leads_out_of_the_datasets(host: Host, node: Node, pictures: Path, name: str) -> None:
    graph = {
        "load": node("KilnLoadDataset", folder=pictures.name),
        "save": node("KilnSaveDataset", dataset=["load", 0], name=name),
    }
    with pytest.raises(HostError, match="name is"):
        host.run(graph)


@pytest.fixture(scope="module")
def open_host(comfy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A server that listens to all machines, whose owner has added one folder of datasets."""
    base = tmp_path_factory.mktemp("open")
    shared = tmp_path_factory.mktemp("shared")
    (shared / "2_added").mkdir()
    Image.new("RGB", (8, 8)).save(shared / "2_added" / "a.png")
    paths = base / "paths.yaml"
    paths.write_text(f"kiln:\n    kiln_datasets: {shared.as_posix()}\n")
    with Host(base, extra=["--listen", "0.0.0.0", "--extra-model-paths-config", str(paths)]) as running:
        yield running


def test_a_server_for_others_reads_its_own_folders_only(open_host: Host, tmp_path: Path) -> None:
    host = open_host
    Image.new("RGB", (8, 8)).save(tmp_path / "private.png")
    inside = host.base / "input" / "9_mine"
    inside.mkdir()
    Image.new("RGB", (8, 8)).save(inside / "a.png")
    toml = host.base / "input" / "sneaky.toml"
    toml.write_text(f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{tmp_path.as_posix()}'\n")
    about = host.object_info()["KilnLoadDataset"]["input"]
    defaults = {
        name: options[0].get("default", "") if options else ""
        for name, (_, *options) in {**about["required"], **about.get("optional", {})}.items()
    }

    def load(**inputs: str) -> str:
        graph = {"load": {"class_type": "KilnLoadDataset", "inputs": {**defaults, **inputs}}}
        return said(host, graph, report=("load", 1))["report"]

    assert "mine: 1 x 9 = 9" in load(folder="9_mine")
    assert "mine: 1 x 9 = 9" in load(path=str(inside))
    assert "added: 1 x 2 = 2" in load(folder="2_added")
    for refused in (str(tmp_path), "../" * 12 + str(tmp_path).lstrip("/"), "/etc"):
        with pytest.raises(HostError, match=r"--listen 0\.0\.0\.0.*kiln_datasets in extra_model_paths"):
            load(path=refused)
    with pytest.raises(HostError, match="kiln_datasets"):
        load(folder="sneaky.toml")
    (tmp_path / "private.txt").write_text("a secret")
    (host.base / "input" / "prompts.toml").write_text(f"sample_prompts = '{tmp_path.as_posix()}/private.txt'\n")
    for file in ("sneaky.toml", "prompts.toml"):
        graph = {"config": {"class_type": "KilnLoadKohyaConfig", "inputs": {"file": file, "dataset_file": ""}}}
        with pytest.raises(HostError, match="kiln_datasets"):
            said(host, graph, report=("config", 2))


def test_a_refusal_does_not_tell_what_is_there(open_host: Host, node: Node, tmp_path: Path) -> None:
    """On a server for others: places beside its folders, links out of them, and users of the machine."""
    host = open_host
    inside = host.base / "input" / "links"
    inside.mkdir()
    (tmp_path / "there").mkdir()
    (inside / "there").symlink_to(tmp_path / "there")
    (inside / "gone").symlink_to(tmp_path / "gone")
    (host.base / "output" / "kiln" / "datasets").mkdir(parents=True, exist_ok=True)
    (host.base / "private").mkdir()

    def refusal(path: str) -> str:
        with pytest.raises(HostError) as caught:
            host.queue({"load": node("KilnLoadDataset", path=path), "show": node("PreviewAny", source=["load", 1])})
        return str(caught.value).replace(Path(path).name, "X")

    for places in (
        (str(tmp_path / "there"), str(tmp_path / "gone")),
        ("../../../private", "../../../nothing"),
        (str(inside / "there"), str(inside / "gone")),
        ("~root", "~nobody-of-this-name"),
    ):
        one, other = map(refusal, places)
        assert one == other
        assert "is not read: the server listens to other machines" in one


@pytest.mark.parametrize(
    ("folder", "path", "words"),
    [
        ("", "~nobody-of-this-name", "path is '~nobody-of-this-name', no path"),
        ("", "x" * 300, "no path: .*; give a name below"),
        ("x" * 300, "", "folder is 'xxx"),
        ("a\0b", "", "take the character 0 out"),
        (5, "", "folder is 5; give it as text"),
        ({"a": 1}, "", "folder is {'a': 1}; give it as text"),
        ("", 1.5, "path is 1.5; give it as text"),
        (True, "", "folder is True"),
        ("", ["x"], r"path is \['x'\]"),
    ],
)
def test_what_can_be_no_folder_is_named(inside: Path, folder: Any, path: Any, words: str) -> None:
    from lora_kiln.nodes.dataset import LoadDataset

    for answer in (LoadDataset.validate_inputs(folder, path), LoadDataset.fingerprint_inputs(folder, path)):
        assert re.search(words, str(answer)), answer


def test_a_tilde_is_a_home_in_a_path_alone(inside: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lora_kiln.host.datasets import dataset_path

    monkeypatch.setenv("HOME", str(tmp_path))
    assert dataset_path("", "~/sets") == tmp_path / "sets"
    (inside / "input" / "~tilde").mkdir(parents=True)
    assert dataset_path("~tilde") == inside / "input" / "~tilde"


@pytest.mark.parametrize(
    ("listen", "alone"),
    [
        ("127.0.0.1", True),
        ("127.2.2.2,::1", True),
        ("localhost", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("0.0.0.0,::", False),
        ("127.0.0.1,192.168.1.5", False),
        ("my-machine", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_loopback_address_is_this_machine(inside: Path, listen: str | None, alone: bool) -> None:
    from lora_kiln.host.datasets import only_loopback

    assert only_loopback(listen) is alone
