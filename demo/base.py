"""Where the development host lives and how it is started.

Standard library only: dev.py runs it before anything is installed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .mount import ROOT

MODEL_FOLDERS = ("checkpoints", "controlnet", "loras", "onnx", "taggers", "text_encoders", "unet", "vae")
BASE_FOLDERS = (
    "custom_nodes",
    "input",
    "output",
    "temp",
    "user",
    *(f"models/{name}" for name in MODEL_FOLDERS),
)


def own_host(root: Path = ROOT) -> Path:
    """The folder of the ComfyUI that dev.py unpacks itself."""
    return root / ".host" / "ComfyUI"


def own_frontend(root: Path = ROOT) -> Path:
    """The folder of the newest frontend that dev.py unpacks for the browser tests; it holds an ``index.html``."""
    return root / ".host" / "frontend"


def host_folder(environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> Path:
    """The ComfyUI to run: ``COMFYUI_PATH`` when it is set, else our own.

    Raises ``FileNotFoundError`` when ``COMFYUI_PATH`` names something that is not a ComfyUI.
    """
    chosen = environ.get("COMFYUI_PATH", "").strip()
    if not chosen:
        return own_host(root)
    folder = Path(chosen).expanduser().resolve()
    missing = [name for name in ("main.py", "requirements.txt", "comfy") if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(
            f"COMFYUI_PATH is {chosen!r}, but {folder} has no {', '.join(missing)}. "
            "Set it to the folder that holds ComfyUI's main.py, or unset it to use the one dev.py fetches."
        )
    return folder


def is_link(path: Path) -> bool:
    """Whether ``path`` is a symbolic link or a Windows junction (which ``Path.is_symlink`` misses)."""
    try:
        path.readlink()
    except OSError:
        return False
    return True


def link(path: Path, target: Path) -> None:
    """Make ``path`` a link to the folder ``target``: a symlink; on Windows a junction, which needs no rights.

    A link that points elsewhere is replaced. Raises ``FileExistsError`` when something real is in the way.
    """
    if is_link(path):
        if path.resolve() == target.resolve():
            return
        # A junction is removed as a folder, a symlink as a file; neither touches what it points to.
        path.rmdir() if os.name == "nt" else path.unlink()
    elif path.exists():
        raise FileExistsError(f"{path} is in the way of a link to {target}. Move or delete it, then try again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.name == "nt":
        command = ["cmd", "/c", "mklink", "/J", str(path), str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    else:
        path.symlink_to(target, target_is_directory=True)


def prepare_base(folder: Path, root: Path = ROOT) -> Path:
    """Make ``folder`` a base directory for ComfyUI, the pack and the miniature world linked in; return it.

    Everything that the host reads and writes lies under it, so a user's own ComfyUI is never touched.
    """
    folder = folder.resolve()
    for name in BASE_FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    link(folder / "custom_nodes" / "lora-kiln", root)
    if (root / "demo" / "hostpack").is_dir():
        link(folder / "custom_nodes" / "kiln-world", root / "demo" / "hostpack")
    return folder


def free_port(preferred: int = 0) -> int:
    """A port that is free on 127.0.0.1: ``preferred`` if nothing holds it, else any other."""
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # A port that a stopped server has just left counts as free on POSIX, as it does for the host; on
            # Windows the same option would allow sharing a port that is in use.
            if os.name != "nt":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("No free port on 127.0.0.1. Close a program that listens on many ports, then try again.")


def has_accelerator(python: str = sys.executable) -> bool:
    """Whether ``python``'s torch can use a GPU. Without one ComfyUI stops at start unless told ``--cpu``."""
    probe = (
        "import sys, torch; xpu = getattr(torch, 'xpu', None); "
        "found = torch.cuda.is_available() or torch.backends.mps.is_available(); "
        "sys.exit(not (found or (xpu and xpu.is_available())))"
    )
    return subprocess.run([python, "-c", probe], stderr=subprocess.DEVNULL, check=False).returncode == 0


def host_command(
    host: Path, base: Path, port: int, *, python: str = sys.executable, cpu: bool, extra: Sequence[str] = ()
) -> list[str]:
    """The command line that starts ``host`` on ``port`` of this machine, using nothing but ``base``."""
    # Without this the host keeps its database in its own folder, --base-directory or not.
    database = f"sqlite:///{(base / 'user' / 'comfyui.db').as_posix()}"
    command = [python, str(host / "main.py"), "--base-directory", str(base), "--database-url", database]
    command += ["--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch"]
    return [*command, *(["--cpu"] if cpu else []), *extra]


def host_environment(host: Path, environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> dict[str, str]:
    """The environment for the host and for what looks for it: ``COMFYUI_PATH`` set, UTF-8 throughout."""
    env = {**environ, "COMFYUI_PATH": str(host), "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
    if host != own_host(root):
        # Keeps Python from writing its caches into a ComfyUI that is not ours.
        env.setdefault("PYTHONPYCACHEPREFIX", str(root / ".host" / "pycache"))
    return env
