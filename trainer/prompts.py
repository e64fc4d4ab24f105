"""Preview prompts with options of their own, as sd-scripts reads them: `1girl, smile --n bad hands --w 512`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# sd-scripts' letters; sizes are rounded down to 8 pixels there too.
_NUMBERS: dict[str, tuple[str, type, float, float]] = {
    "w": ("width", int, 64, 8192),
    "h": ("height", int, 64, 8192),
    "d": ("seed", int, 0, 2**64 - 1),
    "s": ("steps", int, 1, 1000),
    "l": ("cfg", float, 0, 100),
}
_NEGATIVE = "n"
_KNOWN = ", ".join([f"--{_NEGATIVE} (negative)", *(f"--{letter} ({row[0]})" for letter, row in _NUMBERS.items())])
_OPTION = re.compile(r"\s--(?=[A-Za-z]+(?:\s|$))")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePrompt:
    """A line taken apart. `given` holds what it says of width, height (pixels), seed, steps and cfg."""

    prompt: str
    negative: str = ""
    given: dict[str, Any] = field(default_factory=dict)


def parse_prompt(line: str) -> SamplePrompt:
    """A prompt and its options. Raises ValueError for options that there are not, and for values out of range."""
    prompt, *options = _OPTION.split(f" {line.strip()}")
    negative, given = "", {}
    for option in options:
        letter, value = (*option.split(None, 1), "")[:2]
        letter, value = letter.lower(), value.strip()
        if letter == _NEGATIVE:
            negative = value
        elif letter in _NUMBERS:
            name, kind, low, high = _NUMBERS[letter]
            try:
                number = kind(value)
            except ValueError:
                number = None
            if number is None or not low <= number <= high:
                raise ValueError(f"--{letter} is {value!r} in {line.strip()!r}; {name} is from {low} to {high}")
            given[name] = number - number % 8 if name in ("width", "height") else number
        else:
            raise ValueError(f"--{letter} in {line.strip()!r} is no option here; there are {_KNOWN}")
    return SamplePrompt(prompt=prompt.strip(), negative=negative, given=given)


def words_of(line: str) -> str:
    """The prompt without its options, right or wrong."""
    return _OPTION.split(f" {line.strip()}")[0].strip()


def known_options(lines: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lines of sd-scripts' text file without the options that `parse_prompt` does not take, and these options.

    A line that starts with # is a remark.
    """
    kept, left_out = list[str](), dict[str, None]()
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        prompt, *options = _OPTION.split(f" {line.strip()}")
        words = [prompt.strip()]
        for option in options:
            try:
                parse_prompt(f"--{option.strip()}")
            except ValueError:
                left_out[" ".join(option.split())] = None
            else:
                words.append(f"--{option.strip()}")
        kept.append(" ".join(words))
    return tuple(kept), tuple(left_out)
