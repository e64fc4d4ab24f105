"""dev.py's own decisions: what is current, which host, which tests, which port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import dev
from demo import install
from demo.base import (
    BASE_FOLDERS,
    free_port,
    host_command,
    host_environment,
    host_folder,
    is_link,
    link,
    own_host,
    prepare_base,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
from demo.mount import PACKAGE, mount


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a clone of the pack, under a name that is no package name."""
    folder = tmp_path / "lora-kiln clone"
    (folder / "demo" / "hostpack").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('never imported here')\n")
    return folder


# --- what is current


def test_a_fingerprint_follows_texts_and_files(tmp_path: Path) -> None:
    asked = tmp_path / "requirements.txt"
    asked.write_bytes(b"pytest\n")
    first = install.fingerprint(["torch==1", asked])
    assert first == install.fingerprint(["torch==1", asked])
    assert first != install.fingerprint(["torch==2", asked])
    asked.write_bytes(b"pytest\r\n")
    assert first == install.fingerprint(["torch==1", asked])
    asked.write_bytes(b"pytest\nruff\n")
    assert first != install.fingerprint(["torch==1", asked])


def test_a_fingerprint_keeps_its_parts_apart() -> None:
    assert install.fingerprint(["ab", "c"]) != install.fingerprint(["a", "bc"])


def test_a_stamp_says_what_is_current(tmp_path: Path) -> None:
    stamp = tmp_path / "stamp"
    assert not install.is_current(stamp, "abc")
    stamp.write_text("abc\n")
    assert install.is_current(stamp, "abc")
    assert not install.is_current(stamp, "abd")


def test_only_what_lies_under_the_prefix_is_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "host.whl"
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("lib/_comfyui/main.py", "main")
        content.writestr("lib/_comfyui/comfy/sd.py", "sd")
        content.writestr("lib/other.py", "other")
    install.unpack(archive, "lib/_comfyui/", tmp_path / "out")
    files = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.py"))
    assert files == ["comfy/sd.py", "main.py"]


def test_the_interpreter_of_a_venv_is_found_on_each_system() -> None:
    assert install.venv_python(Path("v"), windows=False) == Path("v/bin/python")
    assert install.venv_python(Path("v"), windows=True) == Path("v/Scripts/python.exe")


def test_a_failing_pip_says_why_and_what_to_do() -> None:
    with pytest.raises(install.SetupError, match=r"no-such-option[\s\S]*Do this instead"):
        install.pip(Path(sys.executable), ["install", "--no-such-option"], "Do this instead.")


# --- which host


def test_our_own_host_is_the_default(tmp_path: Path) -> None:
    assert host_folder({}, tmp_path) == own_host(tmp_path)
    assert host_folder({"COMFYUI_PATH": " "}, tmp_path) == own_host(tmp_path)


def test_comfyui_path_wins(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "comfy").mkdir(parents=True)
    (theirs / "main.py").touch()
    (theirs / "requirements.txt").touch()
    assert host_folder({"COMFYUI_PATH": str(theirs)}, tmp_path) == theirs


def test_a_comfyui_path_that_holds_none_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"COMFYUI_PATH.*main\.py"):
        host_folder({"COMFYUI_PATH": str(tmp_path)}, tmp_path)


def test_the_host_writes_under_its_base_only(tmp_path: Path) -> None:
    command = host_command(tmp_path / "C", tmp_path / "b", 8200, python="py", cpu=True, extra=["--fast"])
    assert command[:2] == ["py", str(tmp_path / "C" / "main.py")]
    assert command[command.index("--base-directory") + 1] == str(tmp_path / "b")
    assert (tmp_path / "b" / "user" / "comfyui.db").as_posix() in command[command.index("--database-url") + 1]
    assert command[command.index("--listen") + 1] == "127.0.0.1"
    assert command[-2:] == ["--cpu", "--fast"]
    assert "--cpu" not in host_command(tmp_path, tmp_path, 1, cpu=False)


def test_python_leaves_no_caches_in_a_users_host(tmp_path: Path) -> None:
    assert "PYTHONPYCACHEPREFIX" in host_environment(tmp_path / "theirs", {}, tmp_path)
    own = host_environment(own_host(tmp_path), {"HOME": "h"}, tmp_path)
    assert "PYTHONPYCACHEPREFIX" not in own
    assert own["COMFYUI_PATH"] == str(own_host(tmp_path))
    assert own["HOME"] == "h"


# --- links and bases


def test_a_link_is_made_kept_and_moved(tmp_path: Path) -> None:
    first, second, path = tmp_path / "first", tmp_path / "second", tmp_path / "links" / "pack"
    for folder in (first, second):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    link(path, first)
    link(path, first)
    assert is_link(path)
    assert (path / "file").read_text() == "first"
    link(path, second)
    assert (path / "file").read_text() == "second"
    assert (first / "file").exists()


def test_a_link_to_a_folder_that_is_gone_is_replaced(tmp_path: Path) -> None:
    gone, target, path = tmp_path / "gone", tmp_path / "target", tmp_path / "pack"
    gone.mkdir()
    target.mkdir()
    link(path, gone)
    gone.rmdir()
    link(path, target)
    assert path.resolve() == target


def test_a_real_folder_is_never_replaced_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    with pytest.raises(FileExistsError, match="in the way"):
        link(tmp_path / "pack", tmp_path)


