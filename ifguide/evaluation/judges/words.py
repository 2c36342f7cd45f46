"""Word lists as judges: they know no context, and so check the judges that have learnt one.

A word ends where Unicode's text segmentation (UAX #29) has no letter, digit or mark: a vowel sign,
a point or an accent belongs to the word that it stands in, composed or not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import final

import numpy as np
import regex
from jaxtyping import Float

from ifguide.errors import InputError, reading
from ifguide.evaluation.judges.registry import SETTING, JudgeKind, JudgeRequest
from ifguide.files import check_plain

_LETTER = r"[\p{L}\p{N}_]"
_MARK = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]"
_BEFORE = rf"(?<!{_LETTER}{_MARK}*)"
_AFTER = rf"(?!\p{{M}}|{_MARK}*{_LETTER})"


@final
class WordListJudge:
    """1 for a text that holds one of the words or phrases as whole words, in any case, else 0."""

    def __init__(self, name: str, words: Iterable[str]) -> None:
        self.name = name
        listed = {regex.escape(_composed(word.strip())) for word in words if word.strip()}
        if not listed:
            raise InputError(
                f"{SETTING}: the word list of '{name}' is empty; give a word or phrase a line"
            )
        any_of_them = "|".join(sorted(listed, reverse=True))
        whole = rf"{_BEFORE}(?:{any_of_them}){_AFTER}"
        self._listed = regex.compile(whole, regex.IGNORECASE)

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return whether each text holds a listed word."""
        found = (self._listed.search(_composed(text)) for text in texts)
        return np.array([float(match is not None) for match in found])

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where listed words are in a text, as [start, end) characters in order.

        What is composed for the search is looked up grapheme by grapheme, so that a span begins and
        ends with whole ones.
        """
        parts = regex.findall(r"\X", text)
        before, after = (np.cumsum([0, *map(len, kind)]) for kind in (map(_composed, parts), parts))
        return [
            (
                int(after[np.searchsorted(before, match.start(), "right") - 1]),
                int(after[np.searchsorted(before, match.end(), "left")]),
            )
            for match in self._listed.finditer(_composed(text))
        ]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _load(request: JudgeRequest) -> WordListJudge:
    """Return the judge by a UTF-8 file with a word or phrase a line.

    Raises:
        InputError: the file cannot be read, or holds no word.
    """
    file = request.path(request.argument)
    what, mend = f"{SETTING}: {file}", "give a UTF-8 file with a word or phrase a line"
    with reading(what, mend, fault="it cannot be read"):
        check_plain(file, what)
        listed = file.read_text("utf-8-sig")
    return WordListJudge(request.name, listed.splitlines())


WORDS = JudgeKind(
    load=_load, argument="FILE", files=lambda request: (request.path(request.argument),)
)
