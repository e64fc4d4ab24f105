#!/usr/bin/env python3
"""The one tool for working on LoRA Kiln: python dev.py COMMAND [arguments].

  demo       teach the miniature model a new character through a real ComfyUI graph
  serve      start ComfyUI with the pack in it: serve [--port N] [arguments for ComfyUI]
  test       run the tests: test [unit|articles|host|browser|PATH] [arguments for pytest]; -n 0: in one process
  check      formatting, lint and types, of the page's scripts too where there is a Node.js
  pictures   take the README's pictures anew, in the real page: pictures [name ...]
  bench      measure the trainer's speed, and large datasets
  study      do the ideas hold, and are the sweep's scores true: study NAME
  world      retrain the miniature world from nothing
  locales    write the page's English words from the nodes, and say what the other languages lack
  workflows  write the example workflows and their API twins

It makes .venv (Python packages) and .host (a ComfyUI of its own) where they are missing or out of date. Set
COMFYUI_PATH to work with your own ComfyUI instead; nothing is ever written there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from demo.base import free_port, has_accelerator, host_command, link, prepare_base
from demo.install import HOST, SetupError, apt_install, say, set_up
from demo.page import make_frontend, script_checks

ROOT = Path(__file__).resolve().parent
MODULES = {
    "demo": "demo.run",
    "world": "demo.train",
    "bench": "demo.bench",
    "study": "demo.study",
    "locales": "demo.locales",
    "workflows": "demo.examples.build",
}
TEST_KINDS = ("unit", "articles", "host", "browser")
TYPED_ROOMS = ("dataset", "trainer", "sweep", "host", "nodes")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
CHROMIUM_PATHS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
INTERRUPTED = 130
GRACE_SECONDS = 10.0
MOST_WORKERS = 4
"""Processes that run tests: each may hold models, and a server of its own."""


class Terminated(BaseException):
    """This process was asked to end by a signal other than Ctrl-C."""


# --- pure helpers --------------------------------------------------------------------------------


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """What pytest is given for ``test ARGUMENTS``: a kind is a folder of tests/, no path is everything."""
    if not arguments or arguments[0].startswith("-"):
        return ["tests", *arguments]
    first, *others = arguments
    return [f"tests/{first}" if first in TEST_KINDS else first, *others]


def side_by_side(words: Sequence[str], cores: int) -> list[str]:
    """What lets pytest run a folder of tests in several processes, a file in one of them; a file alone needs none.

    In the folders' order: the slow files of the browser and the host come before the many quick ones, which fill up
    the end.
    """
    asked = any(word.startswith(("-n", "--numprocesses", "-s", "--pdb", "--capture")) for word in words)
    if asked or cores < 2 or "." in words[0]:
        return []
    return ["-n", str(min(cores, MOST_WORKERS)), "--dist", "loadfile", "--no-loadscope-reorder"]


def wants_browser(target: str) -> bool:
    """Whether the tests under ``target`` include some that drive a browser."""
    parts = Path(target.split("::")[0]).parts
    return "browser" in parts or parts in ((), ("tests",))


def split_port(arguments: Sequence[str]) -> tuple[int | None, list[str]]:
    """Take ``--port N`` (or ``--port=N``) out of ``arguments``; ``SetupError`` when N is not a port."""
    port: int | None = None
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument != "--port" and not argument.startswith("--port="):
            rest.append(argument)
            continue
        value = next(remaining, "") if argument == "--port" else argument.partition("=")[2]
        if not value.isdecimal() or not 0 < int(value) < 65536:
            raise SetupError(f"--port is {value!r}. Give a number from 1 to 65535, or leave it out.")
        port = int(value)
    return port, rest


def module_file(module: str, root: Path = ROOT) -> Path:
    """The file that ``python -m MODULE`` would run."""
    return root.joinpath(*module.split(".")).with_suffix(".py")


def find_chromium(environ: Mapping[str, str] = os.environ) -> str:
    """The path of a Chromium, Chrome or Edge; empty when there is none. KILN_CHROMIUM wins."""
    if environ.get("KILN_CHROMIUM"):
        return environ["KILN_CHROMIUM"]
    found = (shutil.which(name, path=environ.get("PATH")) for name in CHROMIUM_NAMES)
    installed = (path for path in CHROMIUM_PATHS if Path(path).is_file())
    return next((path for path in (*found, *installed) if path), "")


# --- child processes -----------------------------------------------------------------------------


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> int:
    """Run a child that shares the terminal, return its exit code. Ctrl-C ends it: it is never left behind."""
    child = subprocess.Popen(list(command), cwd=cwd, env=None if env is None else dict(env))
    try:
        return child.wait()
    except KeyboardInterrupt:
        end(child)  # the terminal sent Ctrl-C to the child as well
        return INTERRUPTED
    except Terminated:
        child.terminate() if os.name == "nt" else child.send_signal(signal.SIGINT)
        end(child)
        return INTERRUPTED


def end(child: subprocess.Popen[bytes]) -> None:
    """Give a child that was told to stop ten seconds to tidy up, then stop it."""
    for stop in (child.terminate, child.kill):
        try:
            child.wait(GRACE_SECONDS)
            return
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            stop()
    child.wait()


# --- commands ------------------------------------------------------------------------------------


def module_command(name: str) -> Callable[[Sequence[str]], int]:
    """The command that runs one of the demo's modules inside .venv."""

    def command(arguments: Sequence[str]) -> int:
        file = module_file(MODULES[name])
        if not file.is_file():
            raise SetupError(f"'{name}' is not part of this version: {file} does not exist. Update your clone.")
        python, env = set_up()
        return run([str(python), "-m", MODULES[name], *arguments], env=env)

    return command


