"""The recipe's settings out of kohya's, a group at a time; every key that is read gets its line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from .errors import KilnError
from .kohya_gui import FAMILIES
from .kohya_keys import (
    ABSENT,
    ABSENT_IN_DATASET,
    DEFAULT_STEPS,
    DIRECT,
    FLOW_ABSENT,
    NOT_OF_FLOW,
    SCHEDULES,
    SD3,
    TIMESTEPS,
)
from .kohya_network import read_network, read_optimizer, read_rates
from .kohya_saving import read_saving
from .kohya_sheet import Sheet
from .kohya_values import settle, span, take
from .recipe import Recipe

PRECISIONS = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}


def read_settings(sheet: Sheet) -> Recipe:
    """The recipe that the sheet's keys say. Raises `KilnError` naming file, key and value."""
    whole = sheet.dialect != "dataset"
    settings: dict[str, Any] = {}
    if whole and _is_flow(sheet):
        for name in NOT_OF_FLOW if _is_sd3(sheet) else (*NOT_OF_FLOW, "min_timestep", "max_timestep"):
            sheet.drop(name, "kohya's script for this model does not use it")
    for read in READERS if whole else (read_direct, read_tokens, read_resolution):
        settings |= read(sheet)
    sheet.assumed |= {k: v for k, v in ABSENT.items() if (whole or k in ABSENT_IN_DATASET) and k not in settings}
    settings |= sheet.assumed
    if settings.get("debiased_estimation") and settings.get("min_snr_gamma"):
        settings["debiased_estimation"] = False
        sheet.say(
            "debiased_estimation_loss", "unsupported", "min_snr_gamma weighs by SNR already, and one of them counts"
        )
    try:
        return Recipe().with_settings(**settings)
    except ValueError as error:
        raise KilnError(f"{sheet.file}: {error}.") from error


def read_direct(sheet: Sheet) -> dict[str, Any]:
    """Settings that mean the same in both."""
    found = take(sheet, DIRECT, "")
    if sheet.flag("alpha_mask"):
        found["masked_loss"] = True
        sheet.say("alpha_mask", "applied", "masked_loss = true")
    else:
        sheet.say("alpha_mask", "default", "off")
    if found.get("enable_wildcard"):
        sheet.say("enable_wildcard", "applied", "enable_wildcard = true; a caption's lines are read as one")
    if found.get("weighted_captions"):
        words = "weighted_captions = true; (words:1.2) is read, and as ComfyUI weighs it, (words) and [words] are not"
        sheet.say("weighted_captions", "applied", words)
    if not found.get("multires_noise_iterations"):
        sheet.say("multires_noise_discount", "default", "no pyramid noise without multires_noise_iterations")
    if sheet.flag("sdxl") and not _is_flow(sheet):
        found["clip_skip"] = 2
        sheet.say(
            "clip_skip", "applied", "clip_skip = 2: of SDXL, kohya reads the second last layer whatever this says"
        )
    if not found.get("seed") and sheet.dialect == "gui":
        sheet.say("seed", "default", "no seed: kohya draws one, here it is 0")
    return found


def read_amount(sheet: Sheet) -> dict[str, Any]:
    """Epochs or steps: max_train_epochs decides, then max_train_steps, then (in the GUI alone) epoch."""
    epochs, steps, own = sheet.whole("max_train_epochs"), sheet.whole("max_train_steps"), sheet.whole("epoch")
    if epochs:
        sheet.drop("max_train_steps", "max_train_epochs decides")
        sheet.drop("epoch", "max_train_epochs decides")
        return {"epochs": settle(sheet, "max_train_epochs", "epochs", epochs), "max_train_steps": 0}
    sheet.say("max_train_epochs", "default", "off")
    if sheet.dialect == "gui" and not steps and not sheet.has("dataset_config"):
        sheet.say("max_train_steps", "default", "epochs decide")
        found = {"epochs": settle(sheet, "epoch", "epochs", own or 1)}
        sheet.say("epoch", "applied", f"epochs = {found['epochs']}; the GUI stops short of the last batches of buckets")
        return found
    found = {"epochs": settle(sheet, "epoch", "epochs", own)} if own else {}
    sheet.say("epoch", "default", "sd-scripts goes by max_train_epochs or max_train_steps, 1600 where neither is given")
    if not steps:
        sheet.assumed["max_train_steps"] = DEFAULT_STEPS
    return {**found, "max_train_steps": settle(sheet, "max_train_steps", "max_train_steps", steps or DEFAULT_STEPS)}


