"""The network, the optimizer and the rates out of kohya's settings."""

from __future__ import annotations

import re
from typing import Any

from .kohya_keys import (
    ALGORITHMS,
    ARGUMENT_NAMES,
    BLOCK_RANKS,
    BLOCK_WEIGHTS,
    DEFAULT_RATE,
    LYCORIS,
    LYCORIS_ARGS,
    LYCORIS_PRESETS,
    MODULES,
    NETWORK_DIRECT,
    OPTIMIZER_DEFAULTS,
    OPTIMIZERS,
    SEVERAL_RATES,
)
from .kohya_sheet import Sheet, as_flag
from .kohya_values import settle, take
from .optim import ADAPTIVE

# Older names of LyCORIS's.
ALIASES = {"use_cp": "use_tucker", "use_conv_cp": "use_tucker", "constrain": "constraint"}
MOST = 1024
_PLUS = ("net:loraplus_unet_lr_ratio", "net:loraplus_text_encoder_lr_ratio")


def read_network(sheet: Sheet) -> dict[str, Any]:
    """Kind of adapter, ranks, dropouts and block weights."""
    sheet.arguments("network_args", "net:", ALIASES)
    module = sheet.text("network_module")
    lycoris = module == LYCORIS
    found: dict[str, Any] = {"network_type": _kind(sheet, module)}
    if sheet.has("net:dropout"):
        sheet.drop("network_dropout", "the network's own argument dropout replaces it")
    found |= take(sheet, NETWORK_DIRECT, "net:")
    found |= _plus(sheet)
    found |= _convolutions(sheet, lycoris)
    found |= _blocks(sheet, lycoris)
    if sheet.has("net:preset"):
        found |= _preset(sheet)
    found |= _flux_blocks(sheet, module)
    more = _more_arguments(sheet, found) if lycoris else _unit(sheet, found["network_type"])
    return {**found, "network_args": more} if more else found


def _kind(sheet: Sheet, module: str) -> str:
    if module == LYCORIS:
        algorithm = sheet.text("net:algo", "lora").lower()
        kind = ALGORITHMS.get(algorithm)
        sheet.say("network_module", "applied", f"network_type = {kind or 'LoRA'}")
        words = ("applied", f"network_type = {kind}") if kind else ("unsupported", f"no {algorithm}; a LoRA is trained")
        sheet.say("net:algo", *words)
        return kind or "LoRA"
    sheet.say("net:algo", "default", f"{module or 'networks.lora'} has one algorithm")
    kind = MODULES.get(module)
    if kind == "OFT":
        other = "its OFT counts blocks, limits them by alpha and leaves MLPs alone; LyCORIS's takes dim for their size"
        sheet.say("network_module", "unsupported", other)
    elif kind:
        sheet.say("network_module", "applied", f"network_type = {kind}")
    elif sheet.has("network_module"):
        sheet.say("network_module", "unsupported", f"there is no {module}; a LoRA is trained")
    return kind or "LoRA"


def _more_arguments(sheet: Sheet, network: dict[str, Any]) -> tuple[str, ...]:
    """LyCORIS's arguments that are none of our settings."""
    kind, found = network["network_type"], list[str]()
    for theirs, (ours, usual, kinds) in LYCORIS_ARGS.items():
        name = f"net:{theirs}"
        value = usual if not sheet.has(name) else sheet.flag(name) if isinstance(usual, bool) else sheet.whole(name)
        if theirs == "decompose_both" and sheet.has(name):
            # Its script hands the text on as it is, and any text is a yes.
            value = True
        if kind not in kinds or (theirs == "wd_on_output" and not network.get("dora")):
            sheet.say(name, "default", f"{kind} has no such choice")
        elif value == (usual if isinstance(usual, bool) else 1):
            sheet.say(name, "default", "as it is anyway")
        else:
            found.append(f"{ours}={value}")
            words = "; LyCORIS reads any text as yes" if value is True and not sheet.flag(name) else ""
            sheet.say(name, "applied", f"network_args has {found[-1]}{words}")
    if kind == "LoKr" and sheet.whole("network_dim") > MOST and not sheet.flag("net:full_matrix"):
        found.append("full_matrix=True")
        sheet.say("network_dim", "applied", f"network_args has {found[-1]}: a rank beyond all layers")
    return tuple(found)


