"""Word lists as judges: they know no context, and so check the judges that have learnt one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float

from ifguide.errors import InputError, one_line
from ifguide.evaluation.judges.packages import import_extra

PACKAGE, LIST = "better_profanity", "profanity_wordlist.txt"


@final
class WordListJudge:
    """1 for a text that holds one of the words or phrases as whole words, in any case, else 0."""

    def __init__(self, name: str, words: Iterable[str]) -> None:
        self.name = name
        listed = sorted({re.escape(word.strip()) for word in words if word.strip()}, reverse=True)
        if not listed:
            raise InputError(f"evaluation.judges: the word list of '{name}' is empty")
        self._found = re.compile(rf"(?<!\w)(?:{'|'.join(listed)})(?!\w)", re.IGNORECASE).search

    def __call__(self, texts: Sequence[str]) -> Float[np.ndarray, " n"]:
        """Return whether each text holds a listed word."""
        return np.array([float(self._found(text) is not None) for text in texts])


def package_words() -> WordListJudge:
    """Return the judge by the list of the package better-profanity.

    Raises:
        InputError: it is not installed.
    """
    import_extra(PACKAGE, "better-profanity", "words")
    listed = resources.files(PACKAGE).joinpath(LIST).read_text("utf-8")
    return WordListJudge("better-profanity", listed.splitlines())


def listed_words(name: str, file: str) -> WordListJudge:
    """Return the judge by a UTF-8 file with a word or phrase a line.

    Raises:
        InputError: the file cannot be read, or holds no word.
    """
    try:
        listed = Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"evaluation.judges: {file}: it cannot be read ({one_line(error)})"
        ) from error
    return WordListJudge(name, listed.splitlines())
