"""Training text and scores made fit to be looked at, in a page or in a terminal.

Training text is hostile: an escape sequence would drive the reader's terminal, a bidirectional
control would show words in another order than the model read them.
"""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_right

LEVEL_BOUNDS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""A score's level is the number of these multiples of the scale that its size reaches."""

END_OF_TEXT = "■"
_KEPT_FORMATS = "\u200c\u200d"  # joiners: Persian and emoji need them, and they reorder nothing


class _VisibleForms(dict[int, str]):
    """Code point -> what is shown for it, found once for each code point that is met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        shown = character
        acts = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        if acts or code & 0xFFFE == 0xFFFE:  # the last two of a plane are no characters
            shown = character if character in _KEPT_FORMATS else f"‹U+{code:04X}›"
        self[code] = shown
        return shown


_IN_LINE = _VisibleForms()
_IN_TEXT = _VisibleForms({ord("\n"): "\n", ord("\t"): "\t"})


def visible_text(text: str, *, one_line: bool = False) -> str:
    r"""The text with every control, formatting and lone surrogate character spelled out.

    And what is no character at all, which XML has no place for.

    Line feeds and tabs stay as they are, unless ``one_line`` spells them out too.

    >>> visible_text("a\x1b[2Jb\u202ec\n")
    'a‹U+001B›[2Jb‹U+202E›c\n'
    >>> visible_text("two\nlines", one_line=True)
    'two‹U+000A›lines'
    """
    return text.translate(_IN_LINE if one_line else _IN_TEXT)


def width_of(text: str) -> int:
    """Return how many columns a terminal gives a visible text of one line.

    >>> width_of("abc"), width_of("日本"), width_of("e\u0301")
    (3, 4, 1)
    """
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def visible_token(text: str, *, selected: bool) -> str:
    r"""A token's text as :func:`visible_text` has it; never nothing at all where it matters.

    End-of-text, whose text is empty, is shown as an end mark, and a selected token made of line
    feeds only gets a visible arrow before them.

    >>> visible_token("", selected=False), visible_token("\n", selected=True)
    ('■', '↵\n')
    """
    if not text:
        return END_OF_TEXT
    if selected and "\n" in text and not text.strip():
        return "↵" + visible_text(text)
    return visible_text(text)


def colour_scale(threshold: float, largest: float) -> float:
    """The score that one unit of colour stands for: the threshold where it is usable.

    A selector that does not threshold the scores may leave 0, a negative number or NaN; then a
    quarter of the ``largest`` score shown (so that the largest one gets the deepest colour).
    """
    if math.isfinite(threshold) and threshold > 0:
        return threshold
    return largest / LEVEL_BOUNDS[-1] if math.isfinite(largest) and largest > 0 else 1.0


def score_level(score: float, scale: float) -> int:
    """The colour level of a score, -5 to 5; 3 and above reach the scale (the threshold).

    >>> [score_level(score, 2.0) for score in (-9.0, 0.1, 0.5, 2.0, 8.0)]
    [-5, 0, 1, 3, 5]
    """
    level = bisect_right(LEVEL_BOUNDS, abs(score) / scale)
    return level if score >= 0 else -level
