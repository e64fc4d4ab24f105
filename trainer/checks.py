"""What of a recipe cannot be right: settings that contradict each other, the model, the data or the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch

from ..dataset.images import may_have_alpha
from ..dataset.report import counted, own_counts
from ..dataset.values import Dataset
from . import objective
from .blocks import RANK_LISTS, block_ranks, block_weights
from .captions import settled, varies
from .errors import KilnError
from .groups import Captions, Optimizer
from .lycoris_adapters import more_arguments
from .network import Placed, ranks
from .noise import sigma_at
from .optim import ADAPTIVE, BETAS, NEEDS_CUDA, class_and_arguments, several_rates
from .own import recipe_for
from .plan import Plan
from .ports import Model
from .recipe import Recipe
from .spans import parse_span

# Above it, the most noise leaves something of the picture; SD 1.5's own ends at 0.005, a zero SNR in ComfyUI at 5e-8.
TERMINAL_SNR = 1e-4
WAVES = ("cosine_with_restarts", "cosine_with_min_lr", "warmup_stable_decay")
# What a setting that is not at its default acts with: another setting, and its values; none is any but 0.
ONLY_WITH: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "min_lr_ratio": ("lr_scheduler", ("cosine_with_min_lr", "warmup_stable_decay")),
    "lr_decay": ("lr_scheduler", ("warmup_stable_decay",)),
    "timescale": ("lr_scheduler", ("inverse_sqrt",)),
    "cycles": ("lr_scheduler", WAVES),
    "power": ("lr_scheduler", ("polynomial",)),
    "logit_mean": ("timestep_sampling", ("logit_normal",)),
    "logit_std": ("timestep_sampling", ("logit_normal",)),
    "mode_scale": ("timestep_sampling", ("mode",)),
    "huber_c": ("loss_type", objective.HUBER),
    "huber_schedule": ("loss_type", objective.HUBER),
    "lokr_factor": ("network_type", ("LoKr",)),
    "constraint": ("network_type", ("OFT", "BOFT")),
    "use_tucker": ("conv_dim", ()),
    "conv_alpha": ("conv_dim", ()),
    "loraplus_text_lr_ratio": ("text_lr", ()),
    "token_warmup_min": ("token_warmup", ()),
    "loraplus_unet_lr_ratio": ("unet_lr", ()),
    "min_bucket": ("enable_bucket", ()),
    "max_bucket": ("enable_bucket", ()),
    "bucket_no_upscale": ("enable_bucket", ()),
    "multires_noise_discount": ("multires_noise_iterations", ()),
    "noise_offset_random_strength": ("noise_offset", ()),
    "ip_noise_gamma_random_strength": ("ip_noise_gamma", ()),
    "sample_every": ("sample_prompts", ()),
    "validate_every": ("validation_share", ()),
}
# Made for noise and v prediction; sd-scripts leaves them out with flow models.
NOT_FOR_FLOW = ("noise_offset", "multires_noise_iterations")
OTHERWISE_ON_FLOW = {
    "min_snr_gamma": "it weighs middle noise levels, and the ends hardly count",
    "debiased_estimation": "it favours the highest noise strongly",
}


def check(recipe: Recipe, model: Model, plan: Plan) -> list[str]:
    """Settings that contradict each other or this model: those that mean nothing are noted.

    Raises `KilnError` for those that would train something else than was asked for. Nothing has to be loaded yet.
    """
    _refuse(recipe, model, plan)
    kind = objective.prediction(model.schedule)
    return [
        *_alone(recipe, plan),
        *_lengths(recipe, plan),
        *_network(recipe),
        *_noise(recipe, kind),
        *_range(recipe, model, kind),
        *_optimizer(recipe),
        *_data(recipe, plan),
    ]


def stop_of_text(recipe: Recipe, plan: Plan) -> int:
    """The update after which the text encoder stands still; 0 is never, so a short length is at least one."""
    span = parse_span(recipe.optimizer.stop_text_at)
    return span.steps(steps=plan.steps, steps_an_epoch=plan.steps_an_epoch, least=1)


def _refuse(recipe: Recipe, model: Model, plan: Plan) -> None:
    traits, kind = model.traits(), objective.prediction(model.schedule)
    optimizer, noise, clip_skip = recipe.optimizer, recipe.noise, recipe.captions.clip_skip
    if noise.expected_prediction not in ("any", kind):
        raise KilnError(
            f"expected_prediction is {noise.expected_prediction!r}, and this model predicts {kind}; load the right "
            "checkpoint, or put core's ModelSamplingDiscrete in front with the right sampling, zsnr included."
        )
    last = objective.snr(model.schedule, model.schedule.sigmas()[-1:])
    if noise.zero_terminal_snr and float(last) > TERMINAL_SNR:
        raise KilnError(
            f"zero_terminal_snr is on, and at its most noise this model still has a signal (SNR {float(last):.2g}); "
            "put core's ModelSamplingDiscrete with zsnr in front of Train LoRA and of what samples, or switch it off."
        )
    if optimizer.optimizer_type in NEEDS_CUDA and traits.device != "cuda":
        raise KilnError(
            f"{optimizer.optimizer_type} needs an NVIDIA GPU, and the model is on {traits.device}; "
            f"choose {optimizer.optimizer_type.removeprefix('Paged').removesuffix('8bit')}."
        )
    rates = {rate for rate in (optimizer.unet_lr, *optimizer.text_rates) if rate}
    if optimizer.optimizer_type in ADAPTIVE and len(rates) > 1 and traits.clip_layers:
        raise several_rates(optimizer.optimizer_type, rates)
    if clip_skip > 1 and not traits.clip_layers:
        raise KilnError(
            f"clip_skip is {clip_skip}, and this model's text encoder is not CLIP, or not CLIP alone; set it to 1."
        )
    if clip_skip > max(1, traits.clip_layers):
        raise KilnError(
            f"clip_skip is {clip_skip}, and CLIP has {traits.clip_layers} layers here; it is 1 or 2 in most recipes."
        )
    if recipe.compute.precision == "fp16" and traits.device == "cpu":
        raise KilnError("precision is fp16, which a CPU computes slowly and overflows in; choose bf16 or fp32.")
    block_weights(recipe.blocks, model.blocks())
    for name in RANK_LISTS:
        block_ranks(name, getattr(recipe.blocks, name), model.blocks())
    class_and_arguments(optimizer)
    if recipe.network.network_args:
        more_arguments(recipe.network)
    stop = stop_of_text(recipe, plan)
    if 0 < stop < plan.steps and optimizer.learns_text and not optimizer.unet_lr:
        raise KilnError(
            f"stop_text_at is {optimizer.stop_text_at}, and with unet_lr 0 nothing would learn from there on; "
            "set it to 0, or train less."
        )


def _alone(recipe: Recipe, plan: Plan) -> list[str]:
    """Settings without the one that they act with."""
    changed = Recipe().differences(recipe)
    notes = []
    for name, (other, values) in ONLY_WITH.items():
        with_it = recipe.optimizer.learns_text if other == "text_lr" else recipe.setting(other)
        with_it = parse_span(with_it).amount if other == "token_warmup" else with_it
        if name in changed and (with_it not in values if values else not with_it):
            words = f"{other} {' or '.join(values)}" if values else other
            notes.append(f"{name} {changed[name][1]} means nothing here; it goes with {words}.")
    captions, buckets = recipe.captions, recipe.buckets
    moved = any(
        one.shuffle_caption or one.tag_dropout or parse_span(one.token_warmup).amount for one in _captions(recipe, plan)
    )
    if "keep_tokens" in changed and captions.keep_tokens and not moved:
        notes.append(
            f"keep_tokens {captions.keep_tokens} means nothing here; it goes with shuffle_caption, tag_dropout or "
            "token_warmup."
        )
    if buckets.enable_bucket and buckets.bucket_no_upscale and buckets.max_bucket < buckets.resolution:
        notes.append(
            f"max_bucket {buckets.max_bucket} means nothing with bucket_no_upscale: images keep their own size up to "
            "resolution's area."
        )
    return notes


def _captions(recipe: Recipe, plan: Plan) -> set[Captions]:
    """How captions are read: the recipe's way, and those of pictures with settings of their own."""
    return {recipe_for(recipe, record).captions for record in plan.records}


