"""A judge of texts as a judge of tokens: it reads the words around each one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from ifguide.errors import InputError
from ifguide.nouns import Corpus, TokenScores

_WORD = re.compile(r"\S+")


def judged_windows(
    corpus: Corpus,
    judge: Callable[[Sequence[str]], Float[np.ndarray, " n"]],
    words: int = 2,
    *,
    progress: Callable[[int], None] = lambda tokens: None,
) -> TokenScores:
    """Score every token by what a judge makes of the text around it.

    The window is the token's word (between white space) and ``words`` words to each side, inside
    the document. A token of white space goes with the word after it; end-of-text with the last
    word. Tokens without a loss hold 0.

    Args:
        corpus: the tokens; their documents' texts are read.
        judge: gives each text a toxicity, in order.
        words: words to each side.
        progress: called with the number of tokens just done.

    Raises:
        InputError: ``words`` is below 0.
    """
    if words < 0:
        raise InputError(f"judged windows: words is {words}, which is below 0; try 2")
    places = np.flatnonzero(corpus.has_loss)
    document = np.asarray(corpus.document).ravel()[places]
    start = np.asarray(corpus.start).ravel()[places]
    values = np.zeros(corpus.tokens.size)
    order = np.argsort(document, kind="stable")
    for of_one in np.split(order, np.flatnonzero(np.diff(document[order])) + 1):
        if not len(of_one):
            continue
        text = corpus.documents[int(document[of_one[0]])].text
        values[places[of_one]] = _of_document(text, start[of_one], judge, words)
        progress(len(of_one))
    return TokenScores(
        values.reshape(corpus.tokens.shape), corpus, {"control": "judge", "words": words}
    )


def _of_document(
    text: str,
    start: Int[np.ndarray, " n"],
    judge: Callable[[Sequence[str]], Float[np.ndarray, " n"]],
    words: int,
) -> Float[np.ndarray, " n"]:
    """Judge the window of each word that has a token, once, and give it to its tokens."""
    spans = [found.span() for found in _WORD.finditer(text)]
    ends = np.array([end for _, end in spans])
    word = np.minimum(np.searchsorted(ends, start, side="right"), len(spans) - 1)
    wanted, which = np.unique(word, return_inverse=True)
    windows = [
        text[spans[max(0, k - words)][0] : spans[min(len(spans) - 1, k + words)][1]]
        for k in map(int, wanted)
    ]
    return np.asarray(judge(windows), dtype=np.float64)[which]