def read_schedule(sheet: Sheet) -> dict[str, Any]:
    """Learning-rate schedule and warmup; the GUI writes warmup in percent, sd-scripts in steps or as a share."""
    found: dict[str, Any] = {}
    kind = sheet.text("lr_scheduler").lower()
    if "schedulefree" in sheet.text("optimizer_type").lower():
        for name in ("lr_scheduler", "lr_warmup", "lr_warmup_steps", "lr_decay_steps", "lr_scheduler_num_cycles"):
            sheet.drop(name, "a schedule-free optimizer has no schedule there")
        return {"lr_scheduler": "constant"}
    if kind in SCHEDULES:
        found["lr_scheduler"] = SCHEDULES[kind]
        sheet.say("lr_scheduler", "unsupported", f"there is no such schedule; {SCHEDULES[kind]} is taken")
    elif kind:
        found["lr_scheduler"] = settle(sheet, "lr_scheduler", "lr_scheduler", kind)
    found |= _decay(sheet, kind)
    if sheet.dialect == "gui" and not sheet.has("lr_scheduler_num_cycles") and kind == "cosine_with_restarts":
        found["cycles"] = min(100, max(1, sheet.whole("epoch")))
        sheet.say("lr_scheduler_num_cycles", "applied", f"blank: the GUI takes the epochs, cycles = {found['cycles']}")
    name, text = _warmup(sheet)
    if name and text in ("0", "0 %"):
        sheet.say(name, "default", "off")
    elif name:
        found["warmup"] = text
        constant = found.get("lr_scheduler", ABSENT["lr_scheduler"]) == "constant"
        verdict, words = ("default", "constant has no warmup") if constant else ("applied", f"warmup = {text}")
        sheet.say(name, verdict, words)
    return found


def _decay(sheet: Sheet, kind: str) -> dict[str, Any]:
    """The part in which warmup_stable_decay falls; sd-scripts has none where nothing is said."""
    name = "lr_decay_steps"
    if kind != "warmup_stable_decay":
        sheet.say(name, "default", "only warmup_stable_decay has it")
        return {}
    text = span(sheet, name) if sheet.has(name) else "0"
    sheet.say(name, "applied", f"lr_decay = {text}")
    if not sheet.has(name):
        sheet.assumed["lr_decay"] = text
    return {"lr_decay": text}


def _warmup(sheet: Sheet) -> tuple[str, str]:
    """The name that says the warmup, and the warmup as the recipe writes it; an empty name when none does."""
    name = "lr_warmup_steps"
    if sheet.dialect == "gui" and not sheet.real(name):
        sheet.say(name, "default", "lr_warmup decides")
        return ("lr_warmup", span(sheet, "lr_warmup", percent=True)) if sheet.has("lr_warmup") else ("", "0")
    sheet.say("lr_warmup", "default", "lr_warmup_steps decides")
    return (name, span(sheet, name)) if sheet.has(name) else ("", "0")


def read_tokens(sheet: Sheet) -> dict[str, Any]:
    """Until when more and more tags are read; sd-scripts counts it in steps or as a share."""
    name = "token_warmup_step"
    amount = sheet.real(name)
    if amount < 0:
        raise sheet.fail(name, "give steps, or a share below 1")
    if not amount:
        sheet.say(name, "default", "all tags are read from the start")
        return {}
    text = f"{100 * amount:g} %" if amount < 1 else f"{amount:.0f}"
    sheet.say(name, "applied", f"token_warmup = {text}")
    return {"token_warmup": text}


def read_stop(sheet: Sheet) -> dict[str, Any]:
    """When the text encoder stops: percent in the GUI, steps in a TOML. kohya's LoRA scripts do not do it."""
    name = "stop_text_encoder_training"
    if not sheet.has(name):
        return {}
    if sheet.real(name) <= 0:
        sheet.say(name, "default", "off")
        return {}
    text = span(sheet, name, percent=sheet.dialect == "gui")
    sheet.say(name, "applied", f"stop_text_at = {text}; kohya's LoRA scripts ignore it")
    return {"stop_text_at": text}


def read_resolution(sheet: Sheet) -> dict[str, Any]:
    """The side of a square of the same area, in pixels."""
    if not sheet.has("resolution"):
        return {}
    sides = [int(found) for found in re.findall(r"\d+", sheet.text("resolution"))]
    if not 1 <= len(sides) <= 2 or not min(sides):
        raise sheet.fail("resolution", "write one number of pixels, or width,height")
    # Not less than the area, so that the sides themselves are a bucket.
    side = math.isqrt(sides[0] * sides[-1] - 1) + 1
    settle(sheet, "resolution", "resolution", side)
    if sides[0] != sides[-1]:
        buckets = sheet.flag("enable_bucket")
        words = "buckets choose the shape" if buckets else "without buckets every picture is a square here"
        verdict = "applied" if buckets else "unsupported"
        sheet.say("resolution", verdict, f"resolution = {side}, of the same area; {words}")
    return {"resolution": side}