def _lengths(recipe: Recipe, plan: Plan) -> list[str]:
    """Lengths that come to nothing in a run of so many updates, or to all of it."""
    settings, notes = recipe.optimizer, list[str]()

    def updates(text: str) -> int:
        return parse_span(text).steps(steps=plan.steps, steps_an_epoch=plan.steps_an_epoch)

    if parse_span(settings.warmup).amount:
        if settings.lr_scheduler == "constant":
            notes.append(f"warmup {settings.warmup} means nothing with constant; choose constant_with_warmup.")
        elif not updates(settings.warmup):
            notes.append(f"warmup {settings.warmup} of {plan.steps} updates is less than one: there is none.")
        elif updates(settings.warmup) >= plan.steps:
            notes.append(f"warmup {settings.warmup} is the whole run: the rates only rise.")
    warmup = recipe.captions.token_warmup
    if parse_span(warmup).amount and not updates(warmup):
        notes.append(f"token_warmup {warmup} of {plan.steps} updates is less than one: all tags are read.")
    if settings.lr_scheduler == "warmup_stable_decay" and not updates(settings.lr_decay):
        notes.append(f"lr_decay {settings.lr_decay} of {plan.steps} updates is none: the rates never fall.")
    if parse_span(settings.stop_text_at).amount:
        if not settings.learns_text:
            notes.append(f"stop_text_at {settings.stop_text_at} means nothing: text_lr is 0.")
        elif not updates(settings.stop_text_at):
            notes.append(
                f"stop_text_at {settings.stop_text_at} of {plan.steps} updates is less than one: "
                "the text encoder stops after the first."
            )
    return notes