def _flux_blocks(sheet: Sheet, module: str) -> dict[str, Any]:
    """Which of Flux's blocks are trained; text encoders are beside them."""
    name = "net:train_blocks"
    kind = sheet.text(name, "all")
    if kind == "all" or module != "networks.lora_flux":
        sheet.say(name, "default", "all blocks" if kind == "all" else "only Flux has it")
        return {}
    if kind not in ("single", "double"):
        raise sheet.fail(name, "choose one of all, single, double")
    layers = ("lora_te*", f"lora_unet_{kind}_blocks*")
    sheet.say(name, "applied", f"only_layers = {', '.join(layers)}")
    return {"only_layers": layers}


def _unit(sheet: Sheet, kind: str) -> tuple[str, ...]:
    """How many ranks sd-scripts' own DyLoRA trains together."""
    name = "net:unit"
    unit = sheet.whole(name, 1)
    if kind != "DyLoRA" or unit <= 1:
        sheet.say(name, "default", "a rank at a time, as it is anyway" if kind == "DyLoRA" else f"{kind} has none")
        return ()
    sheet.say(name, "applied", f"network_args has block_size={unit}")
    return (f"block_size={unit}",)


def _plus(sheet: Sheet) -> dict[str, Any]:
    """LoRA+'s ratio for both parts, where it has not one of its own."""
    name = "net:loraplus_lr_ratio"
    ratio = sheet.real(name)
    if not ratio:
        sheet.say(name, "default", "off")
        return {}
    free = [each for each in _PLUS if not sheet.real(each)]
    found = {
        setting: settle(sheet, name, setting, ratio)
        for each, setting in zip(_PLUS, ("loraplus_unet_lr_ratio", "loraplus_text_lr_ratio"), strict=True)
        if each in free
    }
    sheet.say(name, *(("applied", f"{' and '.join(found)} = {ratio:g}") if found else ("default", "replaced by both")))
    return found


def _convolutions(sheet: Sheet, lycoris: bool) -> dict[str, Any]:
    """LyCORIS gives convolutions the network's own rank and alpha where nothing else is said; sd-scripts none."""
    if sheet.has("net:conv_dim"):
        sheet.drop("net:conv_rank", "conv_dim says it")
    name = "net:conv_dim" if sheet.has("net:conv_dim") else "net:conv_rank"
    if sheet.has(name):
        found: dict[str, Any] = {"conv_dim": settle(sheet, name, "conv_dim", sheet.whole(name))}
    else:
        found = {"conv_dim": min(1024, sheet.whole("network_dim", 4)) if lycoris else 0}
    if lycoris and not sheet.has("net:conv_alpha"):
        found["conv_alpha"] = min(1024.0, sheet.real("network_alpha", 1.0))
    return found


def _blocks(sheet: Sheet, lycoris: bool) -> dict[str, Any]:
    """Block weights and ranks; weights up to the threshold become 0, as sd-scripts leaves such blocks out."""
    if not any(sheet.has(f"net:{name}") for name in (*BLOCK_WEIGHTS, "block_dims")):
        for name in BLOCK_RANKS:
            sheet.drop(f"net:{name}", "without block_dims or block weights it does nothing there")
    names = [name for name in (*BLOCK_WEIGHTS, *BLOCK_RANKS, "block_lr_zero_threshold") if sheet.has(f"net:{name}")]
    if lycoris:
        for name in names:
            sheet.drop(f"net:{name}", "LyCORIS knows no blocks")
        return {}
    limit, found = sheet.real("net:block_lr_zero_threshold"), {}
    for name in (*BLOCK_WEIGHTS, *BLOCK_RANKS):
        if name not in names:
            continue
        text = sheet.text(f"net:{name}").strip("[]")
        if name in BLOCK_WEIGHTS and limit and re.search(r"[a-z]", text):
            sheet.say("net:block_lr_zero_threshold", "unsupported", "a named curve has no threshold; write its numbers")
        elif name in BLOCK_WEIGHTS and limit:
            text = _cut(sheet, f"net:{name}", text, limit)
            sheet.say("net:block_lr_zero_threshold", "applied", f"block weights up to {limit:g} are 0")
        found[name] = text
        sheet.say(f"net:{name}", "applied", f"{name} = {text}")
    if not set(names) & set(BLOCK_WEIGHTS):
        sheet.say("net:block_lr_zero_threshold", "default", "no block weights")
    return found


