"""Our addresses on the running server, and what it answers to those who have no business there."""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import pytest
from PIL import Image

if TYPE_CHECKING:
    from demo.hosting import Host

RUN, SAMPLE, SWEEP = "rose's run #1 %20 ä", "step00000002-00.png", "sweep-0123abcd"
KEY, SECRET = "ab" * 32, "nobody may read this"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


def ask(host: Host, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """A request as it is: nothing of the path is tidied on the way."""
    with closing(http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)) as line:
        line.putrequest(method, path, skip_accept_encoding=True, skip_host="Host" in (headers or {}))
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            line.putheader(name, value)
        line.endheaders(body)
        reply = line.getresponse()
        return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())


def get(host: Host, *parts: str, query: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    return ask(host, "GET", "/".join(("/api/kiln", *(quote(part, safe="") for part in parts))) + query, b"", headers)


def post(host: Host, body: Any, *parts: str, headers: Mapping[str, str] | None = None) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = "/".join(("/api/kiln", *(quote(part, safe="") for part in parts)))
    return ask(host, "POST", path, content, {"Content-Type": "application/json", **(headers or {})})


def row(step: int) -> str:
    values = {"step": step, "epoch": 1, "loss": 0.5, "lr": {"unet": 1e-3}, "it_s": 2.0, "memory": 9, "skipped": 0}
    return json.dumps(values) + "\n"


@pytest.fixture(scope="module")
def folder(host: Host) -> Path:
    """A run with steps, a sample and a sweep, beside files that are nobody's business; some links lead to them."""
    root = host.base / "output" / "kiln"
    run = root / RUN
    (run / "samples").mkdir(parents=True)
    about = {"name": "rose", "finished": False, "checkpoints": [], "stopped_at": 2, "fingerprint": "f"}
    (run / "run.json").write_text(json.dumps(about), encoding="utf-8")
    (run / "metrics.jsonl").write_text(row(1) + row(2), encoding="utf-8")
    Image.new("RGB", (300, 200), "red").save(run / "samples" / SAMPLE)
    cell = {"key": KEY, "size": [64, 64], "spoiled": False, "about": {}}
    (run / f"{SWEEP}.json").write_text(json.dumps({"cells": [[[cell]]]}), encoding="utf-8")
    cells = root / "cache" / "cells"
    for key in (KEY, "cd" * 32):
        (cells / key[:2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), "blue").save(cells / key[:2] / f"{key}.png")
    secret = host.base / "secret.png"
    secret.write_text(SECRET, encoding="utf-8")
    (run / "samples" / "step00000001-00.png").symlink_to(secret)
    (run / "samples" / "step00000003-00.png").write_text("no picture", encoding="utf-8")
    outside = host.base / "outside"
    outside.mkdir()
    (outside / "run.json").write_text(json.dumps({**about, "name": SECRET}), encoding="utf-8")
    (root / "linked").symlink_to(outside)
    return run


def test_a_run_is_told(host: Host, folder: Path) -> None:
    [run] = get(host, "runs", query="?name=rose").json["runs"]
    assert (run["run"], run["stopped_at"], run["can_go_on"]) == (RUN, 2, False)
    about = get(host, "runs", RUN).json
    assert [sample["file"] for sample in about["samples"]][1] == SAMPLE
    assert [sweep["name"] for sweep in about["sweeps"]] == [SWEEP]
    steps = get(host, "runs", RUN, "steps", query="?place=0&step=0").json
    assert (steps["fresh"], steps["columns"]["step"], steps["columns"]["lr"]) == (
        True,
        [1, 2],
        {"unet": [0.001, 0.001]},
    )
    assert get(host, "training").json == {"trainings": []}


def test_pictures_come_whole_and_small(host: Host, folder: Path) -> None:
    thumbnails = host.base / "output" / "kiln" / "cache" / "thumbnails"
    others = set(thumbnails.rglob("*.jpg"))
    whole = get(host, "runs", RUN, "samples", SAMPLE)
    assert (whole.status, whole.headers["content-type"]) == (200, "image/png")
    assert whole.content == (folder / "samples" / SAMPLE).read_bytes()
    small = get(host, "runs", RUN, "samples", SAMPLE, query="?side=128&mark=1")
    assert (small.status, small.headers["content-type"]) == (200, "image/jpeg")
    with Image.open(io.BytesIO(small.content)) as picture:
        assert picture.size == (128, 85)
    kept = list(set(thumbnails.rglob("*.jpg")) - others)
    assert len(kept) == 1
    made = kept[0].stat().st_mtime_ns
    assert get(host, "runs", RUN, "samples", SAMPLE, query="?side=128").content == small.content
    assert kept[0].stat().st_mtime_ns == made
    assert get(host, "runs", RUN, "sweeps", SWEEP, KEY).headers["content-type"] == "image/png"
    for answer in (whole, small):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        # Ours, or that of a host without API nodes, which sets its own on every answer.
        assert answer.headers["content-security-policy"].startswith("default-src")


@pytest.mark.parametrize(
    "path",
    [
        "/runs/..", "/runs/%2e%2e", "/runs/%2E%2E%2F", "/runs/..%2f..%2fsecret.png", "/runs/.", "/runs/%2e",
        "/runs/linked", "/runs/linked/steps", "/runs/cache", "/runs/CACHE", "/runs/latents", "/runs/datasets",
        "/runs/nobody", "/runs/%00", "/runs/a%00b", "/runs/C:", "/runs/%5c..%5c..", "/runs/%2fetc",
        "/runs/%2Fetc%2Fpasswd",
        "/runs/" + "a" * 300, "/runs/%ff%fe", "/runs/{run}/samples/..%2frun.json",
        "/runs/{run}/samples/..%2f..%2frun.json",
        "/runs/{run}/samples/..%2fmetrics.jsonl", "/runs/{run}/samples/step00000001-00.png",
        "/runs/{run}/samples/step00000001-00.png?side=128",
        "/runs/{run}/samples/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.png",
        "/runs/{run}/samples/" + quote("../../../../secret.png", safe=""), "/runs/{run}/samples/nothing.png",
        "/runs/{run}/samples/.", "/runs/{run}/run.json", "/runs/{run}/state.pt", "/runs/{run}/sweeps/run",
        "/runs/{run}/sweeps/..%2frun", "/runs/{run}/sweeps/sweep-0123abcd.json", "/runs/{run}/sweeps/sweep-ffff",
        "/runs/{run}/sweeps/sweep-0123abcd/" + "cd" * 32, "/runs/{run}/sweeps/sweep-0123abcd/..%2f..%2f..%2fsecret",
        "/runs/{run}/sweeps/sweep-0123abcd/ab", "/runs/linked/samples/x.png", "/nothing", "/runs/../../../secret.png",
        "/../secret.png", "/runs/{run}/samples/../../../../secret.png",
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["/kiln", "/api/kiln"])
def test_no_path_leads_out(host: Host, folder: Path, prefix: str, path: str) -> None:
    answer = ask(host, "GET", prefix + path.replace("{run}", quote(RUN, safe="")))
    assert answer.status in (400, 403, 404)
    assert SECRET.encode() not in answer.content
    assert str(host.base).encode() not in answer.content


@pytest.mark.parametrize(
    "query",
    ["?side=0", "?side=129", "?side=-128", "?side=99999999", "?side=1e3", "?side=", "?side=٣"],
)
def test_only_some_sizes_are_made(host: Host, folder: Path, query: str) -> None:
    answer = get(host, "runs", RUN, "samples", SAMPLE, query=quote(query, safe="?&="))
    assert answer.status == 400
    assert answer.json["error"]


@pytest.mark.parametrize("query", ["?place=-1", "?place=x", "?place=1.5", "?place=" + "9" * 40, "?step=%00"])
def test_places_are_numbers(host: Host, folder: Path, query: str) -> None:
    assert get(host, "runs", RUN, "steps", query=query).status == 400


def test_a_place_beyond_the_end_tells_everything_anew(host: Host, folder: Path) -> None:
    found = get(host, "runs", RUN, "steps", query="?place=999999999&step=77").json
    assert (found["fresh"], found["columns"]["step"]) == (True, [1, 2])


def test_what_is_no_picture_is_said_and_not_sent(host: Host, folder: Path) -> None:
    answer = get(host, "runs", RUN, "samples", "step00000003-00.png", query="?side=128")
    assert answer.status == 400
    assert "picture" in answer.json["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Encoding": "gzip"}, 415),
        # Even where the name of a foreign host leads here.
        ({"Host": "rebound.example:8188", "Origin": "http://elsewhere.example"}, 403),
    ],
)
def test_no_other_sites_page_can_ask_for_anything(
    host: Host, folder: Path, headers: dict[str, str], status: int
) -> None:
    answer = post(host, {"what": "stop"}, "runs", RUN, "ask", headers=headers)
    assert answer.status == status
    if "Content-Type" not in headers and "Content-Encoding" not in headers:
        assert get(host, "runs", RUN, headers=headers).status == 403
        assert get(host, "runs", RUN, "samples", SAMPLE, query="?side=256", headers=headers).status == 403


