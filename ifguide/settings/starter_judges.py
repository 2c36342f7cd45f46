"""The judges of a first run: a list of the words that people have marked, or one that is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import regex

from ifguide.settings.plain import write_plain_yaml

Marked = tuple[str, Sequence[tuple[int, int]]]  # a text and its marked characters

WORD = regex.compile(r"\p{L}[\p{L}\p{M}\p{N}]*(?:['’-]\p{L}[\p{L}\p{M}\p{N}]*)*")
SHARE = 0.8  # of a listed word's uses are marked, at least
USES = 2  # that are marked, at least


def marked_words(posts: Iterable[Marked]) -> list[str]:
    """Return the words that are nearly always marked where they stand, in alphabetical order.

    >>> marked_words([("you fool", [(4, 8)]), ("a fool and you", [(2, 6)])])
    ['fool']
    """
    inside: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for text, spans in posts:
        for found in WORD.finditer(text):
            word = found[0].lower()
            every[word] += 1
            inside[word] += any(
                start <= found.start() and found.end() <= end for start, end in spans
            )
    return sorted(w for w, n in inside.items() if n >= USES and n >= SHARE * every[w])


def judges_text(given: Sequence[str], words: Path | None) -> str:
    """Return the setting of the judges, with a comment that stands before ``evaluation``.

    Args:
        given: judges by name.
        words: where a list of marked words lies, if there is one.
    """
    listed = [] if words is None else [f"words:{words}"]
    names = [*listed, *given] or ["rule"]
    comment = ""
    if not given:
        first = (
            f"# The judge is the list {words.name}: words that are nearly always marked.\n"
            if words is not None
            else "# The judge rule knows the words of the built-in corpus alone; words:FILE is a "
            "list.\n"
        )
        comment = f'{first}# Add one that knows context: "hf:NAME#LABEL" or "detoxify:unbiased".\n'
    shown = ", ".join(write_plain_yaml([name], quotes=True)[2:].strip() for name in names)
    return f"{comment}evaluation:\n  judges: [{shown}]\n"
