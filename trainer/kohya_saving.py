"""What is written while training goes on: files, previews, validation."""

from __future__ import annotations

import re
from typing import Any

from .kohya_sheet import Sheet
from .kohya_values import settle
from .prompts import known_options, parse_prompt


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
    prompts, left_out = known_options(text.splitlines())
    words = "1 prompt" if len(prompts) == 1 else f"{len(prompts)} prompts"
    given = [parse_prompt(line).given for line in prompts]
    for letter, name, setting in (("s", "steps", "sample_steps"), ("l", "cfg", "sample_cfg")):
        values = {options.get(name) for options in given}
        if len(values) == 1 and None not in values:
            # What all of them say is a setting here.
            found[setting] = settle(sheet, "sample_text", setting, values.pop())
            prompts = tuple(re.sub(rf"\s--{letter}\s+\S+", "", line, flags=re.IGNORECASE) for line in prompts)
            words += f", {setting} = {found[setting]:g}"
    if left_out:
        words += f"; left out: {', '.join(f'--{name}' for name in left_out)}"
    sheet.say("sample_text", "applied", words)
    return {**found, "sample_prompts": prompts}
