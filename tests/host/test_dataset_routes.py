"""What the running server answers about datasets, and what it refuses."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from demo.hosting import Host

Node = Callable[..., dict[str, Any]]
JSON = {"Content-Type": "application/json"}


def ask(host: Host, method: str, path: str, **content: Any) -> requests.Response:
    """One request as it stands: requests would tidy `..` away by itself."""
    with requests.Session() as session:
        session.trust_env = False
        prepared = session.prepare_request(requests.Request(method, f"{host.url}/kiln", **content))
        prepared.url = f"{host.url}/kiln{path}"
        return session.send(prepared, timeout=60)


def post(host: Host, path: str, **body: Any) -> Any:
    reply = ask(host, "POST", path, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def told(result: dict[str, Any], name: str, slot: int = 0) -> dict[str, Any]:
    """What the page was told of a node's output."""
    found: dict[str, Any] = {row["slot"]: row for row in result["outputs"][name]["kiln_datasets"]}[slot]
    return found


@pytest.fixture
def graph(node: Node, pictures: Path) -> dict[str, Any]:
    return {
        "load": node("KilnLoadDataset", folder=pictures.name),
        "select": node("KilnSelectImages", dataset=["load", 0], filter="name:0"),
        "shown": node("PreviewAny", source=["select", 2]),
    }


@pytest.fixture
def loaded(host: Host, graph: dict[str, Any]) -> str:
    """The id of the dataset that Load Dataset has given."""
    return str(told(host.run(graph, timeout=120), "load")["id"])


def test_every_output_is_told_with_its_slot(host: Host, graph: dict[str, Any]) -> None:
    result = host.run(graph, timeout=120)
    assert told(result, "load")["pictures"] == 4
    assert [told(result, "select", slot)["pictures"] for slot in (0, 1)] == [1, 3]
    # What there is to pick from is what came in.
    assert result["outputs"]["select"]["kiln_pick"][0]["id"] == told(result, "load")["id"]


def test_pictures_with_captions_and_buckets(host: Host, loaded: str, pictures: Path) -> None:
    about = ask(host, "GET", f"/dataset/{loaded}?resolution=64&min_bucket=64&max_bucket=128").json()
    assert [each["key"] for each in about["pictures"]] == [f"{pictures.name}/{number}.png" for number in range(4)]
    assert about["pictures"][0]["bucket"] == [64, 64]
    assert ", ".join(about["pictures"][0]["tags"]) == (pictures / "0.txt").read_text(encoding="utf-8")


def test_thumbnails_are_small_jpegs_that_browsers_keep(host: Host, loaded: str) -> None:
    mark = ask(host, "GET", f"/dataset/{loaded}").json()["pictures"][1]["mark"]
    reply = ask(host, "GET", f"/dataset/{loaded}/picture/1?side=128&mark={mark}")
    with Image.open(io.BytesIO(reply.content)) as image:
        assert (image.format, max(image.size)) == ("JPEG", 128)
    assert "immutable" in reply.headers["Cache-Control"]
    assert "immutable" not in ask(host, "GET", f"/dataset/{loaded}/picture/1?side=128").headers["Cache-Control"]


def test_a_look_and_the_run_agree(host: Host, node: Node, graph: dict[str, Any], loaded: str) -> None:
    edits = json.dumps([{"do": "remove", "tags": "1girl"}, {"do": "add", "tags": "kiln", "at": "start"}])
    found = post(host, f"/dataset/{loaded}/look", edits=edits, filter="kiln")
    assert found["shown"] == [0, 1, 2, 3]
    graph["edit"] = node("KilnEditTags", dataset=["load", 0], edits=edits)
    graph["edited"] = node("PreviewAny", source=["edit", 1])
    after = told(host.run(graph, timeout=120), "edit")["id"]
    run = ask(host, "GET", f"/dataset/{after}").json()["pictures"]
    assert [each["tags"] for each in run] == [found["captions"][str(place)]["tags"] for place in range(4)]


def test_tokens_are_those_of_clip(host: Host) -> None:
    assert post(host, "/tokens", text="1girl, solo") == {"tokens": 4}
    assert ask(host, "POST", "/tokens", json={"text": 3}).status_code == 400


