"""Several captions through a text encoder at once, while everything else stays the host's own way of encoding one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import comfy.clip_model
import comfy.sd1_clip
from torch import Tensor

Tokens = dict[str, Any]
"""What the host's tokenizer gives: by encoder, the sections of a caption, each a list of (token, weight, ...)."""


@contextlib.contextmanager
def read_together(clip: Any, captions: Sequence[Tokens]) -> Iterator[None]:
    """Inside, the first of `captions` to be encoded has CLIP read the sections of all, and the others find theirs.

    Weights, layers and how sections are joined remain the host's business. Encoders of other kinds, whose sections
    differ in length, read one caption after the other as ever.
    """
    with contextlib.ExitStack() as stack:
        for name in captions[0] if len(captions) > 1 else ():
            encoder = getattr(clip.cond_stage_model, f"clip_{name}", None)
            sections = [[pair[0] for pair in section] for tokens in captions for section in tokens[name]]
            if _reads_clip(encoder) and _alike(sections):
                stack.enter_context(_remembered(encoder, sections))
        yield


def _reads_clip(encoder: Any) -> bool:
    """Whether it is CLIP, and answers with nothing but its output and the pooled one."""
    return (
        isinstance(encoder, comfy.sd1_clip.SDClipModel)
        and isinstance(encoder.transformer, comfy.clip_model.CLIPTextModel)
        and not encoder.return_attention_masks
    )


def _alike(sections: Sequence[Sequence[Any]]) -> bool:
    """Whether they are plain words of one length; a textual inversion's vectors are not."""
    lengths = {len(section) for section in sections}
    return len(lengths) == 1 and all(isinstance(token, int) for section in sections for token in section)


@contextlib.contextmanager
def _remembered(encoder: Any, sections: Sequence[Sequence[int]]) -> Iterator[None]:
    """The encoder's `encode` answers for any of `sections` from one call for all of them."""
    encode = encoder.encode
    rows = {key: row for row, key in enumerate(dict.fromkeys(map(tuple, sections)))}
    read: list[Sequence[Tensor | None]] = []

    def remembering(wanted: Sequence[Sequence[int]]) -> Any:
        keys = [tuple(section) for section in wanted]
        if any(key not in rows for key in keys):
            # The empty section that the host puts beside words with weights.
            return encode(wanted)
        if not read:
            read.append(encode([list(key) for key in rows]))
        return tuple(part if part is None else part[[rows[key] for key in keys]] for part in read[0])

    before = encoder.__dict__.get("encode")
    encoder.encode = remembering
    try:
        yield
    finally:
        encoder.__dict__.pop("encode", None)
        if before is not None:
            encoder.encode = before
