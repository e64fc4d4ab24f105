"""Caption nodes on a running server: the miniature world's tagger, another captioner's texts, pruning, edits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.hosting import Host, HostError

TAGGER = "kiln-world-tagger"
Node = Callable[..., dict[str, Any]]


def shown(host: Host, workflow: dict[str, Any]) -> dict[str, str]:
    """The text of every PreviewAny of the workflow."""
    outputs = host.run(workflow, timeout=120)["outputs"]
    return {name: output["text"][0] for name, output in outputs.items() if "text" in output}


def test_tagged_pruned_aligned_and_edited(host: Host, node: Node, pictures: Path) -> None:
    edits = [
        {"do": "add", "tags": "kiln style", "at": 1, "where": "NOT is:reg"},
        {"do": "set", "tags": ["by hand"], "records": [f"{pictures.name}/2.png", "2.png"]},
    ]
    found = shown(
        host,
        {
            "checkpoint": node("CheckpointLoaderSimple", ckpt_name="kiln-world-sd15.safetensors"),
            "load": node("KilnLoadDataset", folder=pictures.name),
            "tag": node("KilnAutoTag", dataset=["load", 0], model=TAGGER, exclude="*background"),
            "prune": node(
                "KilnPruneTags", dataset=["tag", 0], trigger="kie rose", class_tag="1girl", clip=["checkpoint", 1]
            ),
            "align": node("KilnAlignTags", dataset=["prune", 0], outfits="*: auto"),
            "edit": node("KilnEditTags", dataset=["align", 0], edits=json.dumps(edits)),
            "back": node("KilnEditTags", dataset=["edit", 0], edits=["edit", 2]),
            "tagged": node("PreviewAny", source=["tag", 1]),
            "pruned": node("PreviewAny", source=["prune", 1]),
            "aligned": node("PreviewAny", source=["align", 1]),
            "edited": node("PreviewAny", source=["edit", 1]),
            "undone": node("PreviewAny", source=["back", 1]),
        },
    )
    assert "4 pictures tagged (replace)" in found["tagged"]
    assert "1girl 4" in found["tagged"]
    assert "background" not in found["tagged"]
    # The host's own tokenizer knows the word.
    assert "contains 'rose'" in found["pruned"]
    assert "a word that the text encoder knows" in found["pruned"]
    assert "green hair: 4 (hair)" in found["pruned"]
    assert "Outfits:" in found["aligned"]
    assert "1. add kiln style where NOT is:reg: 4 pictures meant, 4 changed" in found["edited"]
    assert "2. set by hand in 2 records by name: 1 picture meant, 1 changed" in found["edited"]
    assert "+ kie rose, kiln style, 1girl" in found["edited"]
    assert "4 edits applied" in found["undone"]
    assert "- kie rose, kiln style, 1girl" in found["undone"]
    assert "- by hand\n    + kie rose, 1girl" in found["undone"]


def test_what_a_tagger_has_said_is_kept(host: Host, node: Node, pictures: Path) -> None:
    workflow = {
        "load": node("KilnLoadDataset", folder=pictures.name),
        "tag": node("KilnAutoTag", dataset=["load", 0], model=TAGGER),
        "tagged": node("PreviewAny", source=["tag", 1]),
    }
    cache = host.base / "output" / "kiln" / "cache" / "tags"
    first = shown(host, workflow)["tagged"]
    kept = list(cache.rglob("*.json"))
    assert kept
    # Other thresholds, captions and names ask the tagger nothing.
    workflow["tag"]["inputs"]["general_threshold"] = 1.0
    (pictures / "0.txt").write_text("another caption")
    (pictures / "1.png").rename(pictures / "one.png")
    second = shown(host, workflow)["tagged"]
    assert "4 of them known from before" in second
    assert "solo 4" in second
    assert len(second) < len(first)
    assert list(cache.rglob("*.json")) == kept


def test_texts_of_another_captioner_come_as_a_list(host: Host, node: Node, pictures: Path) -> None:
    workflow = {
        "load": node("KilnLoadDataset", folder=pictures.name),
        "images": node("KilnDatasetToImages", dataset=["load", 0]),
        # No such tagger is there; none is needed.
        "tag": node("KilnAutoTag", dataset=["load", 0], model="gone", captions=["images", 2], keep="", exclude="1girl"),
        "tagged": node("PreviewAny", source=["tag", 1]),
    }
    found = shown(host, workflow)["tagged"]
    assert "4 pictures tagged (replace); captions from the wire" in found
    assert "green hair 4" in found
    assert "1girl" not in found
    workflow["lines"] = node("PrimitiveStringMultiline", value="one, a\ntwo, a\nthree, a\nfour, a")
    workflow["tag"]["inputs"]["captions"] = ["lines", 0]
    assert "Tags (5 different): a 4, four 1, one 1, three 1, two 1" in shown(host, workflow)["tagged"]
    workflow["lines"]["inputs"]["value"] = "one\ntwo"
    with pytest.raises(HostError) as caught:
        host.run(workflow, timeout=60)
    assert "1 caption for 4 pictures" in caught.value.exception_message


def test_a_tagger_that_is_not_there_is_refused_before_anything_runs(host: Host, node: Node, pictures: Path) -> None:
    workflow = {
        "load": node("KilnLoadDataset", folder=pictures.name),
        "tag": node("KilnAutoTag", dataset=["load", 0], model="../gone"),
        "tagged": node("PreviewAny", source=["tag", 1]),
    }
    with pytest.raises(Exception, match=r"There is no tagger '\.\./gone'\. Looked for"):
        host.run(workflow, timeout=60)


def test_a_wrong_list_of_edits_is_refused_before_anything_runs(host: Host, node: Node, pictures: Path) -> None:
    workflow = {
        "load": node("KilnLoadDataset", folder=pictures.name),
        "edit": node("KilnEditTags", dataset=["load", 0], edits='[{"do": "add", "tag": "x"}]'),
        "edited": node("PreviewAny", source=["edit", 1]),
    }
    with pytest.raises(HostError, match=r"The host refused the workflow:\n.*Edit 1: add knows no 'tag'"):
        host.run(workflow, timeout=60)
    # Over a wire it is known only when it comes.
    workflow["list"] = node("PrimitiveStringMultiline", value='[{"do": "add", "tag": "x"}]')
    workflow["edit"]["inputs"]["edits"] = ["list", 0]
    with pytest.raises(HostError) as caught:
        host.run(workflow, timeout=60)
    assert "Edit 1: add knows no 'tag'" in caught.value.exception_message


def test_taggers_of_other_packs_are_found(inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    from lora_kiln.host.paths import tagger_folders

    there = tmp_path / "ComfyUI-WD14-Tagger" / "models"
    registered = tmp_path / "registered"
    for folder in (there, registered):
        folder.mkdir(parents=True)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "custom_nodes", ([str(tmp_path)], set()))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "wd14_tagger", ([str(registered)], set()))
    found = tagger_folders()
    assert found[0] == Path(folder_paths.models_dir) / "kiln" / "taggers"
    assert found.index(registered) < found.index(there)
    assert len(found) == len(set(found))


def test_how_the_hosts_tokenizer_reads_a_trigger(world: Any) -> None:
    from lora_kiln.dataset.lint import Lexicon, lint_trigger
    from lora_kiln.dataset.values import Dataset
    from lora_kiln.host.words import pieces_of

    pieces = pieces_of(world.clip)
    assert pieces is not None
    assert pieces("rose") == ("rose ",)
    assert "".join(pieces("kierose mirelva")) == "kierose mirelva "
    assert len(pieces("mirelva")) > 1
    assert lint_trigger("rose", Dataset(), Lexicon(pieces=pieces))
    assert lint_trigger("mirelva", Dataset(), Lexicon(pieces=pieces)) == ()
