"""Caption files beside pictures: reading them, and naming those that nothing reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .folder import Found, natural_key
from .metadata import MANIFEST, TOML, Metadata
from .values import Problem

OTHER_CAPTIONS = (".txt", ".caption", ".json", ".jsonl", ".tags", ".cap", ".wd14", ".booru")
NOT_CAPTIONS = ("readme", "license", "prompts")
MAX_CAPTION = 1 << 22
"""Bytes; a caption file above 4 MiB is something else."""


def read_caption(path: Path) -> str:
    """The text of a caption file: UTF-8, or UTF-16 with its mark. Raises OSError, and ValueError for anything else."""
    size = path.stat().st_size
    if size > MAX_CAPTION:
        raise ValueError(f"the file has {size:,} bytes, too many for a caption")
    data = path.read_bytes()
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("the caption is not UTF-8 text") from error


def caption_problems(folder: Path, found: Found, endings: Sequence[str], metadata: Metadata) -> list[Problem]:
    """Captions that nobody would miss until the training went wrong: other endings, captions of no picture."""
    beside = {image: found.beside(image) for image in found.images}
    captions = {image: found.caption(image, endings) if files else None for image, files in beside.items()}
    problems = []
    unread = [ending for ending in OTHER_CAPTIONS if ending not in endings]
    bare = [image for image, caption in captions.items() if caption is None and image not in metadata.entries]
    for ending, count in Counter(
        path.suffix.lower() for image in bare for path in beside[image] if path.suffix.lower() in unread
    ).items():
        what = f"{count} pictures have no {' or '.join(endings)} caption, but a {ending} file beside them"
        mend = f"If these are captions: add {ending} to the caption endings"
        problems.append(Problem(path=folder, what=what, mend=mend))
    shared = Counter(caption for caption in captions.values() if caption)
    for path in (path for path, count in shared.items() if count > 1):
        problems.append(Problem(path=path, what="several pictures share this caption", mend="Rename all but one"))
    # A picture may have further sidecars, of which one ending alone is read.
    sidecars = (path for files in beside.values() for path in files if path.suffix.lower() in OTHER_CAPTIONS)
    used = {*sidecars, *metadata.files, folder / MANIFEST, folder / TOML}
    for path in sorted(set(found.others) - used, key=natural_key):
        ending = path.suffix.lower()
        if ending in endings and ending != ".json" and not path.stem.lower().startswith(NOT_CAPTIONS):
            problems.append(Problem(path=path, what="a caption without a picture", mend="Give both the same name"))
            used.add(path)
    if others := found.passed_over(used):
        what = f"other files are passed over: {others}"
        problems.append(Problem(path=folder, what=what, mend="They are neither pictures nor captions", minor=True))
    return problems
