"""What can go wrong in training, each with what to change."""

from __future__ import annotations


class KilnError(ValueError):
    """The user can mend it: the message says what, where, the value and the mend."""


class NothingToTrain(KilnError):
    """The dataset, or the choice of layers, leaves nothing to learn from or to learn."""


class NotFinite(KilnError):
    """Loss or gradients became NaN or infinite."""
