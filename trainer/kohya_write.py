"""A recipe and its folders as sd-scripts' TOML files; `kohya.py` reads them again.

Whatever does not come back the same is listed in the file as remarks, found by reading the file's settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..dataset.subsets import Subset
from ..dataset.toml_file import toml, write_toml
from ..dataset.values import Dataset
from .arguments import parse_arguments
from .errors import KilnError
from .kohya_folders import subsets_of
from .kohya_keys import (
    ABSENT,
    ARGUMENT_NAMES,
    BLOCK_RANKS,
    BLOCK_WEIGHTS,
    DIRECT,
    LYCORIS,
    LYCORIS_ARGS,
    OF_PICTURES_THERE,
)
from .kohya_settings import PRECISIONS, read_settings
from .kohya_sheet import Sheet
from .optim import ADAPTIVE
from .own import parse_own
from .prompts import parse_prompt
from .recipe import Recipe, group_of
from .spans import parse_span

_ALWAYS = ("batch_size", "dim", "alpha", "keep_tokens", "shuffle_caption", "enable_bucket", "seed")
_ALGORITHMS = {
    "LoRA": "locon", "LoHa": "loha", "LoKr": "lokr", "DyLoRA": "dylora", "GLoRA": "glora", "OFT": "diag-oft",
    "BOFT": "boft",
}  # fmt: skip
_SPANS = ("warmup", "lr_decay", "stop_text_at", "token_warmup", "save_every", "validate_every", "sample_every")
_PREVIEWS = ("sample_prompts", "sample_steps", "sample_cfg")
_WHY = {
    "warmup": "sd-scripts counts warmup in steps or as a share, and constant has none",
    "lr_decay": "sd-scripts counts it in steps or as a share, and only warmup_stable_decay has it",
    "stop_text_at": "its LoRA scripts do not stop the text encoder",
    "token_warmup": "sd-scripts counts it in steps or as a share",
    "text_encoder_lrs": "its networks.lora and LyCORIS have one rate for all text encoders, the first",
    "network_args": "LyCORIS's script reads only some of them",
    "max_token_length": "it reads 75, 150 or 225 tokens",
    "block_preset": "write the numbers into down_lr_weight, mid_lr_weight and up_lr_weight",
    "expected_prediction": "it trains what it is told, with v_parameterization or without",
    "save_every": "it counts epochs or steps",
    "sample_prompts": "it paints previews of a file of prompts",
}


def write_config(recipe: Recipe, *, dataset_file: str = "", prompts_file: str = "") -> str:
    """The TOML for sd-scripts' `--config_file`. Both files are named as they are given, best by their whole path."""
    settings = config_settings(recipe, prompts_file)
    if dataset_file:
        settings["dataset_config"] = dataset_file
    lines = [f"{key} = {toml(value)}" for key, value in settings.items()]
    lost = [
        f"# {name} = {toml(mine)}: {_WHY.get(name, 'sd-scripts has no such setting')}; this file says {toml(theirs)}"
        for name, (mine, theirs) in lost_settings(recipe, settings).items()
    ]
    head = [
        "# Settings for sd-scripts, written by LoRA Kiln. Add pretrained_model_name_or_path, output_dir, output_name."
    ]
    if recipe.noise.logit_mean:
        head.append("# logit_mean is for Flux and its like, which count from the most noise; SD3 wants the other sign.")
    if lost:
        head += ["#", "# Not the same there:", *lost]
    return "\n".join([*head, "", *lines, ""])


def write_prompts(recipe: Recipe) -> str:
    """The text of sd-scripts' file of preview prompts. Steps (`--s`) and guidance (`--l`) stand in each line."""
    saving, text = recipe.saving, ""
    usual = {"steps": f" --s {saving.sample_steps}", "cfg": f" --l {saving.sample_cfg:g}"}
    for line in saving.sample_prompts:
        given = parse_prompt(line).given
        text += _one_line(line) + "".join(words for name, words in usual.items() if name not in given) + "\n"
    return text


