"""The groups of a recipe. Each setting lives once, with its words under it, and under a name of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..dataset.settings import check_settings, setting
from .prompts import parse_prompt
from .spans import parse_span

NETWORKS = ("LoRA", "LoHa", "LoKr", "DyLoRA", "GLoRA", "OFT", "BOFT")
OPTIMIZERS = (
    "AdamW", "AdamW8bit", "PagedAdamW8bit", "Lion", "Lion8bit", "PagedLion8bit", "Adafactor", "CAME", "Prodigy",
    "DAdaptAdam", "DAdaptLion", "AdamWScheduleFree", "SGD",
)  # fmt: skip
SCHEDULES = (
    "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial", "cosine_with_min_lr",
    "warmup_stable_decay", "inverse_sqrt",
)  # fmt: skip
PRECISIONS = ("model's own", "bf16", "fp16", "fp32")


def _check(group: Any, *spans: str) -> None:
    check_settings(group)
    for name in spans:
        try:
            parse_span(getattr(group, name))
        except ValueError as error:
            raise ValueError(f"{type(group).__name__}.{name}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much is trained."""

    epochs: int = setting(10, "Passes over the dataset, repeats included.", low=1, high=10000, step=1)
    max_train_steps: int = setting(
        0, "Updates after which training ends, whatever the epochs say; 0 goes by epochs.", low=0, high=10**7, step=1
    )
    batch_size: int = setting(1, "Images that are trained on at once.", low=1, high=1024, step=1)
    accumulation: int = setting(
        1,
        "Batches that make one update: more images an update without more memory.",
        low=1, high=1024, step=1, detail=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What is trained: the adapter and the parts of the model it is put on."""

    network_type: str = setting(
        "LoRA", "Kind of adapter. LoRA is our own fast one; the others are LyCORIS's.", choices=NETWORKS
    )
    dim: int = setting(16, "Rank of the LoRA on linear layers.", low=1, high=1024, step=1)
    alpha: float = setting(8.0, "The LoRA is scaled by alpha / dim.", low=0.001, high=1024, step=0.5)
    conv_dim: int = setting(0, "Rank on 3x3 convolutions (LoCon); 0 leaves them alone.", low=0, high=1024, step=1)
    conv_alpha: float = setting(1.0, "Alpha of the convolutions' LoRA.", low=0.001, high=1024, step=0.5)
    dora: bool = setting(False, "Weight decomposition (DoRA): direction and magnitude apart.", detail=True)
    network_dropout: float = setting(
        0.0, "Share of an adapter's inner values that are zeroed.", low=0, high=0.99, step=0.01, detail=True
    )
    rank_dropout: float = setting(0.0, "Share of ranks that are zeroed.", low=0, high=0.99, step=0.01, detail=True)
    module_dropout: float = setting(
        0.0, "Chance that an adapter is left out of a step.", low=0, high=0.99, step=0.01, detail=True
    )
    lokr_factor: int = setting(
        -1, "LoKr's factor: how the weight is split; -1 splits it evenly.", low=-1, high=1024, step=1, detail=True
    )
    use_tucker: bool = setting(False, "Convolutions in Tucker form: a small core between two 1x1 layers.", detail=True)
    constraint: float = setting(
        0.0, "OFT's and BOFT's limit of rotation; 0 is none.", low=0, high=1000, step=0.001, detail=True
    )
    scale_weight_norms: float = setting(
        0.0, "After an update, layers of a larger norm are scaled to it; usually 1, 0 is off.",
        low=0, high=1000, step=0.1, detail=True,
    )  # fmt: skip
    only_layers: tuple[str, ...] = setting(
        (), "Only layers whose saved name contains one of these words, one a line; * stands for anything.",
        split="lines", detail=True,
    )  # fmt: skip
    skip_layers: tuple[str, ...] = setting(
        (), "No layers whose saved name contains one of these words, one a line.", split="lines", detail=True
    )
    start_from: str = setting(
        "", "A LoRA file to go on from: a name in models/loras or a path. Its ranks count.", detail=True
    )
    network_args: tuple[str, ...] = setting(
        (), "More of LyCORIS's own arguments, name=value, one a line: rs_lora=True, use_scalar=True. With any of them "
        "LyCORIS trains plain LoRA too.",
        split="lines", detail=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)
        if self.dora and self.network_type not in ("LoRA", "LoHa", "LoKr"):
            raise ValueError(f"Network.dora is on with {self.network_type}, which has none; use LoRA, LoHa or LoKr")

    @property
    def lycoris(self) -> bool:
        """Whether LyCORIS makes the adapters; our own are those of LoRA and LoCon."""
        return bool(self.network_type != "LoRA" or self.dora or self.use_tucker or self.network_args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Learning-rate weights and ranks by block of a UNet, in kohya's order: 12 down, 1 mid, 12 up (SDXL: 9, 3, 9).

    Lists are numbers with commas; an empty one leaves the block's share as it is. A weight of 0 leaves a block out.
    """

    block_preset: str = setting(
        "", "Named weights: NONE ALL INS IND INALL MIDD OUTD OUTS OUTALL; empty is none.", detail=True
    )
    down_lr_weight: str = setting(
        "", "Weights of the down blocks, or a curve: cosine, sine, linear, reverse_linear, zeros.", detail=True
    )
    mid_lr_weight: str = setting("", "Weight of the middle block.", detail=True)
    up_lr_weight: str = setting("", "Weights of the up blocks, or a curve.", detail=True)
    block_dims: str = setting("", "Rank of each block: 25 numbers (SDXL: 21 or kohya's 23).", detail=True)
    block_alphas: str = setting("", "Alpha of each block.", detail=True)
    conv_block_dims: str = setting("", "Rank of each block's 3x3 convolutions.", detail=True)
    conv_block_alphas: str = setting("", "Alpha of each block's 3x3 convolutions.", detail=True)

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """How the weights move."""

    optimizer_type: str = setting("AdamW", "Optimizer. 8-bit and paged ones need CUDA.", choices=OPTIMIZERS)
    unet_lr: float = setting(
        1e-4, "Learning rate of the diffusion model; 0 leaves it alone.", low=0, high=10, step=1e-6
    )
    text_lr: float = setting(5e-5, "Learning rate of the text encoder; 0 leaves it alone.", low=0, high=10, step=1e-6)
    train_t5xxl: bool = setting(
        False, "text_lr trains T5 too, where the model reads with it, and not CLIP alone; T5 needs much memory.",
        detail=True,
    )  # fmt: skip
    lr_scheduler: str = setting("cosine", "Learning-rate schedule.", choices=SCHEDULES)
    warmup: str = setting("0", "Warmup: 100 (steps), 10 %, or 1 epoch.")
    cycles: int = setting(
        1, "Restarts of cosine_with_restarts; waves of cosine_with_min_lr and warmup_stable_decay.",
        low=1, high=100, step=1,
    )  # fmt: skip
    power: float = setting(1.0, "Power of the polynomial schedule.", low=0.1, high=10, step=0.1, detail=True)
    min_lr_ratio: float = setting(
        0.0, "Where cosine_with_min_lr and warmup_stable_decay end, as a share of the rate.",
        low=0, high=1, step=0.01, detail=True,
    )  # fmt: skip
    lr_decay: str = setting(
        "20 %", "Last part of warmup_stable_decay, where the rate falls: 100, 20 %, 1 epoch.", detail=True
    )
    timescale: int = setting(
        0, "Updates over which inverse_sqrt falls; 0 takes the warmup's.", low=0, high=10**7, step=1, detail=True
    )
    weight_decay: float = setting(
        0.01, "Weight decay: weights shrink by this times the rate (SGD adds it to the gradient).",
        low=0, high=1, step=0.001, detail=True,
    )  # fmt: skip
    beta1: float = setting(0.9, "Decay of the first moment.", low=0, high=0.9999, step=0.001, detail=True)
    beta2: float = setting(0.999, "Decay of the second moment.", low=0, high=0.999999, step=0.001, detail=True)
    max_grad_norm: float = setting(
        1.0, "Gradients are clipped to this norm; 0 does not clip.", low=0, high=1e4, step=0.1, detail=True
    )
    optimizer_args: tuple[str, ...] = setting(
        (), "More of the optimizer's own arguments, name=value, one a line (d_coef=2).", split="lines", detail=True
    )
    loraplus_unet_lr_ratio: float = setting(
        1.0, "LoRA+: the up weights learn this many times faster; 16 is usual, 1 is off.",
        low=0.01, high=1000, step=0.5, detail=True,
    )  # fmt: skip
    loraplus_text_lr_ratio: float = setting(
        1.0, "The same for the text encoder.", low=0.01, high=1000, step=0.5, detail=True
    )
    stop_text_at: str = setting(
        "0", "When the text encoder stops learning: 500 (steps), 40 % or 3 epochs; 0 is never.", detail=True
    )
    ema_decay: float = setting(
        0.0, "Saved weights are a moving average of this decay, usually 0.99 to 0.9999; 0 is off.",
        low=0, high=0.999999, step=0.0001, detail=True,
    )  # fmt: skip
    text_encoder_lrs: str = setting(
        "", "Rates of the text encoders one by one, in place of text_lr: 1e-4, 0 trains SDXL's CLIP-L and not its "
        "CLIP-G. The last one holds for all that follow.",
        detail=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        _check(self, "warmup", "lr_decay", "stop_text_at")
        try:
            good = all(0 <= rate <= 10 for rate in self.text_rates)
        except ValueError:
            good = False
        if not good:
            raise ValueError(
                f"Optimizer.text_encoder_lrs is {self.text_encoder_lrs!r}; write rates from 0 to 10 with commas "
                "between them, such as 1e-4, 0"
            )

    @property
    def text_rates(self) -> tuple[float, ...]:
        """The text encoders' rates in their order; the last one is also that of all further ones."""
        written = self.text_encoder_lrs.strip()
        return tuple(float(one) for one in written.split(",")) if written else (self.text_lr,)

    def rate(self, part: str, encoder: int = 0) -> float:
        """The rate of a part; of `text`, that of one encoder, counted from 0."""
        rates = (self.unet_lr,) if part == "unet" else self.text_rates
        return rates[min(encoder, len(rates) - 1)]

    @property
    def learns_text(self) -> bool:
        """Whether a text encoder is to be trained."""
        return any(self.text_rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buckets:
    """The sizes that images are trained at, in pixels, and how each view of them varies."""

    resolution: int = setting(
        1024, "An image is trained at about resolution x resolution pixels.", low=64, high=8192, step=64
    )
    bucket_step: int = setting(64, "Sides are multiples of this.", low=8, high=512, step=8, detail=True)
    min_bucket: int = setting(256, "Shortest side of a bucket.", low=8, high=8192, step=8)
    max_bucket: int = setting(2048, "Longest side of a bucket.", low=8, high=8192, step=8)
    enable_bucket: bool = setting(True, "Off: every image is cropped to one square.", detail=True)
    bucket_no_upscale: bool = setting(False, "Small images are trained at their own size.", detail=True)
    flip_aug: bool = setting(
        False, "Half of the time an image is seen mirrored; not for asymmetric characters.", detail=True
    )
    random_crop: bool = setting(False, "What is cut off to fit the bucket is drawn anew each time.", detail=True)
    color_aug: bool = setting(False, "Hue, saturation, brightness and contrast vary a little each time.", detail=True)

    def __post_init__(self) -> None:
        check_settings(self)
        if self.min_bucket > self.max_bucket:
            raise ValueError(
                f"Buckets.min_bucket is {self.min_bucket} and max_bucket {self.max_bucket}; the first must be less"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """How captions are read."""

    shuffle_caption: bool = setting(True, "Tags come in a new order every time an image is seen.")
    keep_tokens: int = setting(
        1, "The first tags stay in place under shuffle: trigger, class.", low=0, high=100, step=1
    )
    caption_dropout: float = setting(
        0.0, "Share of images that are seen with no caption at all.", low=0, high=1, step=0.01
    )
    tag_dropout: float = setting(0.0, "Chance that a tag after the kept ones is left out.", low=0, high=1, step=0.01)
    clip_skip: int = setting(
        1,
        "CLIP layer that is read, from the end: 1 leaves it as the graph has it, 2 suits most anime models.",
        low=1,
        high=24,
        step=1,
    )
    keep_tokens_separator: str = setting(
        "", "A tag such as ||| that says where the kept tags end, instead of keep_tokens.", detail=True
    )
    caption_separator: str = setting(",", "What stands between the tags of a caption.", detail=True)
    secondary_separator: str = setting(
        "", "A sign such as ;;; between tags that stay together under shuffle and dropout; trained on as a comma.",
        detail=True,
    )  # fmt: skip
    enable_wildcard: bool = setting(
        False, "Of {red|blue|green} in a caption, one is drawn each time; {{ and }} are braces.", detail=True
    )
    max_token_length: int = setting(
        0, "Tokens of a caption that are read: 75, 150, 225; 0 reads all, as sampling does.",
        low=0, high=10000, step=75, detail=True,
    )  # fmt: skip
    guidance_scale: float = setting(
        0.0, "What a model with guidance distilled into it is told: usually 1 for Flux dev; 0 is ComfyUI's own.",
        low=0, high=100, step=0.1, detail=True,
    )  # fmt: skip
    caption_variants: int = setting(
        0,
        "How many shuffled or thinned forms of a caption are encoded once and kept; 0 encodes a new one every time.",
        low=0, high=1000, step=1, detail=True,
    )  # fmt: skip
    caption_dropout_every_n_epochs: int = setting(
        0, "Every epoch of this number, and of its multiples, is seen without any captions; 0 is off.",
        low=0, high=10000, step=1, detail=True,
    )  # fmt: skip
    token_warmup: str = setting(
        "0", "Until then more and more of a caption's tags are read: 500 (steps), 10 % or 1 epoch; 0 reads all.",
        detail=True,
    )  # fmt: skip
    token_warmup_min: int = setting(
        1, "How many tags after the kept ones token_warmup begins with.", low=0, high=1000, step=1, detail=True
    )
    weighted_captions: bool = setting(
        False, "(words:1.2) in captions weigh as in prompts. Other brackets stay part of their tag.", detail=True
    )

    def __post_init__(self) -> None:
        _check(self, "token_warmup")
        if 0 < self.max_token_length < 75:
            raise ValueError(
                f"Captions.max_token_length is {self.max_token_length}; CLIP reads 75 at a time, give 75, 150, 225 or 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What is written while training goes on."""

    save_every: str = setting("1 epoch", "How often a LoRA is saved: 1 epoch, 500 steps.", detail=True)
    keep_last: int = setting(0, "How many saved LoRAs are kept; 0 keeps all.", low=0, high=10000, step=1, detail=True)
    validation_share: float = setting(
        0.0, "Share of images that are held out and only tested on.", low=0, high=0.5, step=0.01, detail=True
    )
    validate_every: str = setting("1 epoch", "How often the held-out images are tested.", detail=True)
    sample_prompts: tuple[str, ...] = setting(
        (),
        "Prompts painted while training, one a line; empty paints none. Options of its own come last, as in kohya's: "
        "--n negative prompt, --w width, --h height, --d seed, --s steps, --l guidance.",
        split="lines",
        detail=True,
    )
    sample_every: str = setting("1 epoch", "How often they are painted.", detail=True)
    sample_steps: int = setting(20, "Sampling steps of these pictures.", low=1, high=1000, step=1, detail=True)
    sample_cfg: float = setting(6.0, "Their guidance.", low=0, high=100, step=0.1, detail=True)

    def __post_init__(self) -> None:
        _check(self, "save_every", "validate_every", "sample_every")
        for line in self.sample_prompts:
            try:
                parse_prompt(line)
            except ValueError as error:
                raise ValueError(f"Saving.sample_prompts: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How the arithmetic is done."""

    precision: str = setting(
        "model's own", "Precision of the forward pass; the LoRA's weights stay fp32.", choices=PRECISIONS
    )
    gradient_checkpointing: bool = setting(
        False, "Blocks are computed again in the backward pass: far less memory, a third slower."
    )

    def __post_init__(self) -> None:
        check_settings(self)
