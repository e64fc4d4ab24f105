"""A LoRA at another strength, as a file whose strength 1 is that strength.

Every kind of adapter here adds a product of factors to a weight; the host multiplies that product by the strength
(`comfy/weight_adapter`). So one factor of each product times the strength gives the same pictures. DoRA, OFT and BOFT
turn the weight instead of adding to it, and no factor does that.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .errors import KilnError

# One factor of each product, by the end of its name.
_FACTORS = (
    ".lora_up.weight", ".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".a1.weight", ".b1.weight", ".diff", ".diff_b",
    ".w_norm", ".b_norm",
)  # fmt: skip
_TURNED = (".dora_scale", ".oft_blocks", ".oft_diag")


def scaled(tensors: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    """The tensors at that strength; at 1 as they are. Raises `KilnError` for kinds whose strength is no factor."""
    if strength == 1:
        return dict(tensors)
    if turned := sorted(key for key in tensors if key.endswith(_TURNED)):
        raise KilnError(
            f"strength is {strength:g}, and this LoRA holds {turned[0]}: DoRA, OFT and BOFT turn weights and cannot be "
            "saved at another strength. Save it at 1 and give the loader that strength."
        )
    found = {key: tensor * strength if key.endswith(_FACTORS) else tensor for key, tensor in tensors.items()}
    names = {key.partition(".")[0] for key in tensors}
    reached = {key.partition(".")[0] for key in tensors if key.endswith(_FACTORS)}
    if left := sorted(names - reached):
        raise KilnError(
            f"strength is {strength:g}, and the layer {left[0]} is of a kind that is not known here. Save it at 1 and "
            "give the loader that strength."
        )
    return found
