"""Models from the hub: a server on this machine that answers as the hub does."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import huggingface_hub.constants
import huggingface_hub.utils._auth
import pytest

from lora_kiln.dataset.errors import ModelMissing
from lora_kiln.dataset.onnx import fetch, find_folder, list_folders, plain_name
from lora_kiln.dataset.tagger import HUB_TAGGERS, get_tagger

MODEL = bytes(range(256)) * 12_000  # three chunks


class Hub(http.server.BaseHTTPRequestHandler):
    """Large files lie at another address, which must not see the token, with their sha256 as their mark."""

    files: ClassVar[dict[str, bytes]]
    heard: ClassVar[list[tuple[str, str, str | None, str | None]]]
    broken: bool

    def do_HEAD(self) -> None:
        path = self.path.split("/resolve/main/")[-1]
        data = self.files.get(path)
        self._note("HEAD")
        if data is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        port = self.server.server_address[1]
        if len(data) > 1000:
            self.send_response(302)
            self.send_header("X-Linked-ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Linked-Size", str(len(data)))
            self.send_header("Location", f"http://localhost:{port}/storage/{path}")
            self.send_header("Content-Length", "0")
        else:
            self.send_response(200)
            self.send_header("ETag", '"a1b2c3"')
            self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def do_GET(self) -> None:
        data = self.files.get(self.path.split("/resolve/main/")[-1].removeprefix("/storage/"))
        if data is None:  # the library asks for things of its own
            self.send_error(404)
            return
        self._note("GET")
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : start + 1_500_000] if self.broken else data[start:])

    def _note(self, verb: str) -> None:
        self.heard.append((verb, self.path, self.headers.get("Range"), self.headers.get("Authorization")))

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    class Mine(Hub):
        files: ClassVar = {
            "selected_tags.csv": b"tag_id,name,category,count\n",
            "sub/model.onnx": MODEL,
            "model.onnx": MODEL,
        }
        heard: ClassVar = []
        broken = False

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    here, constants = f"http://127.0.0.1:{server.server_address[1]}", huggingface_hub.constants
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", here + template)
    monkeypatch.setattr(constants, "ENDPOINT", here)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.utils._auth, "_get_token_from_environment", lambda: "hf_secret")
    yield Mine
    server.shutdown()
    server.server_close()


def test_a_tagger_is_fetched_with_progress_and_only_once(hub: type[Hub], tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    name = next(iter(HUB_TAGGERS))
    files = get_tagger(name, [tmp_path / "taggers"], lambda done, total: steps.append((done, total)))
    assert files.model == tmp_path / "taggers" / plain_name(name) / "model.onnx"
    assert files.model.read_bytes() == MODEL
    total = len(MODEL) + len(hub.files["selected_tags.csv"])
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1] == (total, total)
    assert len(steps) >= 4
    assert not list(files.model.parent.glob("*.part"))
    asked = len(hub.heard)
    assert get_tagger(name, [tmp_path / "taggers"]) == files
    assert len(hub.heard) == asked


def test_the_token_stays_with_the_hub(hub: type[Hub], tmp_path: Path) -> None:
    fetch("a/b", {"model.onnx": tmp_path / "model.onnx", "selected_tags.csv": tmp_path / "tags.csv"})
    tokens = {(verb, "storage" in path): token for verb, path, _, token in hub.heard}
    assert tokens["GET", True] is None
    assert tokens["GET", False] == tokens["HEAD", False] == "Bearer hf_secret"


def test_a_cancelled_or_broken_download_goes_on_where_it_stopped(hub: type[Hub], tmp_path: Path) -> None:
    class Cancelled(Exception):
        pass

    def cancel(done: int, total: int) -> None:
        raise Cancelled

    file = tmp_path / "m" / "model.onnx"
    with pytest.raises(Cancelled):
        fetch("a/b", {"sub/model.onnx": file}, cancel)
    part = file.with_name("model.onnx.part")
    assert not file.exists()
    assert 0 < part.stat().st_size < len(MODEL)
    arrived = part.stat().st_size
    hub.broken = True
    with pytest.raises(ModelMissing, match=r"it goes on where it stopped.*sub/model\.onnx"):
        fetch("a/b", {"sub/model.onnx": file})
    assert part.stat().st_size == arrived + 1_500_000 < len(MODEL)
    hub.broken = False
    fetch("a/b", {"sub/model.onnx": file})
    assert file.read_bytes() == MODEL
    assert [rest for verb, _, rest, _ in hub.heard if verb == "GET"] == [
        None,
        f"bytes={arrived}-",
        f"bytes={arrived + 1_500_000}-",
    ]


def test_what_arrives_is_checked(hub: type[Hub], tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    part = file.with_name("model.onnx.part")
    part.write_bytes(b"x" * len(MODEL))
    with pytest.raises(ModelMissing, match="another checksum"):
        fetch("a/b", {"model.onnx": file})
    assert not part.exists()
    part.write_bytes(b"x" * (len(MODEL) + 5))
    fetch("a/b", {"model.onnx": file})
    assert file.read_bytes() == MODEL


def test_what_the_hub_has_not_is_said(hub: type[Hub], tmp_path: Path) -> None:
    with pytest.raises(
        ModelMissing, match=r"(?s)The hub does not give other\.onnx of a/b \(404.* put its other\.onnx at"
    ):
        fetch("a/b", {"other.onnx": tmp_path / "other.onnx"})
    assert list(tmp_path.iterdir()) == []


def test_a_tagger_in_the_hubs_own_cache_is_taken_from_there(hub: type[Hub], tmp_path: Path) -> None:
    name = "SmilingWolf/wd-vit-tagger-v3"
    snapshot = tmp_path / "hub" / "models--SmilingWolf--wd-vit-tagger-v3" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
    for file in ("model.onnx", "selected_tags.csv"):
        (snapshot / file).write_bytes(b"here")
    assert get_tagger(name, [tmp_path / "taggers"]).model == snapshot / "model.onnx"
    assert hub.heard == []


def test_folders_of_models(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").touch()
    assert list_folders([tmp_path, tmp_path / "nowhere"]) == ("a", "b")
    assert find_folder("owner/a", [tmp_path / "nowhere", tmp_path]) == tmp_path / "a"
    assert find_folder("c", [tmp_path]) is None


@pytest.mark.parametrize("name", ["..", ".", "", "a/..", "..\\a", "C:evil", "a\0b"])
def test_names_that_lead_elsewhere_are_no_names(name: str) -> None:
    assert plain_name(name) == ""
