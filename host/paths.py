"""The host's folders."""

from __future__ import annotations

from pathlib import Path

import folder_paths

TAGGERS, DETECTORS, BACKGROUNDS = "kiln_taggers", "kiln_detectors", "kiln_backgrounds"
CCIP = "kiln_ccip"
WILDCARDS = "kiln_wildcards"
"""The names to use in extra_model_paths.yaml for further folders of such models."""


def input_folder() -> Path:
    """Where the host keeps what users give it."""
    return Path(folder_paths.get_input_directory())


def cache_folder() -> Path:
    """Where derived pictures are written, each under the hash of its pixels."""
    return Path(folder_paths.get_output_directory()) / "kiln" / "cache"


def shown_folder() -> Path:
    """Where the datasets that the page may look at are noted: in the host's own part of its user folder, which none of
    its addresses reads or writes."""
    return Path(folder_paths.get_user_directory()) / "__kiln" / "datasets"


def backup_folder() -> Path:
    """Where caption files are copied to before they are written to."""
    return Path(folder_paths.get_output_directory()) / "kiln" / "caption_backups"


def font_files() -> list[Path]:
    """Fonts that the user gives us for contact sheets: what lies in `kiln/fonts` of the host's models."""
    folder = Path(folder_paths.models_dir) / "kiln" / "fonts"
    return sorted(file for file in folder.glob("*") if file.suffix.lower() in (".ttf", ".ttc", ".otf"))


def tagger_folders() -> list[Path]:
    """Where taggers may lie: `kiln/taggers` under every models root, what the user registered for us, other packs'."""
    return list(dict.fromkeys((*_kiln_folders(TAGGERS, "taggers"), *_folders_of_other_packs(_model_roots()))))


def detector_folders() -> list[Path]:
    """Where detectors of figures may lie: `kiln/detectors` under every models root, then what the user registered."""
    return _kiln_folders(DETECTORS, "detectors")


def background_folders() -> list[Path]:
    """Where models that cut out backgrounds may lie: `kiln/backgrounds` under every models root, what is registered."""
    return _kiln_folders(BACKGROUNDS, "backgrounds")


def wildcard_folders() -> list[Path]:
    """Where files of wildcards may lie: `kiln/wildcards` under every models root and what is registered, `wildcards`
    beside the host's own folders, and those of other packs."""
    base, known = Path(folder_paths.base_path), folder_paths.folder_names_and_paths
    found = [*_kiln_folders(WILDCARDS, "wildcards"), input_folder() / "wildcards", base / "wildcards"]
    found += [Path(folder) for folder in known.get("wildcards", ((), ()))[0]]
    found += [root / "wildcards" for root in _model_roots()]
    packs = [Path(folder) for folder in known.get("custom_nodes", ((), ()))[0]]
    found += [folder for root in packs for folder in sorted(root.glob("*/*wildcards")) if folder.is_dir()]
    return list(dict.fromkeys(found))


def ccip_folders() -> list[Path]:
    """Where models that compare characters may lie: `kiln/ccip` under every models root, then what is registered."""
    return _kiln_folders(CCIP, "ccip")


def _model_roots() -> list[Path]:
    """The host does not list its models roots; they are its own and the parents of the folders for checkpoints."""
    own = Path(folder_paths.models_dir)
    parents = (Path(folder).parent for folder in folder_paths.get_folder_paths("checkpoints"))
    return list(dict.fromkeys((own, *parents)))


def _kiln_folders(key: str, name: str) -> list[Path]:
    """`kiln/<name>` under every models root and what is registered as `key`; models are downloaded to the first."""
    roots = _model_roots()
    for root in roots:
        folder_paths.add_model_folder_path(key, str(root / "kiln" / name))
    found = [Path(folder) for folder in folder_paths.get_folder_paths(key)]
    # The host's own comes first, whatever else was registered before.
    return list(dict.fromkeys((roots[0] / "kiln" / name, *found)))


def _folders_of_other_packs(roots: list[Path]) -> list[Path]:
    """Where other packs keep taggers: a folder registered for the WD tagger node, that node's own, or one of the names
    that tagger nodes give theirs below a models root."""
    known = folder_paths.folder_names_and_paths
    found = [Path(folder) for folder in known.get("wd14_tagger", ((), ()))[0]]
    packs = [Path(folder) for folder in known.get("custom_nodes", ((), ()))[0]]
    found += [pack / "models" for root in packs for pack in sorted(root.glob("*[wW][dD]14*[tT]agger*"))]
    found += [root / name for root in roots for name in ("wd14_tagger", "taggers", "tagger")]
    return [folder for folder in found if folder.is_dir()]
