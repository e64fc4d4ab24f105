"""Where the host keeps datasets, and which paths a workflow may name."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import folder_paths
from comfy.cli_args import args

from .paths import input_folder

DATASETS = "kiln_datasets"
"""The name to use in extra_model_paths.yaml for further folders of datasets."""

_DEPTH = 3
"""Folders below a root that are listed; deeper ones are given as a path."""


def saved_folder() -> Path:
    """Where *Save Dataset* writes."""
    return Path(folder_paths.get_output_directory()) / "kiln" / "datasets"


def dataset_choices() -> list[str]:
    """Folders and dataset files that the host has: by their names below the first root that has one of the name."""
    found: dict[str, Path] = {}
    for root in _dataset_roots():
        for path in _listed(root, _DEPTH):
            name = path.relative_to(root).as_posix()
            found.setdefault(name if name not in found else str(path), path)
    return list(found)


def dataset_path(choice: str, path: str = "") -> Path:
    """What a user names: by its path or, without one, by a choice of `dataset_choices`.

    A path that is not absolute is looked for in the host's input folder; `~` begins a path at a home folder. Raises
    ValueError when nothing is named, for what can be no path, and when the server may not read there.
    """
    typed, chosen = _text("path", path), _text("folder", choice)
    text = typed or chosen
    if not text:
        raise ValueError(
            f"folder is empty; give the folder of the pictures: a name below {input_folder()}{os.sep}, or a path"
        )
    if "\0" in text:
        raise ValueError(f"{text!r} is no path; take the character 0 out")
    named = Path(text)
    try:
        if typed.startswith("~"):
            named = check_path(named).expanduser()
        places = [root / named for root in _dataset_roots()] if not named.is_absolute() else [named]
        # Nothing is looked for where the server may not read.
        readable = [place for place in places if _may_lie_open(place)]
        return check_path(next((place for place in readable if place.exists()), (readable or places)[0]))
    except (OSError, RuntimeError, UnicodeError) as error:
        mend = f"give a name below {input_folder()}{os.sep}, or a path"
        raise ValueError(f"{'path' if typed else 'folder'} is {text!r}, no path: {error}; {mend}") from error


def _text(name: str, value: object) -> str:
    """What a user wrote, without spaces and quotes around it. ValueError for what is no text."""
    if not isinstance(value, str | None):
        raise ValueError(f"{name} is {value!r}; give it as text")
    return (value or "").strip().strip("\"'")


def check_path(path: Path) -> Path:
    """The path, if a workflow may have it read: any on a server for this machine alone, else only the host's own.

    A path outside of these is refused by its name alone, so the refusal does not tell what lies there; what links lead
    to is looked at afterwards. Raises ValueError, which names the settings that decide.
    """
    if _may_lie_open(path) and (only_loopback(args.listen) or _is_below(path.resolve(), _open_roots())):
        return path
    raise ValueError(
        f"{path} is not read: the server listens to other machines (--listen {args.listen}), so only its own folders "
        f"are open to workflows. Put the pictures below {input_folder()}, or let the server's owner add the folder as "
        f"{DATASETS} in extra_model_paths.yaml, or start without --listen"
    )


def only_loopback(listen: str | None) -> bool:
    """Whether a server with this `--listen` is reached from its own machine alone."""
    addresses = [each.strip().strip("[]") for each in (listen or "").split(",")]
    return all(_is_loopback(address) for address in addresses)


def is_own_name(host: str) -> bool:
    """Whether a page at this `name:port` is the server's own beyond doubt.

    A server that is reached from its own machine alone has a name of that machine; another one may be somebody's trick
    to make a browser take their page for the server's (DNS rebinding).
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return not only_loopback(args.listen) or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    if address.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # a host name, or nothing, which means every address
        return False


def _registered() -> list[Path]:
    known = folder_paths.folder_names_and_paths
    return [Path(folder) for folder in known.get(DATASETS, ((), ()))[0]]


def _dataset_roots() -> list[Path]:
    """Folders whose folders are offered."""
    return list(dict.fromkeys([input_folder(), saved_folder(), *_registered()]))


def _open_roots() -> list[Path]:
    """Folders that every workflow may read: the host's own, which its pages show anyway, and what its owner added."""
    own = [folder_paths.get_output_directory(), folder_paths.get_temp_directory()]
    roots = [_plain(Path(root)) for root in (*_dataset_roots(), *own)]
    return list(dict.fromkeys([*roots, *(root.resolve() for root in roots)]))


def _may_lie_open(path: Path) -> bool:
    """Whether a path is below an open folder by its name, or every path is open. The disk is not asked."""
    if only_loopback(args.listen):
        return True
    # Whose home it is, and whether there is one, is nobody's business.
    return not str(path).startswith("~") and _is_below(_plain(path), _open_roots())


def _plain(path: Path) -> Path:
    """The path from the root, by its letters alone."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() asks the disk


def _is_below(path: Path, roots: Iterable[Path]) -> bool:
    return any(path == root or root in path.parents for root in roots)


def _listed(folder: Path, depth: int) -> Iterator[Path]:
    """Folders and TOML files below a folder, each folder before what is in it; hidden and linked ones are left out."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name.casefold())
    except OSError:
        return
    for entry in found:
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        path = folder / entry.name
        if entry.is_dir():
            yield path
            if depth > 1:
                yield from _listed(path, depth - 1)
        elif path.suffix.lower() == ".toml":
            yield path
