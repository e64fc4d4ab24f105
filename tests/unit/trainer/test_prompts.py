"""Preview prompts with options of their own, as sd-scripts reads them."""

from __future__ import annotations

import pytest

from lora_kiln.trainer.groups import Saving
from lora_kiln.trainer.prompts import SamplePrompt, known_options, parse_prompt, words_of


@pytest.mark.parametrize(
    ("line", "prompt", "negative", "given"),
    [
        ("1girl, smile", "1girl, smile", "", {}),
        ("1girl --n bad hands, red --w 520 --s 28", "1girl", "bad hands, red", {"width": 520, "steps": 28}),
        ("1girl --W 515 --h 64 --d 0 --l 7.5", "1girl", "", {"width": 512, "height": 64, "seed": 0, "cfg": 7.5}),
        ("--n red", "", "red", {}),
        ("1girl -- dash, a--n b, --1", "1girl -- dash, a--n b, --1", "", {}),
    ],
)
def test_a_line_is_a_prompt_and_its_options(line: str, prompt: str, negative: str, given: dict[str, float]) -> None:
    assert parse_prompt(line) == SamplePrompt(prompt=prompt, negative=negative, given=given)
    assert words_of(line) == prompt


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1girl --x 3", r"--x in '1girl --x 3' is no option here.*--n \(negative\), --w \(width\)"),
        ("1girl --w wide", r"--w is 'wide'.*width is from 64 to 8192"),
        ("1girl --s 0", r"--s is '0'.*steps is from 1 to 1000"),
        ("1girl --l nan", r"--l is 'nan'.*cfg is from 0 to 100"),
        ("1girl --d", r"--d is ''.*seed is from 0"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_line(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=rf"Saving.sample_prompts: {said}"):
        Saving(sample_prompts=("1girl", line))
    assert words_of(line) == "1girl"


def test_foreign_options_are_left_out_of_a_file() -> None:
    lines = ["# remark", "", " 1girl --ss ddim --s 28 --n red", "rain --d -1 --w\t512 --l 7,5"]
    assert known_options(lines) == (("1girl --s 28 --n red", "rain --w\t512"), ("ss ddim", "d -1", "l 7,5"))
    assert parse_prompt("rain --w\t512").given == {"width": 512}