def _cut(sheet: Sheet, name: str, text: str, limit: float) -> str:
    try:
        numbers = [float(one) if one.strip() else 0.0 for one in text.split(",")]
    except ValueError as error:
        raise sheet.fail(name, "write numbers with commas between them") from error
    return ",".join(f"{number if number > limit else 0:g}" for number in numbers)


def _preset(sheet: Sheet) -> dict[str, Any]:
    name = sheet.text("net:preset")
    if name not in LYCORIS_PRESETS:
        sheet.say("net:preset", "unsupported", "choose layers by only_layers and skip_layers; all are trained")
        return {}
    found = dict(LYCORIS_PRESETS[name])
    if "conv_dim" in found:
        sheet.say("net:conv_dim", "default", f"the preset {name} has no convolutions")
    words = ", ".join(f"{key} = {value}" for key, value in found.items())
    sheet.say("net:preset", *(("applied", words) if found else ("default", "all layers, as it is anyway")))
    # The text encoder's part is settled with the other rates.
    return {key: value for key, value in found.items() if key != "text_lr"}


def read_optimizer(sheet: Sheet) -> dict[str, Any]:
    """Optimizer, weight decay, betas and further arguments; what a file leaves out is its library's default."""
    name = _optimizer(sheet)
    decay, beta1, beta2 = OPTIMIZER_DEFAULTS.get(name, (0.0, 0.9, 0.999))
    if sheet.text("optimizer_type").lower().startswith("sgdnesterov"):
        beta1 = 0.9
    found: dict[str, Any] = {"optimizer_type": name, "weight_decay": decay, "beta1": beta1, "beta2": beta2}
    sheet.arguments("optimizer_args", "opt:")
    extra: list[str] = []
    # On here, and off in kohya's library.
    switches = dict.fromkeys(ARGUMENT_NAMES.values(), False) if name == "DAdaptAdam" else {}
    unknown = sheet.has("optimizer_type") and _known(sheet) is None
    for key in sheet.names("opt:"):
        bare = key.partition(":")[2]
        if unknown and bare not in ("weight_decay", "betas"):
            sheet.say(key, "unsupported", f"it is an argument of {sheet.text('optimizer_type')}")
        elif bare == "weight_decay":
            found["weight_decay"] = settle(sheet, key, "weight_decay", sheet.real(key))
        elif bare == "betas" and name != "CAME":
            found |= _betas(sheet, key)
        elif bare == "momentum" and name == "SGD":
            found["beta1"] = settle(sheet, key, "beta1", sheet.real(key))
            sheet.say(key, "applied", f"beta1 = {found['beta1']:g}, SGD's momentum")
        elif name == "Adafactor" and bare in ("relative_step", "warmup_init", "scale_parameter"):
            extra += _adafactor(sheet, key, bare)
        elif bare in ("log_every", "fsdp_in_use", "slice_p", "use_triton"):
            continue
        elif name == "DAdaptAdam" and bare in ARGUMENT_NAMES:
            switches[ARGUMENT_NAMES[bare]] = sheet.flag(key)
            sheet.say(key, "applied", f"optimizer_args has {ARGUMENT_NAMES[bare]}={sheet.flag(key)}")
            if sheet.flag(key):
                sheet.say(key, "default", "on, as it is here anyway")
        else:
            ours = ARGUMENT_NAMES.get(bare, bare) if name in ADAPTIVE else bare
            extra.append(f"{ours}={sheet.text(key)}")
            sheet.say(key, "applied", f"optimizer_args has {extra[-1]}")
    extra += [f"{switch}=False" for switch, on in switches.items() if not on]
    if sheet.text("optimizer_type").lower().startswith("sgdnesterov"):
        extra.append("nesterov=True")
    if (
        name == "Adafactor"
        and as_flag(sheet.text("opt:relative_step")) is False
        and not sheet.has("opt:scale_parameter")
    ):
        extra.append("scale_parameter=True")
    return {**found, "optimizer_args": tuple(extra)}