def _previews(recipe: Recipe) -> list[tuple[str, str, dict[str, Any]]]:
    """What is painted: prompt, negative prompt and numbers of each line."""
    saving, lines = recipe.saving, map(parse_prompt, recipe.saving.sample_prompts)
    usual = {"steps": saving.sample_steps, "cfg": saving.sample_cfg}
    return [(line.prompt, line.negative, {**usual, **line.given}) for line in lines]


def save_config(folder: Path, name: str, recipe: Recipe, dataset: Dataset | None) -> Path:
    """Write `name.toml`, and `name_dataset.toml` and `name_prompts.txt` where there is something to say.

    Returns the path of the first. Raises `KilnError` for a name that is no plain file name, and for a full disk.
    """
    if not re.fullmatch(r"[^\\/:*?\"<>|\x00-\x1f]{1,120}", name) or name.strip(" .") != name:
        raise KilnError(f"name is {name!r}; use letters, digits, spaces, - and _ only.")
    subsets, notes = subsets_of(dataset) if dataset else ((), ())
    for subset in subsets:
        warmup = parse_own(subset.own or ()).get("token_warmup", "0")
        if parse_span(warmup).amount and not _warmed(warmup, recipe):
            notes += (f"{subset.folder}: token_warmup {warmup} is not said here: {_WHY['token_warmup']}",)
    texts: dict[Path, str] = {}
    dataset_file, prompts_file = folder / f"{name}_dataset.toml", folder / f"{name}_prompts.txt"
    if subsets:
        texts[dataset_file] = write_toml(
            subsets, masked_loss=recipe.loss.masked_loss, notes=notes, own=lambda subset: _own(recipe, subset)
        )
    if recipe.saving.sample_prompts:
        texts[prompts_file] = write_prompts(recipe)
    config_file = folder / f"{name}.toml"
    texts[config_file] = write_config(
        recipe,
        dataset_file=str(dataset_file) if subsets else "",
        prompts_file=str(prompts_file) if recipe.saving.sample_prompts else "",
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            partial = file.with_name(f"{file.name}.partial")
            partial.write_text(text, encoding="utf-8")
            partial.replace(file)
    except OSError as error:
        raise KilnError(f"{folder} cannot be written to: {error}. Free space, or choose another name.") from error
    return config_file


def _own(recipe: Recipe, subset: Subset) -> dict[str, Any]:
    """What a folder's pictures have for themselves, by sd-scripts' names."""
    values, found = parse_own(subset.own or ()), dict[str, Any]()
    for theirs, ours in OF_PICTURES_THERE.items():
        if ours in values:
            found[theirs] = _warmed(values[ours], recipe) if ours == "token_warmup" else values[ours]
    return found


def config_settings(recipe: Recipe, prompts_file: str = "") -> dict[str, Any]:
    """sd-scripts' settings by name, in the order of the recipe's groups; what is its own default is left out."""
    return {
        **_amount(recipe),
        **_direct(recipe),
        "resolution": f"{recipe.buckets.resolution},{recipe.buckets.resolution}",
        **_network(recipe),
        **_optimizer(recipe),
        **_noise(recipe),
        **_saving(recipe, prompts_file),
    }


def lost_settings(recipe: Recipe, settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Our settings that `settings` do not say: name to (the recipe's, what is read)."""
    sheet = Sheet("the written file", "sd-scripts")
    for key, value in settings.items():
        sheet.put(key, key, value)
    if "sample_prompts" in settings:
        sheet.put("sample_text", "sample_prompts", write_prompts(recipe))
    again = read_settings(sheet)
    found = {name: pair for name, pair in recipe.differences(again).items() if not _alike(name, *pair)}
    if recipe.saving.sample_prompts and _previews(recipe) == _previews(again):
        # Said in other places, and the same.
        found = {name: pair for name, pair in found.items() if name not in _PREVIEWS}
    return {
        name: pair for name, pair in found.items() if name not in _SPANS or parse_span(pair[0]) != parse_span(pair[1])
    }


def _alike(name: str, mine: Any, theirs: Any) -> bool:
    """Whether two values that are written otherwise mean the same."""
    if name == "network_args":
        return parse_arguments(mine, name) == parse_arguments(theirs, name)
    if name == "text_encoder_lrs" and mine and theirs:
        return [float(one) for one in mine.split(",")] == [float(one) for one in theirs.split(",")]
    return False


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _value(recipe: Recipe, setting: str) -> Any:
    return recipe.seed if setting == "seed" else getattr(getattr(recipe, group_of()[setting]), setting)


def _amount(recipe: Recipe) -> dict[str, Any]:
    amount = recipe.amount
    if amount.max_train_steps:
        # sd-scripts does not read `epoch`; it stands there for the way back.
        return {"max_train_steps": amount.max_train_steps, "epoch": amount.epochs}
    return {"max_train_epochs": amount.epochs}


def _direct(recipe: Recipe) -> dict[str, Any]:
    plain = Recipe()
    found: dict[str, Any] = {}
    for name, setting in DIRECT.items():
        value = _value(recipe, setting)
        if setting in _ALWAYS or value != ABSENT.get(setting, _value(plain, setting)):
            found[name] = value
    if found.get("max_token_length") not in (150, 225):
        found.pop("max_token_length", None)
    if warmup := _warmed(recipe.captions.token_warmup, recipe):
        found["token_warmup_step"] = warmup
    return found


def _network(recipe: Recipe) -> dict[str, Any]:
    network, blocks = recipe.network, recipe.blocks
    lycoris, plain = network.lycoris, Recipe()
    args: dict[str, Any] = {}
    if lycoris:
        args = {"algo": _ALGORITHMS[network.network_type], "preset": "full", "conv_dim": network.conv_dim}
        args["conv_alpha"] = network.conv_alpha
        names = {"dora_wd": "dora", "use_tucker": "use_tucker", "factor": "lokr_factor", "constraint": "constraint"}
        theirs = {ours: name for name, (ours, _, _) in LYCORIS_ARGS.items()}
        given = parse_arguments(network.network_args, "network_args")
        usual = {ours: value for ours, value, _ in LYCORIS_ARGS.values() if isinstance(value, bool)}
        args |= {theirs.get(name, name): value for name, value in given.items() if value is not usual.get(name)}
        if network.network_type == "DyLoRA":
            args.setdefault("block_size", 1)
    else:
        args = {"conv_dim": network.conv_dim} if network.conv_dim else {}
        names = {"conv_alpha": "conv_alpha"}
        args |= {name: text for name in (*BLOCK_WEIGHTS, *BLOCK_RANKS) if (text := getattr(blocks, name).strip())}
    names |= {"rank_dropout": "rank_dropout", "module_dropout": "module_dropout"}
    names |= {
        "train_t5xxl": "train_t5xxl",
        "loraplus_unet_lr_ratio": "loraplus_unet_lr_ratio",
        "loraplus_text_encoder_lr_ratio": "loraplus_text_lr_ratio",
    }
    for name, setting in names.items():
        if _value(recipe, setting) != _value(plain, setting):
            args[name] = _value(recipe, setting)
    found: dict[str, Any] = {"network_module": LYCORIS if lycoris else "networks.lora"}
    return {**found, "network_args": [f"{name}={value}" for name, value in args.items()]} if args else found


def _optimizer(recipe: Recipe) -> dict[str, Any]:
    settings = recipe.optimizer
    name = settings.optimizer_type
    args = [f"weight_decay={settings.weight_decay}"]
    if name == "SGD":
        args.append(f"momentum={settings.beta1}")
    elif name not in ("Adafactor", "CAME"):
        args.append(f"betas={settings.beta1},{settings.beta2}")
    if name == "Adafactor":
        args += ["relative_step=False", "warmup_init=False"]
        if not any(line.startswith("scale_parameter") for line in settings.optimizer_args):
            args.append("scale_parameter=False")
    if name == "DAdaptAdam":
        given = [line.partition("=")[0].strip() for line in settings.optimizer_args]
        # On here, and off there unless it is said.
        args += [f"{kohya}=True" for kohya, ours in ARGUMENT_NAMES.items() if not {kohya, ours} & set(given)]
    theirs = {ours: kohya for kohya, ours in ARGUMENT_NAMES.items()} if name in ADAPTIVE else {}
    for line in settings.optimizer_args:
        key, _, value = (part.strip() for part in line.partition("="))
        args.append(f"{theirs.get(key, key)}={value}")
    found: dict[str, Any] = {
        "optimizer_type": f"pytorch_optimizer.{name}" if name == "CAME" else name,
        "optimizer_args": args,
        "learning_rate": settings.unet_lr or max(settings.text_rates),
        "unet_lr": settings.unet_lr,
        "text_encoder_lr": list(settings.text_rates),
        "lr_scheduler": settings.lr_scheduler,
    }
    for rate, switch in ((settings.learns_text, "unet"), (settings.unet_lr, "text_encoder")):
        if not rate:
            found[f"network_train_{switch}_only"] = True
    if settings.lr_scheduler != "constant" and (warmup := _updates(settings.warmup, recipe)):
        found["lr_warmup_steps"] = warmup
    if settings.lr_scheduler == "warmup_stable_decay" and (decay := _updates(settings.lr_decay, recipe)):
        found["lr_decay_steps"] = decay
    return found


def _updates(text: str, recipe: Recipe) -> int | float:
    """Steps, or a share of the run; epochs become a share where the run's length is known in epochs."""
    span, amount = parse_span(text), recipe.amount
    if span.unit == "epochs":
        return 0 if amount.max_train_steps else min(1.0, span.amount / amount.epochs)
    return round(span.amount) if span.unit == "steps" else span.amount


def _warmed(text: str, recipe: Recipe) -> int | float:
    """`_updates` of token_warmup; sd-scripts takes 1.0 for one step, not for the whole run."""
    found = _updates(text, recipe)
    return 0.9999 if isinstance(found, float) and found >= 1 else found


def _noise(recipe: Recipe) -> dict[str, Any]:
    noise, found = recipe.noise, dict[str, Any]()
    if noise.expected_prediction == "v":
        found["v_parameterization"] = True
    if noise.timestep_sampling != "uniform" or noise.flow_shift:
        found |= {"timestep_sampling": "sigma", "weighting_scheme": noise.timestep_sampling}
    if noise.flow_shift:
        # The second is the name in SD3's script.
        found |= {"discrete_flow_shift": noise.flow_shift, "training_shift": noise.flow_shift}
    if noise.logit_mean:
        # Counted from the noisiest level down.
        found["logit_mean"] = -noise.logit_mean
    return found


def _saving(recipe: Recipe, prompts_file: str) -> dict[str, Any]:
    saving = recipe.saving
    found = _every("save_every", saving.save_every)
    every, last = found.get("save_every_n_steps", 0), saving.keep_last
    if last and every:
        # sd-scripts keeps what was saved in the last N steps, and the one before.
        found["save_last_n_steps"] = (last - 1) * every or every - 1
    elif last:
        found["save_last_n_epochs"] = last
    if saving.validation_share or saving.validate_every != "1 epoch":
        found |= _every("validate_every", saving.validate_every)
    if prompts_file and saving.sample_prompts:
        found |= {**_every("sample_every", saving.sample_every), "sample_prompts": prompts_file}
    if recipe.compute.precision in PRECISIONS.values():
        found["mixed_precision"] = {ours: theirs for theirs, ours in PRECISIONS.items()}[recipe.compute.precision]
    return found


def _every(name: str, text: str) -> dict[str, Any]:
    span = parse_span(text)
    count = round(span.amount)
    return {f"{name}_n_{span.unit}": count} if span.unit != "share" and count else {}
