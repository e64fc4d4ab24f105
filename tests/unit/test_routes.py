"""Who may ask, what is read of a request, and which files a path may name. The server itself: tests/host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_kiln.host.http import MOST_BYTES, Refused, Route, inside, parse_body, refusal, register

JSON = {"Host": "127.0.0.1:8188", "Content-Type": "application/json", "Content-Length": "2"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Origin": "http://127.0.0.1:8188"},
        {"Origin": "HTTP://127.0.0.1:8188", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://kiln.example", "Host": "kiln.example"},
        {"Origin": "https://kiln.example", "Host": "kiln.example:443"},
        {"Sec-Fetch-Site": "none"},
        {"Content-Length": str(MOST_BYTES)},
    ],
)
def test_the_hosts_own_page_may_post(headers: dict[str, str]) -> None:
    assert refusal("POST", {**JSON, **headers}) is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Origin": "http://127.0.0.1:8188.elsewhere.example"}, 403),
        ({"Origin": "http://elsewhere.example/127.0.0.1:8188"}, 403),
        ({"Origin": "http://localhost:8188"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "file://"}, 403),
        ({"Origin": "127.0.0.1:8188"}, 403),
        ({"Origin": "ftp://127.0.0.1:8188"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8188"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=application/json"}, 415),
        ({"Content-Type": "text/plain; application/json"}, 415),
        ({"Content-Type": "application/jsonp"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Length": str(MOST_BYTES + 1)}, 413),
        ({"Content-Length": "9" * 30}, 413),
        ({"Content-Length": "-1"}, 413),
    ],
)
def test_what_another_sites_page_can_send_is_refused(headers: dict[str, str], status: int) -> None:
    found = refusal("POST", {**JSON, **headers})
    assert found is not None
    assert found.status == status


def test_reading_needs_no_content_but_the_own_page_all_the_same() -> None:
    assert refusal("GET", {"Host": "127.0.0.1:8188"}) is None
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://elsewhere.example"}):
        found = refusal("GET", {"Host": "127.0.0.1:8188", **headers})
        assert found is not None
        assert found.status == 403


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"[]", b'"text"', b"{", b"\xff\xfe{}", b'{"a": NaN}', b'{"a": Infinity}',
        b"[" * 100_000, b'{"a":' * 100_000,
    ],
)  # fmt: skip
def test_only_a_json_object_is_a_body(content: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_body(content)
    assert refused.value.status == 400


def test_a_body_is_what_was_sent() -> None:
    assert parse_body(json.dumps({"what": "träge", "n": [1, None]}).encode()) == {"what": "träge", "n": [1, None]}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with files in it, beside secrets, and links of all kinds."""
    root = tmp_path / "runs"
    (root / "rose" / "samples").mkdir(parents=True)
    (root / "rose" / "samples" / "a b.png").write_bytes(b"picture")
    (tmp_path / "runs-secret").mkdir()
    for secret in (tmp_path / "secret.txt", tmp_path / "runs-secret" / "key.txt"):
        secret.write_bytes(b"secret")
    (root / "rose" / "out.txt").symlink_to(tmp_path / "secret.txt")
    (root / "rose" / "up").symlink_to(tmp_path)
    (root / "rose" / "within").symlink_to(root / "rose" / "samples")
    (root / "rose" / "circle").symlink_to(root / "rose" / "circle")
    (root / "rose" / "nowhere").symlink_to(root / "rose" / "not there")
    return root


def test_what_lies_inside_is_found(tree: Path) -> None:
    assert inside(tree, "rose/samples/a b.png").read_bytes() == b"picture"
    assert inside(tree, "rose/within/a b.png") == (tree / "rose" / "samples" / "a b.png").resolve()
    assert inside(tree, "rose") == (tree / "rose").resolve()


def test_a_root_that_is_a_link_itself_is_a_root(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(tree)
    assert inside(tmp_path / "linked", "rose/samples/a b.png").read_bytes() == b"picture"


@pytest.mark.parametrize(
    "path",
    [
        "", ".", "..", "/", "//", "rose/", "/rose", "rose//samples", "./rose", "rose/.", "rose/..",
        "rose/../../secret.txt", "../secret.txt", "../runs-secret/key.txt", "/etc/passwd", "rose/out.txt",
        "rose/up/secret.txt",
        "rose/up/runs-secret/key.txt", "rose/circle", "rose/nowhere", "rose\\..\\..\\secret.txt", "..\\secret.txt",
        "C:/Windows/win.ini", "C:secret.txt", "rose:stream", "rose/samples/a b.png\0.txt", "not there", "r" * 5000,
        "rose/samples/a b.png/more", "~/secret.txt", "\ud800", "....//secret.txt", "%2e%2e/secret.txt",
    ],
)  # fmt: skip
def test_what_leads_outside_or_is_not_there_is_refused_alike(tree: Path, path: str) -> None:
    with pytest.raises(Refused) as refused:
        inside(tree, path)
    assert (refused.value.status, refused.value.words) == (404, "There is no such file.")


def test_without_a_server_nothing_is_registered() -> None:
    def never(_: object) -> object:
        raise AssertionError

    assert register([Route("GET", "/never", never)]) is False  # type: ignore[arg-type]
