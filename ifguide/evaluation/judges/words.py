"""Word lists as judges: they know no context, and so check the judges that have learnt one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import final

import numpy as np
from jaxtyping import Float

from ifguide.errors import InputError, one_line
from ifguide.evaluation.judges.registry import SETTING, JudgeKind, JudgeRequest


@final
class WordListJudge:
    """1 for a text that holds one of the words or phrases as whole words, in any case, else 0."""

    def __init__(self, name: str, words: Iterable[str]) -> None:
        self.name = name
        listed = sorted({re.escape(word.strip()) for word in words if word.strip()}, reverse=True)
        if not listed:
            raise InputError(
                f"{SETTING}: the word list of '{name}' is empty; give a word or phrase a line"
            )
        self._found = re.compile(rf"(?<!\w)(?:{'|'.join(listed)})(?!\w)", re.IGNORECASE).search

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return whether each text holds a listed word."""
        return np.array([float(self._found(text) is not None) for text in texts])


def _load(request: JudgeRequest) -> WordListJudge:
    """Return the judge by a UTF-8 file with a word or phrase a line.

    Raises:
        InputError: the file cannot be read, or holds no word.
    """
    file = request.path(request.argument)
    try:
        listed = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{SETTING}: {file}: it cannot be read ({one_line(error)}); give a UTF-8 file with "
            "a word or phrase a line"
        ) from error
    return WordListJudge(request.name, listed.splitlines())


WORDS = JudgeKind(
    load=_load, argument="FILE", files=lambda request: (request.path(request.argument),)
)