def check_placed(recipe: Recipe, model: Model, plan: Plan, placed: Sequence[Placed], start: Iterable[str]) -> list[str]:
    """What one would expect to be trained and is not, and what the adapters make of other settings.

    `start` are the keys of the LoRA that the run goes on from.
    """
    learns = any(one.part == "text" for one in placed)
    notes = _reading(recipe, model, plan, learns=learns)
    rates = recipe.optimizer.text_rates
    if any(rates) and not learns:
        notes.append(
            f"text_lr {max(rates):g} trains nothing here: no layer of CLIP is left to train. T5 is "
            "trained with train_t5xxl, other language models are not."
        )
    # The last rate is that of all further encoders.
    encoders = {min(one.adapter.layer.encoder, len(rates) - 1) for one in placed if one.part == "text"}
    idle = [f"{i + 1}" for i, rate in enumerate(rates) if rate and i not in encoders]
    if learns and idle and recipe.optimizer.text_encoder_lrs.strip():
        notes.append(
            f"text_encoder_lrs {recipe.optimizer.text_encoder_lrs}: number {' and '.join(idle)} trains nothing here; "
            "CLIP's encoders come first, and T5 learns with train_t5xxl alone."
        )
    if recipe.network.conv_dim and not any(one.adapter.layer.conv for one in placed):
        notes.append(f"conv_dim {recipe.network.conv_dim} trains nothing here: no convolution is left to train.")
    ours = {"ss_network_dim": f"{recipe.network.dim:g}", "ss_network_alpha": f"{recipe.network.alpha:g}"}
    theirs = ranks(placed) if start else {}
    notes += [
        f"{name} is {theirs[key]}, as the file to start from has it, not {ours[key]}."
        for name, key in (("dim", "ss_network_dim"), ("alpha", "ss_network_alpha"))
        if key in theirs and theirs[key] != ours[key]
    ]
    lost = {key.partition(".")[0] for key in start} - {one.adapter.layer.key for one in placed}
    if lost:
        why = " Give text_lr a value to keep those of the text encoder." if not any(rates) else ""
        notes.append(
            f"{counted(len(lost), 'layer')} of the file to start from: not trained here, so not in what is saved: "
            f"{', '.join(sorted(lost)[:3])}{', ...' if len(lost) > 3 else ''}.{why if _of_text(lost) else ''}"
        )
    return notes


def _reading(recipe: Recipe, model: Model, plan: Plan, *, learns: bool) -> list[str]:
    captions = recipe.captions
    if learns and captions.caption_variants:
        return ["caption_variants keeps captions few; the text encoder learns, so each is still encoded anew."]
    # On a CPU nothing has to come and go for it; a growing caption has no few forms.
    growing = any(parse_span(one.token_warmup).amount for one in _captions(recipe, plan))
    if learns or growing or captions.caption_variants or model.traits().device == "cpu":
        return []
    moving = sum(not settled(record, recipe_for(recipe, record).captions) for record in plan.records)
    if not moving:
        return []
    return [
        f"{counted(moving, 'caption')} of {len(plan.records)} differ each time, and the text encoder only reads: it is "
        "asked in nearly every step. caption_variants 10, say, has their forms read before the first."
    ]


def _of_text(keys: Iterable[str]) -> bool:
    return any(key.startswith("lora_te") for key in keys)


def _network(recipe: Recipe) -> list[str]:
    """LyCORIS's modules, as they are trained here, have not all of kohya's ways to hold back."""
    network = recipe.network
    if not network.lycoris:
        return []
    nothing = ["network_dropout"] if network.network_dropout else []
    if network.rank_dropout and network.network_type in ("DyLoRA", "GLoRA", "BOFT"):
        nothing.append("rank_dropout")
    if network.scale_weight_norms and network.network_type in ("DyLoRA", "GLoRA"):
        nothing.append("scale_weight_norms")
    return [f"{name} means nothing with this kind of network; leave it at 0." for name in nothing]