def _optimizer(sheet: Sheet) -> str:
    given = sheet.text("optimizer_type")
    for flag, name in (("use_8bit_adam", "AdamW8bit"), ("use_lion_optimizer", "Lion")):
        on = sheet.flag(flag)
        if on and not given:
            sheet.say(flag, "applied", f"optimizer_type = {name}")
            return name
        sheet.say(flag, "default", "optimizer_type says it" if on else "off")
    if not given:
        return "AdamW"
    known = _known(sheet)
    if known is None:
        name = _nearest(given)
        sheet.say("optimizer_type", "unsupported", f"there is no {given}; {name} is taken")
        return name
    name, words = known
    sheet.say("optimizer_type", "applied", f"optimizer_type = {name}" + (f" {words}" if words else ""))
    return name


def _known(sheet: Sheet) -> tuple[str, str] | None:
    """Our optimizer for the file's, and what is different; None for one that is not here."""
    return OPTIMIZERS.get(sheet.text("optimizer_type").lower().rpartition(".")[2])


def _nearest(given: str) -> str:
    """Of the same family as an optimizer that is not here, as far as its name tells."""
    kinds = {"prodigy": "Prodigy", "dadapt": "DAdaptAdam", "schedulefree": "AdamWScheduleFree"}
    return next((ours for part, ours in kinds.items() if part in given.lower()), "AdamW")


def finds_its_rate(sheet: Sheet) -> bool:
    """Whether it is an Adafactor whose rates sd-scripts leaves to it: always, unless relative_step=False is given."""
    adafactor = sheet.text("optimizer_type").lower().rpartition(".")[2] == "adafactor"
    return adafactor and as_flag(sheet.text("opt:relative_step")) is not False


def _betas(sheet: Sheet, key: str) -> dict[str, Any]:
    numbers = sheet.reals(key)
    if len(numbers) < 2:
        raise sheet.fail(key, "write two numbers, such as 0.9,0.99")
    found = {name: settle(sheet, key, name, value) for name, value in zip(("beta1", "beta2"), numbers, strict=False)}
    words = f"beta1 = {found['beta1']:g}, beta2 = {found['beta2']:g}"
    sheet.say(key, "applied", words + ("; the third stays at its default" if len(numbers) > 2 else ""))
    return found


def _adafactor(sheet: Sheet, key: str, name: str) -> list[str]:
    """Adafactor trains at the recipe's rate here, so only scaling by the parameters' size is left to choose."""
    on = as_flag(sheet.text(key))
    if on and name == "scale_parameter":
        sheet.say(key, "applied", "optimizer_args has scale_parameter=True")
        return ["scale_parameter=True"]
    sheet.say(key, *(("unsupported", "unet_lr and text_lr count") if on else ("default", "off, as it is anyway")))
    return []


