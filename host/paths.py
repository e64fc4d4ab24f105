"""The host's folders."""

from __future__ import annotations

from pathlib import Path

import folder_paths

TAGGERS = "kiln_taggers"
"""The name to use in extra_model_paths.yaml for further tagger folders."""


def input_folder() -> Path:
    """Where the host keeps what users give it."""
    return Path(folder_paths.get_input_directory())


def dataset_folder(text: str) -> Path:
    """The folder that a user names: absolute, or below the host's input folder. ValueError when nothing is named."""
    text = text.strip().strip("\"'")
    if not text:
        raise ValueError(f"folder is empty; give the folder of the pictures, absolute or below {input_folder()}")
    return input_folder() / Path(text).expanduser()


def cache_folder() -> Path:
    """Where derived pictures are written, each under the hash of its pixels."""
    return Path(folder_paths.get_output_directory()) / "kiln" / "cache"


def tagger_folders() -> list[Path]:
    """Where taggers may lie: `kiln/taggers` under every models root, then what the user registered for us.

    The host does not list its models roots; they are its own and the parents of the folders for checkpoints.
    """
    own = Path(folder_paths.models_dir)
    roots = [own, *(Path(folder).parent for folder in folder_paths.get_folder_paths("checkpoints"))]
    for root in dict.fromkeys(roots):
        folder_paths.add_model_folder_path(TAGGERS, str(root / "kiln" / "taggers"))
    found = [Path(folder) for folder in folder_paths.get_folder_paths(TAGGERS)]
    # The first one is where taggers are downloaded to, whatever else was registered before.
    first = own / "kiln" / "taggers"
    return [first, *(folder for folder in found if folder != first)]