def test_a_foreign_page_gets_no_leave_to_ask(host: Host) -> None:
    asked = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
    answer = ask(host, "OPTIONS", "/api/kiln/runs/x/ask", b"", asked)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b'"stop"', b"{", b"\xff", b'{"what": NaN}', b"[" * 50_000, {"what": "rm"}, {"what": None},
     {"what": ["stop"]}, {"what": {"stop": 1}}, {"what": "s" * 100_000}, {}],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(host: Host, folder: Path, body: Any) -> None:
    answer = post(host, body, "runs", RUN, "ask")
    assert answer.status == 400
    assert answer.json["error"]


def test_a_body_that_is_too_large_is_not_read(host: Host, folder: Path) -> None:
    assert post(host, b" " * (9 << 20), "runs", RUN, "ask").status == 413
    with closing(socket.create_connection(("127.0.0.1", host.port), timeout=30)) as line:
        head = f"POST /api/kiln/runs/{quote(RUN)}/ask HTTP/1.1\r\nHost: 127.0.0.1:{host.port}\r\n"
        line.sendall((head + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
        chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        for _ in range(9):
            line.sendall(chunk)
        assert line.recv(64).startswith(b"HTTP/1.1 413")


def test_asking_needs_post_and_a_run_that_trains(host: Host, folder: Path) -> None:
    assert get(host, "runs", RUN, "ask").status in (404, 405)
    assert post(host, {"what": "stop"}, "runs", RUN).status in (404, 405)
    for what in ("stop", "sample"):
        answer = post(host, {"what": what}, "runs", RUN, "ask", headers={"Origin": f"http://127.0.0.1:{host.port}"})
        assert (answer.status, "does not train now" in answer.json["error"]) == (409, True)
    answer = post(host, {"what": "go on"}, "runs", RUN, "ask")
    assert (answer.status, "cannot go on" in answer.json["error"]) == (400, True)
    assert post(host, {"what": "stop"}, "runs", "..", "ask").status == 404
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["stopped_at"] == 2