def _noise(recipe: Recipe, kind: str) -> list[str]:
    noise, loss, notes = recipe.noise, recipe.loss, list[str]()
    if kind != "flow":
        if noise.flow_shift:
            notes.append(f"flow_shift {noise.flow_shift:g} means nothing here: the model predicts {kind}.")
        if noise.timestep_sampling != "uniform":
            notes.append(
                f"timestep_sampling {noise.timestep_sampling} is made for flow models; this one predicts {kind}."
            )
    if loss.scale_v_pred_loss and kind != "v":
        notes.append(f"scale_v_pred_loss means nothing here: the model predicts {kind}.")
    if kind == "flow":
        notes += [
            f"{name} was made for noise and v prediction; on a flow model {words}."
            for name, words in OTHERWISE_ON_FLOW.items()
            if recipe.setting(name)
        ]
        notes += [
            f"{name} was made for noise and v prediction; kohya's scripts leave it out on flow models."
            for name in NOT_FOR_FLOW
            if recipe.setting(name)
        ]
    return notes


def _range(recipe: Recipe, model: Model, kind: str) -> list[str]:
    """The noise that a flow model's share of the schedule really is."""
    noise = recipe.noise
    if kind != "flow" or (noise.min_timestep, noise.max_timestep) == (0, 1000):
        return []
    shares = torch.tensor([noise.min_timestep, noise.max_timestep - 1]) / 1000
    low, high = sigma_at(shares, model.schedule, noise, flow=True).tolist()
    return [
        f"min_timestep {noise.min_timestep} and max_timestep {noise.max_timestep} count before the shift: noise from "
        f"{low:.2f} to {high:.2f} of 1 is trained."
    ]


def _optimizer(recipe: Recipe) -> list[str]:
    settings, name, notes = recipe.optimizer, recipe.optimizer.optimizer_type, list[str]()
    highest = max(settings.unet_lr, *settings.text_rates)
    if name in ADAPTIVE and highest < 0.1:
        notes.append(f"{name} finds the rate itself; unet_lr and text_lr are usually 1.")
    if name not in ADAPTIVE and highest >= 0.1 and name != "SGD":
        notes.append(
            f"unet_lr {settings.unet_lr:g} and text_lr {max(settings.text_rates):g} are rates for Prodigy and "
            f"D-Adaptation; {name} learns at 0.0001 or so."
        )
    if name == "AdamWScheduleFree" and settings.ema_decay:
        notes.append("ema_decay averages what AdamWScheduleFree has averaged already; set it to 0.")
    if name == "AdamWScheduleFree" and settings.lr_scheduler not in ("constant", "constant_with_warmup"):
        notes.append(f"AdamWScheduleFree makes its own schedule; {settings.lr_scheduler} acts on top of it.")
    usual = Optimizer()
    for beta in ("beta1", "beta2"):
        if beta not in BETAS.get(name, (beta,)) and getattr(settings, beta) != getattr(usual, beta):
            notes.append(
                f"{beta} {getattr(settings, beta):g} means nothing with {name}; "
                "what it has of the kind goes into optimizer_args."
            )
    return notes


def _data(recipe: Recipe, plan: Plan) -> list[str]:
    captions, notes = recipe.captions, list[str]()
    for lines, count in own_counts(Dataset(records=plan.records)).items():
        notes.append(f"{counted(count, 'image')} with settings of their own: {', '.join(lines)}.")
    ways = _captions(recipe, plan)
    if captions.caption_variants and any(parse_span(one.token_warmup).amount for one in ways):
        notes.append("token_warmup means nothing with caption_variants, which are of all tags.")
    if captions.caption_variants and not any(map(varies, ways)):
        notes.append("caption_variants means nothing: captions neither shuffle nor drop anything.")
    if recipe.buckets.random_crop and recipe.saving.validation_share:
        notes.append("Held-out images are tested at their centre crop.")
    regular = [i for i, record in enumerate(plan.records) if record.is_reg]
    for name in ("prior_preservation", "prior_loss_weight"):
        if name in Recipe().differences(recipe) and not regular:
            notes.append(f"{name} means nothing: there are no regularisation images.")
    if spare := sum(
        plan.records[i].repeats - plan.repeats[i] for i in regular if plan.repeats[i] < plan.records[i].repeats
    ):
        notes.append(
            f"{counted(spare, 'regularisation image')} too many, repeats counted, are left out: an epoch sees as many "
            "as training images, as in kohya's scripts."
        )
    if recipe.saving.validation_share and not plan.held_out:
        notes.append("validation_share means nothing: a single image is not held out.")
    if recipe.loss.masked_loss and not any(r.mask or may_have_alpha(r.image) for r in plan.records):
        notes.append("masked_loss means nothing: no image has a mask beside it or transparent parts.")
    buckets = recipe.buckets
    if buckets.enable_bucket and not buckets.bucket_no_upscale and buckets.min_bucket > buckets.resolution:
        notes.append(
            f"min_bucket {buckets.min_bucket} is above resolution {buckets.resolution}: every image is cut to a square."
        )
    most = max(plan.images().values(), default=0)
    if recipe.amount.batch_size > most:
        notes.append(f"batch_size is {recipe.amount.batch_size}; no bucket has more than {most} images an epoch.")
    return notes