def serve(arguments: Sequence[str]) -> int:
    """Start ComfyUI with the pack in it, on the port asked for or a free one."""
    asked, extra = split_port(arguments)
    port = free_port(asked or 8188)
    if asked and port != asked:
        raise SetupError(f"--port is {asked}, but another program holds that port. Give another, or leave it out.")
    python, env = set_up()
    base = prepare_base(HOST / "base")
    cpu = "--cpu" not in extra and not has_accelerator(str(python))
    say(f"ComfyUI with LoRA Kiln: http://127.0.0.1:{port} (models and outputs in {base}; Ctrl-C ends it)")
    host = Path(env["COMFYUI_PATH"])
    return run(host_command(host, base, port, python=str(python), cpu=cpu, extra=extra), env=env)


def get_chromium() -> str:
    """A Chromium for browser tests, installed where that is possible; else say how, and return ""."""
    found = find_chromium()
    if not found and apt_install("chromium"):
        found = find_chromium()
    if not found:
        say(
            "No Chromium found, so browser tests will be skipped. Install Chromium, Chrome or Edge (on "
            "Debian and Ubuntu: sudo apt-get install chromium), or set KILN_CHROMIUM to its program, then "
            "run this again."
        )
    return found


def browser_environment(python: Path, env: Mapping[str, str]) -> dict[str, str]:
    """``env`` for browser tests, with what they need fetched; what cannot be had is said, and they skip."""
    try:
        make_frontend(python)
    except SetupError as error:
        say(f"Tests with ComfyUI's newest frontend will be skipped: {error}")
    return {**env, "KILN_CHROMIUM": get_chromium()}


def test(arguments: Sequence[str]) -> int:
    """Run the tests, or those under one folder or file, with pytest."""
    words = pytest_arguments(arguments)
    if not (ROOT / words[0].split("::")[0]).exists():
        raise SetupError(f"There are no tests at {words[0]!r}. Give one of {', '.join(TEST_KINDS)}, or a path.")
    python, env = set_up()
    if wants_browser(words[0]):
        env = browser_environment(python, env)
    cores = os.cpu_count() or 1
    workers = side_by_side(words, cores)
    if workers:
        env.setdefault("OMP_NUM_THREADS", str(max(1, cores // MOST_WORKERS)))
    return run([str(python), "-m", "pytest", *words, *workers], env=env)


def pictures(arguments: Sequence[str]) -> int:
    """Take the README's pictures in the real page."""
    python, env = set_up()
    chromium = get_chromium()
    if not chromium:
        raise SetupError("the pictures are taken in a browser, and there is none.")
    return run([str(python), "-m", "demo.readme", *arguments], env={**env, "KILN_CHROMIUM": chromium})


def check(arguments: Sequence[str]) -> int:
    """Check formatting, lint and types; the exit code is the worst one."""
    if arguments:
        raise SetupError(f"check takes no arguments, but was given {' '.join(arguments)!r}.")
    python, env = set_up()
    # Types are read under the name that the tests use: a clone's folder may be called anything.
    typing = HOST / "typing"
    link(typing / "lora_kiln", ROOT)
    rooms = [room for room in TYPED_ROOMS if any((ROOT / room).glob("*.py"))]
    packages = [word for room in rooms for word in ("-p", f"lora_kiln.{room}")]
    settings = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(HOST / "mypy")]
    module = [str(python), "-m"]
    steps: list[tuple[str, list[str], Path]] = [
        ("ruff format --check", [*module, "ruff", "format", "--check", "."], ROOT),
        ("ruff check", [*module, "ruff", "check", "--output-format", "concise", "."], ROOT),
    ]
    if rooms:
        name = f"mypy --strict {' '.join(rooms)}"
        steps.append((name, [*module, "mypy", "--strict", *settings, *packages], typing))
    skipped = ""
    try:
        steps += [(name, command, ROOT) for name, command in script_checks()]
    except SetupError as error:
        skipped = f"\ncheck: the page's scripts (web/) were NOT checked: {error}"
    worst = 0
    for name, command, folder in steps:
        say(f"== {name}")
        worst = max(worst, run(command, env={**env, "MYPYPATH": str(typing)}, cwd=folder))
    passed = "check: everything passes" if not skipped else "check: everything that could be checked passes"
    say((passed if worst == 0 else "check: something above fails (dev.py's .venv has ruff and mypy)") + skipped)
    return worst


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "serve": serve,
    "test": test,
    "check": check,
    "pictures": pictures,
    **{name: module_command(name) for name in MODULES},
}


def terminated(number: int, _frame: object) -> None:
    """Turn a request to end into an exception, so that children are ended on the way out."""
    raise Terminated(f"signal {number}")


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say((__doc__ or "").strip())
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in COMMANDS:
        say(f"dev.py has no command {name!r}. It has: {', '.join(sorted(COMMANDS))}.")
        return 2
    for ending in ("SIGTERM", "SIGHUP"):
        # One that is ignored (as under nohup) stays so.
        if hasattr(signal, ending) and signal.getsignal(getattr(signal, ending)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, ending), terminated)
    try:
        return COMMANDS[name](rest)
    except (SetupError, OSError, subprocess.CalledProcessError) as error:
        say(f"dev.py {name}: {error}")
        return 1
    except (KeyboardInterrupt, Terminated):
        say(f"dev.py {name}: stopped before it was done; run it again to go on")
        return INTERRUPTED


if __name__ == "__main__":
    if sys.version_info < (3, 10):  # noqa: UP036 - this is the line that says so on an older Python
        sys.exit(f"dev.py needs Python 3.10 or newer; this is {sys.version.split()[0]} ({sys.executable}).")
    sys.exit(main(sys.argv[1:]))
