"""A selection's text with other choices in it: what a click on a picture writes into the node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .select import Selection, read_selection

Choices = Mapping[str, bool | None]
"""Names of pictures: True keeps one, False rejects it, None leaves it to the filter or the scores."""


def with_choices(text: str, choices: Choices) -> str:
    """The text of a selection (`select.read_selection`) after these choices, in the form that it has: lines or JSON.

    Notes, empty lines and names that are not in `choices` stay as they are. Raises DatasetError as `read_selection`.
    """
    before = read_selection(text)
    if text.lstrip().startswith("{"):
        keep = [*_without(before.keep, choices), *(name for name, kept in choices.items() if kept)]
        reject = [*_without(before.reject, choices), *(name for name, kept in choices.items() if kept is False)]
        return Selection(keep=tuple(keep), reject=tuple(reject)).to_json()
    lines = [line for line in text.splitlines() if _name(line) not in choices]
    lines += [f"{'+' if kept else '-'} {name}" for name, kept in choices.items() if kept is not None]
    return "\n".join(lines)


def _without(names: tuple[str, ...], choices: Choices) -> Iterator[str]:
    return (name for name in names if name not in choices)


def _name(line: str) -> str | None:
    """The name in a line; None in a note and in an empty line."""
    line = line.strip()
    if not line or line.startswith("#"):
        return None
    return line[1:].strip() if line[0] in "+-" else line