def read_noise(sheet: Sheet) -> dict[str, Any]:
    """Which model is expected, and the noise levels of flow models."""
    found: dict[str, Any] = {}
    if sheet.flag("v_parameterization"):
        found["expected_prediction"] = "v"
        sheet.say("v_parameterization", "applied", "expected_prediction = v; the loaded model must predict it")
    else:
        sheet.say("v_parameterization", "default", "the loaded model's own prediction is trained")
    if sheet.flag("zero_terminal_snr"):
        sheet.say("zero_terminal_snr", "applied", "zero_terminal_snr = true; the loaded model must have it")
    scheme = sheet.text("weighting_scheme").lower()
    if scheme in ("logit_normal", "mode"):
        found["timestep_sampling"] = settle(sheet, "weighting_scheme", "timestep_sampling", scheme)
    elif scheme in ("uniform", "none"):
        sheet.say("weighting_scheme", "default", "noise levels are drawn evenly")
    elif scheme == "sigma_sqrt" and _is_sd3(sheet):
        sheet.say("weighting_scheme", "default", "the loss is weighted so anyway")
    elif scheme:
        sheet.say("weighting_scheme", "unsupported", "the loss is not weighted so; noise levels are drawn evenly")
    return found | _timesteps(sheet)


def _timesteps(sheet: Sheet) -> dict[str, Any]:
    usual, shift = FLOW_ABSENT.get(SD3 if _is_sd3(sheet) else sheet.text("network_module"), ("", 0.0))
    kind = sheet.text("timestep_sampling").lower() or usual
    if kind and kind not in TIMESTEPS:
        raise sheet.fail("timestep_sampling", f"choose one of {', '.join(TIMESTEPS)}")
    found: dict[str, Any] = {"timestep_sampling": TIMESTEPS[kind]} if TIMESTEPS.get(kind) else {}
    if found and not sheet.has("timestep_sampling"):
        sheet.assumed |= found
    sheet.say("timestep_sampling", "applied", f"timestep_sampling = {TIMESTEPS.get(kind) or 'by weighting_scheme'}")
    if kind in ("flux_shift", "nextdit_shift"):
        words = f"the shift is the loaded model's, not the picture's; else {TIMESTEPS[kind]}"
        sheet.say("timestep_sampling", "unsupported", words)
    if kind in ("sigmoid", "shift", "flux_shift"):
        found |= {"logit_mean": 0.0, "logit_std": 1.0}
        for name in found.keys() & DIRECT.keys():
            sheet.say(name, "default", f"{kind} has sigmoid_scale instead")
        if sheet.has("sigmoid_scale"):
            found["logit_std"] = settle(sheet, "sigmoid_scale", "logit_std", sheet.real("sigmoid_scale"))
    else:
        sheet.say("sigmoid_scale", "default", "timestep_sampling is not sigmoid or shift")
        found |= _mean(sheet)
    # SD3's script has a name of its own for it.
    name, other = "discrete_flow_shift", "training_shift"
    if _is_sd3(sheet):
        name, other = other, name
    sheet.say(other, "default", "it is for another kind of model")
    if kind in ("", "sigma", "shift") and sheet.has(name):
        return {**found, "flow_shift": settle(sheet, name, "flow_shift", sheet.real(name))}
    if kind in ("sigma", "shift") and shift:
        sheet.assumed["flow_shift"] = shift
        return found
    sheet.say(name, "default", f"{kind} has no shift")
    return {**found, "flow_shift": 1.0} if kind in ("uniform", "sigmoid") else found


def _mean(sheet: Sheet) -> dict[str, Any]:
    """Of logit_normal. All scripts but SD3's count the levels from the noisiest down; `mode` is the same both ways."""
    mean = sheet.real("logit_mean")
    if not mean or _is_sd3(sheet):
        return {}
    sheet.say("logit_mean", "applied", f"logit_mean = {-mean:g}; sd-scripts counts from the noisiest level down")
    return {"logit_mean": -mean}


def _is_flow(sheet: Sheet) -> bool:
    return sheet.text("network_module") in FLOW_ABSENT or any(sheet.flag(name) for name in FAMILIES.values())


def _is_sd3(sheet: Sheet) -> bool:
    return sheet.text("network_module") == SD3 or sheet.flag("sd3_checkbox")


def read_compute(sheet: Sheet) -> dict[str, Any]:
    """Precision of the forward pass."""
    kind = sheet.text("mixed_precision").lower()
    if kind and kind not in PRECISIONS:
        sheet.say("mixed_precision", "unsupported", "the model's own precision is taken; load it in fp8 in its loader")
    if kind not in PRECISIONS:
        return {}
    return {"precision": settle(sheet, "mixed_precision", "precision", PRECISIONS[kind])}


READERS: tuple[Callable[[Sheet], dict[str, Any]], ...] = (
    read_direct, read_amount, read_network, read_optimizer, read_rates, read_schedule, read_stop, read_tokens,
    read_resolution, read_noise, read_saving, read_compute,
)  # fmt: skip
