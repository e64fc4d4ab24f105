"""Captions as token ids: tags shuffled and dropped afresh every time a picture is seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

START, END, COMMA, LENGTH = 49406, 49407, 267, 77


class Captioner:
    """Turns tags into the ids that the host's CLIP tokenizer gives for `", ".join(tags)`.

    BPE never joins words over a comma, so a tag's ids do not depend on its neighbours and are kept.
    """

    def __init__(self) -> None:
        from comfy.sd1_clip import SD1Tokenizer

        self._tokenizer = SD1Tokenizer()
        self._known: dict[str, list[int]] = {}

    def ids(self, tag: str) -> list[int]:
        """The ids of one tag, without start, end and padding."""
        if tag not in self._known:
            pairs = self._tokenizer.tokenize_with_weights(tag)["l"][0]
            self._known[tag] = [int(pair[0]) for pair in pairs[1:] if pair[0] != END]
        return self._known[tag]

    def tokens(self, captions: Iterable[Sequence[str]]) -> Tensor:
        """Captions (each a sequence of tags) to ids [B, 77]."""
        rows = []
        for tags in captions:
            row = [START]
            for i, tag in enumerate(tags):
                row += [COMMA, *self.ids(tag)] if i else self.ids(tag)
            row = row[: LENGTH - 1]
            rows.append(row + [END] * (LENGTH - len(row)))
        return torch.tensor(rows, dtype=torch.long)


def thinned(tags: Sequence[str], rng: np.random.Generator, *, drop: float, blank: float) -> list[str]:
    """The tags in a new order, each lost with chance `drop`, all of them with chance `blank`."""
    if rng.random() < blank:
        return []
    return [tags[i] for i in rng.permutation(len(tags)) if rng.random() >= drop]
