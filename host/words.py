"""How a text encoder reads words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_END = "</w>"
_WEIGHT = re.compile(r"(\([^()]+:\s*(?:\d+(?:\.\d*)?|\.\d+)\s*\))")


def escape(caption: str, weighted: bool = False) -> str:
    """Parentheses as plain characters: the host reads bare ones as emphasis. Other backslashes stay as they are.

    With `weighted`, `(words:1.2)` is left to the host, and all others are plain characters still.
    """
    if weighted:
        # Every second piece is such a weight.
        pieces = _WEIGHT.split(caption)
        return "".join(piece if i % 2 else escape(piece) for i, piece in enumerate(pieces))
    return caption.replace("(", "\\(").replace(")", "\\)")


def pieces_of(clip: Any) -> Callable[[str], tuple[str, ...]] | None:
    """A function from a text to the pieces that the encoder's CLIP tokenizer reads it in; None without such a one.

    A piece that ends a word ends in a space: `("kie", "rose ")`.
    """
    tokenizer = next((found for found in vars(clip.tokenizer).values() if _is_clip(found)), None)
    if tokenizer is None:
        return None

    def pieces(text: str) -> tuple[str, ...]:
        rows = tokenizer.tokenize_with_weights(text, return_word_ids=True)
        # Word 0 is what the tokenizer adds itself; an embedding stands there as a tensor, not as a number.
        ids = [token for row in rows for token, _, word in row if word and isinstance(token, int)]
        return tuple(str(tokenizer.inv_vocab[each]).replace(_END, " ") for each in ids)

    return pieces


def _is_clip(tokenizer: Any) -> bool:
    vocabulary = getattr(tokenizer, "inv_vocab", None)
    return isinstance(vocabulary, dict) and any(str(piece).endswith(_END) for piece in vocabulary.values())
