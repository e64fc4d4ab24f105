"""Recipes that people really use, each with the article that its numbers come from.

What an article leaves open has the recipe's own default. Repeats belong to the dataset, so notes tell them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .errors import KilnError
from .recipe import Recipe

ANIMAGINE = "SDXL OC Training with Animagine"
GUIDE = "Characters, Clothing, Poses, Among Other Things: A Guide"
LYCORIS = "alea31415/LyCORIS-experiments"
SINGLE_IMAGE = "Single Image LoRa Part 2"
FLEXIBLE = "How to create character LoRA with flexibility"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A recipe by name. `note` says what a recipe cannot hold: repeats, the base model, what to look out for."""

    name: str
    article: str
    note: str
    make: Callable[[], Recipe]


def animagine_oc() -> Recipe:
    """SDXL at 1024, rank 4: an original character from few pictures."""
    return Recipe().with_settings(
        epochs=10, batch_size=1, dim=4, alpha=2.0, optimizer_type="AdamW8bit", unet_lr=1e-4, text_lr=5e-5,
        lr_scheduler="cosine", warmup="10 %", resolution=1024, min_bucket=256, max_bucket=2048, bucket_step=64,
        bucket_no_upscale=True, shuffle_caption=False, keep_tokens=2, clip_skip=2, max_token_length=75,
        precision="fp16", gradient_checkpointing=True,
    )  # fmt: skip


def character() -> Recipe:
    """SD 1.5 at 768: one character, one or several outfits."""
    return Recipe().with_settings(
        epochs=10, batch_size=2, dim=16, alpha=8.0, optimizer_type="AdamW8bit", unet_lr=5e-4, text_lr=1e-4,
        weight_decay=0.1, beta1=0.9, beta2=0.99, lr_scheduler="cosine_with_restarts", cycles=3, min_snr_gamma=5.0,
        resolution=768, shuffle_caption=True, keep_tokens=1, clip_skip=2, max_token_length=225, precision="fp16",
    )  # fmt: skip


def prodigy() -> Recipe:
    """`character` with an optimizer that finds its own rate."""
    return character().with_settings(
        epochs=20, dim=32, alpha=32.0, optimizer_type="Prodigy", unet_lr=1.0, text_lr=1.0, weight_decay=0.01,
        beta1=0.9, beta2=0.999, lr_scheduler="constant_with_warmup", cycles=1, warmup="5 %",
        # The names of the library that trains; kohya writes decouple and use_bias_correction.
        optimizer_args=("weight_decouple=True", "d_coef=2", "bias_correction=True", "safeguard_warmup=True"),
    )  # fmt: skip


def locon_style() -> Recipe:
    """`character` with convolutions: art styles."""
    return character().with_settings(dim=16, alpha=8.0, conv_dim=8, conv_alpha=4.0)


def loha_concepts() -> Recipe:
    """`character` as a LoHa: several concepts, less bleeding, a small file."""
    return character().with_settings(network_type="LoHa", dim=8, alpha=4.0, conv_dim=4, conv_alpha=1.0)


def loha_lycoris() -> Recipe:
    """The LoHa of the LyCORIS comparisons: SD 1.5 at 512, one constant rate."""
    return Recipe().with_settings(
        network_type="LoHa", dim=8, alpha=1.0, conv_dim=4, conv_alpha=1.0, optimizer_type="AdamW8bit",
        unet_lr=2e-4, text_lr=2e-4, lr_scheduler="constant", resolution=512, clip_skip=1,
    )  # fmt: skip


def single_image() -> Recipe:
    """SD 1.5 at 512: a character from crops of one picture, without the blocks that overfit first (OUTD)."""
    return Recipe().with_settings(
        epochs=10, batch_size=1, dim=16, alpha=16.0, optimizer_type="AdamW8bit", unet_lr=1e-3, text_lr=5e-4,
        lr_scheduler="constant_with_warmup", warmup="5 %", noise_offset=0.1, color_aug=True,
        down_lr_weight="1,0,0,0,0,0,0,1,1,1,1,1", mid_lr_weight="0", up_lr_weight="0,1,1,1,1,1,0,0,0,0,1,1",
        resolution=512, shuffle_caption=True, keep_tokens=2, clip_skip=2, precision="fp16",
    )  # fmt: skip


def flexible_loha() -> Recipe:
    """SD 1.5 at 768 as a LoHa: characters that stay flexible, pictures weighted by quality."""
    return Recipe().with_settings(
        epochs=10, batch_size=4, network_type="LoHa", dim=4, alpha=4.0, conv_dim=4, conv_alpha=4.0,
        optimizer_type="Lion8bit", unet_lr=1.5e-4, text_lr=7.5e-5, weight_decay=0.1, beta1=0.9, beta2=0.99,
        lr_scheduler="cosine_with_restarts", cycles=3, warmup="1 epoch", noise_offset=0.03, resolution=768,
        random_crop=True, bucket_no_upscale=True, shuffle_caption=True, keep_tokens=0, max_token_length=225,
        precision="fp16", gradient_checkpointing=True, seed=42,
    )  # fmt: skip


_ROWS: tuple[tuple[str, str, str, Callable[[], Recipe]], ...] = (
    (
        "animagine-oc", ANIMAGINE,
        "For Animagine XL. 9 repeats for front views, 5 for side and back, 3 for other outfits; or 3 for all.",
        animagine_oc,
    ),
    (
        "character", GUIDE,
        "20 images x 10 repeats, 100 x 3, 400 x 1, 1000 x 1. Train at 512 for speed.",
        character,
    ),
    (
        "prodigy", GUIDE,
        "For 20 to 30 images; repeats so that images x repeats is about 100. Rates are factors of its own: 0.5 or 1.",
        prodigy,
    ),
    ("locon-style", GUIDE, "For styles; give no trigger word. Slower than a LoRA.", locon_style),
    ("loha-concepts", GUIDE, "For several concepts at once. Slower than a LoRA.", loha_concepts),
    (
        "loha-lycoris", LYCORIS,
        "For SD 1.5 models. Repeats so that every concept is seen about equally often; regularisation pictures help.",
        loha_lycoris,
    ),
    (
        "single-image", SINGLE_IMAGE,
        "For SD 1.5: its block weights are for 12 down and 12 up blocks. 5 to 10 repeats of the crops, about 60 "
        "regularisation pictures. cosine in place of the constant rate is the article's other choice.",
        single_image,
    ),
    (
        "flexible-loha", FLEXIBLE,
        "For SD 1.5. Repeats by quality: 4 for low, 8 for medium, 16 for high. No regularisation pictures.",
        flexible_loha,
    ),
)  # fmt: skip

PRESETS: Mapping[str, Preset] = {
    name: Preset(name=name, article=article, note=note, make=make) for name, article, note, make in _ROWS
}


def get_preset(name: str) -> Preset:
    """The preset of that name, in any case. Raises `KilnError` naming the known ones."""
    found = PRESETS.get(name.strip().lower())
    if found is None:
        raise KilnError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return found
