"""A lexicon: the log-odds of each token id among the toxic against among the safe query tokens."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt64

from ifguide.arrays import LazyArray, read_rows
from ifguide.corpus.words import Spelling, number_words, word_keys
from ifguide.errors import InputError
from ifguide.nouns import Contrast, Corpus, QuerySet, TokenScores


def lexicon(
    corpus: Corpus, contrast: Contrast, pseudo_count: float = 1.0, spelt: Spelling | None = None
) -> TokenScores:
    """Score every token of the corpus by its id's ``lexicon_log_odds``, or by its word's.

    Tokens without a loss hold 0.

    Args:
        corpus: what to score; one in memory gives scores in memory, one that is mapped from disk
            scores that are computed as they are asked for.
        contrast: the queries.
        pseudo_count: weight of the prior, in tokens seen.
        spelt: how the vocabulary is spelt, for the log-odds of whole words in upper or lower case;
            a word of several tokens counts as often as it has tokens.

    Raises:
        InputError: as ``lexicon_log_odds``.
    """
    if spelt is None:
        log_odds = lexicon_log_odds(contrast, 1 + int(np.max(corpus.tokens)), pseudo_count)
    else:
        keys, log_odds = word_log_odds(contrast, spelt, pseudo_count)

    def scored(rows: slice) -> Float[np.ndarray, "n T"]:
        tokens, document = read_rows(corpus.tokens, rows), read_rows(corpus.document, rows)
        if spelt is None:
            values = log_odds[tokens]
        else:
            number = number_words(spelt, tokens, document)
            key = word_keys(spelt, tokens, number)
            place = np.searchsorted(keys[:-1], key)
            values = np.where(keys[place] == key, log_odds[place], 0.0)[number]
        return np.where(corpus.has_loss_in(rows), values, 0.0)

    lazy = LazyArray(corpus.tokens.shape, np.dtype(np.float64), scored)
    mapped = isinstance(corpus.tokens, np.memmap)
    described = {"control": "lexicon", "pseudo_count": pseudo_count}
    described |= {"unit": "token" if spelt is None else "word", "queries": contrast.fingerprint}
    return TokenScores(lazy if mapped else np.asarray(lazy), corpus, described)


def word_log_odds(
    contrast: Contrast, spelt: Spelling, pseudo_count: float = 1.0
) -> tuple[UInt64[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Return the words of the queries, as ascending keys, and their log-odds of "toxic".

    The log-odds are those of ``lexicon_log_odds`` with words, token by token, in the place of ids.

    Raises:
        InputError: as ``lexicon_log_odds``.
    """
    sides = [_counted_keys(side, spelt) for side in (contrast.toxic, contrast.safe)]
    keys = np.unique(np.concatenate(sides))
    toxic, safe = (np.bincount(np.searchsorted(keys, side), minlength=len(keys)) for side in sides)
    return keys, _log_odds(toxic, safe, pseudo_count)


def lexicon_log_odds(
    contrast: Contrast, vocabulary: int, pseudo_count: float = 1.0
) -> Float[np.ndarray, " V"]:
    """Return the log-odds of "toxic" for each token id, less those of any token.

    With n and m the counts of an id among the toxic and the safe tokens that carry weight, N and M
    the counts of all ids, p = N / (N + M) and a = ``pseudo_count``:
    ``log((n + a p) / (m + a (1 - p))) - log(p / (1 - p))``, in nats. It is the posterior mean under
    a prior worth ``a`` observations at the rate p, so that an id the queries do not have is at 0.

    Args:
        contrast: the queries; for marked text, the marked tokens and all others.
        vocabulary: V, more than any id that is asked for; larger ids of the queries count in N, M.
        pseudo_count: weight of the prior, in observations.

    Raises:
        InputError: the pseudo-count is not above 0, or a side has no token.
    """
    ids = [_counted_ids(side) for side in (contrast.toxic, contrast.safe)]
    size = max(vocabulary, *(1 + int(side.max(initial=0)) for side in ids))
    toxic, safe = (np.bincount(side, minlength=size) for side in ids)
    return _log_odds(toxic, safe, pseudo_count)[:vocabulary]


def _log_odds(
    toxic: Int[np.ndarray, " k"], safe: Int[np.ndarray, " k"], pseudo_count: float
) -> Float[np.ndarray, " k"]:
    """Smoothed log-odds of counts in and out of the toxic side, less those of the totals."""
    if not pseudo_count > 0:
        raise InputError(f"lexicon: pseudo_count {pseudo_count} is not above 0; try 1")
    if not (toxic.any() and safe.any()):
        raise InputError("lexicon: a side of the queries has no token with weight; add queries")
    rate = toxic.sum() / (toxic.sum() + safe.sum())
    odds = (toxic + pseudo_count * rate) / (safe + pseudo_count * (1 - rate))
    return np.log(odds) - np.log(rate / (1 - rate))


def _counted_ids(side: QuerySet) -> Int[np.ndarray, " k"]:
    """Return the ids of all tokens that carry weight."""
    none = np.zeros(0, dtype=np.int64)
    pairs = zip(side.tokens, side.weights, strict=True)
    return np.concatenate([none, *(tokens[weights > 0] for tokens, weights in pairs)])


def _counted_keys(side: QuerySet, spelt: Spelling) -> UInt64[np.ndarray, " k"]:
    """Return the word's key of all tokens that carry weight."""
    keys = [np.zeros(0, dtype=np.uint64)]
    for tokens, weights in zip(side.tokens, side.weights, strict=True):
        block = np.asarray(tokens)[None]
        number = number_words(spelt, block, np.zeros_like(block))
        keys.append(word_keys(spelt, block, number)[number[0]][np.asarray(weights) > 0])
    return np.concatenate(keys)
