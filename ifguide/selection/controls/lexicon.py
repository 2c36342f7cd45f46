"""A lexicon: the log-odds of each token id among the toxic against among the safe query tokens."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ifguide.errors import InputError
from ifguide.nouns import Contrast, Corpus, QuerySet, TokenScores


def lexicon(corpus: Corpus, contrast: Contrast, pseudo_count: float = 1.0) -> TokenScores:
    """Score every token of the corpus by its id's ``lexicon_log_odds``.

    Tokens without a loss hold 0.

    Raises:
        InputError: as ``lexicon_log_odds``.
    """
    vocabulary = 1 + int(np.max(corpus.tokens))
    log_odds = lexicon_log_odds(contrast, vocabulary, pseudo_count)
    values = np.where(corpus.has_loss, log_odds[np.asarray(corpus.tokens)], 0.0)
    return TokenScores(
        values,
        corpus,
        {"control": "lexicon", "pseudo_count": pseudo_count, "queries": contrast.fingerprint},
    )


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
    if not pseudo_count > 0:
        raise InputError(f"lexicon: pseudo_count {pseudo_count} is not above 0; try 1")
    ids = [_counted_ids(side) for side in (contrast.toxic, contrast.safe)]
    size = max(vocabulary, *(1 + int(side.max(initial=0)) for side in ids))
    toxic, safe = (np.bincount(side, minlength=size) for side in ids)
    if not (toxic.any() and safe.any()):
        raise InputError("lexicon: a side of the queries has no token with weight; add queries")
    rate = toxic.sum() / (toxic.sum() + safe.sum())
    odds = (toxic + pseudo_count * rate) / (safe + pseudo_count * (1 - rate))
    return (np.log(odds) - np.log(rate / (1 - rate)))[:vocabulary]


def _counted_ids(side: QuerySet) -> Int[np.ndarray, " k"]:
    """Return the ids of all tokens that carry weight."""
    none = np.zeros(0, dtype=np.int64)
    pairs = zip(side.tokens, side.weights, strict=True)
    return np.concatenate([none, *(tokens[weights > 0] for tokens, weights in pairs)])
