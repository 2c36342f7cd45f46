"""What scores know beside the word: tokens whose word stands both inside and outside of marks.

A lexicon gives all places of a word the same score, so over such words it knows nothing but how
often each is marked; within one of them it knows nothing at all.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from ifguide import Corpus
from ifguide.corpus.words import Spelling, number_words, word_keys
from ifguide.evaluation.metrics import percentile_interval
from ifguide.nouns import Interval


def words_of(corpus: Corpus, spelt: Spelling) -> Int[np.ndarray, "N T"]:
    """Return the number of each token's word, the same wherever it stands, in either case."""
    tokens, document = np.asarray(corpus.tokens), np.asarray(corpus.document)
    number = number_words(spelt, tokens, document)
    _, compact = np.unique(word_keys(spelt, tokens, number), return_inverse=True)
    return compact[number]


def in_and_out(
    words: Int[np.ndarray, "N T"], marked: Bool[np.ndarray, "N T"], counted: Bool[np.ndarray, "N T"]
) -> Bool[np.ndarray, "N T"]:
    """Which counted tokens have a word that counted tokens hold both marked and unmarked."""
    inside, outside = np.unique(words[counted & marked]), np.unique(words[counted & ~marked])
    return counted & np.isin(words, np.intersect1d(inside, outside))


def within_words(
    scores: Float[np.ndarray, " n"],
    marked: Bool[np.ndarray, " n"],
    words: Int[np.ndarray, " n"],
    document: Int[np.ndarray, " n"],
    *,
    resamples: int,
    seed: int,
) -> Interval:
    """Return how often a marked token stands above an unmarked one of the same word.

    Over all such pairs, a tie counting half: 0.5 is what a lexicon has, whatever it knows. The
    interval is over documents drawn with replacement.

    Raises:
        ValueError: no word has both a marked and an unmarked token.
    """
    _, place = np.unique(document, return_inverse=True)
    order = np.lexsort((scores, words))
    scores, marked, words, place = scores[order], marked[order], words[order], place[order]
    new = np.r_[True, (words[1:] != words[:-1]) | (scores[1:] != scores[:-1])]
    tie = np.cumsum(new) - 1  # the number of the token's run of equal scores of one word
    first_of_word = np.r_[True, words[1:] != words[:-1]]
    word = np.cumsum(first_of_word) - 1

    def figure(drawn: Float[np.ndarray, " D"]) -> float:
        inside, outside = (drawn[place] * side for side in (marked, ~marked))
        by_tie = np.bincount(tie, weights=outside)
        before = np.cumsum(by_tie) - by_tie
        by_word = np.bincount(word, weights=outside)
        start = (np.cumsum(by_word) - by_word)[word]
        below = before[tie] - start + by_tie[tie] / 2
        pairs = inside @ by_word[word]
        return float(inside @ below / pairs) if pairs > 0 else float("nan")

    documents, rng = int(place.max()) + 1, np.random.default_rng(seed)
    value = figure(np.ones(documents))
    if np.isnan(value):
        raise ValueError("no word has both a marked and an unmarked token")
    draws: list[float] = []
    while len(draws) < resamples:
        drawn = np.bincount(rng.integers(documents, size=documents), minlength=documents)
        found = figure(drawn.astype(np.float64))
        draws += [found] if np.isfinite(found) else []
    return percentile_interval(value, np.array(draws))