def test_clicks_and_the_run_agree(host: Host, graph: dict[str, Any], loaded: str, pictures: Path) -> None:
    names = [f"{pictures.name}/{number}.png" for number in range(4)]
    text = post(host, "/pick", by_hand="# mine", choices={names[0]: False, names[2]: True})["by_hand"]
    assert text == f"# mine\n- {names[0]}\n+ {names[2]}"
    found = post(host, f"/dataset/{loaded}/selection", filter="name:0", by_hand=text)
    hand = {names[0]: False, names[2]: True}
    assert found == {"chosen": [2], "filtered": [0], "hand": hand, "missing": []}
    graph["select"]["inputs"]["by_hand"] = text
    chosen = told(host.run(graph, timeout=120), "select")["id"]
    assert [each["key"] for each in ask(host, "GET", f"/dataset/{chosen}").json()["pictures"]] == [names[2]]


def test_captions_are_written_back_once_they_were_looked_at(host: Host, loaded: str, pictures: Path) -> None:
    before = (pictures / "0.txt").read_text(encoding="utf-8")
    edits = json.dumps([{"do": "set", "tags": ["kiln"], "records": [f"{pictures.name}/0.png"]}])
    plan = post(host, f"/dataset/{loaded}/write_plan", edits=edits)
    assert (plan["writes"], plan["new"], plan["same"], plan["left_out"]) == (1, 0, 3, 0)
    assert plan["files"][0] | {"key": ""} == {
        "key": "", "file": str(pictures / "0.txt"), "old": before, "new": "kiln",
    }  # fmt: skip
    assert (pictures / "0.txt").read_text(encoding="utf-8") == before
    for mark in ("", "0" * 32, plan["mark"].upper()):
        reply = ask(host, "POST", f"/dataset/{loaded}/write_back", json={"edits": edits, "mark": mark})
        assert reply.status_code == 409
    assert (pictures / "0.txt").read_text(encoding="utf-8") == before
    # A name that somebody else's page was served under, and now means this machine.
    lent = {
        "Host": "elsewhere.example:8188",
        "Origin": "http://elsewhere.example:8188",
        "Sec-Fetch-Site": "same-origin",
    }
    body = {"edits": edits, "mark": plan["mark"]}
    reply = ask(host, "POST", f"/dataset/{loaded}/write_back", json=body, headers=lent)
    assert (reply.status_code, "elsewhere.example" in reply.json()["error"]) == (403, True)
    assert (pictures / "0.txt").read_text(encoding="utf-8") == before
    done = post(host, f"/dataset/{loaded}/write_back", edits=edits, mark=plan["mark"])
    assert (pictures / "0.txt").read_text(encoding="utf-8") == "kiln"
    backup = Path(done["backup"])
    assert (backup / pictures.name / "0.txt").read_text(encoding="utf-8") == before
    assert host.base / "output" in backup.parents
    reply = ask(host, "POST", f"/dataset/{loaded}/write_back", json={"edits": edits, "mark": plan["mark"]})
    assert reply.status_code == 409


@pytest.mark.parametrize(
    "path",
    [
        "/dataset/{id}x/picture/0", "/dataset/" + "0" * 32 + "/picture/0",
        "/dataset/%2e%2e%2fs/picture/0",
        "/dataset/{id}/../../../etc/passwd", "/dataset/{id}/picture/..%2f..%2f0", "/dataset/{id}/picture/-1",
        "/dataset/{id}/picture/4", "/dataset/{id}/picture/99999999999999999999999", "/dataset/{id}/picture/0x0",
        "/dataset/{id}/picture/0?side=0", "/dataset/{id}/picture/0?side=257", "/dataset/{id}/picture/0?side=1e9",
        "/dataset/{id}/picture/0?side=-128", "/dataset/{id}/picture/", "/dataset/{id}/write_back",
        "/dataset/{id}/write_plan", "/dataset/{id}?resolution=0", "/dataset/{id}?bucket_step=-8",
        "/dataset/{id}?resolution=999999999999", "/dataset/{id}?min_bucket=x", "/pick",
        "/dataset/{id}/picture/0?" + "a" * 5000,
    ],
)  # fmt: skip
def test_what_leads_elsewhere_is_refused(host: Host, loaded: str, path: str) -> None:
    reply = ask(host, "GET", path.replace("{id}", loaded))
    assert reply.status_code in (400, 404, 405, 414), reply.text
    assert b"root:" not in reply.content
    assert not reply.headers["Content-Type"].startswith("image/")


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("write_back", {"json": {"mark": "x"}, "headers": {"Origin": "https://elsewhere.example"}}, 403),
        ("write_back", {"json": {"mark": "x"}, "headers": {"Origin": "null"}}, 403),
        ("write_back", {"json": {"mark": "x"}, "headers": {"Sec-Fetch-Site": "cross-site"}}, 403),
        ("write_back", {"json": {"mark": "x"}, "headers": {"Sec-Fetch-Site": "same-site"}}, 403),
        ("write_back", {"data": '{"mark": "x"}', "headers": {"Content-Type": "text/plain"}}, 415),
        ("write_back", {"data": {"mark": "x"}}, 415),
        ("write_back", {"data": "{", "headers": JSON}, 400),
        ("write_back", {"data": "[1]", "headers": JSON}, 400),
        ("write_back", {"json": {"mark": 3, "edits": "[]"}}, 400),
        ("write_back", {"json": {"mark": "x", "edits": ["no text"]}}, 400),
        ("write_back", {"json": {"mark": "x", "edits": "["}}, 400),
        ("write_plan", {"json": {"edits": '[{"do": "set"}]'}}, 400),
        ("look", {"json": {"edits": {}}}, 400),
        ("look", {"json": {"filter": None}}, 400),
        ("look", {"data": "[" * 100_000, "headers": JSON}, 400),
        ("look", {"data": b'{"edits": "' + b"x" * (9 << 20) + b'"}', "headers": JSON}, 413),
        ("selection", {"json": {"filter": 1}}, 400),
    ],
)
def test_hostile_requests(host: Host, loaded: str, path: str, content: dict[str, Any], status: int) -> None:
    reply = ask(host, "POST", f"/dataset/{loaded}/{path}", **content)
    assert reply.status_code == status, reply.text


