"""Text on pictures in any script: the first font that has a character draws it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "segoeui.ttf", "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf", "NotoSansSC-Regular.otf", "msyh.ttc", "YuGothM.ttc", "malgun.ttf", "PingFang.ttc",
    "Hiragino Sans GB.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "seguisym.ttf",
    "seguiemj.ttf", "NotoEmoji-Regular.ttf", "Symbola.ttf", "unifont.ttf",
)  # fmt: skip
"""Looked for among the system's fonts, in this order, when Pillow's own font lacks a character."""

_NO_GLYPH = "\uffff"  # no character, so what a font draws for it is what it draws for everything it lacks
_BOX, _LAST = "\u25a1", "?"


class Lettering:
    """Draws and measures lines of one size. `missing` collects the characters that no font here has."""

    def __init__(self, size: int, fonts: Sequence[Path] = ()) -> None:
        self.size = size
        self.height = round(size * 1.3)
        """Pixels from one line to the next."""
        self.missing: set[str] = set()
        self._fonts: list[Font] = [ImageFont.load_default(size)]
        self._blanks: list[bytes] = [_drawn(self._fonts[0], _NO_GLYPH)]
        self._waiting = iter([*map(str, fonts), *FONTS])
        self._known: dict[str, tuple[int, float]] = {}

    def width(self, text: str) -> float:
        """Pixels of a line, kerning left out."""
        return sum(self._place(c)[1] for c in printable(text))

    def wrap(self, text: str, width: float, most: int) -> list[str]:
        """The text in up to `most` lines of `width` pixels, broken at spaces where there are any.

        What does not fit ends in an ellipsis.
        """
        lines: list[str] = []
        for line in self._lines(printable(text), width) if most else ():
            if len(lines) == most:
                lines[-1] = self._shortened(lines[-1], width)
                break
            lines.append(line)
        return lines

    def draw(self, pen: ImageDraw.ImageDraw, place: tuple[float, float], line: str, fill: str) -> None:
        """Draw one line; `place` is its upper left corner."""
        x, y = place
        for font, run, width in self._runs(printable(line)):
            pen.text((x, y + self.size), run, fill=fill, font=font, anchor=_anchor(font))
            x += width

    def _runs(self, text: str) -> Iterator[tuple[Font, str, float]]:
        """Neighbours of one font together, so that marks join their letters."""
        run, at, wide = "", 0, 0.0
        for character in text:
            index, width = self._place(character)
            if run and index != at:
                yield self._fonts[at], run, wide
                run, wide = "", 0.0
            run, at, wide = run + self._shown(character), index, wide + width
        if run:
            yield self._fonts[at], run, wide

    def _lines(self, text: str, width: float) -> Iterator[str]:
        line, wide = "", 0.0
        for word in text.split():
            long = self.width(word)
            space = self._place(" ")[1] if line else 0.0
            if wide + space + long <= width:
                line, wide = f"{line} {word}" if line else word, wide + space + long
                continue
            if line:
                yield line
            *full, line = self._pieces(word, width)
            yield from full
            wide = self.width(line)
        if line:
            yield line

    def _pieces(self, word: str, width: float) -> list[str]:
        """A word that is longer than a line, cut between characters; at least one goes on each line."""
        pieces, wide = [""], 0.0
        for character in word:
            one = self._place(character)[1]
            if pieces[-1] and wide + one > width:
                pieces.append("")
                wide = 0.0
            pieces[-1] += character
            wide += one
        return pieces

    def _shortened(self, line: str, width: float) -> str:
        while line and self.width(f"{line}...") > width:
            line = line[:-1]
        return f"{line}..."

    def _shown(self, character: str) -> str:
        """The character, or a box for one that no font has."""
        return self._shown(_stand_in(character)) if character in self.missing else character

    def _place(self, character: str) -> tuple[int, float]:
        """The index of the font that draws a character, and its width in pixels."""
        if character not in self._known:
            index = self._font_of(character)
            if index is None:
                self.missing.add(character)
                self._known[character] = self._place(_stand_in(character))
            else:
                self._known[character] = (index, self._fonts[index].getlength(character))
        return self._known[character]

    def _font_of(self, character: str) -> int | None:
        if character.isspace() or character == _LAST:
            return 0
        for index in range(len(self._fonts)):
            if self._has(index, character):
                return index
        while self._open_next():
            if self._has(len(self._fonts) - 1, character):
                return len(self._fonts) - 1
        return None

    def _open_next(self) -> bool:
        """Open the next font that is there; False when there is none left."""
        for name in self._waiting:
            try:
                font = ImageFont.truetype(name, self.size)
            except OSError:  # not there, or a font of bitmaps in another size
                continue
            self._fonts.append(font)
            self._blanks.append(_drawn(font, _NO_GLYPH))
            return True
        return False

    def _has(self, index: int, character: str) -> bool:
        try:
            return _drawn(self._fonts[index], character) != self._blanks[index]
        except UnicodeEncodeError:  # Pillow without FreeType has a font of Latin letters only
            return False


def printable(text: str) -> str:
    """The text in one line without signs that steer (direction marks, joiners, controls) or cannot be encoded."""
    line = " ".join(unicodedata.normalize("NFC", text).split())
    shown = ("\ufffd" if unicodedata.category(c) == "Cs" else c for c in line)
    return "".join(c for c in shown if unicodedata.category(c) not in ("Cc", "Cf"))


def _stand_in(character: str) -> str:
    return _BOX if character not in (_BOX, _LAST) else _LAST


def _drawn(font: Font, character: str) -> bytes:
    try:
        mask = font.getmask(character)
    except UnicodeEncodeError:
        if character == _NO_GLYPH:
            return b""
        raise
    return repr(mask.size).encode() + bytes(mask)


def _anchor(font: Font) -> str | None:
    # Fonts of one size sit on one baseline; the bitmap font knows no anchors.
    return "ls" if isinstance(font, ImageFont.FreeTypeFont) else None