def test_a_base_has_the_folders_and_both_packs(clone: Path, tmp_path: Path) -> None:
    base = prepare_base(tmp_path / "base", clone)
    assert prepare_base(base, clone) == base
    assert all((base / name).is_dir() for name in BASE_FOLDERS)
    assert (base / "custom_nodes" / "lora-kiln").resolve() == clone
    assert (base / "custom_nodes" / "kiln-world").resolve() == clone / "demo" / "hostpack"


def test_the_pack_is_mounted_without_running_its_init(root: Path) -> None:
    mount()
    assert sys.modules[PACKAGE].__path__ == [str(root)]
    assert not hasattr(sys.modules[PACKAGE], "comfy_entrypoint")


# --- arguments


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ([], ["tests"]),
        (["-k", "stamp"], ["tests", "-k", "stamp"]),
        (["unit"], ["tests/unit"]),
        (["host", "-x"], ["tests/host", "-x"]),
        (["tests/unit/test_dev.py::test_x", "-q"], ["tests/unit/test_dev.py::test_x", "-q"]),
    ],
)
def test_words_after_test_become_pytests(given: list[str], passed: list[str]) -> None:
    assert dev.pytest_arguments(given) == passed


@pytest.mark.parametrize(
    ("words", "cores", "workers"),
    [
        (["tests"], 2, "2"),
        (["tests/unit", "-k", "stamp"], 64, "4"),
        (["tests"], 1, None),
        (["tests/unit/test_dev.py::test_x"], 8, None),
        (["tests", "-n", "0"], 8, None),
        (["tests", "-s"], 8, None),
    ],
)
def test_folders_run_side_by_side(words: list[str], cores: int, workers: str | None) -> None:
    found = dev.side_by_side(words, cores)
    assert found == (["-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"] if workers else [])


@pytest.mark.parametrize(
    ("target", "needed"),
    [
        ("tests", True),
        ("tests/", True),
        (".", True),
        ("tests/browser", True),
        ("tests/browser/test_page.py::test_x", True),
        ("tests/unit", False),
        ("tests/host/test_hosting.py", False),
    ],
)
def test_a_browser_is_looked_for_only_when_needed(target: str, needed: bool) -> None:
    assert dev.wants_browser(target) is needed


def test_the_port_is_taken_out_of_the_arguments() -> None:
    assert dev.split_port([]) == (None, [])
    assert dev.split_port(["--port", "8200", "--fast"]) == (8200, ["--fast"])
    assert dev.split_port(["--fast", "--port=8200"]) == (8200, ["--fast"])


@pytest.mark.parametrize("wrong", [["--port"], ["--port", "eighty"], ["--port=0"], ["--port", "65536"]])
def test_a_port_that_is_none_is_refused(wrong: list[str]) -> None:
    with pytest.raises(install.SetupError, match="--port"):
        dev.split_port(wrong)


def test_a_chosen_chromium_wins_and_none_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dev.find_chromium({"KILN_CHROMIUM": "/here/chrome"}) == "/here/chrome"
    monkeypatch.setattr(dev, "CHROMIUM_PATHS", ())
    assert dev.find_chromium({"PATH": str(tmp_path)}) == ""


def test_an_unknown_command_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["fire"]) == 2
    assert "'fire'" in (said := capsys.readouterr().out)
    assert all(name in said for name in ("demo", "serve", "test", "check", "bench", "study", "world"))


def test_a_command_whose_module_is_missing_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "module_file", lambda module: tmp_path / f"{module}.py")
    assert dev.main(["bench"]) == 1
    assert "demo.bench.py" in capsys.readouterr().out


def test_tests_that_are_not_there_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["test", "tests/nowhere"]) == 1
    assert "tests/nowhere" in capsys.readouterr().out


# --- ports and child processes


def test_a_free_port_avoids_one_that_is_taken() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        assert free_port(taken) != taken
    assert free_port() > 0


def test_a_childs_exit_code_is_returned() -> None:
    assert dev.run([sys.executable, "-c", "raise SystemExit(7)"]) == 7


def started(folder: Path, ignores: bool) -> tuple[subprocess.Popen[bytes], Callable[[], int]]:
    """A dev.py that runs a long child; the second value waits for the child's process id."""
    note = folder / "pid"
    hears_nothing = "signal.signal(signal.SIGINT, signal.SIG_IGN); " if ignores else ""
    child = f"import os, signal, time; {hears_nothing}open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    program = (
        "import signal, sys, dev; dev.GRACE_SECONDS = 0.5; signal.signal(signal.SIGTERM, dev.terminated); "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"sys.exit(dev.run([sys.executable, '-c', {child!r}]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=dev.ROOT, stderr=subprocess.DEVNULL)

    def pid() -> int:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if note.exists() and note.read_text():
                return int(note.read_text())
            time.sleep(0.05)
        raise AssertionError("the child did not start")

    return parent, pid


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("ignores", [False, True])
def test_no_child_is_left_behind(tmp_path: Path, number: signal.Signals, ignores: bool) -> None:
    parent, pid = started(tmp_path, ignores)
    child = pid()
    parent.send_signal(number)
    assert parent.wait(20) == dev.INTERRUPTED
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


# --- one truth for the dependencies


def test_the_package_asks_for_what_requirements_txt_asks_for(root: Path) -> None:
    listed = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in listed if line and not line.startswith("#")]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dependencies"] == wanted
    # ComfyUI owns these versions: a pin here would break somebody's install.
    assert not {"torch", "torchvision", "torchaudio"} & set(wanted)
    assert all(name.partition(";")[0].replace("_", "").replace("-", "").isalnum() for name in wanted)
