"""What is written while training goes on: files, previews, validation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .kohya_sheet import Sheet
from .kohya_values import settle


def read_saving(sheet: Sheet) -> dict[str, Any]:
    """Files, validation and previews while training goes on."""
    found = _every(sheet, "save_every_n_epochs", "save_every_n_steps", "save_every")
    found |= _every(sheet, "validate_every_n_epochs", "validate_every_n_steps", "validate_every")
    epochs, steps = sheet.whole("save_last_n_epochs"), sheet.whole("save_last_n_steps")
    every = sheet.whole("save_every_n_steps")
    by_steps = found.get("save_every", "").endswith("steps")
    if epochs and not by_steps:
        found["keep_last"] = settle(sheet, "save_last_n_epochs", "keep_last", epochs)
    else:
        sheet.say("save_last_n_epochs", "default", "off" if not epochs else "files are saved by steps")
    if steps and by_steps:
        found["keep_last"] = steps // every + 1
        sheet.say("save_last_n_steps", "applied", f"keep_last = {found['keep_last']} files, {every} steps apart")
    else:
        sheet.say("save_last_n_steps", "default", "off" if not steps else "files are not saved by steps")
    return found | read_samples(sheet)


def _every(sheet: Sheet, epochs: str, steps: str, setting: str) -> dict[str, Any]:
    by_epochs, by_steps = sheet.whole(epochs), sheet.whole(steps)
    for name, count, unit in ((epochs, by_epochs, "epoch"), (steps, by_steps, "step")):
        if count < 0:
            raise sheet.fail(name, f"give a number of {unit}s")
        sheet.say(name, "default", "off")
    if by_epochs and by_steps:
        sheet.say(steps, "unsupported", f"one rhythm counts, {epochs}")
    count, name, unit = (by_epochs, epochs, "epoch") if by_epochs else (by_steps, steps, "step")
    if not count:
        return {}
    text = f"{count} {unit}" + ("s" if count > 1 else "")
    sheet.say(name, "applied", f"{setting} = {text}")
    return {setting: text}


def read_samples(sheet: Sheet) -> dict[str, Any]:
    """Preview prompts under `sample_text`, and their rhythm."""
    text = sheet.text("sample_text")
    found = _every(sheet, "sample_every_n_epochs", "sample_every_n_steps", "sample_every")
    if not text or not found:
        sheet.say("sample_text", "default", "blank" if not text else "no previews: no sample_every_n_epochs or _steps")
        for name in ("sample_every_n_epochs", "sample_every_n_steps") if found else ():
            sheet.say(name, "default", "no previews: no prompts")
        return {}
    prompts, options, ignored = parse_prompts(text.splitlines())
    words = "1 prompt" if len(prompts) == 1 else f"{len(prompts)} prompts"
    for option, setting, kind in (("s", "sample_steps", int), ("l", "sample_cfg", float)):
        if option in options:
            found[setting] = settle(sheet, "sample_text", setting, kind(options[option]))
            words += f", {setting} = {options[option]}"
    if ignored:
        words += f"; left out: {', '.join(f'--{name}' for name in ignored)} (size and seed are the run's own)"
    sheet.say("sample_text", "applied", words)
    return {**found, "sample_prompts": prompts}


def parse_prompts(lines: Iterable[str]) -> tuple[tuple[str, ...], dict[str, str], tuple[str, ...]]:
    """Prompts of sd-scripts' text form, the first `--s` (steps) and `--l` (guidance), and options that are left out.

    A line is a prompt with options after it: `1girl, smile --n bad hands --w 512 --s 28`; # starts a remark.
    """
    prompts: list[str] = []
    options: dict[str, str] = {}
    ignored: dict[str, None] = {}
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        prompt, *rest = line.strip().split(" --")
        prompts.append(prompt.strip())
        for option in rest:
            found = re.fullmatch(r"([sl]) ([\d.]+)", option.strip(), re.IGNORECASE)
            if found:
                options.setdefault(found[1].lower(), found[2])
            else:
                ignored[option.split(" ")[0]] = None
    return tuple(prompts), options, tuple(ignored)
