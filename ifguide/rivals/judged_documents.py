"""What a judge or a word list makes of whole documents, and of single words, a score a token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from ifguide.corpus.spans import overlaps
from ifguide.nouns import Corpus, TokenScores

TOGETHER = 64  # documents that a judge is given at once; results do not depend on it

Spans = Callable[[str], Sequence[tuple[int, int]]]


def judged_documents(
    corpus: Corpus,
    judge: Callable[[Sequence[str], Sequence[str]], Float[np.ndarray, " n"]],
    *,
    progress: Callable[[int], None] = lambda tokens: None,
) -> TokenScores:
    """Give every token the toxicity of its document; tokens without a loss hold 0.

    Args:
        corpus: the tokens; their documents' texts are read.
        judge: gives each text a toxicity, in order; it is given the texts and their ids.
        progress: called with the number of tokens just done.
    """
    document = np.asarray(corpus.document)
    size = np.bincount(document[document >= 0], minlength=len(corpus.documents))
    toxicity = np.zeros(len(size))
    for first in range(0, len(size), TOGETHER):
        numbers = range(first, min(first + TOGETHER, len(size)))
        some = [corpus.documents[number] for number in numbers]
        toxicity[first : first + len(some)] = judge([d.text for d in some], [d.id for d in some])
        progress(int(size[first : first + len(some)].sum()))
    values = np.where(corpus.has_loss, toxicity[document], 0.0)
    return TokenScores(values, corpus, {"control": "judged documents"})


def listed_words(
    corpus: Corpus, spans: Spans, progress: Callable[[int], None] = lambda tokens: None
) -> TokenScores:
    """Score tokens that share a character with a listed word or phrase 1, all others 0.

    Args:
        corpus: the tokens; their documents' texts are read.
        spans: where listed words are in a text, as [start, end) characters.
        progress: called with the number of tokens just done.
    """
    document = np.asarray(corpus.document).ravel()
    start, end = (np.asarray(column).ravel() for column in (corpus.start, corpus.end))
    values = np.zeros(document.shape)
    order = np.argsort(document, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(document[order])) + 1):
        number = int(document[places[0]])
        if number < 0:
            continue
        found = tuple(spans(corpus.documents[number].text))
        values[places] = overlaps(start[places], end[places], found)
        progress(len(places))
    values = np.where(corpus.has_loss, values.reshape(corpus.tokens.shape), 0.0)
    return TokenScores(values, corpus, {"control": "word list"})