def read_rates(sheet: Sheet) -> dict[str, Any]:
    """Rates as kohya finds them: a part's own where it is given, else learning_rate.

    In the GUI 0 is not given; one part at 0 alone is not trained, and both at 0 take learning_rate.
    """
    rate = sheet.real("learning_rate", DEFAULT_RATE)
    texts = _text_rates(sheet)
    own: dict[str, float | None] = {
        "unet_lr": sheet.real("unet_lr") if sheet.has("unet_lr") else None,
        "text_lr": texts[0] if texts else None,
    }
    if sheet.dialect == "gui":
        neither = not own["unet_lr"] and not own["text_lr"]
        own = {name: None if neither else value or 0.0 for name, value in own.items()}
    if finds_its_rate(sheet):
        for name in ("learning_rate", "unet_lr", "text_encoder_lr"):
            sheet.drop(name, "sd-scripts' Adafactor finds its own rate (relative_step)")
        words = "it has no rate of its own here (relative_step): 0.0001, and 0.00005 for the text encoder, are taken"
        sheet.say("optimizer_type", "unsupported", words)
        return _parts(sheet, {name: 0.0 for name, value in own.items() if value == 0})
    found: dict[str, Any] = {}
    used = False
    for setting, name in (("unet_lr", "unet_lr"), ("text_lr", "text_encoder_lr")):
        value = own[setting]
        used = used or value is None
        sheet.say(name, "default", "left alone: learning_rate counts")
        found[setting] = settle(sheet, name, setting, value) if value is not None else rate
    if used and not sheet.has("learning_rate"):
        sheet.assumed |= {setting: rate for setting, value in own.items() if value is None}
    if used:
        settle(sheet, "learning_rate", "unet_lr", rate)
        sheet.say("learning_rate", "applied", f"{' and '.join(k for k, v in own.items() if v is None)} = {rate:g}")
    else:
        sheet.say("learning_rate", "default", "unet_lr and text_encoder_lr say it")
    rates = found["unet_lr"], found["text_lr"]
    optimizer = (_known(sheet) or (_nearest(sheet.text("optimizer_type")), ""))[0]
    one = next((rate for rate in (*rates, *texts) if rate), 0.0)
    if optimizer in ADAPTIVE and len({rate for rate in (*rates, *texts) if rate}) > 1:
        texts = [one if rate else 0.0 for rate in texts]
        found["text_lr"] = one if found["text_lr"] else 0.0
        words = f"an optimizer that finds its rate learns everything at one, {one:g}"
        sheet.say("text_encoder_lr", "unsupported", words)
    if len(set(sheet.reals("text_encoder_lr"))) > 1 and len(texts) == 1:
        words = f"with this network sd-scripts takes the first for all: text_lr = {found['text_lr']:g}"
        sheet.say("text_encoder_lr", "unsupported", f"{words}; text_encoder_lrs gives each its own")
    if len(set(texts)) > 1:
        found["text_encoder_lrs"] = ", ".join(f"{rate:g}" for rate in texts)
        if optimizer not in ADAPTIVE:
            sheet.say("text_encoder_lr", "applied", f"text_encoder_lrs = {found['text_encoder_lrs']}")
    return _parts(sheet, found)


def _text_rates(sheet: Sheet) -> list[float]:
    """One for each text encoder, in the model's order; the GUI has a field of its own for that of T5."""
    texts, name = sheet.reals("text_encoder_lr"), "t5xxl_lr"
    if len(set(texts)) > 1 and sheet.text("network_module") not in SEVERAL_RATES:
        return texts[:1]
    if not sheet.real(name):
        sheet.say(name, "default", "that of the other text encoders")
        return texts
    if not texts or not texts[0]:
        sheet.say(name, "unsupported", "the GUI trains T5 only beside CLIP; give text_encoder_lr a value")
        return texts
    sheet.say(name, "applied", "text_encoder_lrs has it")
    return [texts[0], sheet.real(name)]


def _parts(sheet: Sheet, found: dict[str, Any]) -> dict[str, Any]:
    """The rates after the switches that leave a part out."""
    preset = LYCORIS_PRESETS.get(sheet.text("net:preset"), {})
    switches = (
        ("network_train_unet_only", "text_encoder_lr", "text_lr"),
        ("network_train_text_encoder_only", "unet_lr", "unet_lr"),
    )
    for switch, rate, setting in switches:
        on = sheet.flag(switch)
        sheet.say(switch, *(("applied", f"{setting} = 0") if on else ("default", "off")))
        if on or setting in preset:
            sheet.say(rate, "default", f"{switch if on else 'the preset'} leaves that part out")
            found = {**found, setting: 0.0}
            if setting == "text_lr":
                found.pop("text_encoder_lrs", None)
    return found
