"""How many tokens a caption has for CLIP."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import comfy.sd1_clip


def count_tokens(text: str) -> int:
    """Tokens of a text by the vocabulary that SD1.5 and SDXL share, without those of start and end.

    Parentheses count as they are written: captions are trained on word by word, not as emphasis.
    """
    return len(_tokenizer()(text)["input_ids"]) - 2


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    """The host brings the vocabulary along, so that no model needs to be loaded."""
    return comfy.sd1_clip.SDTokenizer().tokenizer