@pytest.mark.parametrize("name", ["0" * 32, "{id}x", "a%00b", "%2e%2e%2fsecret", "%2e"])
def test_a_dataset_of_another_machine_is_told_in_words(host: Host, loaded: str, name: str) -> None:
    reply = ask(host, "GET", f"/dataset/{name.replace('{id}', loaded)}")
    assert "not known here any more. Queue the workflow" in reply.json()["error"]
    assert reply.json()["pictures"] == []


def test_another_sites_page_sees_no_picture(host: Host, loaded: str) -> None:
    for headers in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert ask(host, "GET", f"/dataset/{loaded}/picture/0", headers=headers).status_code == 403
        assert ask(host, "GET", f"/dataset/{loaded}", headers=headers).status_code == 403


@pytest.mark.parametrize("choices", [[], {"a": 1}, {"a": "keep"}, None, {"a": [True]}])
def test_choices_are_checked(host: Host, choices: Any) -> None:
    assert ask(host, "POST", "/pick", json={"choices": choices}).status_code == 400


def test_what_is_half_written_is_an_answer(host: Host, loaded: str) -> None:
    assert "never closed" in post(host, f"/dataset/{loaded}/look", filter="(hat")["filter"]["error"]
    assert "never closed" in post(host, f"/dataset/{loaded}/selection", filter="(hat")["error"]
    assert "no name after its sign" in post(host, "/pick", by_hand="+", choices={})["error"]


def test_links_and_lost_pictures_are_not_shown(host: Host, node: Node, pictures: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    (pictures / "1.png").rename(secret)
    (pictures / "1.png").symlink_to(secret)
    graph = {"load": node("KilnLoadDataset", folder=pictures.name), "show": node("PreviewAny", source=["load", 1])}
    name = told(host.run(graph, timeout=120), "load")["id"]
    marks = [each["mark"] for each in ask(host, "GET", f"/dataset/{name}").json()["pictures"]]
    assert [bool(mark) for mark in marks] == [True, False, True, True]
    assert ask(host, "GET", f"/dataset/{name}/picture/1").status_code == 404
    (pictures / "2.png").unlink()
    assert ask(host, "GET", f"/dataset/{name}/picture/2").status_code == 404
    (pictures / "3.png").write_bytes(b"no picture")
    assert ask(host, "GET", f"/dataset/{name}/picture/3").status_code == 404


def test_datasets_are_known_after_a_restart_and_are_nobody_elses_to_write(host: Host, loaded: str) -> None:
    """What the page may look at is noted where none of the host's own addresses reads or writes."""
    notes = host.base / "user" / "__kiln" / "datasets"
    assert (notes / f"{loaded}.json").is_file()
    for path in (f"/userdata/..%2f__kiln%2fdatasets%2f{loaded}.json", f"/view?type=output&filename={loaded}.json"):
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"{host.url}{path}", timeout=30).status_code in (400, 403, 404)
